//! A registry that follows another one and has an API of its own: what programs on its machine register, read and keep.

use super::client::{Answer, ask};
use super::{Central, HERE, PATIENCE, connected, follow, following, settings, until};
use fourmi_discovery::http::{Access, Resource, Right, Rule, Server, Settings as Api, Token};
use fourmi_discovery::join::{Joined, Settings};
use fourmi_discovery::{Instance, Registry, State};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Side {
    joined: Joined,
    replica: Registry,
    at: SocketAddr,
    _server: Server,
}

impl Side {
    async fn start(settings: Settings, access: Access) -> Self {
        let (joined, replica) = follow(Settings { ttl: Duration::from_secs(1), ..settings });
        let api = Api { node: "side".into(), access, ..Api::default() };
        let server = Server::start_joined(&[(HERE, 0).into()], &joined, api).await.unwrap();
        connected(&joined).await;
        Side { joined, replica, at: server.addresses()[0], _server: server }
    }

    async fn ask(&self, call: &str) -> Answer {
        ask(self.at, call, &[]).await
    }

    /// It is done.
    async fn does(&self, call: &str) {
        let answer = self.ask(call).await;
        assert!(answer.status == 200, "{call}: {} {}", answer.status, answer.body);
    }
}

/// How an instance is there.
fn state(registry: &Registry, service: &str, id: &str) -> Option<State> {
    let snapshot = registry.snapshot();
    let member = snapshot.service(service)?.members.iter().find(|member| member.instance.id == id)?;
    Some(member.state)
}

