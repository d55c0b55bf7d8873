//! What is read from the files of `tls:`: watched by the control thread, used by the data threads.

use crate::config::{Bind, Listener, Plan};
use crate::sink::Hub;
use crate::tls::{Acceptor, ClientTls, Connector, EXPIRES_SOON, Expiry, Look, ServerTls};
use crate::upstream::Scheme;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a certificate that expires soon is warned of.
const WARN_EVERY: Duration = Duration::from_secs(DAY as u64);
const DAY: i64 = 24 * 60 * 60;

/// What an instance is spoken to for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Use {
    /// Commands of the worker. Its service may have the name of an outbound one.
    Worker,
    /// Commands of an outbound service.
    Outbound,
    /// Checks of the worker that have settings of their own.
    WorkerChecks,
    /// Those of an outbound service.
    OutboundChecks,
    /// Commands of a service of the gateway.
    Gateway,
    /// Their checks.
    GatewayChecks,
}

/// A service, whether HTTP/2 is asked for, and what for.
type Whose = (Arc<str>, bool, Use);

/// Everything of this process that was read from such files.
#[derive(Default)]
pub(super) struct Certificates {
    acceptors: RefCell<HashMap<Bind, Acceptor>>,
    /// That of the registry's API.
    api: RefCell<Option<Acceptor>>,
    connectors: RefCell<HashMap<Whose, Connector>>,
    /// What was said last of each.
    warned: RefCell<HashMap<String, Warning>>,
}

impl Certificates {
    /// What a listener shakes hands with; none for a plain one.
    pub(super) fn open(&self, listener: &Listener) -> Result<Option<Acceptor>, String> {
        let Some(tls) = &listener.tls else { return Ok(None) };
        let acceptor = tls.acceptor().map_err(|trouble| trouble.to_string())?;
        self.acceptors.borrow_mut().insert(listener.bind.clone(), acceptor.clone());
        Ok(Some(acceptor))
    }

    /// What the registry's API shakes hands with, until the end.
    pub(super) fn open_api(&self, tls: &ServerTls) -> Result<Acceptor, String> {
        let acceptor = tls.acceptor().map_err(|trouble| trouble.to_string())?;
        *self.api.borrow_mut() = Some(acceptor.clone());
        Ok(acceptor)
    }

    /// What the listeners that stay shake hands with from now on, read and not yet in use.
    pub(super) fn prepare(&self, plan: &Plan) -> Result<Vec<(Bind, Acceptor)>, String> {
        let acceptors = self.acceptors.borrow();
        let mut changed = Vec::new();
        for listener in &plan.listeners {
            if let (Some(tls), Some(known)) = (&listener.tls, acceptors.get(&listener.bind))
                && !known.is_of(tls)
            {
                let acceptor = tls.acceptor().map_err(|trouble| trouble.to_string())?;
                changed.push((listener.bind.clone(), acceptor));
            }
        }
        Ok(changed)
    }

    /// Takes what was prepared into use, and forgets listeners that the plan does not have.
    pub(super) fn follow(&self, plan: &Plan, changed: Vec<(Bind, Acceptor)>) {
        let mut acceptors = self.acceptors.borrow_mut();
        for (bind, acceptor) in changed {
            if let Some(known) = acceptors.get(&bind) {
                known.take_over(acceptor);
            }
        }
        acceptors.retain(|bind, _| plan.listeners.iter().any(|l| l.bind == *bind && l.tls.is_some()));
    }

    /// How instances of a service are spoken to in a scheme; none when it is not over TLS.
    pub(super) fn connector(&self, service: &Arc<str>, scheme: Scheme, tls: &ClientTls, of: Use) -> Option<Connector> {
        if !scheme.is_secure() {
            return None;
        }
        let mut connectors = self.connectors.borrow_mut();
        let key = (service.clone(), scheme.is_two(), of);
        match connectors.get(&key) {
            Some(known) if known.is_of(tls) => Some(known.clone()),
            _ => {
                let made = tls.lasting(scheme.alpn());
                connectors.insert(key, made.clone());
                Some(made)
            }
        }
    }

    /// Forgets services that the plan does not have.
    pub(super) fn retain(&self, services: &[Arc<str>]) {
        self.connectors.borrow_mut().retain(|(service, ..), _| services.contains(service));
    }

