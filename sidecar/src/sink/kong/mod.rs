//! The log and metric plugins of a Kong file, with Kong's fields and names.
//!
//! Each is a log sink that is told of the commands for which it is the one configuration of its plugin that holds.
//! Loggers write Kong's log object; what counts adds up on the control thread, and the clock sends it.

mod choice;
mod known;
mod lines;
mod names;
mod object;
mod series;
mod settings;
mod tally;
mod zipkin;

pub use choice::{Choice, Scope};
pub use known::{Entity, Known};
pub(crate) use series::Series;
pub use series::Target;
pub use settings::{
    ConsumerName, Http, Loggly, Metric, Of, Otlp, Place, Plugin, Recorded, ServiceName, Severities, StatKind, Statsd,
    Switches, Syslog, TagStyle, Tcp, To, Zipkin,
};

use super::batch::post::{Compress, Post};
use super::batch::single::Singles;
use super::batch::{self, BatchMax};
use super::entry::Entry;
use super::fields::Who;
use super::filter::Names;
use super::generation::Encode;
use super::logs::http::{Many, header_lines};
use super::logs::{Sender, Sink, file};
use super::otlp::{self, LogEncoder, Remote, Senders, Signal, SpanEncoder};
use super::transport::{DatagramOut, StreamOut};
use super::{packets, stream, transport};
use crate::section::Wrong;
use crate::tls::{ClientTls, section};
use jiff::tz::TimeZone;
use lines::{Alone, Lines, Local, ToLoggly};
use object::Object;
use serde_json::json;
use std::sync::Arc;
use tally::Tally;

/// The longest object.
const OBJECT_MAX: usize = 256 << 10;
/// The longest in a datagram, with room for what stands before it.
const DATAGRAM_MAX: usize = 64_000;
/// The longest for the local syslog daemon: what rsyslog takes by default.
const LOCAL_MAX: usize = 8_000;
/// Where that daemon listens.
const DEV_LOG: &str = "/dev/log";
/// Permissions of a file that is made, as Kong's.
const FILE_MODE: u32 = 0o644;
/// Bytes of one request of many objects.
const BATCH_BYTES: usize = 1 << 20;
/// Spans of one request at least: a list of one is a list, too.
const SPANS: usize = 100;

/// Asks first whether the plugin is the one that holds.
struct Chosen {
    plugin: Arc<Plugin>,
    inner: Box<dyn Encode>,
}

impl Encode for Chosen {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let Plugin { direction, choice, known, id, .. } = &*self.plugin;
        entry.direction == Some(*direction)
            && choice.for_entry(entry, known) == Some(*id)
            && self.inner.encode(out, entry, who)
    }
}

/// Whether a trace that begins here is told: what its caller recorded is, whatever the share.
impl Recorded {
    fn takes(&self, entry: &Entry<'_>) -> bool {
        let sampled = entry.trace_flags & 1 != 0;
        let own = || (entry.trace_id as u64 >> 1) < (self.ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        sampled && (entry.parent_span != 0 || self.ratio >= 1.0 || own())
    }
}

/// Spans of those traces.
struct Sampled {
    recorded: Recorded,
    inner: SpanEncoder,
}

impl Encode for Sampled {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.recorded.takes(entry) && self.inner.encode(out, entry, who)
    }
}

/// Makes the sink of a plugin.
///
/// # Errors
/// What is wrong, and with which field.
pub(crate) fn build(plugin: &Arc<Plugin>, series: &Arc<Series>) -> Result<Sink, Wrong> {
    let (target, inner, send) = parts(plugin, series)?;
    Ok(Sink { target, encode: Box::new(Chosen { plugin: plugin.clone(), inner }), send })
}

