//! The whole configuration, once. The check, the defaults, the schema, the environment names, the starter file
//! and the documentation all come from here.

use super::zmq::{KEYS as ZMQ_KEYS, LAYOUT};
use crate::lines::KEYS as LINE_KEYS;
use crate::names::port;
use crate::registry::section::KEYS as DISCOVERY_KEYS;
use crate::section::{Key, Kind, Shape, Word, elsewhere, join, key, later, word};
use crate::sink::{LOG_KEYS, OTLP_METRIC_KEYS, TRACE_KEYS};
use crate::spool::cron::KEYS as CRON_KEYS;
use crate::spool::delivery::KEYS as DELIVERY_KEYS;
use crate::spool::section::KEYS as SPOOL_KEYS;
use crate::tls::section::{KEYS as TLS_KEYS, LISTENER_KEYS};
use crate::upstream::names::section::KEYS as DNS_KEYS;
use crate::upstream::section::{ADDRESSES, POLICY};
use std::time::Duration;

/// What connections without a section `tls` do.
const SYSTEM: &str = "the system's authorities";
const LISTENER_TLS: Key = key(
    "tls",
    Kind::Section(LISTENER_KEYS),
    "The certificates of an `https` listener, and whom it \
     lets in.",
)
.or_words("needed by `https`");

const TEXT: Kind = Kind::Text(Shape::Free);
const POINTER: Kind = Kind::Text(Shape::Pointer);
const ANY_TIME: Kind = Kind::Duration { min: Duration::ZERO, off: false };
const SOME_TIME: Kind = Kind::Duration { min: Duration::from_millis(1), off: false };

/// Words that mean "no".
pub(crate) const OFF: [&str; 2] = ["off", "false"];

pub(crate) const ROOT: &[Key] = &[
    key("service", TEXT, "What the worker is called: on every record, as the label `service`.")
        .or_words("the host's name"),
    key("env", TEXT, "The environment; also the log record's facility.").or("development"),
    key(
        "tags",
        Kind::Named(Shape::TagKey, &TEXT),
        "Tags on every log line; metric labels only if listed in `metrics.labels`.",
    ),
    key("hostname", TEXT, "The machine's or container's name on records.").or_words("the machine's"),
    key("zone", TEXT, "The zone that we are in: instances there are preferred."),
    key(
        "threads",
        Kind::Count { min: 1, max: 256, word: Some(&["auto"]) },
        "Worker threads; each owns its listeners and connections. `auto`: one for each available core.",
    )
    .or("1"),
    key(
        "worker",
        Kind::Short("address", WORKER),
        "The local process that Fourmi stands beside. With nothing but this key Fourmi proxies, logs and counts.",
    ),
    key(
        "inbound",
        Kind::List(&Kind::Section(INBOUND)),
        "Where others' commands to the worker come in. When given, it replaces the default.",
    )
    .or_words("[{listen: \"http://0.0.0.0:25001\"}] when there is a worker"),
    key("outbound", Kind::List(&Kind::Section(OUTBOUND)), "Where the worker's own commands to services come in."),
    key(
        "trusted",
        Kind::List(&Kind::Text(Shape::Network)),
        "Networks whose `Fourmi-*` headers, forwarded addresses and traces are believed.",
    )
    .or("[127.0.0.0/8, '::1/128']"),
    key("gateway", Kind::Any, "A Kong declarative file, or its entities inline: it rules what comes in."),
    key("dns", Kind::Section(DNS_KEYS), "Whom the names of services and workers are asked of."),
    key("commands", Kind::Section(COMMANDS), "How commands are identified and delivered."),
    key("timeouts", Kind::Section(TIMEOUTS), "How long each part of the road may take."),
    key("limits", Kind::Section(LIMITS), "How much of each thing there may be."),
    key("spool", Kind::OrOff(SPOOL_KEYS), "The durable store of accepted commands that are not finished.")
        .or_words("off"),
    key("record", Kind::Section(RECORD), "What records show of a request beside the standard fields, and what never."),
    key("logs", Kind::List(&Kind::Choice(LOG_KEYS)), "Where records go; `[]` for nowhere.")
        .or("[stdout: {format: auto}]"),
    key("worker_logs", Kind::Section(LINE_KEYS), "The worker's own log lines, which go to the sinks of `logs:`."),
    key("metrics", Kind::Section(METRICS), "Which labels there are and where numbers go."),
    key("traces", Kind::Section(TRACES), "Which traces are recorded, and where their spans go."),
    key(
        "discovery",
        Kind::Section(DISCOVERY_KEYS),
        "The registry: who is where, and is well; DNS that answers from it.",
    )
    .or_words("off"),
    later("redis", "Shared limits."),
    elsewhere(
        "tls",
        "write it where it is used: under an `https` listener of `inbound` or `outbound`, under `worker`, or under \
         `outbound[].services.NAME`",
    ),
    key("admin", Kind::OrOff(ADMIN), "Health, metrics and the admin API; `off` for none."),
];

