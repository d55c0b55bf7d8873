//! What is read from the files of `tls:`: watched by the control thread, used by the data threads.

use crate::config::{Bind, Listener, Plan};
use crate::sink::Hub;
use crate::tls::{Acceptor, ClientTls, Connector, Expiry, Look};
use crate::upstream::Scheme;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long before the end a certificate is warned of.
const EXPIRES_SOON: i64 = 14 * DAY;
/// How often.
const WARN_EVERY: Duration = Duration::from_secs(DAY as u64);
const DAY: i64 = 24 * 60 * 60;

/// Everything of this process that was read from such files.
#[derive(Default)]
pub(super) struct Certificates {
    acceptors: RefCell<HashMap<Bind, Acceptor>>,
    /// By service, and whether HTTP/2 is asked for.
    connectors: RefCell<HashMap<(Arc<str>, bool), Connector>>,
    /// When a file was last warned of, and of which end.
    warned: RefCell<HashMap<PathBuf, (i64, Instant)>>,
}

impl Certificates {
    /// What a listener shakes hands with; none for a plain one.
    pub(super) fn open(&self, listener: &Listener) -> Result<Option<Acceptor>, String> {
        let Some(tls) = &listener.tls else { return Ok(None) };
        let acceptor = tls.acceptor().map_err(|trouble| trouble.to_string())?;
        self.acceptors.borrow_mut().insert(listener.bind.clone(), acceptor.clone());
        Ok(Some(acceptor))
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
    pub(super) fn connector(&self, service: &Arc<str>, scheme: Scheme, tls: &ClientTls) -> Option<Connector> {
        if !scheme.is_secure() {
            return None;
        }
        let mut connectors = self.connectors.borrow_mut();
        let key = (service.clone(), scheme.is_two());
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
        self.connectors.borrow_mut().retain(|(service, _), _| services.contains(service));
    }

    /// Looks at every file once, and says what changed.
    pub(super) async fn look(&self, hub: &Hub) {
        let mut all: Vec<(String, Watched)> = Vec::new();
        for (bind, acceptor) in self.acceptors.borrow().iter() {
            all.push((format!("listener {}", place(bind)), Watched::Acceptor(acceptor.clone())));
        }
        for ((service, _), connector) in self.connectors.borrow().iter() {
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
            expiries.extend(expires.into_iter().map(|Expiry { file, at }| (file, at)));
        }
        self.warn(&expiries);
        hub.set_certificates(expiries.iter().map(|(file, at)| (file.display().to_string(), *at)).collect());
    }

    fn warn(&self, expiries: &BTreeMap<PathBuf, i64>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
        let mut warned = self.warned.borrow_mut();
        warned.retain(|file, _| expiries.contains_key(file));
        for (file, at) in expiries {
            let left = at.saturating_sub(now);
            let told = warned.get(file).is_some_and(|(of, when)| of == at && when.elapsed() < WARN_EVERY);
            // The moment of its end is told, however short ago the last warning was.
            let ends = left <= 0 && left > -2;
            if left >= EXPIRES_SOON || (told && !ends) {
                continue;
            }
            let file_name = file.display();
            match left {
                ..=0 => tracing::error!("the certificate in {file_name} has expired: renew it, no restart is needed"),
                _ => tracing::warn!(
                    "the certificate in {file_name} expires in {} days: renew it, no restart is needed",
                    left / DAY
                ),
            }
            warned.insert(file.clone(), (*at, Instant::now()));
        }
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
