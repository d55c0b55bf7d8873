//! Where counters belong: to a middleware in a scope, under names that survive a reload.

use super::entry::Limit;
use super::who::By;
use crate::middleware::plugin::Scope;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What Kong begins the names of `rate-limiting`'s counters with.
pub(crate) const RATE_LIMITING: &str = "ratelimit";
/// The same of `response-ratelimiting`.
pub(crate) const RESPONSE_RATELIMITING: &str = "response-ratelimit";

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
    /// Whether identifiers are values of a header, which nobody is shown: they may be secrets.
    pub(super) secret: bool,
    text: Box<str>,
}

impl Place {
    /// The place of a middleware's counters. People who ask find its limits by it.
    pub(crate) fn new(kind: &'static str, scope: &Scope<'_>, name: &str, by: &By, limits: &[Limit]) -> Arc<Place> {
        let (route, service) = (scope.route.unwrap_or(NOBODY), scope.service.unwrap_or(NOBODY));
        let place = Arc::new(Place {
            kind,
            route: route.into(),
            service: service.into(),
            name: name.into(),
            limits: limits.into(),
            secret: matches!(by, By::Header(_)),
            text: format!("{kind}:{route}:{service}:{name}").into(),
        });
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|place| place.strong_count() > 0);
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

    /// The middleware's name.
    pub(super) fn by(&self) -> &'static str {
        match self.kind {
            RATE_LIMITING => "rate-limiting",
            _ => "response-ratelimiting",
        }
    }

    /// What tells it from others.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

static KNOWN: Mutex<Vec<Weak<Place>>> = Mutex::new(Vec::new());

/// Every place of the plans that are in use, the newest last.
pub(super) fn known() -> Vec<Arc<Place>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}
