//! Failed tries, as the exchange remembers them.

use super::*;
use crate::command::testing::exchange;
use crate::exchange::{ATTEMPTS_MAX, ConnectionSide, Direction};
use crate::upstream::{Kept, Member, Place, Pool, Scheme, Standing, Target};
use std::cell::Cell;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Default)]
struct Retries(Cell<usize>);

impl Tell for Retries {
    fn in_flight(&self, _: Direction, _: i64) {}
    fn begun(&self, _: &Exchange) {}
    fn log(&self, _: &Exchange) {}
    fn count(&self, _: &Exchange) {}
    fn rejected(&self, _: &'static str) {}
    fn retried(&self, _: &'static str) {
        self.0.set(self.0.get() + 1);
    }
    fn connection(&self, _: ConnectionSide, _: i64) {}
}

/// Sends one command where so many instances are gone and the last one answers; gives back the exchange and how often
/// a retry was counted.
fn sent_past(gone: usize) -> (Exchange, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let _ = socket.read(&mut head).await;
                let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        });
        let tell = Rc::new(Retries::default());
        let folder = tempfile::tempdir().unwrap();
        let nobody = (0..gone).map(|n| Place::Unix(folder.path().join(format!("{n}.sock"))));
        let members = nobody
            .chain([Place::Tcp("127.0.0.1".to_owned(), port)])
            .map(|place| {
                // The one that answers comes last.
                let priority = u16::from(matches!(place, Place::Tcp(..)));
                let member = Member::new(Target { scheme: Scheme::Http, place }, Standing::new(false));
                Member { priority, ..member }
            })
            .collect();
        let mut ex = exchange("POST", "/", &[]);
        ex.request.authority = "test".to_owned();
        let timeouts = Timeouts::default();
        let kept = Kept::new("test".into(), Pool::new(members), tell.clone());
        let cluster = Cluster::new(kept, Arc::default(), true);
        let mut task = Task {
            body: &mut Body::Empty,
            lines: None,
            upload: None,
            key: None,
            early: &Early::default(),
            timeouts: &timeouts,
            by: ex.timings.start + timeouts.answer,
            tell: &*tell,
            ex: &mut ex,
        };
        let sent = match send(&cluster, &mut task).await {
            Ok(sent) => sent,
            Err(Failure::Fault(fault)) => panic!("{fault:?}"),
            Err(Failure::Late(_)) => panic!("late"),
        };
        assert_eq!(sent.status, 204);
        (ex, tell.0.get())
    })
}

#[test]
fn thirteen_connects_elsewhere_are_thirteen_attempts() {
    let (ex, retries) = sent_past(13);
    assert_eq!((ex.attempts.len(), retries, ex.attempt), (13, 13, 1));
    for (n, attempt) in ex.attempts.iter().enumerate() {
        assert!(attempt.upstream.ends_with(".sock"), "{n}: {attempt:?}");
        assert_eq!(attempt.code, FaultKind::Unreachable.code());
        assert!(!attempt.detail.is_empty() && attempt.detail.len() <= 160, "{attempt:?}");
    }
    assert!(ex.attempts.is_sorted_by_key(|a| a.at));
    assert!(ex.upstream.is_some_and(|u| u.starts_with("http://127.0.0.1:")), "who answered");
}

#[test]
fn attempts_are_few_and_cost_nothing_when_there_are_none() {
    let (ex, retries) = sent_past(ATTEMPTS_MAX + 4);
    assert_eq!((ex.attempts.len(), retries), (ATTEMPTS_MAX, ATTEMPTS_MAX + 4));
    let (ex, retries) = sent_past(0);
    assert_eq!((ex.attempts.capacity(), retries), (0, 0));

    let mut ex = exchange("GET", "/", &[]);
    ex.attempt_failed(&"a".into(), ex.timings.start, FaultKind::Broken, "é".repeat(200));
    assert_eq!((ex.attempts[0].code, ex.attempts[0].detail.len()), ("broken", 160));
}
