//! What is written and read of the tables.

use super::super::{Came, Job, Kept, New, Request, State, Told};
use crate::spool::seal::Seal;
use bytes::Bytes;
use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, Row, params};
use std::collections::HashMap;

/// The longest line of a history.
const NOTE_MAX: usize = 200;
/// A history this long takes only ends.
const HISTORY_MAX: usize = 16 << 10;
/// The longest error that is kept.
pub(crate) const ERROR_MAX: usize = 4 << 10;

pub(super) fn counts(db: &Connection) -> Result<HashMap<(String, State), i64>> {
    let mut statement = db.prepare("SELECT target, state, n FROM counts")?;
    let rows = statement.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get(2)?)))?;
    let mut counts = HashMap::new();
    for row in rows {
        let (target, state, n) = row?;
        if let Some(state) = State::parse(&state) {
            counts.insert((target, state), n);
        }
    }
    Ok(counts)
}

pub(crate) fn paused(db: &Connection) -> Result<Vec<String>> {
    db.prepare("SELECT target FROM paused")?.query_map([], |r| r.get(0))?.collect()
}

/// The clock as it was written down last, in milliseconds since 1970.
pub(crate) fn clock(db: &Connection) -> Result<Option<i64>> {
    db.query_row("SELECT value FROM meta WHERE name = 'clock'", [], |r| r.get(0)).optional()
}

pub(crate) fn put_count(db: &Connection, target: &str, state: State, n: i64) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO counts (target, state, n) VALUES (?1, ?2, ?3)")?.execute(params![
        target,
        state.as_str(),
        n
    ])?;
    Ok(())
}

/// A line of a history: when, what, which attempt, why.
pub(crate) fn line(now: i64, state: State, attempt: u32, why: &str) -> String {
    let mut line = format!("{now} {} {attempt}", state.as_str());
    if !why.is_empty() {
        line.push(' ');
        line.extend(why.chars().take(NOTE_MAX).map(|c| if c.is_control() { ' ' } else { c }));
    }
    line.push('\n');
    line
}

fn cut(error: Option<&str>) -> Option<&str> {
    error.map(|e| e.get(..ERROR_MAX).unwrap_or(e))
}

/// What belongs to a row, for its seal.
fn of(seq: i64, what: u8) -> [u8; 9] {
    let mut out = [what; 9];
    out[..8].copy_from_slice(&seq.to_be_bytes());
    out
}

fn sealed(seal: Option<&Seal>, seq: i64, what: u8, text: &[u8]) -> Result<Option<Vec<u8>>> {
    let failed = |e: String| rusqlite::Error::ToSqlConversionFailure(e.into());
    seal.map(|s| s.seal(&of(seq, what), text).map_err(failed)).transpose()
}

fn opened(seal: Option<&Seal>, is_sealed: bool, seq: i64, what: u8, text: Vec<u8>) -> Result<Vec<u8>> {
    if !is_sealed {
        return Ok(text);
    }
    let open = seal.and_then(|s| s.open(&of(seq, what), &text));
    open.ok_or_else(|| rusqlite::Error::ToSqlConversionFailure("it is encrypted with another key".into()))
}

/// What of a row the seal covers.
const HEAD: u8 = b'h';
const BODY: u8 = b'b';
const ANSWER: u8 = b'a';

/// One that is known under an id.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) seq: i64,
    pub(crate) token: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) state: State,
    pub(crate) status: u16,
    pub(crate) at_most_once: bool,
}

pub(crate) fn known(db: &Connection, id: &str, scope: &str) -> Result<Option<Known>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, token, fingerprint, state, status, at_most_once FROM commands
         WHERE id = ?1 AND scope = ?2",
    )?;
    let row = |r: &Row<'_>| {
        Ok(Known {
            seq: r.get(0)?,
            token: r.get(1)?,
            fingerprint: r.get(2)?,
            state: state(r, 3)?,
            status: r.get(4)?,
            at_most_once: r.get(5)?,
        })
    };
    statement.query_row(params![id, scope], row).optional()
}

fn state(r: &Row<'_>, at: usize) -> Result<State> {
    Ok(State::parse(r.get_ref(at)?.as_str()?).unwrap_or(State::Unknown))
}