fn parts(plugin: &Arc<Plugin>, series: &Arc<Series>) -> Result<(String, Box<dyn Encode>, Sender), Wrong> {
    let object = |max: usize| Object { known: plugin.known.clone(), max: max.min(plugin.buffer / 2) };
    Ok(match &plugin.to {
        To::Http(http) => {
            let (target, send) = posts(http, http.batch == 1)?;
            (target, Box::new(Alone(object(OBJECT_MAX))), send)
        }
        To::Tcp(tcp) => {
            let tls = tcp.tls.then(|| connector(tcp.sni.clone())).transpose()?;
            let (scheme, place) = (if tcp.tls { "tls" } else { "tcp" }, &tcp.place);
            let to = transport::Place::Tcp { host: place.host.clone(), port: place.port, tls };
            let send: Sender = Box::new(move |outlet, inbox| Box::pin(stream::run(outlet, inbox, StreamOut::new(to))));
            (shown(scheme, place), Box::new(Lines(object(OBJECT_MAX))), send)
        }
        To::Udp(place) => (shown("udp", place), Box::new(Alone(object(DATAGRAM_MAX))), datagrams(place)),
        To::File(path) => {
            let send = file::appending(path.clone(), FILE_MODE);
            (path.display().to_string(), Box::new(Lines(object(OBJECT_MAX))), send)
        }
        To::Syslog(syslog) => {
            let send: Sender = Box::new(move |outlet, inbox| {
                Box::pin(packets::run(outlet, inbox, DatagramOut::unix(std::path::Path::new(DEV_LOG))))
            });
            let encode = Local {
                object: object(LOCAL_MAX),
                severities: syslog.severities,
                facility: syslog.facility,
                zone: TimeZone::system(),
            };
            (format!("unixgram:{DEV_LOG}"), Box::new(encode), send)
        }
        To::Loggly(loggly) => {
            let encode = ToLoggly { object: object(DATAGRAM_MAX - 1024), settings: loggly.clone() };
            (shown("udp", &loggly.place), Box::new(encode), datagrams(&loggly.place))
        }
        To::Statsd(statsd) => {
            let tally = Arc::new(Tally::new(statsd.clone(), plugin.known.clone()));
            let adding = Box::new(tally::Adding(tally.clone()));
            (statsd.place.to_string(), adding, Box::new(move |outlet, _| Box::pin(tally::run(outlet, tally))))
        }
        To::Prometheus(switches) => {
            let adding = series::Adding { series: series.clone(), known: plugin.known.clone(), switches: *switches };
            // Nothing comes; it ends when nobody could tell it anything any more.
            let send: Sender = Box::new(|_, mut inbox| Box::pin(async move { while inbox.wait().await {} }));
            ("/metrics".to_owned(), Box::new(adding), send)
        }
        To::Spans(to, recorded) => {
            let senders = Arc::new(Senders::saying(to.resource.clone()));
            let inner = SpanEncoder::new(Names::default(), false, senders.clone());
            let (target, send) = by_otlp(to, Signal::Traces, senders, "traces_endpoint")?;
            (target, Box::new(Sampled { recorded: *recorded, inner }), send)
        }
        To::Records(to) => {
            let senders = Arc::new(Senders::saying(to.resource.clone()));
            let inner = LogEncoder::new(Names::default(), senders.clone());
            let (target, send) = by_otlp(to, Signal::Logs, senders, "logs_endpoint")?;
            (target, Box::new(inner), send)
        }
        To::Zipkin(zipkin) => {
            let many = Http { batch: zipkin.http.batch.max(SPANS), ..zipkin.http.clone() };
            let (target, send) = posts(&many, false)?;
            let spans = zipkin::Spans { settings: zipkin.clone(), known: plugin.known.clone() };
            (target, Box::new(spans), send)
        }
    })
}

fn shown(scheme: &str, place: &Place) -> String {
    let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
    format!("{scheme}://{host}:{}", place.port)
}

/// Kong believes whoever answers a logger's TLS.
fn believing(sni: Option<String>) -> section::Values {
    section::Values::believing(sni)
}

fn connector(sni: Option<String>) -> Result<crate::tls::Connector, Wrong> {
    ClientTls::from(believing(sni)).connector(&[]).map_err(|why| Wrong::new(why, "see `tls_sni`").of("tls"))
}

fn datagrams(place: &Place) -> Sender {
    let Place { host, port } = place.clone();
    Box::new(move |outlet, inbox| Box::pin(packets::run(outlet, inbox, DatagramOut::udp(&host, port))))
}

/// Requests of one object each, or of lists.
fn posts(http: &Http, single: bool) -> Result<(String, Sender), Wrong> {
    let headers = header_lines(http.headers.iter().map(|(name, value)| (name, value)))?;
    let tls = if http.url.starts_with("https") { believing(None) } else { section::Values::default() };
    let method = http::Method::from_bytes(http.method.as_bytes())
        .map_err(|_| Wrong::new("no method", "write POST").of("method"))?;
    let open = || {
        let post = Post::to("http_endpoint", &http.url, "/", tls.clone(), http.content_type, Compress::None)?;
        Ok(post.method(method.clone()).limit(http.timeout))
    };
    let target = open()?.target();
    if single {
        let singles = Singles::new(open, headers, |post, answer| post.usual(answer))?;
        return Ok((target, Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, singles)))));
    }
    let max = BatchMax { records: http.batch, bytes: BATCH_BYTES, linger: http.linger };
    let many = Many { post: open()?, headers, array: true, max };
    Ok((target, Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, many)))))
}

fn by_otlp(to: &Otlp, signal: Signal, senders: Arc<Senders>, key: &'static str) -> Result<(String, Sender), Wrong> {
    let headers: serde_json::Map<_, _> = to.headers.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
    let values = json!({
        "endpoint": to.url,
        "headers": headers,
        "compress": "none",
        "timeout": {"secs": to.timeout.as_secs(), "nanos": to.timeout.subsec_nanos()},
        "tls": {"verify": !to.url.starts_with("https")},
    });
    let endpoint = |mut wrong: Wrong| {
        if wrong.key == Some("endpoint") {
            wrong.key = Some(key);
        }
        wrong
    };
    let remote = Remote::new(&values).map_err(endpoint)?;
    let target = remote.target(signal);
    Ok((target, Box::new(move |outlet, inbox| Box::pin(otlp::send(outlet, inbox, remote, signal, senders)))))
}

#[cfg(test)]
mod tests;
