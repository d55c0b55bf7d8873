//! An exchange for tests, as a codec would make it.

use crate::exchange::{Command, Direction, Exchange, Head, Headers, Identity, Protocol, Timings, Trace};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A trusted inbound exchange.
pub(crate) fn exchange(method: &str, path: &str, lines: &[(&'static str, &str)]) -> Exchange {
    let mut headers = Headers::default();
    for (name, value) in lines {
        assert!(headers.append(name, value));
    }
    let word: Arc<str> = "test".into();
    Exchange {
        identity: Arc::new(Identity {
            service: word.clone(),
            env: word.clone(),
            hostname: word.clone(),
            tags: Vec::new(),
        }),
        direction: Direction::Inbound,
        protocol: Protocol::Http11,
        peer: None,
        client: None,
        trusted: true,
        request: Head {
            method: method.parse().unwrap(),
            path: path.into(),
            query: None,
            authority: String::new(),
            wire: None,
            headers,
        },
        service: word.clone(),
        route: word,
        consumer: None,
        command: Command::default(),
        trace: Trace::default(),
        timings: Timings { wall: SystemTime::now(), start: Instant::now(), sent: None, answered: None, end: None },
        attempt: 1,
        status: 0,
        grpc_status: None,
        outcome: None,
        fault: None,
        bytes_in: 0,
        bytes_out: 0,
        upstream: None,
    }
}