pub(crate) const WORKER: &[Key] = &join::<{ OF_WORKER.len() + POLICY.len() }>(&[OF_WORKER, POLICY]);

const OF_WORKER: &[Key] = &[
    key("address", ADDRESSES, "Where it listens; several that do the same are balanced.").required(),
    key("ready", Kind::Section(READY), "How its readiness is asked; without it, by connecting."),
    key("tls", Kind::Section(TLS_KEYS), "How an `https` or `h2` worker is spoken to.").or_words(SYSTEM),
];

const READY: &[Key] = &[
    key("http", Kind::Text(Shape::Path), "A GET of this path must answer 2xx.").required(),
    key("interval", Kind::Duration { min: Duration::from_millis(10), off: false }, "How often.").or("1s"),
];

pub(crate) const INBOUND: &[Key] = &[
    key(
        "listen",
        Kind::Text(Shape::Listen(port::INBOUND)),
        "HTTP/1, HTTP/2 and ZeroMQ on one port: `http://`, `https://` with `tls` (HTTP only), `zmq+tcp://` and \
         `zmq+ipc://` (ZeroMQ only), or a unix socket.",
    )
    .required(),
    key("proxy_protocol", Kind::Flag, "Trusted peers begin with a PROXY protocol header, v1 or v2.").or("false"),
    LISTENER_TLS,
    LISTENER_ZMQ,
];

const LISTENER_ZMQ: Key = key("zmq", Kind::Section(ZMQ_KEYS), "How messages of ZeroMQ are taken.")
    .or_words("a REQ's messages of one frame or several, answered in the same way");

pub(crate) const OUTBOUND: &[Key] = &[
    key(
        "listen",
        Kind::Text(Shape::Listen(port::OUTBOUND)),
        "The worker sends here: with `Host: NAME.service.fourmi`, or as its `http_proxy`.",
    )
    .required(),
    key(
        "services",
        Kind::Named(Shape::ServiceName, &Kind::Section(SERVICE)),
        "Services by name. Those of all outbound listeners are one list.",
    ),
    LISTENER_TLS,
    LISTENER_ZMQ,
];

pub(crate) const SERVICE: &[Key] = &join::<{ OF_SERVICE.len() + POLICY.len() }>(&[OF_SERVICE, POLICY]);

const OF_SERVICE: &[Key] = &[
    key("address", ADDRESSES, "Where its instances listen.").or_words("those that `discovery` knows of that name"),
    key("rate", Kind::Section(RATE), "How fast commands may leave: what comes sooner waits in order.").or_words("off"),
    later("bind", "The local address to send from."),
    later("allow", "Hosts that may be reached."),
    key("plugins", Kind::Any, "Middlewares that its commands pass, as `plugins:` of a Kong file."),
    key("delivery", Kind::Section(DELIVERY_KEYS), "How its commands are delivered: at once or later.")
        .or_words("at once, unless its caller asks"),
    key("tls", Kind::Section(TLS_KEYS), "How its `https` and `h2` instances are spoken to.").or_words(SYSTEM),
];

