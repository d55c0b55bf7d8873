//! Following by the stream of changes of another Fourmi.

use super::client::{Client, Failed, Place, encoded};
use super::{Mode, Shared};
use crate::registry::Mirrored;
use crate::wire::{self, FORM, LINE_MAX, Meant};
use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Somebody who tells nothing for so long is not there; usually something comes every five seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// The longest epoch; ours are shorter.
const EPOCH_MAX: usize = 64;
/// So many things are taken over at once at most.
const THINGS: usize = 1024;

/// Why it ended.
pub(super) enum Ended {
    /// The other side has no stream.
    NoStream,
    /// It broke off.
    Failed(Failed),
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        Ended::Failed(failed)
    }
}

/// Follows until it ends.
pub(super) async fn follow(shared: &Shared, place: &Place) -> Ended {
    let mut client = Client::new(&shared.settings, place);
    let mut path = format!("/v1/{}", wire::PATH);
    let seen = shared.seen();
    if let Some((epoch, at)) = &seen {
        path += &format!("?since={at}&epoch={}", encoded(epoch));
    }
    let answer = match client.ask(Method::GET, &path, Bytes::new(), Duration::ZERO).await {
        Ok(answer) => answer,
        Err(failed) => return failed.into(),
    };
    let is_ours = || answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == wire::TYPE);
    match answer.status() {
        StatusCode::OK if is_ours() => {}
        StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ended::NoStream,
        _ => return client.why(answer).await.into(),
    }
    let mut lines = Lines { body: answer.into_body(), read: BytesMut::new(), looked: 0 };
    match told(shared, place, &mut lines, seen).await {
        Ok(never) => match never {},
        Err(failed) => failed.into(),
    }
}

async fn told(
    shared: &Shared,
    place: &Place,
    lines: &mut Lines,
    seen: Option<(String, u64)>,
) -> Result<std::convert::Infallible, Failed> {
    let hello = match wire::read(&lines.next().await?) {
        Ok(Meant::Hello(hello)) if hello.form == FORM && hello.epoch.len() <= EPOCH_MAX => hello,
        Ok(Meant::Hello(hello)) => return Err(Failed::new(format!("it tells in a form of its own: {}", hello.form))),
        _ => return Err(Failed::new("it does not begin with who it is")),
    };
    shared.agree(&hello.datacenter)?;
    let grace = shared.settings.grace;
    // What is not named may be gone, or not back yet, or not come over yet from the registry that was followed before.
    let left = match shared.replica().is_of_another(place) {
        true => grace,
        false => grace.saturating_sub(Duration::from_millis(hello.age)),
    };
    let sweep_after = (!left.is_zero()).then(|| Instant::now() + left);
    let (mut whole, mut is_current) = (false, false);
    let mut things: Vec<Mirrored> = Vec::new();
    if seen.is_some_and(|(epoch, _)| epoch != hello.epoch) {
        shared.forget_seen();
    }
    loop {
        // What was waited for when the connection broke is waited for still, but not before what was missed is known.
        let sweep_at = shared.replica().sweep_at.filter(|_| is_current);
        let line = tokio::select! {
            line = lines.next() => line?,
            () = sleep_until(sweep_at.unwrap_or_else(Instant::now)), if sweep_at.is_some() => {
                shared.replica().sweep();
                continue;
            }
        };
        match wire::read(&line).map_err(|error| Failed::new(format!("it tells what cannot be understood: {error}")))? {
            Meant::Hello(_) => return Err(Failed::new("it says twice who it is")),
            Meant::All(false) => {}
            Meant::All(true) => {
                whole = true;
                shared.replica().begin();
            }
            Meant::Thing(thing) => {
                things.push(thing);
                if things.len() >= THINGS {
                    shared.apply(std::mem::take(&mut things));
                }
            }
            Meant::At(at) => {
                if !things.is_empty() {
                    shared.apply(std::mem::take(&mut things));
                }
                if std::mem::take(&mut whole) {
                    match sweep_after.filter(|at| *at > Instant::now()) {
                        Some(later) => shared.replica().sweep_at = Some(later),
                        None => shared.replica().sweep(),
                    }
                }
                is_current = true;
                shared.saw(&hello.epoch, at);
                shared.connected(place, Mode::Stream, at);
            }
        }
    }
}

/// The lines of a body.
struct Lines {
    body: Incoming,
    read: BytesMut,
    /// So much of it has no end of a line.
    looked: usize,
}

impl Lines {
    /// The next one. What was read is kept when it is not waited for to the end.
    async fn next(&mut self) -> Result<Bytes, Failed> {
        loop {
            let end = self.read.iter().skip(self.looked).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.read.split_to(self.looked + end);
                self.read.advance(1);
                self.looked = 0;
                return Ok(line.freeze());
            }
            self.looked = self.read.len();
            if self.looked > LINE_MAX {
                return Err(Failed::new(format!("a line is longer than {LINE_MAX} bytes")));
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Ok(Some(Err(error))) => return Err(Failed::new(format!("the stream broke off: {error}"))),
                Ok(None) => return Err(Failed::new("the stream ended")),
                Err(_) => return Err(Failed::new(format!("it was silent for {SILENCE:?}"))),
            }
        }
    }
}