/// The answer that was kept.
pub(crate) fn answer(db: &Connection, seal: Option<&Seal>, seq: i64) -> Result<Option<Kept>> {
    let mut statement = db.prepare_cached("SELECT media, answer, cut, sealed FROM commands WHERE seq = ?1")?;
    let row = |r: &Row<'_>| {
        let body: Option<Vec<u8>> = r.get(1)?;
        let body = body.map(|b| opened(seal, r.get(3)?, seq, ANSWER, b)).transpose()?.unwrap_or_default();
        let lines: Option<String> = r.get(0)?;
        Ok(Kept { lines: lines_of(&lines.unwrap_or_default()), body: Bytes::from(body), cut: r.get(2)? })
    };
    statement.query_row([seq], row).optional()
}

/// Header lines as they are kept: one a line.
fn lines_of(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Whether a key has one that is not finished.
pub(crate) fn is_held(db: &Connection, target: &str, key: &str) -> Result<bool> {
    Ok(db.prepare_cached(IS_HELD)?.query_row(params![target, key], |_| Ok(())).optional()?.is_some())
}

/// Writes a new one. `due` is none for one that runs, has ended, or waits for another of its key.
pub(crate) fn insert(
    db: &Connection,
    seal: Option<&Seal>,
    (seq, token, target): (i64, &str, &str),
    new: &New,
    (state, attempt, due): (State, u32, Option<i64>),
    history: &str,
) -> Result<()> {
    let told = &new.told;
    let tags: serde_json::Map<String, serde_json::Value> =
        told.tags.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
    let json = |e: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(e.into());
    let tags = serde_json::to_string(&tags).map_err(json)?;
    let came = serde_json::to_string(&told.came).map_err(json)?;
    db.prepare_cached(
        "INSERT INTO commands (seq, id, scope, token, target, direction, service, route, name, key, consumer, tags,
                came, once, at_most_once, fingerprint, state, open, attempt, created_at, wants_at, due_at, expires_at,
                finished_at, status, error, sealed, history)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
                ?23, ?24, ?25, ?26, ?27, ?28)",
    )?
    .execute(params![
        seq,
        told.id,
        told.scope(),
        token,
        target,
        told.direction,
        told.service,
        told.route,
        told.name,
        told.key,
        told.consumer,
        tags,
        came,
        told.came.once,
        told.came.at_most_once,
        &new.fingerprint[..],
        state.as_str(),
        !state.is_final(),
        attempt,
        new.created,
        new.due,
        due,
        new.expires,
        state.is_final().then_some(new.finished.unwrap_or(new.created)),
        new.status,
        cut(new.error.as_deref()),
        seal.is_some(),
        history,
    ])?;
    if told.came.once {
        return Ok(());
    }
    let head = sealed(seal, seq, HEAD, &new.request.head)?;
    let body = sealed(seal, seq, BODY, &new.request.body)?;
    db.prepare_cached("INSERT INTO requests (seq, head, body) VALUES (?1, ?2, ?3)")?.execute(params![
        seq,
        head.as_deref().unwrap_or(&new.request.head),
        body.as_deref().unwrap_or(&new.request.body)
    ])?;
    Ok(())
}

/// What is known of one, and when it came.
pub(crate) fn told(db: &Connection, seq: i64) -> Result<Option<(Told, i64)>> {
    let sql = "SELECT id, name, direction, service, route, consumer, key, tags, came, created_at FROM commands
               WHERE seq = ?1";
    db.prepare_cached(sql)?.query_row([seq], |r| Ok((known_of(r)?, r.get(9)?))).optional()
}

/// The first nine columns of a row as what is known of it.
fn known_of(r: &Row<'_>) -> Result<Told> {
    let (tags, came): (String, String) = (r.get(7)?, r.get(8)?);
    Ok(Told {
        id: r.get(0)?,
        name: r.get(1)?,
        direction: r.get(2)?,
        service: r.get(3)?,
        route: r.get(4)?,
        consumer: r.get(5)?,
        key: r.get(6)?,
        tags: pairs(&tags),
        came: serde_json::from_str::<Came>(&came).unwrap_or_default(),
    })
}

