//! Our own instances at the other side: registered, kept alive, taken out and deregistered.

use super::behind::Told;
use super::client::{Client, Failed, encoded};
use super::{PAUSE, Pause, Shared, Unusable, remote_id};
use crate::model::{Check, Definition, Instance, State, cut};
use crate::registry::Registry;
use crate::snapshot::Member;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// So many times within its time is an instance reported.
const BEATS: u32 = 3;
/// So much of a check's output is sent.
const OUTPUT_MAX: usize = 512;
/// The key of the priority, which only we know.
const PRIORITY: &str = "Priority";
/// Why one that drains is taken out.
const DRAINING: &str = "it drains";

/// What the other side knows of one of ours.
struct Sent {
    instance: Arc<Instance>,
    remote: String,
    state: State,
    /// What was said of that state, and is said of it until it is another one: everybody is told when it changes.
    output: String,
    /// It is taken out.
    out: bool,
    due: Instant,
}

/// Registers these as our own, in place of those before.
pub(super) fn take_over(own: &Registry, node: &str, register: Vec<(Instance, Vec<Check>)>) -> Result<(), Unusable> {
    let named: BTreeSet<String> = register.iter().map(|(instance, _)| instance.id.clone()).collect();
    for (mut instance, checks) in register {
        node.clone_into(&mut instance.node);
        let id = instance.id.clone();
        let checks = checks.into_iter().map(|check| local(check, node)).collect();
        own.register(instance, checks, true).map_err(|why| Unusable::refused(&id, &why))?;
    }
    let snapshot = own.snapshot();
    let members = snapshot.nodes().flat_map(|entry| entry.instances.iter());
    for gone in members.filter(|member| !named.contains(&member.instance.id)) {
        own.deregister(node, &gone.instance.id);
    }
    Ok(())
}

/// A check of ours as it is done here: it removes nobody, since the other side does.
fn local(check: Check, node: &str) -> Check {
    let mut definition = Definition::clone(&check.definition);
    node.clone_into(&mut definition.node);
    definition.timing.deregister_after = None;
    Check { definition: Arc::new(definition), ..check }
}

/// Keeps our own instances registered until we leave.
pub(super) async fn register(shared: Arc<Shared>) {
    let mut changes = shared.own.watch();
    let mut leave = shared.leave.subscribe();
    // So that it is back in time when the other side was away.
    let most = PAUSE.1.min(shared.settings.ttl / BEATS);
    let mut pause = Pause::new(most);
    let mut last = None;
    let mut sent: BTreeMap<String, Sent> = BTreeMap::new();
    let mut client = None;
    loop {
        let (at, Some(place)) = shared.place() else { return };
        if last.replace(at) != Some(at) || client.is_none() {
            // Another one knows nothing of us; with the one before we run out.
            sent.clear();
            client = Some(Client::new(&shared.settings, place));
        }
        let Some(client) = &mut client else { return };
        if *leave.borrow_and_update() {
            let snapshot = shared.own.snapshot();
            let members = snapshot.nodes().flat_map(|node| node.instances.iter());
            // With those that are just being registered.
            let all = members.map(|member| remote_id(&shared.settings.node, &member.instance));
            let all: BTreeSet<String> = all.chain(sent.values().map(|sent| sent.remote.clone())).collect();
            for remote in all {
                if let Err(why) = deregister(client, &remote).await {
                    tracing::warn!(id = remote, %why, "our instance is not deregistered; it runs out");
                }
            }
            return;
        }
        let mut told = Told { number: *changes.borrow_and_update(), away: true, refused: Vec::new() };
        let result = tokio::select! {
            result = reconcile(&shared, client, &mut sent, &mut told) => result,
            // Whatever is on its way is done again, or undone.
            _ = leave.wait_for(|leave| *leave) => continue,
        };
        let away = told.away;
        shared.told.send_replace(Told { number: if away { 0 } else { told.number }, ..told });
        let wake = match &result {
            Ok(()) => {
                pause = Pause::new(most);
                let next = sent.values().map(|sent| sent.due).min();
                next.unwrap_or_else(|| Instant::now() + shared.settings.ttl)
            }
            Err(_) => Instant::now() + pause.next(),
        };
        shared.status.send_if_modified(|status| {
            let error = result.as_ref().err().map(ToString::to_string);
            let changed = status.registered != sent.len() || status.registering != error;
            if let Some(why) = error.as_ref().filter(|_| status.registering != error) {
                tracing::warn!(registry = place.name, why, "our instances are not registered");
            }
            (status.registered, status.registering) = (sent.len(), error);
            changed
        });
        tokio::select! {
            // When one is refused, that does not keep the next ones waiting.
            _ = changes.changed(), if !away => {}
            () = shared.back.notified() => {
                // It may have forgotten us.
                sent.values_mut().for_each(|sent| sent.due = Instant::now());
            }
            () = sleep_until(wake) => {}
            _ = leave.wait_for(|leave| *leave) => {}
        }
    }
}

