//! Stored commands: `/api/v1/spool` and `/api/v1/commands…`.

use super::answer::{Answer, argument, arguments, json_answer, problem};
use crate::spool::{Came, Change, Changed, Filter, Import, Kept, New, Request, Row, Spool, State, Told, What, base64};
use http::Method;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Commands that one answer shows when it is not said how many, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Bytes of bodies that one answer of an export has; its last command may go beyond.
const EXPORTED: usize = 8 << 20;
/// The same for what an import puts in in one go.
const IMPORTED: usize = 4 << 20;
/// After so long a change of very many is answered, and has to be asked for again.
const TURN: Duration = Duration::from_secs(4);
/// Bytes of an import.
pub(super) const IMPORT_MAX: usize = 48 << 20;
/// Where commands are put in.
pub(super) const IMPORT: &str = "/api/v1/commands/import";
const COMMANDS: &str = "/api/v1/commands";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Summary,
    List,
    Export,
    Import,
    One(String),
    Many(Verb),
    OneOf(Verb, String),
    Pause(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Cancel,
    Discard,
}

impl Verb {
    fn done(self) -> &'static str {
        match self {
            Verb::Retry => "retried",
            Verb::Cancel => "cancelled",
            Verb::Discard => "discarded",
        }
    }
}

/// What a path and method ask for: the methods that the path has, when it is another one. None for other paths.
pub(super) fn asked(head: &Parts) -> Option<Result<Asked, &'static str>> {
    let path = head.uri.path();
    let read = matches!(head.method, Method::GET | Method::HEAD);
    let (post, delete) = (head.method == Method::POST, head.method == Method::DELETE);
    let only = |is: bool, asked: Asked, allow: &'static str| Some(if is { Ok(asked) } else { Err(allow) });
    match path {
        "/api/v1/spool" => return only(read, Asked::Summary, "GET, HEAD"),
        "/api/v1/spool/pause" => return only(post, Asked::Pause(true), "POST"),
        "/api/v1/spool/resume" => return only(post, Asked::Pause(false), "POST"),
        IMPORT => return only(post, Asked::Import, "POST"),
        "/api/v1/commands/export" => return only(read, Asked::Export, "GET, HEAD"),
        "/api/v1/commands/retry" => return only(post, Asked::Many(Verb::Retry), "POST"),
        "/api/v1/commands/cancel" => return only(post, Asked::Many(Verb::Cancel), "POST"),
        COMMANDS if delete => return Some(Ok(Asked::Many(Verb::Discard))),
        COMMANDS => return only(read, Asked::List, "GET, HEAD, DELETE"),
        _ => {}
    }
    let rest = path.strip_prefix(COMMANDS)?.strip_prefix('/')?;
    let (id, verb) = match rest.split_once('/') {
        Some((id, "retry")) => (id, Some(Verb::Retry)),
        Some((id, "cancel")) => (id, Some(Verb::Cancel)),
        Some(_) => return None,
        None => (rest, None),
    };
    let id = super::answer::plain(id).filter(|id| !id.is_empty())?;
    Some(match verb {
        Some(verb) if post => Ok(Asked::OneOf(verb, id)),
        Some(_) => Err("POST"),
        None if read => Ok(Asked::One(id)),
        None if delete => Ok(Asked::OneOf(Verb::Discard, id)),
        None => Err("GET, HEAD, DELETE"),
    })
}

impl Asked {
    /// Whether it changes something.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Asked::Summary | Asked::List | Asked::Export | Asked::One(_))
    }
}

/// Answers.
pub(super) async fn answer(asked: Asked, head: &Parts, body: &[u8], peer: IpAddr, spool: Option<Spool>) -> Answer {
    let Some(spool) = spool else {
        return problem(404, "this Fourmi stores no commands; `spool:` switches that on");
    };
    let by = Who { peer, name: argument(head, "by").unwrap_or_default() };
    let done = match asked {
        Asked::Summary => Ok(summary(&spool)),
        Asked::List => list(head, &spool).await,
        Asked::Export => export(head, &spool).await,
        Asked::Import => import(body, &spool, &by).await,
        Asked::One(id) => one(head, &spool, &id).await,
        Asked::Many(verb) => many(head, &spool, verb, &by).await,
        Asked::OneOf(verb, id) => one_of(head, &spool, verb, &id, &by).await,
        Asked::Pause(paused) => pause(head, &spool, paused, &by).await,
    };
    match done {
        Ok(value) => json_answer(200, &value),
        Err((status, why)) => problem(status, &why),
    }
}

