//! Delivery, case by case: answered now or later, scheduled, tried again, in order, once.

use fourmi_tests::{Cases, Fourmi, Latch, Setup, Worker, free_port, until};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"done\": 1}";

fn status(code: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {code} No\r\n{headers}Content-Length: 2\r\n\r\nno").into()
}

fn beside(worker: &Worker, commands: &str) -> Setup {
    Setup::beside(worker.address()).more(&format!("commands: {{{commands}}}")).more("spool: {path: ./spool}")
}

/// The steps of a command's history: state and attempt.
fn steps(command: &Value) -> Vec<String> {
    let all = command["history"].as_array().unwrap().iter();
    all.map(|step| format!("{} {}", step["state"].as_str().unwrap(), step["attempt"])).collect()
}

#[test]
fn now_or_later() {
    let mut cases = Cases::default();
    let (worker, latch) = Worker::held(OK);
    let mut fourmi = beside(&worker, "wait: 100ms").start();
    cases.case(
        "23",
        "respond-async: 202 with Location; there running, then succeeded with the worker's answer",
        || {
            latch.shut();
            let answer = fourmi.later("/held", "Content-Type: text/plain\r\nPrefer: return=minimal\r\n", "body");
            assert_eq!(answer.header("preference-applied"), Some("respond-async"));
            assert_eq!(answer.header("fourmi-durability"), Some("disk"));
            assert_eq!(answer.header("vary"), Some("Prefer"));
            assert!(answer.header("retry-after").is_some());
            let id = answer.header("fourmi-id").unwrap();
            assert_eq!(answer.json()["id"], *id);
            fourmi.becomes(id, "running");
            let status = fourmi.status_of(&answer);
            assert_eq!((&status["state"], &status["result"]), (&json!("running"), &Value::Null));
            latch.open();
            fourmi.becomes(id, "succeeded");
            let status = fourmi.status_of(&answer);
            assert_eq!(
                status["result"],
                json!({"status": 200, "content_type": "application/json", "body": {"done": 1}})
            );
            assert_eq!((&status["attempt"], &status["id"]), (&json!(1), &json!(id)));
            let seen = worker.last();
            assert_eq!((seen.method(), seen.target(), &*seen.text()), ("POST", "/held", "body"));
            assert_eq!((seen.header("content-type"), seen.header("fourmi-attempt")), (Some("text/plain"), None));
            assert_eq!(seen.header("prefer"), Some("return=minimal"), "only what was asked of Fourmi is taken");
            // Who guesses learns nothing: a wrong token, none, another command's.
            let location = answer.header("location").unwrap();
            let other = fourmi.later("/", "", "");
            let token = |of: &str| of.split_once("token=").unwrap().1.to_owned();
            let wrong = location.replace(&token(location), &token(other.header("location").unwrap()));
            for wrong in
                [location.split('?').next().unwrap(), &wrong, &format!("{location}0"), "/.fourmi/commands/x?token=1-0"]
            {
                assert_eq!(fourmi.get(wrong).status(), 404, "{wrong}");
            }
            assert_eq!(fourmi.post(location, "", "").status(), 405, "it is read by GET");
        },
    );
    cases.case("24a", "a key's order holds for whoever would wait for its answer, too", || {
        latch.shut();
        let (key, prefer) = ("Fourmi-Key: k\r\n", "Prefer: respond-async, wait=30\r\n");
        fourmi.later("/held", &format!("{key}Fourmi-Id: first\r\n"), "");
        until("the first is in the worker's hands", || worker.had("first") == 1);
        let second = fourmi.post("/held", &format!("{prefer}{key}Fourmi-Id: second\r\n"), "");
        assert_eq!((second.status(), second.header("fourmi-state")), (202, Some("ready")));
        assert_eq!(worker.had("second"), 0);
        latch.open();
        fourmi.becomes("second", "succeeded");
        // Where it is its turn it is sent at once, and others wait for it.
        latch.shut();
        let before = worker.requests().len();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| fourmi.post("/held", &format!("{prefer}{key}"), ""));
            until("it is in the worker's hands", || worker.requests().len() > before);
            fourmi.later_as("third", key);
            assert_eq!(fourmi.stored("third")["held"], true);
            latch.open();
            assert_eq!(waits.join().unwrap().status(), 200);
        });
        fourmi.becomes("third", "succeeded");
    });
    cases.case("24", "respond-async, wait: the answer if it comes in time, else 202, and one execution in all", || {
        latch.open();
        let answer = fourmi.post("/held", "Prefer: respond-async, wait=30\r\nFourmi-Id: quick\r\n", "");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "{\"done\": 1}"));
        latch.shut();
        let answer = fourmi.post("/held", "Prefer: respond-async, wait=1\r\nFourmi-Id: slow\r\n", "");
        assert_eq!((answer.status(), answer.header("preference-applied")), (202, Some("respond-async")));
        assert_eq!(fourmi.status_of(&answer)["state"], "running");
        // Without an id of the caller's, too.
        let nameless = fourmi.post("/held", "Prefer: respond-async, wait=1\r\n", "");
        assert_eq!(nameless.status(), 202);
        latch.open();
        fourmi.becomes("slow", "succeeded");
        until("the nameless one, too", || fourmi.status_of(&nameless)["state"] == "succeeded");
        assert_eq!((worker.had("quick"), worker.had("slow")), (1, 1));
        assert_eq!(worker.had(nameless.header("fourmi-id").unwrap()), 1);
    });
    cases.case("25", "killed after 202, again and again: each is executed", || {
        for nth in 0..20 {
            let id = format!("killed-{nth}");
            fourmi.later_as(&id, "");
            fourmi.start_again();
            fourmi.becomes(&id, "succeeded");
            assert!(worker.had(&id) >= 1, "{id}");
        }
    });
    cases.case("27a", "Fourmi-Delay: not before its time; down at that time, right after the start", || {
        let before = Instant::now();
        let answer = fourmi.post("/orders", "Fourmi-Id: due\r\nFourmi-Delay: 1s\r\n", "");
        assert_eq!((answer.status(), answer.header("fourmi-state")), (202, Some("scheduled")));
        assert_eq!(fourmi.stored("due")["state"], "scheduled");
        until("it runs", || worker.had("due") == 1);
        assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
        let at = SystemTime::now() + Duration::from_millis(1500);
        let at = jiff::Timestamp::try_from(at).unwrap().to_string();
        assert_eq!(fourmi.post("/orders", &format!("Fourmi-Id: down\r\nFourmi-At: {at}\r\n"), "").status(), 202);
        fourmi.kill();
        until("its time has come", || jiff::Timestamp::now().to_string() > at);
        assert_eq!(worker.had("down"), 0);
        fourmi.start_again();
        fourmi.becomes("down", "succeeded");
    });
    cases.case("27b", "Fourmi-Expires has passed: expired, never run", || {
        fourmi.post("/orders", "Fourmi-Id: expires\r\nFourmi-Delay: 200ms\r\nFourmi-Expires: 200ms\r\n", "");
        fourmi.kill();
        let over = Instant::now() + Duration::from_millis(500);
        until("its time has passed", || Instant::now() > over);
        fourmi.start_again();
        let ended = fourmi.becomes("expires", "expired");
        assert!(ended["error"].as_str().unwrap().contains("Fourmi-Expires"), "{ended}");
        assert_eq!(worker.had("expires"), 0);
        // It had time until then: it is done.
        fourmi.post("/orders", "Fourmi-Id: in-time\r\nFourmi-Expires: 1h\r\n", "");
        fourmi.becomes("in-time", "succeeded");
    });
    cases.case("28", "Fourmi-At too far ahead, in another age, or no time at all: 400 with a problem's type", || {
        let days = jiff::Timestamp::now() + Duration::from_secs(31 * 24 * 3600);
        for (line, word) in [
            (format!("Fourmi-At: {days}"), "commands.horizon"),
            ("Fourmi-At: tomorrow".to_owned(), "Fourmi-At"),
            ("Fourmi-Delay: 1.5s".to_owned(), "Fourmi-Delay"),
            ("Fourmi-Mode: lazy".to_owned(), "sync-or-fail"),
        ] {
            let answer = fourmi.post("/orders", &format!("{line}\r\n"), "");
            assert_eq!((answer.status(), answer.header("content-type")), (400, Some("application/problem+json")));
            let problem = answer.json();
            assert!(problem["type"].as_str().is_some_and(|t| t.contains("bad-request")), "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
        }
    });
    cases.end();
}

