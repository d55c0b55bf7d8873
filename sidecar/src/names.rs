//! Every public name in one place: headers, metrics, log fields, default ports.
//!
//! Users build searches, dashboards and alerts on these words, so they never change silently.

/// Header names, lower case as HTTP/2 wants them.
pub mod header {
    #![allow(missing_docs)]
    pub const COMMAND: &str = "fourmi-command";
    pub const ID: &str = "fourmi-id";
    pub const TAGS: &str = "fourmi-tags";
    pub const ATTEMPT: &str = "fourmi-attempt";
    pub const DEADLINE: &str = "fourmi-deadline";
    pub const MODE: &str = "fourmi-mode";
    pub const AT: &str = "fourmi-at";
    pub const DELAY: &str = "fourmi-delay";
    pub const EXPIRES: &str = "fourmi-expires";
    pub const KEY: &str = "fourmi-key";
    pub const FRAMES: &str = "fourmi-frames";
    pub const BEFORE: &str = "fourmi-before";
    pub const CURVE: &str = "fourmi-curve-key";
    pub const STATE: &str = "fourmi-state";
    pub const DURABILITY: &str = "fourmi-durability";
    pub const RETRY: &str = "fourmi-retry";
    pub const PREFER: &str = "prefer";
    pub const PREFERENCE_APPLIED: &str = "preference-applied";
    pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
    pub const GRPC_TIMEOUT: &str = "grpc-timeout";
    pub const PREFIX: &str = "fourmi-";
    pub const TRACEPARENT: &str = "traceparent";
    pub const TRACESTATE: &str = "tracestate";
    pub const BAGGAGE: &str = "baggage";
    pub const B3: &str = "b3";
    pub const X_B3: &str = "x-b3-";
    pub const X_B3_TRACE_ID: &str = "x-b3-traceid";
    pub const X_B3_SPAN_ID: &str = "x-b3-spanid";
    pub const X_B3_PARENT_SPAN_ID: &str = "x-b3-parentspanid";
    pub const X_B3_SAMPLED: &str = "x-b3-sampled";
    pub const X_B3_FLAGS: &str = "x-b3-flags";
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
    pub const X_FORWARDED_FOR: &str = "x-forwarded-for";
    pub const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
    pub const X_FORWARDED_HOST: &str = "x-forwarded-host";
    pub const X_FORWARDED_PORT: &str = "x-forwarded-port";
    pub const X_REAL_IP: &str = "x-real-ip";
    pub const FORWARDED: &str = "forwarded";
    pub const CHANGE: &str = "fourmi-change";
}

/// Metric names as Prometheus shows them. StatsD drops the suffix `_total` or `_seconds` and uses dots.
pub mod metric {
    #![allow(missing_docs)]
    pub const COMMANDS: &str = "fourmi_commands_total";
    pub const COMMAND_DURATION: &str = "fourmi_command_duration_seconds";
    pub const UPSTREAM_DURATION: &str = "fourmi_upstream_duration_seconds";
    pub const OVERHEAD: &str = "fourmi_overhead_seconds";
    pub const IN_FLIGHT: &str = "fourmi_commands_in_flight";
    pub const WAITING: &str = "fourmi_commands_waiting";
    pub const TAG: &str = "fourmi_tag_total";
    pub const REJECTED: &str = "fourmi_rejected_total";
    pub const RETRIES: &str = "fourmi_retries_total";
    pub const RETRIES_SKIPPED: &str = "fourmi_retries_skipped_total";
    pub const LIMIT_FALLBACKS: &str = "fourmi_limit_fallbacks_total";
    pub const ANSWERS_DROPPED: &str = "fourmi_answers_dropped_total";
    pub const INSTANCES: &str = "fourmi_instances";
    pub const CERTIFICATE_EXPIRES: &str = "fourmi_certificate_expires_timestamp_seconds";
    pub const SINK_RECORDS: &str = "fourmi_sink_records_total";
    pub const SINK_TROUBLES: &str = "fourmi_sink_troubles_total";
    pub const WORKER_LINES: &str = "fourmi_worker_lines_total";
    pub const CONNECTIONS: &str = "fourmi_connections";
    pub const DNS_QUERIES: &str = "fourmi_dns_queries_total";
    pub const REGISTRY_AWAY: &str = "fourmi_registry_away_seconds";
    pub const SPOOL_COMMANDS: &str = "fourmi_spool_commands";
    pub const SPOOL_OLDEST_AGE: &str = "fourmi_spool_oldest_age_seconds";
    pub const SPOOL_TRANSITIONS: &str = "fourmi_spool_transitions_total";
    pub const SPOOL_REFUSED: &str = "fourmi_spool_refused_total";
    pub const SPOOL_BYTES: &str = "fourmi_spool_bytes";
    pub const RELOADS: &str = "fourmi_reloads_total";
    pub const LABEL_COLLISIONS: &str = "fourmi_label_collisions_total";
    pub const BUILD_INFO: &str = "fourmi_build_info";
}

/// Where Fourmi listens when the file does not say.
pub mod port {
    #![allow(missing_docs)]
    pub const INBOUND: u16 = 25001;
    pub const OUTBOUND: u16 = 15001;
    pub const ADMIN: u16 = 9901;
    pub const DNS: u16 = 8600;
    pub const CONSUL: u16 = 8500;
    pub const GRAYLOG: u16 = 12201;
    pub const STATSD: u16 = 8125;
    pub const SYSLOG_UDP: u16 = 514;
    pub const SYSLOG_TCP: u16 = 601;
    pub const SYSLOG_TLS: u16 = 6514;
}

/// What may stand behind a service's name in a host, where there is no registry that says otherwise.
pub const SUFFIX: &str = ".service.fourmi";
/// What stands for everything beyond a limit on distinct values (commands, series).
pub const OTHER: &str = "_other";
/// Distinct command names that become metric series; the rest is [`OTHER`]. Logs keep the true name.
pub const COMMANDS_MAX: usize = 200;
/// Series a metric may have; the rest folds into [`OTHER`].
pub const SERIES_MAX: usize = 2000;
/// What paths begin with that are ours on the listeners of commands.
pub const OWN: &str = "/.fourmi/";
