//! The registry that is followed, as our own HTTP API needs it: what is kept there only is asked for there, and what is
//! registered here is waited for until it is there.

use super::client::Client;
use super::{Shared, Status};
use crate::registry::Registry;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Method};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// So many requests are passed on at once; each has a connection.
const AT_ONCE: usize = 256;
/// So many connections are kept for the next.
const KEPT: usize = 16;
/// For so long is waited until the other side has what was registered.
const PATIENCE: Duration = Duration::from_secs(3);

/// How far registering our own instances has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// All up to that change of them was told, or refused.
    pub(super) number: u64,
    /// Whether the other side could not be reached, so that nothing is known.
    pub(super) away: bool,
    /// Which of them are refused, by id, and why.
    pub(super) refused: Vec<(String, String)>,
}

/// By which right something is asked for there.
#[derive(Debug)]
pub(crate) enum As {
    /// Ours.
    Us,
    /// That of a token, or of nobody's.
    Whom(Option<HeaderValue>),
}

/// Why something was not passed on.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// Too much is on its way.
    Busy,
    Away(String),
}

/// The registry that is followed.
pub(crate) struct Behind {
    pub(super) shared: Arc<Shared>,
    places: Semaphore,
    /// Connections that rest, and of which place they are.
    resting: Mutex<Vec<(usize, Client)>>,
}

impl Behind {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Behind { shared, places: Semaphore::new(AT_ONCE), resting: Mutex::default() }
    }

    /// Our own instances.
    pub(crate) fn own(&self) -> &Registry {
        &self.shared.own
    }

    /// How it is followed.
    pub(crate) fn status(&self) -> watch::Ref<'_, Status> {
        self.shared.status_now()
    }

    /// Asks for something there. `wait` is how long it may take on purpose.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        (whom, wait): (As, Duration),
    ) -> Result<(Parts, Bytes), Unreached> {
        let Ok(_place) = self.places.try_acquire() else { return Err(Unreached::Busy) };
        let (at, Some(place)) = self.shared.place() else { return Err(Unreached::Away("there is none".into())) };
        // A connection that was used may be closed, and what changes something must not be sent twice.
        let rested = (method == Method::GET).then(|| self.rested(at)).flatten();
        let mut client = rested.unwrap_or_else(|| Client::new(&self.shared.settings, place));
        match whom {
            As::Us => client.set_token(self.shared.settings.token_value()),
            As::Whom(token) => client.set_token(token),
        }
        let answer = client.any(method, path, body, wait).await;
        let answer = answer.map_err(|why| Unreached::Away(format!("{}: {why}", place.name)))?;
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|(of, _)| *of == at);
        if resting.len() < KEPT {
            resting.push((at, client));
        }
        Ok(answer)
    }

    fn rested(&self, at: usize) -> Option<Client> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.pop().filter(|(of, _)| *of == at).map(|(_, client)| client)
    }

    /// Waits until the other side has what is registered here, or cannot be reached. The error is why it does not take
    /// the instance of that id.
    pub(crate) async fn settled(&self, id: Option<&str>) -> Result<(), String> {
        let target = *self.shared.own.watch().borrow();
        let mut told = self.shared.told.subscribe();
        let decided = told.wait_for(|told| told.number >= target || told.away);
        let Ok(Ok(told)) = tokio::time::timeout(PATIENCE, decided).await else { return Ok(()) };
        match told.refused.iter().find(|(refused, _)| Some(refused.as_str()) == id) {
            Some((_, why)) => Err(why.clone()),
            None => Ok(()),
        }
    }
}