/// Makes the other side's view of ours what it is here.
/// Says who is refused, and whether all were told of.
async fn reconcile(
    shared: &Shared,
    client: &mut Client,
    sent: &mut BTreeMap<String, Sent>,
    told: &mut Told,
) -> Result<(), Failed> {
    let snapshot = shared.own.snapshot();
    let members = || snapshot.nodes().flat_map(|node| node.instances.iter());
    let gone: Vec<String> =
        sent.keys().filter(|id| !members().any(|member| member.instance.id == **id)).cloned().collect();
    for id in gone {
        if let Some(gone) = sent.get(&id) {
            deregister(client, &gone.remote).await?;
        }
        sent.remove(&id);
    }
    let mut first = Ok(());
    for member in members() {
        // One that is refused does not keep the others out.
        if let Err(failed) = one(shared, client, sent, member).await {
            if failed.status.is_none() {
                return first.and(Err(failed));
            }
            told.refused.push((member.instance.id.clone(), failed.to_string()));
            first = first.and(Err(failed));
        }
    }
    told.away = false;
    first
}

async fn one(
    shared: &Shared,
    client: &mut Client,
    sent: &mut BTreeMap<String, Sent>,
    member: &Member,
) -> Result<(), Failed> {
    let instance = &member.instance;
    let remote = remote_id(&shared.settings.node, instance);
    let every = shared.settings.ttl / BEATS;
    for _ in 0..3 {
        let known =
            sent.get_mut(&instance.id).filter(|known| known.remote == remote && is_same(&known.instance, instance));
        let Some(known) = known else {
            if instance.draining && !sent.contains_key(&instance.id) {
                return Ok(());
            }
            let body = registration(shared, member, &remote);
            register_at(client, body, instance.priority).await?;
            let due = Instant::now() + every;
            let output = output(member);
            // A registration that was there before keeps how its check was: say how it is.
            let told = report(client, &remote, member.state, &output).await;
            let known = Sent {
                instance: Arc::clone(instance),
                remote: remote.clone(),
                state: member.state,
                output,
                out: false,
                due,
            };
            if let Some(old) = sent.insert(instance.id.clone(), known).filter(|old| old.remote != remote) {
                deregister(client, &old.remote).await?;
            }
            told?;
            continue;
        };
        if known.out != instance.draining {
            let path = format!(
                "/v1/agent/service/maintenance/{}?enable={}&reason={}",
                encoded(&remote),
                instance.draining,
                encoded(DRAINING)
            );
            match client.put(&path, Bytes::new()).await {
                Err(failed) if failed.is_missing() => {
                    sent.remove(&instance.id);
                    continue;
                }
                result => result?,
            }
            known.out = instance.draining;
        }
        let now = Instant::now();
        if known.state == member.state && known.due > now {
            return Ok(());
        }
        if known.state != member.state {
            (known.state, known.output) = (member.state, output(member));
        }
        match report(client, &remote, known.state, &known.output).await {
            // It has forgotten us, or another one has taken the place of our check.
            Err(failed) if failed.status.is_some_and(|status| !matches!(status.as_u16(), 403 | 429 | 503)) => {
                sent.remove(&instance.id);
            }
            result => {
                result?;
                known.due = now + every;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Registers with the priority, as another Fourmi takes it; Consul knows of none, and then it is left out.
async fn register_at(client: &mut Client, body: Value, priority: Option<u16>) -> Result<(), Failed> {
    const PATH: &str = "/v1/agent/service/register?replace-existing-checks=true";
    if let Some(priority) = priority {
        let mut body = body.clone();
        if let Some(map) = body.as_object_mut() {
            map.insert(PRIORITY.into(), priority.into());
        }
        match client.put(PATH, body.to_string().into()).await {
            Err(failed) if failed.status == Some(StatusCode::BAD_REQUEST) && failed.to_string().contains(PRIORITY) => {}
            result => return result,
        }
    }
    client.put(PATH, body.to_string().into()).await
}

fn is_same(one: &Arc<Instance>, other: &Arc<Instance>) -> bool {
    let bare = |instance: &Instance| Instance { draining: false, ..instance.clone() };
    Arc::ptr_eq(one, other) || bare(one) == bare(other)
}

async fn deregister(client: &mut Client, remote: &str) -> Result<(), Failed> {
    match client.put(&format!("/v1/agent/service/deregister/{}", encoded(remote)), Bytes::new()).await {
        Err(failed) if failed.is_missing() => Ok(()),
        result => result,
    }
}

async fn report(client: &mut Client, remote: &str, state: State, output: &str) -> Result<(), Failed> {
    let path = format!("/v1/agent/check/update/{}", encoded(&check_id(remote)));
    let body = json!({ "Status": state.as_str(), "Output": output });
    client.put(&path, body.to_string().into()).await
}

fn check_id(remote: &str) -> String {
    format!("service:{remote}")
}

/// What is said of how one of ours is.
fn output(member: &Member) -> String {
    let worst = member.checks.iter().max_by_key(|check| check.state);
    match worst {
        None => "it is there".to_owned(),
        Some(check) if check.state == State::Passing => "its checks pass".to_owned(),
        Some(check) => cut(&format!("{}: {}", check.definition.name, check.output), OUTPUT_MAX).to_owned(),
    }
}

/// As Consul is told.
fn registration(shared: &Shared, member: &Member, remote: &str) -> Value {
    let instance = &member.instance;
    let address = instance.address.as_ref().unwrap_or(&shared.settings.address).to_string();
    let tagged = instance
        .tagged
        .iter()
        .map(|(name, tagged)| (name.clone(), json!({ "Address": tagged.address.to_string(), "Port": tagged.port })));
    let mut body = json!({
        "ID": remote,
        "Name": instance.service,
        "Address": address,
        "Port": instance.port,
        "Tags": instance.tags,
        "Meta": instance.meta,
        "EnableTagOverride": instance.enable_tag_override,
        "Weights": { "Passing": instance.weights.passing, "Warning": instance.weights.warning },
        "Check": {
            "CheckID": check_id(remote),
            "Name": format!("Service '{}' check", instance.service),
            "TTL": millis(shared.settings.ttl),
            "Status": member.state.as_str(),
            "DeregisterCriticalServiceAfter": millis(shared.settings.deregister_after),
        },
    });
    if let Some(map) = body.as_object_mut() {
        let tagged: Map<String, Value> = tagged.collect();
        if !tagged.is_empty() {
            map.insert("TaggedAddresses".into(), Value::Object(tagged));
        }
        if !instance.socket.is_empty() {
            map.insert("SocketPath".into(), instance.socket.clone().into());
        }
    }
    body
}

fn millis(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
