//! Stored commands, as callers, operators and workers see them; and a table of cases.

use crate::patience::eventually;
use crate::sidecar::{Ended, Fourmi, run_fourmi_in};
use crate::wire::Message;
use crate::worker::Worker;
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};

impl Fourmi {
    /// A command that is answered when it is stored; `headers` are whole lines.
    #[track_caller]
    pub fn later(&self, path: &str, headers: &str, body: &str) -> Message {
        let answer = self.post(path, &format!("Prefer: respond-async\r\n{headers}"), body);
        assert_eq!(answer.status(), 202, "{}", answer.text());
        answer
    }

    /// The same under this id.
    #[track_caller]
    pub fn later_as(&self, id: &str, headers: &str) -> Message {
        self.later("/orders", &format!("Fourmi-Id: {id}\r\n{headers}"), id)
    }

    /// What the status URL of an answer says.
    #[track_caller]
    pub fn status_of(&self, answer: &Message) -> Value {
        let location = answer.header("location").expect("an answer without Location");
        let status = self.get(location);
        assert_eq!(status.status(), 200, "{location}: {}", status.text());
        status.json()
    }

    /// A command as operators see it; null when there is none.
    #[track_caller]
    pub fn stored(&self, id: &str) -> Value {
        let answer = self.admin("GET", &format!("/api/v1/commands/{id}"));
        if answer.status() == 404 { Value::Null } else { answer.json() }
    }

    /// Waits until a command is in a state; how it is then.
    #[track_caller]
    pub fn becomes(&self, id: &str, state: &str) -> Value {
        let mut last = Value::Null;
        let asked = || {
            last = self.stored(id);
            (last["state"] == state).then(|| last.clone())
        };
        let found = catch_unwind(AssertUnwindSafe(|| eventually(&format!("{id} is {state}"), asked)));
        found.unwrap_or_else(|_| panic!("{id} is not {state}: {}", self.stored(id)))
    }

    /// How many commands are stored, by state.
    #[track_caller]
    pub fn states(&self) -> BTreeMap<String, i64> {
        self.try_states().expect("no answer of the admin API")
    }

    /// The same, when it may not listen yet.
    pub fn try_states(&self) -> Option<BTreeMap<String, i64>> {
        let answer = self.try_admin("GET", "/api/v1/spool").filter(|a| a.status() == 200)?.json();
        let all = answer["states"].as_object()?.iter();
        let count = |of: &Value| of["count"].as_i64().unwrap_or(-1);
        Some(all.map(|(state, of)| (state.clone(), count(of))).filter(|(_, n)| *n != 0).collect())
    }

    /// Waits until exactly so many commands are stored in these states, and none in others.
    #[track_caller]
    pub fn has_states(&self, expected: &[(&str, i64)]) {
        let expected: BTreeMap<String, i64> = expected.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect();
        let mut last = BTreeMap::new();
        let reached = catch_unwind(AssertUnwindSafe(|| {
            eventually("the states", || {
                last = self.states();
                (last == expected).then_some(())
            })
        }));
        assert!(reached.is_ok(), "the states are {last:?}, not {expected:?}");
    }

    /// `fourmi spool …` against this process.
    pub fn spool(&self, arguments: &[&str]) -> Ended {
        let admin = format!("http://127.0.0.1:{}", self.admin_port());
        let all: Vec<&str> = ["spool", "--admin", &admin].into_iter().chain(arguments.iter().copied()).collect();
        run_fourmi_in(self.folder(), &all)
    }

    /// The same; it must succeed.
    #[track_caller]
    pub fn spools(&self, arguments: &[&str]) -> String {
        let ended = self.spool(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }
}

impl Worker {
    /// Gives this answer; every command under /held waits at the latch first.
    pub fn held(answer: &'static str) -> (Worker, Arc<Latch>) {
        let latch = Arc::new(Latch::default());
        let door = latch.clone();
        let worker = Worker::replying(move |request| {
            if request.target() == "/held" {
                door.wait();
            }
            answer.into()
        });
        (worker, latch)
    }

    /// The ids of the commands that it was sent, in order.
    pub fn ids(&self) -> Vec<String> {
        self.requests().iter().filter_map(|r| r.header("fourmi-id").map(str::to_owned)).collect()
    }

    /// How often it was sent this one.
    pub fn had(&self, id: &str) -> usize {
        self.requests().iter().filter(|r| r.header("fourmi-id") == Some(id)).count()
    }
}

/// A door that a worker waits at until the test opens it.
#[derive(Default)]
pub struct Latch {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    /// Waits until it is open.
    pub fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
    }
    /// Opens it.
    pub fn open(&self) {
        self.set(true);
    }
    /// Shuts it again.
    pub fn shut(&self) {
        self.set(false);
    }
    fn set(&self, to: bool) {
        *self.open.lock().unwrap() = to;
        self.changed.notify_all();
    }
}

/// Cases of a table: each is tried, a line says what came of it, and all must be well in the end.
#[derive(Default)]
pub struct Cases {
    passed: usize,
    failed: Vec<String>,
}

impl Cases {
    /// Tries one.
    pub fn case(&mut self, number: &str, what: &str, case: impl FnOnce()) {
        match catch_unwind(AssertUnwindSafe(case)) {
            Ok(()) => {
                self.passed += 1;
                println!("case {number}: {what} … ok");
            }
            Err(_) => {
                self.failed.push(number.to_owned());
                println!("case {number}: {what} … FAILED");
            }
        }
    }

    /// Says how many are well, and fails if not all are.
    #[track_caller]
    pub fn end(self) {
        println!("{}/{}", self.passed, self.passed + self.failed.len());
        assert!(self.failed.is_empty(), "these cases failed: {}", self.failed.join(", "));
    }
}