/// What is needed to send one.
pub(crate) fn job(db: &Connection, seal: Option<&Seal>, seq: i64) -> Result<Job> {
    let mut statement = db.prepare_cached(
        "SELECT id, name, direction, service, route, consumer, key, tags, came, attempt, created_at, sealed, head, body
         FROM commands JOIN requests USING (seq) WHERE seq = ?1",
    )?;
    statement.query_row([seq], |r| {
        let is_sealed = r.get(11)?;
        Ok(Job {
            seq,
            told: known_of(r)?,
            attempt: r.get(9)?,
            created: r.get(10)?,
            request: Request {
                head: opened(seal, is_sealed, seq, HEAD, r.get(12)?)?,
                body: Bytes::from(opened(seal, is_sealed, seq, BODY, r.get(13)?)?),
            },
        })
    })
}

/// Tags as they are kept.
pub(crate) fn pairs(json: &str) -> Vec<(String, String)> {
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    all.into_iter().map(|(k, v)| (k, v.as_str().unwrap_or_default().to_owned())).collect()
}

/// The places of those of a target that are due, the first ones first.
pub(crate) fn due(db: &Connection, target: &str, now: i64, most: u32) -> Result<Vec<(i64, State, u32)>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, state, attempt FROM commands WHERE target = ?1 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3",
    )?;
    statement.query_map(params![target, now, most], |r| Ok((r.get(0)?, state(r, 1)?, r.get(2)?)))?.collect()
}

/// When the next one of a target is due.
pub(crate) fn next_due(db: &Connection, target: &str) -> Result<Option<i64>> {
    let sql = "SELECT min(due_at) FROM commands WHERE target = ?1 AND due_at IS NOT NULL";
    db.prepare_cached(sql)?.query_row([target], |r| r.get(0))
}

/// What changes of a row.
pub(crate) struct Change<'a> {
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) due: Option<i64>,
    pub(crate) status: u16,
    pub(crate) error: Option<&'a str>,
    pub(crate) history: &'a str,
}

fn appended(update: &str) -> String {
    format!(
        "UPDATE commands SET state = ?2, open = ?3, attempt = ?4, due_at = ?5, status = ?6, error = ?7,
                history = CASE WHEN length(history) < {HISTORY_MAX} OR ?3 = 0 THEN history || ?8 ELSE history END{update}
         WHERE seq = ?1"
    )
}

fn prepared<'c>(db: &'c Connection, update: &str) -> Result<CachedStatement<'c>> {
    db.prepare_cached(&appended(update))
}

/// It goes on.
pub(crate) fn change(db: &Connection, seq: i64, change: &Change<'_>) -> Result<()> {
    let Change { state, attempt, due, status, error, history } = change;
    let all: [&dyn ToSql; 8] = [&seq, &state.as_str(), &!state.is_final(), attempt, due, status, &cut(*error), history];
    // When it wants to run is kept for the time that another of its key holds it.
    prepared(db, ", wants_at = coalesce(?5, wants_at)")?.execute(&all[..])?;
    Ok(())
}

/// Takes the last line of a history back, if it is this one.
pub(crate) fn unsay(db: &Connection, seq: i64, state: State, attempt: u32) -> Result<()> {
    let sql = "SELECT history FROM commands WHERE seq = ?1";
    let history: String = db.prepare_cached(sql)?.query_row([seq], |r| r.get(0))?;
    let start = history.trim_end_matches('\n').rfind('\n').map_or(0, |at| at + 1);
    let (before, last) = history.split_at(start);
    let said = format!("{} {attempt}", state.as_str());
    if last.split_once(' ').is_some_and(|(_, rest)| rest.trim_end() == said) {
        db.prepare_cached("UPDATE commands SET history = ?2 WHERE seq = ?1")?.execute(params![seq, before])?;
    }
    Ok(())
}

