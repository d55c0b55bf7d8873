//! A sidecar with a Kong file, and the requests of its rows.

use crate::ask::{Filled, Ports, ask};
use crate::table::{Ask, Case, Row};
use crate::upstream::{ANSWER, Upstreams};
use crate::{judge, sign};
use fourmi_tests::{Fourmi, Setup, free_port};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a row waits for an answer that depends on the time: a minute's window, and then some.
const UNTIL: Duration = Duration::from_secs(90);
/// Between two requests that ask whether it is time.
const PAUSE: Duration = Duration::from_millis(100);

/// The sidecar and what stands behind it.
pub(crate) struct Stage {
    fourmi: Fourmi,
    ports: Ports,
    upstreams: Upstreams,
}

impl Stage {
    /// Starts the upstreams, and Fourmi with the file.
    pub(crate) fn set(case: &Case) -> Self {
        let upstreams = Upstreams::of(&case.kong);
        let https = free_port();
        let setup = Setup::alone();
        let http = setup.inbound_port();
        let names = ["localhost", "h.test", "*.sni.test", "*.bar.sni.test"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        for (name, text) in [
            ("kong.yaml", upstreams.fill(&case.kong)),
            ("cert.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
        ] {
            std::fs::write(setup.folder().join(name), text).unwrap();
        }
        let listeners = format!(
            "inbound:\n- listen: http://127.0.0.1:{http}\n- listen: https://127.0.0.1:{https}\n  \
             tls: {{certificate: cert.pem, key: key.pem}}"
        );
        let mut setup = setup.more(&listeners).more("gateway: kong.yaml").more(&case.fourmi);
        for (name, value) in &case.env {
            setup = setup.env(name, value.clone());
        }
        Stage { fourmi: setup.start(), ports: Ports { http, https }, upstreams }
    }

    /// Sends a row's requests; what is wrong with the answers.
    pub(crate) fn play(&self, row: &Row) -> Vec<String> {
        wait_for(&row.room);
        let mut wrong = Vec::new();
        for (n, ask) in row.requests.iter().enumerate() {
            let found = match ask.until {
                Some(status) => self.until(row, ask, status),
                None => (0..ask.times.unwrap_or(1)).flat_map(|_| self.once(row, ask)).collect(),
            };
            wrong.extend(found.into_iter().map(|w| format!("request {}, {}: {w}", n + 1, ask.send)));
        }
        if !wrong.is_empty() {
            let log = self.fourmi.stderr();
            wrong.extend(log.lines().rev().take(3).map(|l| format!("its log: {l}")));
        }
        wrong
    }

    fn until(&self, row: &Row, ask: &Ask, status: u16) -> Vec<String> {
        let give_up = Instant::now() + UNTIL;
        loop {
            let (answer, seen) = self.send(row, ask);
            if answer.status() == status || Instant::now() > give_up {
                return judge::judge(&self.filled_expectation(ask), &answer, &seen);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn once(&self, row: &Row, ask: &Ask) -> Vec<String> {
        let (answer, seen) = self.send(row, ask);
        judge::judge(&self.filled_expectation(ask), &answer, &seen)
    }

    fn filled_expectation(&self, ask: &Ask) -> crate::table::Expect {
        let mut expect = ask.expect.clone();
        let fill = |map: &mut serde_json::Map<String, serde_json::Value>| {
            for text in map.values_mut() {
                if let Some(filled) = text.as_str().map(|t| self.upstreams.fill(t)) {
                    *text = filled.into();
                }
            }
        };
        fill(&mut expect.headers);
        if let Some(up) = &mut expect.up {
            fill(&mut up.headers);
        }
        expect
    }

    fn send(&self, row: &Row, one: &Ask) -> (fourmi_tests::Message, Vec<crate::upstream::Seen>) {
        let before = self.upstreams.counts();
        let answer = ask(self.ports, one, &filled(row, one));
        let mut seen = self.upstreams.seen();
        for (name, count) in before {
            let mut left = count;
            seen.retain(|s| {
                let old = s.at == name && left > 0;
                left -= usize::from(old);
                !old
            });
        }
        (answer, seen)
    }
}

/// Waits until so much is left of the periods; calendar periods are UTC's.
fn wait_for(room: &BTreeMap<String, u64>) {
    let has_room = |now: u64, (period, seconds): (&String, &u64)| {
        let length = match period.as_str() {
            "minute" => 60,
            "hour" => 3600,
            other => panic!("no such period: {other}"),
        };
        length - now % length > *seconds
    };
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        if room.iter().all(|part| has_room(now, part)) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn filled(row: &Row, ask: &Ask) -> Filled {
    let tokens: Vec<(String, String)> =
        ask.tokens.iter().map(|(name, t)| (format!("@{name}@"), sign::token(t))).collect();
    let fill = |text: &str| {
        let mut text = text.to_owned();
        for (name, token) in &tokens {
            text = text.replace(name, token);
        }
        for (name, seconds) in [("@now@", 0), ("@ten minutes ago@", -600)] {
            if text.contains(name) {
                text = text.replace(name, &sign::http_date(seconds));
            }
        }
        text
    };
    let (method, target) = ask.send.split_once(' ').unwrap_or_else(|| panic!("no target: {:?}", ask.send));
    let (method, target) = (method.to_owned(), fill(target));
    let mut lines: Vec<String> = ask.headers.iter().map(|l| fill(l)).collect();
    if let Some(from) = &ask.from {
        lines.push(format!("X-Forwarded-For: {from}"));
    }
    if let Some(sign) = &ask.sign {
        lines.push(sign::line(sign, &method, &target, &lines));
    }
    if let Some(answers) = &ask.answers {
        let told = serde_json::json!({
            "status": answers.status, "headers": answers.headers, "body": answers.body, "after": answers.after
        });
        lines.push(format!("{ANSWER}: {told}"));
    }
    let body = ask.body.clone().map(String::into_bytes).or_else(|| ask.size.map(|n| vec![b'x'; n]));
    let host = ask.host.clone().unwrap_or_else(|| format!("t{}.test", row.id));
    Filled { method, target, host, lines, body }
}
