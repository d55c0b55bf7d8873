//! Where counters belong: to a middleware in a scope, under names that survive a reload.

use super::entry::Limit;
use super::who::By;
use crate::middleware::plugin::{Scope, Setup};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What Kong begins the names of `rate-limiting`'s counters with.
pub(crate) const RATE_LIMITING: &str = "ratelimit";
/// The same of `response-ratelimiting`.
pub(crate) const RESPONSE_RATELIMITING: &str = "response-ratelimit";

/// The same of `rate-shaping`, which is ours.
pub(crate) const RATE_SHAPING: &str = "shape";

/// What stands for an entity that a plugin is not bound to.
pub(super) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Where counters belong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What Kong begins the names of such counters with.
    pub(crate) kind: &'static str,
    pub(crate) route: Box<str>,
    pub(crate) service: Box<str>,
    /// Which of several counters in the same scope; mostly empty.
    pub(crate) name: Box<str>,
    /// Now; counters outlive a change of them.
    pub(crate) limits: Box<[Limit]>,
    /// Whether the window before counts, as far as it is not past.
    pub(crate) sliding: bool,
    /// By what commands are told apart.
    pub(super) by: &'static str,
    /// Whether identifiers are values of a header, which nobody is shown: they may be secrets.
    pub(super) secret: bool,
    /// Which plugin it is, and by what it tells apart; a reload does not change it.
    pub(super) mark: u64,
    text: Arc<str>,
}

impl Place {
    /// The place of a middleware's counters. People who ask find its limits by it.
    pub(crate) fn new(kind: &'static str, setup: &Setup<'_>, name: &str, by: &By, limits: &[Limit]) -> Arc<Place> {
        Place::of(kind, (setup.id, &setup.scope), name, by, limits, false)
    }

    /// The same for windows that slide.
    pub(crate) fn sliding(kind: &'static str, setup: &Setup<'_>, by: &By, limits: &[Limit]) -> Arc<Place> {
        Place::of(kind, (setup.id, &setup.scope), "", by, limits, true)
    }

    /// The place of a plugin that nobody has configured.
    #[cfg(test)]
    pub(crate) fn anywhere(kind: &'static str, name: &str, limits: &[Limit]) -> Arc<Place> {
        Place::of(kind, ("", &Scope::default()), name, &By::Ip, limits, false)
    }

    fn of(
        kind: &'static str,
        (plugin, scope): (&str, &Scope<'_>),
        name: &str,
        by: &By,
        limits: &[Limit],
        sliding: bool,
    ) -> Arc<Place> {
        let (route, service) = (scope.route.unwrap_or(NOBODY), scope.service.unwrap_or(NOBODY));
        // The counters of the two kinds of windows are not each other's.
        let slides = if sliding { ":sliding" } else { "" };
        let text = format!("{kind}:{route}:{service}:{name}{slides}");
        let mut mark = DefaultHasher::new();
        (&text, plugin, by.word()).hash(&mut mark);
        let place = Arc::new(Place {
            kind,
            route: route.into(),
            service: service.into(),
            name: name.into(),
            limits: limits.into(),
            sliding,
            by: by.word(),
            secret: matches!(by, By::Header(_)),
            mark: mark.finish(),
            text: text.into(),
        });
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of plans that are gone, whenever there may be as many as there are others.
        if known.len() == known.capacity() {
            known.retain(|place| place.strong_count() > 0);
            let more = known.len().max(KNOWN_MIN);
            known.reserve_exact(more);
        }
        known.push(Arc::downgrade(&place));
        place
    }

    /// The name of a window's counter in Redis, which is Kong's.
    pub(super) fn key(&self, who: &str, start: u64, period: &str) -> String {
        let Place { kind, route, service, name, .. } = self;
        match name.is_empty() {
            true => format!("{kind}:{route}:{service}:{who}:{start}:{period}"),
            false => format!("{kind}:{route}:{service}:{who}:{start}:{name}:{period}"),
        }
    }

    /// The name of the one key of an identifier.
    pub(crate) fn only_key(&self, who: &str) -> String {
        format!("{}:{}:{}:{who}", self.kind, self.route, self.service)
    }

    /// The middleware's name.
    pub(super) fn middleware(&self) -> &'static str {
        match self.kind {
            RATE_LIMITING => "rate-limiting",
            RATE_SHAPING => "rate-shaping",
            _ => "response-ratelimiting",
        }
    }

    /// What its counters are found by. As in Kong, plugins of the same scope that hold for different consumers share
    /// the counters of an identifier that they have in common.
    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

const KNOWN_MIN: usize = 64;

static KNOWN: Mutex<Vec<Weak<Place>>> = Mutex::new(Vec::new());

/// Every place of the plans that are in use, the newest last.
pub(super) fn known() -> Vec<Arc<Place>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}