/// It has ended.
pub(crate) fn finish(
    db: &Connection,
    seal: Option<&Seal>,
    seq: i64,
    change: &Change<'_>,
    now: i64,
    kept: &Kept,
) -> Result<()> {
    let Change { state, attempt, status, error, history, .. } = change;
    let is_sealed: bool =
        db.prepare_cached("SELECT sealed FROM commands WHERE seq = ?1")?.query_row([seq], |r| r.get(0))?;
    let body = sealed(seal.filter(|_| is_sealed), seq, ANSWER, &kept.body)?;
    let body = body.as_deref().unwrap_or(&kept.body);
    let none: Option<i64> = None;
    let lines: String = kept.lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let all: [&dyn ToSql; 12] =
        [&seq, &state.as_str(), &false, attempt, &none, status, &cut(*error), history, &now, &lines, &body, &kept.cut];
    prepared(db, ", finished_at = ?9, media = ?10, answer = ?11, cut = ?12")?.execute(&all[..])?;
    // What succeeded is never sent again; what did not may be, when somebody says so.
    if *state == State::Succeeded {
        db.prepare_cached("DELETE FROM requests WHERE seq = ?1")?.execute([seq])?;
    }
    Ok(())
}

/// The index is named, so that a long backlog of one key is never walked through.
pub(crate) const RELEASE: &str = "
    UPDATE commands SET due_at = wants_at WHERE due_at IS NULL AND state <> 'running' AND seq =
        (SELECT seq FROM commands INDEXED BY commands_key
         WHERE target = ?1 AND key = ?2 AND open AND NOT once ORDER BY seq LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM commands INDEXED BY commands_turn
                    WHERE target = ?1 AND key = ?2 AND open AND NOT once AND (state = 'running' OR due_at IS NOT NULL))";

/// The same for whether another one has the turn.
pub(crate) const HAS_TURN: &str = "
    SELECT 1 FROM commands INDEXED BY commands_turn WHERE target = ?1 AND key = ?2 AND open AND NOT once
    AND (state = 'running' OR due_at IS NOT NULL) AND seq <> ?3 LIMIT 1";

/// The same for whether there is one at all.
pub(crate) const IS_HELD: &str = "
    SELECT 1 FROM commands INDEXED BY commands_key WHERE target = ?1 AND key = ?2 AND open AND NOT once LIMIT 1";

/// The first one of a key that waits for its turn, if any, gets it, when no other has it.
pub(crate) fn release(db: &Connection, target: &str, key: &str) -> Result<()> {
    db.prepare_cached(RELEASE)?.execute(params![target, key])?;
    Ok(())
}

/// Whether another one of a key is being sent or is to be sent next.
pub(crate) fn has_turn(db: &Connection, target: &str, key: &str, but: i64) -> Result<bool> {
    Ok(db.prepare_cached(HAS_TURN)?.query_row(params![target, key, but], |_| Ok(())).optional()?.is_some())
}

/// It waits for its turn.
pub(crate) fn hold(db: &Connection, seq: i64) -> Result<()> {
    db.prepare_cached("UPDATE commands SET due_at = NULL WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

/// Every key that has commands and none whose turn it is.
pub(crate) fn stranded(db: &Connection) -> Result<Vec<(String, String)>> {
    let sql = "SELECT target, key FROM commands WHERE key IS NOT NULL AND open AND NOT once GROUP BY target, key
               HAVING sum(state = 'running' OR due_at IS NOT NULL) = 0";
    db.prepare(sql)?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
}

/// The target, key, state and attempt of a row.
pub(crate) type Place = (String, Option<String>, State, u32);

pub(crate) fn place(db: &Connection, seq: i64) -> Result<Option<Place>> {
    db.prepare_cached("SELECT target, key, state, attempt FROM commands WHERE seq = ?1")?
        .query_row([seq], |r| Ok((r.get(0)?, r.get(1)?, state(r, 2)?, r.get(3)?)))
        .optional()
}

/// Whether there is something to send.
pub(crate) fn has_request(db: &Connection, seq: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM requests WHERE seq = ?1";
    Ok(db.prepare_cached(sql)?.query_row([seq], |_| Ok(())).optional()?.is_some())
}

pub(crate) fn delete(db: &Connection, seq: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM commands WHERE seq = ?1")?.execute([seq])?;
    db.prepare_cached("DELETE FROM requests WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

/// The same, for places that a query gives.
pub(crate) fn seqs(db: &Connection, sql: &str, args: &[&dyn ToSql]) -> Result<Vec<i64>> {
    db.prepare_cached(sql)?.query_map(args, |r| r.get(0))?.collect()
}