type Done = Result<Value, (u16, String)>;

/// Who changes something; it is logged.
struct Who {
    peer: IpAddr,
    name: String,
}

impl Who {
    fn log(&self, what: &str, of: &str, done: &Changed) {
        let name: String = self.name.chars().filter(|c| !c.is_control()).take(80).collect();
        tracing::info!(by = name, peer = %self.peer, count = done.count, left = done.left, "spool: {what} {of}");
    }
}

fn busy(why: String) -> (u16, String) {
    (503, why)
}

fn bad(why: impl Into<String>) -> (u16, String) {
    (400, why.into())
}

fn summary(spool: &Spool) -> Value {
    let summary = spool.summary();
    let now = now();
    let states: serde_json::Map<_, _> = State::ALL
        .into_iter()
        .map(|s| {
            let oldest = summary.oldest.get(&s).map(|at| (now - at).max(0) as f64 / 1e3);
            (s.as_str().to_owned(), json!({"count": summary.of(s), "oldest_age_seconds": oldest}))
        })
        .collect();
    let mut services: std::collections::BTreeMap<&str, Value> = std::collections::BTreeMap::new();
    for ((target, state), n) in &summary.counts {
        services.entry(target).or_insert_with(|| json!({}))[state.as_str()] = (*n).into();
    }
    let settings = spool.settings();
    json!({
        "path": settings.path, "bytes": summary.bytes, "max_bytes": settings.max_bytes, "refused": summary.refused,
        "encrypted": settings.key_file.is_some(), "trouble": summary.trouble, "paused": summary.paused,
        "states": states, "services": services,
    })
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Which commands are meant.
fn filter(head: &Parts) -> Result<Filter, (u16, String)> {
    const KEYS: &str = "state, name, service, route, key, consumer, tag, id, older_than";
    let mut filter = Filter::default();
    for (key, value) in arguments(head) {
        if value.is_empty() && key != "id" {
            continue;
        }
        match key.as_str() {
            "state" => {
                for word in value.split(',') {
                    let known = || State::ALL.map(State::as_str).join(", ");
                    let state =
                        State::parse(word).ok_or_else(|| bad(format!("state: `{word}` is none of {}", known())))?;
                    filter.states.push(state);
                }
            }
            "name" => filter.name = Some(value),
            "service" => filter.service = Some(value),
            "route" => filter.route = Some(value),
            "key" => filter.key = Some(value),
            "consumer" => filter.consumer = Some(value),
            "id" => filter.id = Some(value),
            "tag" => {
                let (k, v) = value.split_once(['=', ':']).ok_or_else(|| bad("tag: write KEY=VALUE"))?;
                filter.tag = Some((k.to_owned(), v.to_owned()));
            }
            "older_than" => {
                let age = crate::config::duration(&value).map_err(|why| bad(format!("older_than: {why}")))?;
                filter.before = Some(now().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
            }
            "limit" | "cursor" | "dry_run" | "reset" | "all" | "by" | "body" | "seq" | "format" => {}
            other => return Err(bad(format!("`{other}` is no filter; there are {KEYS}"))),
        }
    }
    Ok(filter)
}

fn flag(head: &Parts, key: &str) -> bool {
    super::answer::asked(head, key).is_some_and(|value| !matches!(value, "false" | "0" | "no"))
}

fn cursor(head: &Parts) -> Result<i64, (u16, String)> {
    match argument(head, "cursor") {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_| bad("cursor: take it from `next` of the answer before")),
    }
}

fn moment(millis: i64) -> Value {
    jiff::Timestamp::from_millisecond(millis).map_or(Value::Null, |at| format!("{at:.3}").into())
}

fn shown(row: &Row) -> Value {
    let tags: serde_json::Map<_, _> = row.tags.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    json!({
        "seq": row.seq, "id": row.id, "name": row.name, "state": row.state.as_str(), "attempt": row.attempt,
        "direction": row.direction, "service": row.service, "route": row.route, "key": row.key,
        "consumer": row.consumer, "tags": tags, "created": moment(row.created), "due": row.due.map(moment),
        "expires": row.expires.map(moment), "finished": row.finished.map(moment),
        "status": (row.status > 0).then_some(row.status), "error": row.error, "bytes": row.bytes,
        // Without its request it cannot be sent again.
        "sendable": !row.once && row.state != State::Succeeded,
        // A command that waits for another of its key is due, and not sent.
        "held": row.state.waits() && row.due.is_none(),
    })
}

async fn list(head: &Parts, spool: &Spool) -> Done {
    let filter = filter(head)?;
    let limit = argument(head, "limit").and_then(|n| n.parse().ok()).unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let listing = spool.list(filter, cursor(head)?, limit).await.map_err(busy)?;
    Ok(json!({"commands": listing.rows.iter().map(shown).collect::<Vec<_>>(), "next": listing.next}))
}

/// The place of a command by its id, which other callers may have used too: then it has to be chosen.
async fn place(head: &Parts, spool: &Spool, id: &str) -> Result<i64, (u16, String)> {
    if let Some(seq) = argument(head, "seq") {
        return seq.parse().map_err(|_| bad("seq: a number, as the list shows it"));
    }
    let filter = Filter { id: Some(id.to_owned()), ..Filter::default() };
    let found = spool.list(filter, 0, 10).await.map_err(busy)?;
    match &found.rows[..] {
        [] => Err((404, missing(id))),
        [row] => Ok(row.seq),
        rows => {
            let all: Vec<String> = rows.iter().map(|r| format!("seq={} ({})", r.seq, r.route)).collect();
            Err((409, format!("several callers have used the id {id}; add one of {}", all.join(", "))))
        }
    }
}

/// There may have been one: what has ended is forgotten after a while.
fn missing(id: &str) -> String {
    format!("no command has the id {id}; `fourmi spool list` shows those that there are")
}

async fn one(head: &Parts, spool: &Spool, id: &str) -> Done {
    let seq = place(head, spool, id).await?;
    let Some((row, kept)) = spool.one(seq).await.map_err(busy)? else {
        return Err((404, missing(id)));
    };
    let mut value = shown(&row);
    value["history"] = history(&row.history);
    if row.state.is_final() && row.status > 0 {
        value["answer"] = text(&kept);
    }
    if flag(head, "body")
        && let Ok(job) = spool.job(seq).await
    {
        value["request"] = json!({
            "head": String::from_utf8_lossy(&job.request.head), "body": String::from_utf8_lossy(&job.request.body),
        });
    }
    Ok(value)
}

fn history(lines: &str) -> Value {
    let line = |line: &str| {
        let mut parts = line.splitn(4, ' ');
        let at = parts.next().and_then(|n| n.parse().ok()).map_or(Value::Null, moment);
        json!({"at": at, "state": parts.next(), "attempt": parts.next().and_then(|n| n.parse::<u32>().ok()), "why": parts.next()})
    };
    lines.lines().map(line).collect()
}

fn text(kept: &Kept) -> Value {
    if let Some(coding) = kept.coding() {
        let body = base64(&kept.body);
        return json!({"content_type": kept.media(), "content_encoding": coding, "body_base64": body, "cut": kept.cut});
    }
    json!({"content_type": kept.media(), "body": String::from_utf8_lossy(&kept.body), "cut": kept.cut})
}

async fn many(head: &Parts, spool: &Spool, verb: Verb, by: &Who) -> Done {
    let mut filter = filter(head)?;
    if filter.is_empty() && !flag(head, "all") {
        return Err(bad("say which: by a filter such as state=dead, or all=true"));
    }
    let can = |state: &State| match verb {
        Verb::Retry => state.may_retry(),
        Verb::Cancel => state.waits(),
        Verb::Discard => *state != State::Running,
    };
    // Dead ones, when nothing else is said: what was cancelled stays cancelled.
    let usual = || match verb {
        Verb::Retry => vec![State::Dead, State::Unknown],
        _ => State::ALL.into_iter().filter(can).collect(),
    };
    // Of those without a request nothing can be sent.
    filter.sendable = verb == Verb::Retry;
    filter.states = match filter.states.is_empty() {
        true => usual(),
        false => filter.states.iter().copied().filter(can).collect(),
    };
    if filter.states.is_empty() {
        return Ok(json!({"count": 0, "left": 0, "result": verb.done()}));
    }
    if flag(head, "dry_run") {
        let count = spool.count(filter).await.map_err(busy)?;
        return Ok(json!({"count": count, "dry_run": true, "result": verb.done()}));
    }
    let what = what(head, verb);
    let (mut all, mut after, began) = (Changed::default(), 0, Instant::now());
    loop {
        let change = Change::Many { what, filter: Box::new(filter.clone()), after };
        let done = spool.change(change).await.map_err(busy)?;
        all.count += done.count;
        all.left += done.left;
        all.next = done.next;
        match done.next {
            Some(next) if began.elapsed() < TURN => after = next,
            _ => break,
        }
    }
    by.log(verb.done(), head.uri.query().unwrap_or_default(), &all);
    let more = all.next.is_some() && all.count > 0;
    Ok(json!({"count": all.count, "left": all.left, "more": more, "result": verb.done()}))
}

fn what(head: &Parts, verb: Verb) -> What {
    match verb {
        Verb::Retry => What::Retry { reset: flag(head, "reset") },
        Verb::Cancel => What::Cancel,
        Verb::Discard => What::Discard,
    }
}

async fn one_of(head: &Parts, spool: &Spool, verb: Verb, id: &str, by: &Who) -> Done {
    let seq = place(head, spool, id).await?;
    let done = spool.change(Change::One { what: what(head, verb), seq }).await.map_err(|why| (409, why))?;
    by.log(verb.done(), id, &done);
    Ok(json!({"count": done.count, "result": verb.done()}))
}

async fn pause(head: &Parts, spool: &Spool, paused: bool, by: &Who) -> Done {
    let direction = argument(head, "direction").unwrap_or_else(|| "inbound".to_owned());
    let target = argument(head, "service").map(|service| format!("{direction} {service}"));
    let change = match paused {
        true => Change::Pause(target.clone()),
        false => Change::Resume(target.clone()),
    };
    let done = spool.change(change).await.map_err(busy)?;
    let word = if paused { "paused" } else { "resumed" };
    by.log(word, target.as_deref().unwrap_or("everything"), &done);
    Ok(json!({"count": done.count, "left": done.left, "result": word}))
}

/// A command on its way from one store to another.
#[derive(Serialize, Deserialize)]
struct Moved {
    id: String,
    name: String,
    direction: String,
    service: String,
    route: String,
    #[serde(default)]
    consumer: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    tags: serde_json::Map<String, Value>,
    #[serde(default)]
    came: Came,
    state: String,
    #[serde(default)]
    attempt: u32,
    created: i64,
    #[serde(default)]
    due: Option<i64>,
    #[serde(default)]
    expires: Option<i64>,
    #[serde(default)]
    finished: Option<i64>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    fingerprint: String,
    /// In Base64.
    head: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    history: String,
}

/// A page of commands that are not finished, with all that is needed to send them.
async fn export(head: &Parts, spool: &Spool) -> Done {
    let mut filter = filter(head)?;
    if filter.states.is_empty() {
        filter.states = State::ALL.into_iter().filter(|s| *s != State::Succeeded).collect();
    }
    filter.sendable = true;
    let listing = spool.list(filter, cursor(head)?, LIMIT_MAX).await.map_err(busy)?;
    let (mut lines, mut bytes, mut unreadable, mut next) = (Vec::new(), 0, 0, listing.next);
    for row in &listing.rows {
        if bytes > EXPORTED {
            next = Some(row.seq - 1);
            break;
        }
        let Ok(job) = spool.job(row.seq).await else {
            unreadable += 1;
            continue;
        };
        bytes += job.request.body.len();
        let moved = Moved {
            id: job.told.id,
            name: job.told.name,
            direction: job.told.direction,
            service: job.told.service,
            route: job.told.route,
            consumer: job.told.consumer,
            key: job.told.key,
            tags: job.told.tags.into_iter().map(|(k, v)| (k, v.into())).collect(),
            came: job.told.came,
            state: row.state.as_str().to_owned(),
            attempt: row.attempt,
            created: row.created,
            due: Some(row.wants),
            expires: row.expires,
            finished: row.finished,
            error: row.error.clone(),
            status: row.status,
            fingerprint: base64(&spool.fingerprint(row.seq).await.map_err(busy)?),
            head: base64(&job.request.head),
            body: base64(&job.request.body),
            history: row.history.clone(),
        };
        lines.push(serde_json::to_value(moved).map_err(|e| (500, e.to_string()))?);
    }
    Ok(json!({"commands": lines, "next": next, "unreadable": unreadable}))
}

async fn import(body: &[u8], spool: &Spool, by: &Who) -> Done {
    let mut all = Vec::new();
    for (at, line) in body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty()) {
        let wrong = |why: String| bad(format!("line {}: {why}", at + 1));
        let moved: Moved = serde_json::from_slice(line).map_err(|e| wrong(e.to_string()))?;
        all.push(taken(moved).map_err(wrong)?);
    }
    if all.is_empty() {
        return Err(bad("send one JSON object a line, as export gives them"));
    }
    // In portions: whoever accepts and sends meanwhile does not wait for all of it.
    let (mut done, mut all) = (Changed::default(), all.into_iter().peekable());
    while all.peek().is_some() {
        let mut bytes = 0;
        let portion = std::iter::from_fn(|| {
            let next = all.next_if(|_| bytes < IMPORTED)?;
            bytes += next.new.request.body.len();
            Some(next)
        });
        let changed = spool.change(Change::Import(portion.take(LIMIT).collect())).await.map_err(busy)?;
        done.count += changed.count;
        done.left += changed.left;
    }
    by.log("imported", "", &done);
    Ok(json!({"count": done.count, "left": done.left, "result": "imported"}))
}