#[test]
fn tried_again() {
    let mut cases = Cases::default();
    let times: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let seen = times.clone();
    let worker = Worker::replying(move |request| {
        let id = request.header("fourmi-id").unwrap_or_default().to_owned();
        let mut seen = seen.lock().unwrap();
        seen.push((id.clone(), Instant::now()));
        let first = seen.iter().filter(|(i, _)| *i == id).count() == 1;
        match request.target() {
            "/busy" => status(503, ""),
            "/later" if first => status(503, "Retry-After: 1\r\n"),
            "/wants" if first => status(400, "Fourmi-Retry: after=50ms\r\n"),
            "/never" => status(500, "Fourmi-Retry: no\r\n"),
            "/wrong" => status(422, ""),
            _ => OK.into(),
        }
    });
    let gaps = |id: &str| {
        let times = times.lock().unwrap();
        let of: Vec<Instant> = times.iter().filter(|(i, _)| i == id).map(|(_, at)| *at).collect();
        of.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect::<Vec<_>>()
    };
    let fourmi = beside(&worker, "retry: {delays: [100ms, 300ms, 200ms], jitter: 0, max_attempts: 5}").start();
    cases.case("29", "503 again and again: by the schedule, its last delay repeats, then dead", || {
        let answer = fourmi.later("/busy", "Fourmi-Id: busy\r\n", "");
        let dead = fourmi.becomes("busy", "dead");
        let gaps = gaps("busy");
        let least = [100, 300, 200, 200];
        assert!(gaps.len() == 4 && gaps.iter().zip(least).all(|(gap, least)| *gap >= least), "{gaps:?}");
        let history = [
            "ready 0",
            "running 1",
            "retrying 1",
            "running 2",
            "retrying 2",
            "running 3",
            "retrying 3",
            "running 4",
            "retrying 4",
            "running 5",
            "dead 5",
        ];
        assert_eq!(steps(&dead), history);
        assert!(dead["error"].as_str().unwrap().contains("retry.max_attempts"), "{dead}");
        let requests = worker.requests();
        let attempts: Vec<Option<&str>> = requests.iter().map(|r| r.header("fourmi-attempt")).collect();
        assert_eq!(attempts, [None, Some("2"), Some("3"), Some("4"), Some("5")]);
        let told = fourmi.status_of(&answer);
        assert_eq!((&told["state"], &told["result"]["status"]), (&json!("dead"), &json!(503)));
    });
    cases.case("30", "what is wrong for good is dead at once; Retry-After and Fourmi-Retry are obeyed", || {
        for (path, id, answer) in [("/wrong", "wrong", 422), ("/never", "never", 500)] {
            fourmi.later(path, &format!("Fourmi-Id: {id}\r\n"), "");
            let dead = fourmi.becomes(id, "dead");
            assert_eq!((worker.had(id), &dead["status"]), (1, &json!(answer)));
            assert!(dead["error"].as_str().unwrap().contains(&answer.to_string()), "{dead}");
        }
        for (path, id, least) in [("/later", "later", 1000), ("/wants", "wants", 50)] {
            fourmi.later(path, &format!("Fourmi-Id: {id}\r\n"), "");
            assert_eq!(fourmi.becomes(id, "succeeded")["attempt"], 2);
            let gaps = gaps(id);
            assert!(gaps.len() == 1 && gaps[0] >= least, "{gaps:?}");
        }
    });
    cases.case("31", "300 wait for a worker that comes back: one probe, then more; live requests all succeed", || {
        let port = free_port();
        let fourmi = Setup::beside(&format!("http://127.0.0.1:{port}"))
            .more("commands: {retry: {delays: [100ms]}}\nspool: {path: ./spool}");
        let mut fourmi = fourmi.spawn();
        fourmi.wait_live();
        for nth in 0..300 {
            fourmi.later("/stored", &format!("Fourmi-Id: stored-{nth}\r\n"), "");
        }
        let latch = Arc::new(Latch::default());
        let (door, now, most) = (latch.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inside, peak) = (now.clone(), most.clone());
        let worker = Worker::replying_on(port, move |request| {
            if request.target() == "/stored" {
                peak.fetch_max(inside.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                door.wait();
                std::thread::sleep(Duration::from_millis(5));
                inside.fetch_sub(1, Ordering::AcqRel);
            }
            OK.into()
        });
        fourmi.wait_ready();
        until("the probe is there", || now.load(Ordering::Acquire) == 1);
        let live = || (0..30).all(|_| fourmi.post("/live", "", "").status() == 200);
        assert!(live() && now.load(Ordering::Acquire) == 1, "while it is out, no other follows");
        latch.open();
        assert!(live(), "none is disturbed");
        fourmi.has_states(&[("succeeded", 300)]);
        let most = most.load(Ordering::Acquire);
        println!("    300 done, at most {most} at once; each once: {}", worker.ids().len());
        assert!(most > 1 && most <= 64, "{most}");
        assert!((0..300).all(|nth| worker.had(&format!("stored-{nth}")) == 1));
        assert!((0..300).all(|nth| fourmi.stored(&format!("stored-{nth}"))["attempt"] == 1), "refusals burn none");
    });
    cases.case("34", "a key's commands one after the other, also when the first fails; others are not delayed", || {
        let order: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = order.clone();
        let worker = Worker::replying(move |request| {
            let id = request.header("fourmi-id").unwrap_or_default().to_owned();
            let mut seen = seen.lock().unwrap();
            seen.push(id.clone());
            let fails = id == "one" && seen.iter().filter(|i| **i == id).count() <= 2;
            if fails { status(500, "") } else { OK.into() }
        });
        let fourmi = beside(&worker, "retry: {delays: [1s], jitter: 0}").start();
        for id in ["one", "two", "three"] {
            fourmi.later_as(id, "Fourmi-Key: order-7\r\n");
        }
        fourmi.later_as("other", "Fourmi-Key: order-8\r\n");
        fourmi.becomes("other", "succeeded");
        let held = fourmi.stored("two");
        assert_eq!((&held["held"], &held["key"]), (&json!(true), &json!("order-7")), "{held}");
        fourmi.becomes("three", "succeeded");
        let order = order.lock().unwrap().clone();
        let of: Vec<&str> = order.iter().map(String::as_str).filter(|id| *id != "other").collect();
        assert_eq!(of, ["one", "one", "one", "two", "three"]);
        let place = |id: &str| order.iter().position(|i| i == id).unwrap();
        assert!(place("other") < place("two"), "{order:?}");
    });
    cases.end();
}

/// Both at the same time.
fn both(fourmi: &Fourmi, headers: &str, body: &str) -> Vec<u16> {
    let ready = Barrier::new(2);
    let send = || {
        ready.wait();
        fourmi.post("/held", headers, body).status()
    };
    std::thread::scope(|scope| {
        let all = [scope.spawn(send), scope.spawn(send)];
        let mut all: Vec<u16> = all.map(|one| one.join().unwrap()).into();
        all.sort_unstable();
        all
    })
}

#[test]
fn once_by_id() {
    let mut cases = Cases::default();
    let latch = Arc::new(Latch::default());
    let (door, fails) = (latch.clone(), Arc::new(AtomicUsize::new(0)));
    let failing = fails.clone();
    let worker = Worker::replying(move |request| match request.target() {
        "/held" => {
            door.wait();
            OK.into()
        }
        "/fails" if failing.fetch_add(1, Ordering::AcqRel) == 0 => status(500, ""),
        "/wrong" => status(422, ""),
        _ => OK.into(),
    });
    let fourmi = beside(&worker, "idempotency: true").start();
    let key = "Idempotency-Key: \"8e03\"\r\n";
    cases.case("35", "the same key twice: at once 409; later the same answer; another body 422", || {
        let statuses = std::thread::scope(|scope| {
            let all = scope.spawn(|| both(&fourmi, key, "pay"));
            until("one is in the worker's hands", || worker.had("8e03") == 1);
            // The other one has been told so, before the first has its answer.
            fourmi.counts("fourmi_commands_total", &[("outcome", "rejected")], 1.0);
            latch.open();
            all.join().unwrap()
        });
        assert_eq!(statuses, [200, 409]);
        let again = fourmi.post("/held", key, "pay");
        assert_eq!((again.status(), again.header("idempotency-replayed")), (200, Some("true")));
        assert_eq!((again.text().as_str(), again.header("content-type")), ("{\"done\": 1}", Some("application/json")));
        let other = fourmi.post("/held", key, "pay more");
        assert_eq!(other.status(), 422, "{}", other.text());
        assert_eq!(fourmi.post("/elsewhere", key, "pay").status(), 422, "nor for another target");
        assert_eq!(worker.had("8e03"), 1);
        // What a worker refuses for good it refuses again, without being asked.
        let wrong = "Idempotency-Key: wrong\r\n";
        let statuses: Vec<u16> = (0..2).map(|_| fourmi.post("/wrong", wrong, "").status()).collect();
        assert_eq!((statuses, worker.had("wrong")), (vec![422, 422], 1));
    });
    cases.case("36", "what failed is done again under the same key", || {
        let key = "Idempotency-Key: fails\r\n";
        assert_eq!(fourmi.post("/fails", key, "").status(), 500);
        let again = fourmi.post("/fails", key, "");
        assert_eq!((again.status(), again.header("idempotency-replayed")), (200, None));
        assert_eq!((fourmi.post("/fails", key, "").status(), worker.had("fails")), (200, 2));
    });
    cases.case("36a", "what was answered 202 and waits is answered 202 again, also to one who would wait", || {
        fourmi.spools(&["pause"]);
        let key = "Idempotency-Key: accepted\r\n";
        let first = fourmi.later("/x", key, "");
        let again = fourmi.post("/x", key, "");
        assert_eq!((again.status(), again.header("idempotency-replayed")), (202, Some("true")), "{}", again.text());
        assert_eq!(again.header("location"), first.header("location"));
        fourmi.spools(&["resume"]);
        fourmi.becomes("accepted", "succeeded");
        assert_eq!((fourmi.post("/x", key, "").status(), worker.had("accepted")), (200, 1));
    });
    cases.case(
        "39",
        "events: who comes back with Last-Event-ID misses nothing; what is finished says so at once",
        || {
            latch.shut();
            let answer = fourmi.later("/held", "Fourmi-Id: watched\r\n", "");
            fourmi.becomes("watched", "running");
            let location = answer.header("location").unwrap();
            let watch = |headers: &str| {
                let mut client = fourmi.client();
                client.send(format!(
                    "GET {location} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n{headers}\r\n"
                ));
                let head = client.answer_head();
                assert_eq!((head.status(), head.header("content-type")), (200, Some("text/event-stream")));
                client
            };
            // One event after the other, out of their chunks.
            let event = |client: &mut fourmi_tests::Client| {
                let chunk = client.wire.chunk().unwrap().unwrap();
                String::from_utf8(chunk).unwrap()
            };
            let states = |text: &str| {
                let data = text.lines().filter_map(|l| l.strip_prefix("data: "));
                data.map(|d| serde_json::from_str::<Value>(d).unwrap()["state"].as_str().unwrap().to_owned()).collect()
            };
            let mut client = watch("");
            let mut seen: Vec<String> = Vec::new();
            let mut last = String::new();
            while seen.last().map(String::as_str) != Some("running") {
                let text = event(&mut client);
                last = text.lines().filter_map(|l| l.strip_prefix("id: ")).next_back().unwrap_or(&last).to_owned();
                seen.extend::<Vec<String>>(states(&text));
            }
            assert_eq!(seen, ["ready", "running"]);
            drop(client);
            latch.open();
            fourmi.becomes("watched", "succeeded");
            let mut rest = String::new();
            let mut client = watch(&format!("Last-Event-ID: {last}\r\n"));
            while let Ok(Ok(chunk)) = client.wire.chunk() {
                rest += &String::from_utf8(chunk).unwrap();
            }
            assert_eq!(states(&rest) as Vec<String>, ["succeeded", "succeeded"], "the change, and the end: {rest}");
            assert!(rest.contains("event: done") && rest.contains("\"body\":{\"done\":1}"), "{rest}");
            // From the beginning, all of it at once, and the stream ends.
            let mut all = String::new();
            let mut client = watch("");
            while let Ok(Ok(chunk)) = client.wire.chunk() {
                all += &String::from_utf8(chunk).unwrap();
            }
            assert_eq!(states(&all) as Vec<String>, ["ready", "running", "succeeded", "succeeded"]);
            // One who stays sees the end come.
            latch.shut();
            let answer = fourmi.later("/held", "Fourmi-Id: stays\r\n", "");
            let location = answer.header("location").unwrap();
            let mut client = fourmi.client();
            client.send(format!("GET {location} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n"));
            client.answer_head();
            let mut text = event(&mut client);
            latch.open();
            while !text.contains("event: done") {
                text += &event(&mut client);
            }
        },
    );
    cases.end();
}