    /// Looks at every file once, and says what changed.
    pub(super) async fn look(&self, hub: &Hub) {
        let mut all: Vec<(String, Watched)> = Vec::new();
        for (bind, acceptor) in self.acceptors.borrow().iter() {
            all.push((format!("listener {}", place(bind)), Watched::Acceptor(acceptor.clone())));
        }
        all.extend(
            self.api.borrow().iter().map(|api| ("the registry's API".to_owned(), Watched::Acceptor(api.clone()))),
        );
        for ((service, ..), connector) in self.connectors.borrow().iter() {
            all.push((format!("service {service}"), Watched::Connector(connector.clone())));
        }
        if all.is_empty() {
            return;
        }
        // A file system may be slow, and the control thread has other work.
        let looks = tokio::task::spawn_blocking(move || {
            all.into_iter().map(|(what, watched)| (what, watched.look(), watched.expiries())).collect::<Vec<_>>()
        });
        let Ok(looks) = looks.await else { return };
        let mut expiries = BTreeMap::new();
        for (what, look, expires) in looks {
            match look {
                Look::Same => {}
                Look::Renewed => tracing::info!("{what}: its TLS files changed and are in use for new connections"),
                Look::Unusable(trouble) => {
                    tracing::warn!("{what}: its TLS files changed and are not usable, the old ones stay: {trouble}");
                }
            }
            expiries
                .extend(expires.into_iter().map(|Expiry { pem, at }| (pem.to_string(), (at, pem.path().is_some()))));
        }
        self.warn(&expiries);
        hub.set_certificates(expiries.into_iter().map(|(name, (at, _))| (name, at)).collect());
    }

    /// Of each the end, and whether it is in a file of its own.
    fn warn(&self, expiries: &BTreeMap<String, (i64, bool)>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
        let mut warned = self.warned.borrow_mut();
        warned.retain(|name, _| expiries.contains_key(name));
        for (name, (at, watched)) in expiries {
            let left = at.saturating_sub(now);
            let warning = Warning { at: *at, expired: left <= 0, when: Instant::now() };
            if left >= EXPIRES_SOON || warned.get(name).is_some_and(|last| last.is_enough(&warning)) {
                continue;
            }
            let days = left / DAY;
            let fix = if *watched { "renew it, no restart is needed" } else { "renew it there, and reload" };
            if warning.expired {
                tracing::error!("the certificate in {name} has expired: {fix}");
            } else {
                tracing::warn!("the certificate in {name} expires in {days} days: {fix}");
            }
            warned.insert(name.clone(), warning);
        }
    }
}

/// What was said of a file's end.
struct Warning {
    at: i64,
    expired: bool,
    when: Instant,
}

impl Warning {
    /// Whether the next one says nothing new, and comes soon.
    fn is_enough(&self, next: &Warning) -> bool {
        let same = self.at == next.at && self.expired == next.expired;
        same && next.when.saturating_duration_since(self.when) < WARN_EVERY
    }
}

/// Looks at the files for ever.
pub(super) async fn watch(keeper: std::rc::Rc<super::Keeper>) {
    loop {
        keeper.look_at_certificates().await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

enum Watched {
    Acceptor(Acceptor),
    Connector(Connector),
}

impl Watched {
    fn look(&self) -> Look {
        match self {
            Watched::Acceptor(a) => a.look(),
            Watched::Connector(c) => c.look(),
        }
    }

    fn expiries(&self) -> Vec<Expiry> {
        match self {
            Watched::Acceptor(a) => a.expiries(),
            Watched::Connector(c) => c.expiries(),
        }
    }
}

fn place(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_warned_of_once_a_day_and_when_something_is_new() {
        let when = Instant::now();
        let said = |at, expired, after| Warning { at, expired, when: when + after };
        let last = said(5, false, Duration::ZERO);
        assert!(last.is_enough(&said(5, false, WARN_EVERY / 2)));
        assert!(!last.is_enough(&said(5, false, WARN_EVERY)));
        assert!(!last.is_enough(&said(5, true, Duration::ZERO)), "it has expired");
        assert!(!last.is_enough(&said(9, false, Duration::ZERO)), "it is another one");

        let certificates = Certificates::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let files = [("late", 20 * DAY), ("soon", 3 * DAY), ("gone", -DAY)];
        let all = files.iter().map(|(name, left)| ((*name).to_owned(), (now + left, true))).collect();
        certificates.warn(&all);
        let warned = |name: &str| certificates.warned.borrow().get(name).map(|w| w.expired);
        assert_eq!((warned("late"), warned("soon"), warned("gone")), (None, Some(false), Some(true)));
        certificates.warn(&BTreeMap::new());
        assert!(certificates.warned.borrow().is_empty());
    }
}