fn taken(moved: Moved) -> Result<Import, String> {
    let state = State::parse(&moved.state).ok_or_else(|| format!("`{}` is no state", moved.state))?;
    if moved.id.is_empty() || moved.service.is_empty() {
        return Err("`id` and `service` are needed".into());
    }
    let bytes = |text: &str, key: &str| {
        crate::exchange::from_base64any(text.as_bytes()).ok_or_else(|| format!("`{key}` is no Base64"))
    };
    let head = bytes(&moved.head, "head")?;
    let request = Request { head, body: bytes(&moved.body, "body")?.into() };
    if request.first().is_none() {
        return Err("`head` is no request".into());
    }
    let fingerprint = bytes(&moved.fingerprint, "fingerprint")?;
    let tags = moved.tags.into_iter().map(|(k, v)| (k, v.as_str().unwrap_or_default().to_owned())).collect();
    let new = New {
        told: Told {
            id: moved.id,
            name: moved.name,
            direction: moved.direction,
            service: moved.service,
            route: moved.route,
            consumer: moved.consumer,
            key: moved.key,
            tags,
            came: moved.came,
        },
        request,
        fingerprint: fingerprint.try_into().unwrap_or_default(),
        state,
        attempt: moved.attempt,
        created: moved.created,
        due: moved.due.unwrap_or(moved.created),
        expires: moved.expires,
        error: moved.error,
        status: moved.status,
        finished: moved.finished.or(Some(now())).filter(|_| state.is_final()),
        promised: false,
        in_turn: false,
    };
    Ok(Import { new, history: moved.history })
}