const RATE: &[Key] = &[
    key("limit", Kind::Count { min: 1, max: 1_000_000, word: None }, "Commands in each `per`.").required(),
    key("per", Kind::Duration { min: Duration::from_millis(1), off: false }, "The time that they are counted in.")
        .or("1s"),
    key("wait", Kind::Duration { min: Duration::from_millis(1), off: false }, "How long one may wait, before 429.")
        .or("30s"),
    later("shared", "Counted together with other sidecars."),
];

pub(crate) const COMMANDS: &[Key] = &join::<{ OF_COMMANDS.len() + DELIVERY_KEYS.len() }>(&[OF_COMMANDS, DELIVERY_KEYS]);

const OF_COMMANDS: &[Key] = &[
    key("identify", Kind::Section(IDENTIFY), "Where name, id and tags stand when no header says them."),
    key("schedule", Kind::List(&Kind::Section(CRON_KEYS)), "Commands that come again and again.").or("[]"),
    later("callbacks", "Hosts that results may be sent to."),
];

const IDENTIFY: &[Key] = &[
    key("name", POINTER, "JSON pointer to the command's name in the body."),
    key("id", POINTER, "JSON pointer to its id."),
    key("key", POINTER, "JSON pointer to its key: stored commands of one key run one after another."),
    key("tags", Kind::Named(Shape::TagKey, &POINTER), "Tag key and JSON pointer to its value."),
    key("codec", Kind::Word(CODECS), "The envelope of a framework."),
    key("frames", LAYOUT, "What the frames of a ZeroMQ message say, in their order; `body` comes last.").or("[body]"),
];

const CODECS: &[Word] = &[word("symfony"), word("laravel"), word("prooph"), word("bernard"), word("simplebus")];

pub(crate) const TIMEOUTS: &[Key] = &[
    key(
        "head",
        SOME_TIME,
        "A request's head must be complete this long after its first byte or the connection's begin.",
    )
    .or("10s"),
    key("idle", SOME_TIME, "A kept connection of a caller may wait this long for its next request.").or("75s"),
    key("connect", SOME_TIME, "A connection to an instance must stand after this.").or("2s"),
    key("answer", SOME_TIME, "The answer's head must have come this long after the request's.").or("60s"),
    key(
        "whole",
        Kind::Duration { min: Duration::from_millis(1), off: true },
        "The last byte must have left this long after the request's head; streams are exempt.",
    )
    .or("off"),
    key("upstream_idle", SOME_TIME, "A kept connection to an instance is closed after this long unused.").or("4s"),
    key("upstream_age", SOME_TIME, "A connection to an instance takes no further command after this long.").or("1h"),
    key("caller_age", SOME_TIME, "A caller's connection is asked to end after this long.").or("1h"),
    key("drain", ANY_TIME, "How long commands in flight may go on after the stop signal.").or("25s"),
    key("hold", SOME_TIME, "How long a command waits for a worker that is not ready, before 503.").or("2s"),
];

pub(crate) const LIMITS: &[Key] = &[
    key("head", Kind::Bytes { min: 256, max: 16 << 20 }, "Bytes of a request's header block.").or("64KiB"),
    key("headers", Kind::Count { min: 1, max: 10_000, word: None }, "Lines of a request's header block.").or("100"),
    key("body", Kind::Bytes { min: 1, max: 1 << 50 }, "Bytes of a request's body.").or("1GiB"),
    key(
        "connections",
        Kind::Count { min: 1, max: 10_000_000, word: None },
        "Connections of callers at once, over all listeners and threads.",
    )
    .or("10000"),
];

