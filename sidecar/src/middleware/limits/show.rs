//! The counters of now, for people who ask.

use super::entry::Entry;
use super::place::{self, Place};
use super::window::{Moment, PERIODS, Window};
use super::{queue, table};
use crate::control::redis;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::sync::Arc;

/// No more are shown, however many are asked for.
const SHOWN_MAX: usize = 1_000;

/// The identifiers that are nearest to their limits, the nearest first, and what there is to know of the table and
/// of Redis.
pub fn show(most: usize) -> Json {
    let now = Moment::now();
    let windows = now.windows();
    let (entries, forgotten) = table::all();
    let known = place::known();
    // Limits that a reload has changed are those of now.
    let places: HashMap<u64, &Place> = known.iter().map(|place| (place.mark, &**place)).collect();
    let mut ranked: Vec<(f64, &Entry, &Place)> = Vec::with_capacity(entries.len());
    for entry in &entries {
        // A limit that the file has no more holds for nobody.
        let Some(place) = places.get(&entry.mark()).copied() else { continue };
        let share = share(entry, place, &windows);
        if share > 0.0 {
            ranked.push((share, entry, place));
        }
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.who.cmp(&b.1.who)));
    let (kept, used) = (entries.len(), ranked.len());
    ranked.truncate(most.min(SHOWN_MAX));
    let counters: Vec<Json> = ranked.iter().map(|(_, entry, place)| counter(entry, place, now, &windows)).collect();
    let mut lines = queue::waiting();
    lines.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(&b.1)));
    lines.truncate(most.min(SHOWN_MAX));
    let line = |(place, who, n): &(Arc<Place>, Box<str>, usize)| {
        let mut shown = of(places.get(&place.mark).unwrap_or(&&**place), who);
        shown.insert("waiting".to_owned(), json!(n));
        Json::Object(shown)
    };
    let lines: Vec<Json> = lines.iter().map(line).collect();
    let servers: Vec<Json> = redis::servers()
        .iter()
        .map(|s| json!({"server": s.name, "reachable": !s.away, "last_error": s.last_error}))
        .collect();
    json!({
        "counters": counters,
        "waiting": lines,
        "identifiers": used,
        "kept": kept,
        "kept_max": table::IDENTIFIERS_MAX,
        "forgotten": forgotten,
        "redis": servers,
    })
}

/// The largest part of a limit that is used.
fn share(entry: &Entry, place: &Place, windows: &[Window; PERIODS]) -> f64 {
    let used = entry.used(&place.limits, windows).unwrap_or_default();
    let parts = place.limits.iter().zip(used).map(|(limit, used)| used as f64 / limit.most.max(1) as f64);
    parts.fold(0.0, f64::max)
}

fn counter(entry: &Entry, place: &Place, now: Moment, windows: &[Window; PERIODS]) -> Json {
    let used = entry.used(&place.limits, windows).unwrap_or_default();
    let periods: Map<String, Json> = place
        .limits
        .iter()
        .zip(used)
        .map(|(limit, used)| {
            let reset = limit.period.reset(windows[limit.period as usize], now);
            (limit.period.word().to_owned(), json!({"limit": limit.most, "used": used, "reset": reset}))
        })
        .collect();
    let mut shown = of(place, &entry.who);
    shown.insert("periods".to_owned(), Json::Object(periods));
    Json::Object(shown)
}

/// Where and whom.
fn of(place: &Place, who: &str) -> Map<String, Json> {
    let bound = |id: &str| (id != place::NOBODY).then(|| id.to_owned());
    let name = Some(&place.name).filter(|name| !name.is_empty());
    let mut shown = Map::new();
    shown.insert("middleware".to_owned(), json!(place.middleware()));
    shown.insert("by".to_owned(), json!(place.by));
    shown.insert("route".to_owned(), json!(bound(&place.route)));
    shown.insert("service".to_owned(), json!(bound(&place.service)));
    shown.insert("name".to_owned(), json!(name));
    shown.insert("window".to_owned(), json!(if place.sliding { "sliding" } else { "fixed" }));
    shown.insert("identifier".to_owned(), json!(shown_who(who, place)));
    shown
}

/// The identifier; of a header's value, which may be a secret, only a digest.
fn shown_who(who: &str, place: &Place) -> String {
    if place.secret { super::who::digest(who.as_bytes()) } else { who.to_owned() }
}
