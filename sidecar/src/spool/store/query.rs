//! What people ask of the store.

use super::rows::{self, pairs};
use crate::spool::seal::Seal;
use crate::spool::{Kept, State};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, params_from_iter};

/// Which commands are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; any when empty.
    pub states: Vec<State>,
    /// Of this name; a `*` at the end stands for anything.
    pub name: Option<String>,
    /// Of this service.
    pub service: Option<String>,
    /// By this route.
    pub route: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// From this consumer.
    pub consumer: Option<String>,
    /// With this tag.
    pub tag: Option<(String, String)>,
    /// With this id.
    pub id: Option<String>,
    /// That came before, in milliseconds since 1970.
    pub before: Option<i64>,
    /// Whose request is kept, so that they can be sent.
    pub sendable: bool,
}

impl Filter {
    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// The condition, and what it needs.
    fn condition(&self) -> (String, Vec<Value>) {
        // What is stored only so that it is not done twice is nobody's business, unless somebody has to decide on it.
        let shown = if self.sendable { "NOT once" } else { "(NOT once OR state = 'unknown')" };
        let (mut all, mut args) = (vec![shown.to_owned()], Vec::new());
        let mut add = |sql: &str, value: Value| {
            args.push(value);
            all.push(sql.replace('?', &format!("?{}", args.len())));
        };
        let texts =
            [("service", &self.service), ("route", &self.route), ("key", &self.key), ("consumer", &self.consumer)];
        for (column, value) in texts {
            if let Some(value) = value {
                add(&format!("{column} = ?"), value.clone().into());
            }
        }
        if let Some(id) = &self.id {
            add("id = ?", id.clone().into());
        }
        match self.name.as_deref().map(|name| (name, name.strip_suffix('*'))) {
            None => {}
            Some((_, Some(prefix))) => {
                let length = i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX);
                add(&format!("substr(name, 1, {length}) = ?"), prefix.to_owned().into());
            }
            Some((name, None)) => add("name = ?", name.to_owned().into()),
        }
        if let Some((key, value)) = &self.tag {
            // A key is of our alphabet, which has no quote.
            let key: String = key.chars().filter(|c| *c != '"').collect();
            add(&format!("json_extract(tags, '$.\"{}\"') = ?", key.replace('\'', "")), value.clone().into());
        }
        if let Some(before) = self.before {
            add("created_at < ?", before.into());
        }
        if !self.states.is_empty() {
            let words: Vec<String> = self.states.iter().map(|s| format!("'{}'", s.as_str())).collect();
            all.push(format!("state IN ({})", words.join(", ")));
        }
        (all.join(" AND "), args)
    }
}

/// One command, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// What its caller may ask with.
    pub token: String,
    /// Its name.
    pub name: String,
    /// Which way it goes.
    pub direction: String,
    /// The service.
    pub service: String,
    /// The route.
    pub route: String,
    /// Its key.
    pub key: Option<String>,
    /// Who called.
    pub consumer: Option<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Its state.
    pub state: State,
    /// Attempts.
    pub attempt: u32,
    /// When it came, in milliseconds since 1970, like the others.
    pub created: i64,
    /// When it runs; none when it waits for another of its key.
    pub due: Option<i64>,
    /// When it wants to run.
    pub wants: i64,
    /// When it must not run any more.
    pub expires: Option<i64>,
    /// When it ended.
    pub finished: Option<i64>,
    /// What was answered last.
    pub status: u16,
    /// What went wrong last.
    pub error: Option<String>,
    /// Its states so far: when, which, which attempt, why.
    pub history: String,
    /// Bytes of its body.
    pub bytes: i64,
    /// Whether it is stored without its request, as it was sent while its caller waited.
    pub once: bool,
}

/// Some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The oldest first.
    pub rows: Vec<Row>,
    /// Where the next ones begin.
    pub next: Option<i64>,
}

const COLUMNS: &str =
    "seq, id, token, name, direction, service, route, key, consumer, tags, state, attempt, created_at,
    due_at, expires_at, finished_at, status, error, history,
    coalesce((SELECT length(body) FROM requests r WHERE r.seq = c.seq), 0), wants_at, once";

fn row(r: &rusqlite::Row<'_>) -> Result<Row> {
    let tags: String = r.get(9)?;
    Ok(Row {
        seq: r.get(0)?,
        id: r.get(1)?,
        token: r.get(2)?,
        name: r.get(3)?,
        direction: r.get(4)?,
        service: r.get(5)?,
        route: r.get(6)?,
        key: r.get(7)?,
        consumer: r.get(8)?,
        tags: pairs(&tags),
        state: State::parse(r.get_ref(10)?.as_str()?).unwrap_or(State::Unknown),
        attempt: r.get(11)?,
        created: r.get(12)?,
        due: r.get(13)?,
        expires: r.get(14)?,
        finished: r.get(15)?,
        status: r.get(16)?,
        error: r.get(17)?,
        history: r.get(18)?,
        bytes: r.get(19)?,
        wants: r.get(20)?,
        once: r.get(21)?,
    })
}

/// Those that a filter means, the oldest first, after a place.
pub(crate) fn list(db: &Connection, filter: &Filter, after: i64, most: usize) -> Result<Listing> {
    let (condition, mut args) = filter.condition();
    args.push(after.into());
    let place = args.len();
    args.push(i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1).into());
    let sql = format!(
        "SELECT {COLUMNS} FROM commands c WHERE {condition} AND seq > ?{place} ORDER BY seq LIMIT ?{}",
        place + 1
    );
    let mut rows: Vec<Row> = db.prepare_cached(&sql)?.query_map(params_from_iter(args), row)?.collect::<Result<_>>()?;
    let next = match rows.len() > most {
        true => {
            rows.truncate(most);
            rows.last().map(|r| r.seq)
        }
        false => None,
    };
    Ok(Listing { rows, next })
}

/// How many a filter means.
pub(crate) fn count(db: &Connection, filter: &Filter) -> Result<i64> {
    let (condition, args) = filter.condition();
    let sql = format!("SELECT count(*) FROM commands c WHERE {condition}");
    db.prepare_cached(&sql)?.query_row(params_from_iter(args), |r| r.get(0))
}

/// Their places, after one.
pub(crate) fn places(db: &Connection, filter: &Filter, after: i64, most: usize) -> Result<Vec<i64>> {
    let (condition, mut args) = filter.condition();
    args.push(after.into());
    let place = args.len();
    let sql = format!("SELECT seq FROM commands c WHERE {condition} AND seq > ?{place} ORDER BY seq LIMIT {most}");
    db.prepare_cached(&sql)?.query_map(params_from_iter(args), |r| r.get(0))?.collect()
}

/// One, with what was answered.
pub(crate) fn one(db: &Connection, seal: Option<&Seal>, seq: i64) -> Result<Option<(Row, Kept)>> {
    let sql = format!("SELECT {COLUMNS} FROM commands c WHERE seq = ?1");
    let Some(found) = db.prepare_cached(&sql)?.query_row([seq], row).optional()? else { return Ok(None) };
    let kept = rows::answer(db, seal, seq)?.unwrap_or_default();
    Ok(Some((found, kept)))
}

/// When the oldest of each state came.
pub(crate) fn oldest(db: &Connection, state: State) -> Result<Option<i64>> {
    let sql = "SELECT created_at FROM commands WHERE state = ?1 ORDER BY seq LIMIT 1";
    db.prepare_cached(sql)?.query_row([state.as_str()], |r| r.get(0)).optional()
}