const RECORD: &[Key] = &[
    key("headers", Kind::List(&HEADER), "Request headers, each as the field `header_NAME`.").or("[]"),
    key("path", Kind::Flag, "The fields `method` and `path`.").or("false"),
    key("query", Kind::Flag, "The field `query`.").or("false"),
    key(
        "redact",
        Kind::Section(REDACT),
        "What is replaced by `[redacted]`, beside what always is: credentials by their names and looks.",
    ),
];

const HEADER: Kind = Kind::Text(Shape::Header);

const REDACT: &[Key] = &[
    key("headers", Kind::List(&HEADER), "Headers.").or("[]"),
    key("query", Kind::List(&TEXT), "Query parameters.").or("[]"),
    key("json", Kind::List(&POINTER), "JSON pointers into the worker's own log lines; `*` stands for any one part.")
        .or("[]"),
];

pub(crate) const METRICS: &[Key] = &[
    key("labels", Kind::List(&Kind::Text(Shape::TagKey)), "Tag keys that become labels and are counted by value.")
        .or("[]"),
    key("sinks", Kind::List(&Kind::Choice(SINKS)), "Where numbers go; `[]` for nowhere.").or("[prometheus: {}]"),
];

const SINKS: &[Key] = &[
    key("statsd", Kind::Section(STATSD), "Lines to a StatsD daemon."),
    key("prometheus", Kind::Section(&[]), "`/metrics` of the admin listener."),
    key("otlp", Kind::Section(OTLP_METRIC_KEYS), "Data points to an OpenTelemetry receiver, by OTLP over HTTP."),
];

const TRACES: &[Key] = &[
    key("otlp", Kind::Section(TRACE_KEYS), "Spans to an OpenTelemetry receiver, by OTLP over HTTP with protobuf."),
    key(
        "sample",
        Kind::Share,
        "The share of the traces that begin here and are recorded; what a caller has decided stays.",
    )
    .or("1"),
    key("errors", Kind::Flag, "Spans of commands that failed are sent even when their trace is not recorded.")
        .or("true"),
];

const STATSD: &[Key] = &[
    key(
        "to",
        Kind::Text(Shape::Receiver(&["udp", "tcp", "unixgram", "unix"], port::STATSD)),
        "The receiver: `udp://HOST[:PORT]`, `tcp://HOST[:PORT]` (port 8125 by default), `unixgram:/PATH` or \
         `unix:/PATH`.",
    )
    .required(),
    key(
        "dialect",
        Kind::Word(&[word("plain"), word("datadog"), word("influx"), word("graphite")]),
        "How tags are written.",
    )
    .or("plain"),
    key("interval", Kind::Duration { min: Duration::from_millis(100), off: false }, "How often sums leave.").or("10s"),
    key(
        "packet",
        Kind::Count { min: 512, max: 65_507, word: None },
        "Largest packet in bytes; 1432 by default, 8192 over a unix socket, where more is not used.",
    ),
    key(
        "samples",
        Kind::Count { min: 1, max: 1024, word: None },
        "Durations sent at most of each series, thread and interval; their rate stands for the others.",
    )
    .or("64"),
];

const ADMIN: &[Key] = &[
    key("listen", Kind::Text(Shape::Socket), "Address and port; keep it on loopback.").or("127.0.0.1:9901"),
    key(
        "token_file",
        Kind::Text(Shape::File),
        "A file that holds a token: who sends it may ask from elsewhere too, and nobody may ask without it.",
    ),
    key("read_only", Kind::Flag, "Nothing can be changed through the listener.").or("false"),
    key("peers", Kind::List(&Kind::Short("address", PEER)), "Other Fourmis that its page looks at too.").or("[]"),
];

const PEER: &[Key] = &[
    key(
        "address",
        Kind::Text(Shape::Receiver(&["http"], port::ADMIN)),
        "Its admin listener, `http://HOST[:PORT]`, port 9901 by default.",
    )
    .required(),
    key("token_file", Kind::Text(Shape::File), "A file that holds its token."),
];