async fn comes_to(at: SocketAddr, call: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask(at, call, &[]).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{call}: {} {}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_registered_beside_us_is_there_when_that_is_answered() {
    let central = Central::start().await;
    let preferred = Instance { priority: Some(7), ..Instance::new("db", "db", "", 5432) };
    let side = Side::start(
        Settings { register: vec![(preferred, Vec::new())], ..following(central.url()) },
        Access::default(),
    );
    let side = side.await;
    let there = |id: &str| state(&central.registry, "web", id);

    side.does(r#"PUT agent/service/register {"Name":"web","Port":80,"Check":{"TTL":"60s"}}"#).await;
    assert_eq!(there("side-web"), Some(State::Critical), "at once, and nobody has said yet that it is well");
    side.does("PUT agent/check/pass/service:web").await;
    assert_eq!(there("side-web"), Some(State::Passing));
    let echoed = |answer: &Answer| answer.body.contains(r#""ID":"side-web""#);
    let rows = comes_to(side.at, "GET health/service/web?passing", echoed).await;
    assert_eq!(rows.body.matches(r#""Service":{"ID""#).count(), 1, "{}", rows.body);
    let own: serde_json::Value = serde_json::from_str(&side.ask("GET agent/services").await.body).unwrap();
    assert_eq!((own["web"]["Port"].as_u64(), own["db"]["Port"].as_u64()), (Some(80), Some(5432)), "{own}");
    side.does("PUT agent/service/maintenance/web?enable=true&reason=disk").await;
    assert_eq!(there("side-web"), Some(State::Critical));
    side.does("PUT agent/service/maintenance/web?enable=false").await;
    assert_eq!(there("side-web"), Some(State::Passing));
    side.does("PUT agent/maintenance?enable=true").await;
    assert_eq!(there("side-web"), Some(State::Critical), "all of the node");
    side.does("PUT agent/maintenance?enable=false").await;

    // Who waits for what is here is woken by what is here.
    let hash = side.ask("GET agent/service/web").await.header("x-consul-contenthash").unwrap().to_owned();
    let at = side.at;
    let waiting =
        tokio::spawn(async move { ask(at, &format!("GET agent/service/web?hash={hash}&wait=60s"), &[]).await });
    side.does(r#"PUT agent/service/register {"Name":"web","Port":81,"Check":{"TTL":"60s"}}"#).await;
    assert!(waiting.await.unwrap().body.contains(r#""Port":81"#));
    side.does("PUT agent/service/deregister/web").await;
    assert_eq!(there("side-web"), None);

    let kept = central.registry.snapshot().service("db").unwrap().members[0].instance.priority;
    assert_eq!(kept, Some(7), "the priority is known there too");
    assert_eq!(side.ask("GET fourmi/changes").await.status, 404, "nobody follows one that follows");
    side.joined.stop().await;
    assert!(central.registry.snapshot().is_empty());
}

#[tokio::test]
async fn what_is_kept_there_is_read_and_changed_there() {
    let central = Central::start().await;
    let side = Side::start(following(central.url()), Access::default()).await;
    assert_eq!(side.ask("PUT kv/a%20b/c?flags=3 hello").await.body, "true");
    assert_eq!(ask(central.address, "GET kv/a%20b/c?raw", &[]).await.body, "hello");
    let row = side.ask("GET kv/a%20b/c").await;
    let index = row.header("x-consul-index").unwrap().to_owned();
    assert_eq!((row.body.contains(r#""Flags":3"#), row.header("content-type")), (true, Some("application/json")));
    let at = side.at;
    let wait = format!("GET kv/a%20b/c?raw&index={index}&wait=60s");
    let waiting = tokio::spawn(async move { ask(at, &wait, &[]).await });
    assert_eq!(side.ask(&format!("PUT kv/a%20b/c?cas={} no", index.parse::<u64>().unwrap() - 1)).await.body, "false");
    assert_eq!(ask(central.address, "PUT kv/a%20b/c later", &[]).await.body, "true");
    assert_eq!(waiting.await.unwrap().body, "later");
    assert_eq!(side.ask("GET kv/none").await.status, 404);
    assert_eq!(side.ask("DELETE kv/a?recurse").await.body, "true");
    assert_eq!(side.ask("GET kv/?keys").await.status, 404);
    assert_eq!(
        side.ask(r#"PUT catalog/register {"Node":"bare","Address":"10.0.0.8","Service":{"Service":"dns"}}"#).await.body,
        "true"
    );
    assert!(central.registry.snapshot().node("bare").is_some());
    until("it comes back", || side.replica.snapshot().service("dns").is_some()).await;
    assert_eq!(side.ask(r#"PUT catalog/deregister {"Node":"bare"}"#).await.body, "true");
    assert!(central.registry.snapshot().node("bare").is_none());

    // Without the other side what is known is told, what is registered is kept, and what is kept there is not.
    let before = side.ask("GET catalog/nodes").await;
    assert_eq!((before.header("x-consul-knownleader"), before.header("fourmi-registry")), (Some("true"), None));
    let address = central.kill().await;
    until("it is cut off", || !side.joined.status().connected).await;
    let after = side.ask("GET catalog/nodes").await;
    assert_eq!((after.status, after.header("x-consul-knownleader")), (200, Some("false")));
    assert!(after.header("fourmi-registry").is_some_and(|how| how.starts_with("stale")));
    let refused = side.ask("PUT kv/a 1").await;
    assert!(refused.status == 503 && refused.body.contains("not known"), "{}", refused.body);
    assert_eq!(side.ask("GET kv/a").await.status, 503);
    side.does(r#"PUT agent/service/register {"Name":"late","ID":"late-1"}"#).await;
    until("it is seen here", || state(&side.replica, "late", "late-1").is_some()).await;
    let central = Central::of(address, None, settings()).await;
    until("and there, when that is back", || state(&central.registry, "late", "late-1").is_some()).await;
}

fn rule(resource: Resource, name: &str, right: Right) -> Rule {
    Rule { resource, name: name.into(), prefix: true, right }
}

fn token(secret: &str, rules: Vec<Rule>) -> Token {
    Token { secret: secret.into(), accessor: format!("of-{secret}"), rules }
}

#[tokio::test]
async fn everybody_does_there_what_he_may_there() {
    let all =
        |right| [Resource::Service, Resource::Node, Resource::Key].map(|resource| rule(resource, "", right)).to_vec();
    let ours = [
        all(Right::Read),
        vec![rule(Resource::Service, "web", Right::Write), rule(Resource::Key, "ours/", Right::Write)],
    ];
    let tokens = vec![token("side", ours.concat()), token("app", vec![rule(Resource::Key, "app/", Right::Write)])];
    let access = Access { default: Right::Deny, tokens, anonymous: Vec::new() };
    let central = Central::of((HERE, 0).into(), None, Api { access, ..settings() }).await;
    let following = || Settings { token: Some("side".into()), ..following(central.url()) };

    // Nobody has said who may do what here: who asks without a token does what we may.
    let open = Side::start(following(), Access::default()).await;
    open.does(r#"PUT agent/service/register {"Name":"web","ID":"w1"}"#).await;
    let refused = open.ask(r#"PUT agent/service/register {"Name":"bank","ID":"b1"}"#).await;
    assert!(refused.status == 503 && refused.body.contains("Permission denied"), "{} {}", refused.status, refused.body);
    open.does(r#"PUT agent/service/register {"Name":"web","ID":"w2"}"#).await;
    let known = |id| state(&central.registry, "web", id).is_some();
    assert_eq!((known("w1"), known("w2"), central.registry.snapshot().service("bank").is_some()), (true, true, false));
    open.does("PUT agent/service/deregister/b1").await;
    assert_eq!(open.ask("PUT kv/ours/a 1").await.body, "true");
    assert_eq!(open.ask("PUT kv/app/a 1").await.status, 403);
    let app = ["X-Consul-Token: app".to_owned()];
    assert_eq!(ask(open.at, "PUT kv/app/a 1", &app).await.body, "true", "with a token of his own he does what he may");
    assert_eq!(ask(open.at, "PUT kv/ours/a 2", &app).await.status, 403);
    assert_eq!(open.ask("PUT kv/app/a?token=app 2").await.body, "true");

    // Somebody has: nobody gets our right by leaving his away.
    let local = Access { default: Right::Deny, tokens: vec![token("app", all(Right::Write))], anonymous: Vec::new() };
    let closed = Side::start(Settings { node: "other".into(), ..following() }, local).await;
    assert_eq!(closed.ask("PUT kv/ours/a 3").await.status, 403);
    assert_eq!(closed.ask("GET kv/ours/a?raw").await.status, 403);
    assert_eq!(ask(closed.at, "PUT kv/app/a 3", &app).await.body, "true");
    assert_eq!(
        ask(closed.at, "PUT kv/app/a 3", &["X-Consul-Token: side".to_owned()]).await.status,
        403,
        "not one of here"
    );
    assert_eq!(closed.ask(r#"PUT agent/service/register {"Name":"web","ID":"w3"}"#).await.status, 403);
}
