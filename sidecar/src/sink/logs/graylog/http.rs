//! GELF over HTTP(S): one message a request on a few kept connections, or many lines in one where the input is set to
//! take them.

use crate::section::Wrong;
use crate::sink::batch::post::{Compress, Post};
use crate::sink::batch::single::Singles;
use crate::sink::batch::{self, BatchMax, BoxFuture, Deliver, Verdict};
use crate::sink::generation::Encode;
use crate::sink::logs::Sink;
use crate::sink::transport::HttpAnswer;
use crate::tls::section;
use std::time::Duration;

/// The longest body that an input takes unless it is told otherwise.
pub(super) const BODY_MAX: usize = 65_536;
const LINES: BatchMax = BatchMax { records: 1000, bytes: BODY_MAX, linger: Duration::from_secs(1) };
const PATH: &str = "/gelf";

/// The sink. `to` is the whole URL; `encode` must write at most [`BODY_MAX`] bytes.
pub(super) fn sink(to: &str, tls: section::Values, bulk: bool, encode: Box<dyn Encode>) -> Result<Sink, Wrong> {
    // Whether an input unpacks bodies depends on its version, and it answers 202 before it looks.
    let open = || Post::to("to", to, PATH, tls.clone(), "application/json", Compress::None);
    let target = open()?.target();
    if bulk {
        let lines = Lines(open()?);
        return Ok(Sink {
            target,
            encode,
            send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, lines))),
        });
    }
    let singles = Singles::new(open, Vec::new(), verdict)?;
    Ok(Sink { target, encode, send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, singles))) })
}

/// An input that refuses us is another one than we think: what it refuses is lost and told.
fn verdict(post: &Post, answer: &HttpAnswer) -> Verdict {
    match post.usual(answer) {
        Verdict::Parked(why) => Verdict::Refused(why),
        other => other,
    }
}

struct Lines(Post);

impl Deliver for Lines {
    fn limits(&self) -> BatchMax {
        LINES
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            match self.0.send(&[], records.join(&b'\n')).await {
                Ok(answer) => verdict(&self.0, &answer),
                Err(e) => Verdict::away(&e),
            }
        })
    }
}
