//! `fourmi check` from outside, and which Fourmi the other commands ask when the file is broken.

use fourmi_tests::peers::{Answer, Certificates, HttpSink};
use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Ended, Fourmi, GelfServer, Setup, Worker, free_port, run_fourmi, until};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;

/// What `fourmi check` says of a configuration, for programs.
fn check(file: &Path, more: &[&str]) -> (Ended, Value) {
    let mut words = vec!["check", "-o", "json", "-c", file.to_str().unwrap()];
    words.extend(more);
    let ended = run_fourmi(&words);
    let said = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    (ended, said)
}

/// The lines of one check.
fn of<'a>(said: &'a Value, check: &str) -> Vec<&'a Value> {
    said["checks"].as_array().unwrap().iter().filter(|line| line["check"] == check).collect()
}

/// The one line of a check whose subject begins like this: its result and detail.
#[track_caller]
fn line<'a>(said: &'a Value, check: &str, subject: &str) -> (&'a str, &'a str) {
    let lines = of(said, check).into_iter().filter(|line| line["subject"].as_str().unwrap().starts_with(subject));
    let found: Vec<_> =
        lines.map(|line| (line["result"].as_str().unwrap(), line["detail"].as_str().unwrap())).collect();
    assert_eq!(found.len(), 1, "{check} {subject} in {said:#}");
    found[0]
}

fn file(folder: &Path, yaml: &str) -> std::path::PathBuf {
    let path = folder.join("fourmi.yaml");
    std::fs::write(&path, yaml).unwrap();
    path
}

#[test]
fn a_running_fourmi_is_well_and_says_so() {
    let (worker, gelf) = (Worker::echo(), GelfServer::start());
    let fourmi = Setup::beside(worker.address()).gelf(&gelf).start();
    assert_eq!(fourmi.get("/").status(), 200);
    gelf.wait_for(1);
    let (ended, said) = check(fourmi.file(), &[]);
    assert_eq!((ended.code, said["result"].as_str()), (0, Some("ok")), "{said:#}");
    for name in ["config", "admin", "version", "same-configuration", "reload", "instances", "sink"] {
        let lines = of(&said, name);
        assert!(!lines.is_empty(), "{name} in {said:#}");
        for line in lines {
            assert!(line["help"].as_str().unwrap().ends_with(&format!("docs/check.md#{name}")), "{line}");
        }
    }
    assert_eq!(line(&said, "ready", "worker"), ("ok", "1 of 1 ready"));
    assert_eq!(line(&said, "sink", "graylog udp://127.0.0.1:"), ("ok", "1 sent, unconfirmed"));

    // For people, into a pipe: no colour.
    let plain = run_fourmi(&["check", "-c", fourmi.file().to_str().unwrap()]);
    assert_eq!(plain.code, 0);
    assert!(plain.stdout.contains("\n  ok       ready worker: 1 of 1 ready\n"), "{}", plain.stdout);
    assert!(!plain.stdout.contains('\u{1b}'), "{}", plain.stdout);
    assert_eq!(run_fourmi(&["check", "-q", "-c", fourmi.file().to_str().unwrap()]).stdout, "");
}

#[test]
fn what_runs_and_what_the_file_says_are_compared() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    fourmi.rewrite(&(fourmi.yaml() + "timeouts: {connect: 7s}\n"));
    let (ended, said) = check(fourmi.file(), &[]);
    let (mark, detail) = line(&said, "same-configuration", "");
    assert!(ended.code == 0 && mark == "warning" && detail.contains("timeouts.connect"), "{said:#}");
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    assert_eq!(line(&check(fourmi.file(), &[]).1, "same-configuration", "").0, "ok");

    // A file that is broken: its problems, and how the Fourmi is that still runs.
    fourmi.rewrite(&(fourmi.yaml() + "limits: {body: much}\n"));
    let (ended, said) = check(fourmi.file(), &[]);
    assert_eq!(ended.code, 78, "{said:#}");
    assert!(line(&said, "config", "").1.contains("config/bad-value"), "{said:#}");
    assert_eq!((line(&said, "admin", "").0, line(&said, "ready", "worker").0), ("ok", "ok"));
    assert_eq!(run_fourmi(&["reload", "-c", fourmi.file().to_str().unwrap()]).code, 1);
    let refused = check(fourmi.file(), &[]).1;
    assert_eq!(line(&refused, "reload", "").0, "failed");
}

#[test]
fn a_worker_that_is_away_fails_and_wait_waits_for_it() {
    let port = free_port();
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{port}")).spawn();
    fourmi.wait_live();
    let (ended, said) = check(fourmi.file(), &[]);
    assert_eq!((ended.code, line(&said, "ready", "worker").0), (1, "failed"));
    assert_eq!(line(&said, "instances", "payment").0, "failed");
    assert_eq!(check(fourmi.file(), &["--wait", "100ms"]).0.code, 1);
    let asked = fourmi.file().to_owned();
    let waiting = std::thread::spawn(move || check(&asked, &["--wait", "120s"]));
    let _worker = Worker::echo_on(port);
    let (ended, said) = waiting.join().unwrap();
    assert_eq!((ended.code, line(&said, "ready", "worker")), (0, ("ok", "1 of 1 ready")));
}

#[test]
fn nobody_there_is_a_failure_and_pre_looks_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (inbound, admin) = (free_port(), free_port());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = |inbound: u16| {
        format!(
            "worker: http://127.0.0.1:1\ninbound: [{{listen: \"http://127.0.0.1:{inbound}\"}}]\n\
             admin: {{listen: \"127.0.0.1:{admin}\"}}\n\
             logs: [stdout, {{graylog: {{to: \"udp://127.0.0.1:9\"}}}}, {{graylog: {{to: \"udp://nobody.invalid:9\"}}}}]\n\
             metrics: {{sinks: [{{statsd: {{to: \"tcp://{}\"}}}}]}}\n",
            taken.local_addr().unwrap()
        )
    };
    let path = file(folder.path(), &yaml(inbound));
    let (ended, said) = check(&path, &[]);
    assert_eq!((ended.code, line(&said, "admin", "").0), (1, "failed"));
    assert!(of(&said, "sink").is_empty());

    let (ended, said) = check(&path, &["--pre"]);
    assert_eq!(ended.code, 1);
    assert!(of(&said, "admin").is_empty());
    assert_eq!(line(&said, "receiver", "graylog udp://127.0.0.1").0, "ok");
    assert_eq!(line(&said, "receiver", "statsd"), ("ok", "connects"));
    let (mark, detail) = line(&said, "receiver", "graylog udp://nobody");
    assert!(mark == "failed" && detail.contains("nobody.invalid"), "{detail}");
    assert_eq!(line(&said, "listen", "inbound").0, "ok");
    assert_eq!((line(&said, "clock", "").0, of(&said, "descriptors").len()), ("ok", 1));

    // A port of somebody else's, and a receiver that has gone.
    let port = taken.local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = yaml(other.local_addr().unwrap().port());
    drop(taken);
    let path = file(folder.path(), &text);
    let (_, said) = check(&path, &["--pre"]);
    assert_eq!(line(&said, "listen", "inbound").0, "failed");
    let (mark, detail) = line(&said, "receiver", &format!("statsd tcp://127.0.0.1:{port}"));
    assert!(mark == "failed" && detail.contains("refused"), "{detail}");
}

#[test]
fn receivers_over_tls_are_tried_with_their_certificates() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    for (shows, expected) in [
        (certificates.good(), Ok(())),
        (certificates.expired(), Err("has expired")),
        (certificates.wrong_name(), Err("another name")),
        (certificates.stranger(), Err("authority that is not known")),
    ] {
        let server = HttpSink::start_on(free_port(), Some(certificates.server(shows)), |_| Answer::new(200, ""));
        let (port, tls) = (server.port(), format!("tls: {{ca: {:?}}}", certificates.ca_file()));
        let yaml = format!(
            "logs: [{{otlp: {{endpoint: \"https://localhost:{port}\", {tls}}}}}, \
             {{graylog: {{to: \"tls://localhost:{port}\", {tls}}}}}, \
             {{syslog: {{to: \"tls://localhost:{port}\", {tls}}}}}, \
             {{splunk: {{url: \"https://localhost:{port}\", token: hidden-token, {tls}}}}}]\n\
             traces: {{otlp: {{endpoint: \"https://localhost:{port}\", {tls}}}}}\n"
        );
        let (ended, said) = check(&file(folder.path(), &yaml), &["--pre"]);
        assert_eq!(of(&said, "receiver").len(), 5, "{said:#}");
        for sink in ["otlp https://localhost:", "graylog tls://", "syslog tls://", "splunk https://"] {
            // Logs and traces over OTLP go to one place.
            for found in of(&said, "receiver").iter().filter(|l| l["subject"].as_str().unwrap().starts_with(sink)) {
                let (mark, detail) = (&found["result"], found["detail"].as_str().unwrap());
                match expected {
                    Ok(()) => assert_eq!(mark, "ok", "{sink}: {detail}"),
                    Err(why) => assert!(mark == "failed" && detail.contains(why), "{sink}: {detail}"),
                }
            }
        }
        assert!(ended.code == i32::from(expected.is_err()) && !ended.stdout.contains("hidden-token"), "{ended:?}");
        assert_eq!(line(&said, "files", "").0, "ok");
    }
}

#[test]
fn certificates_are_looked_at_before_the_start_and_beside_a_running_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let here = |file: &str| at.join(file).display().to_string();
    let fourmi = |words: &str| {
        let ended = run_fourmi_in(at, &words.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, 0, "{words}: {ended:?}");
    };
    fourmi("cert init");
    fourmi("cert issue long --days 20");
    fourmi("cert issue short --days 3 --client-only");
    let over = Certificates::new();
    std::fs::write(at.join("over.pem"), &over.expired().certificate).unwrap();
    let (port, admin) = (free_port(), free_port());
    let yaml = |own: &str, ca: &str| {
        format!(
            "worker: http://127.0.0.1:1\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\n\
             inbound: [{{listen: \"https://127.0.0.1:{port}\", tls: {{certificate: {:?}, key: {:?}}}}}]\n\
             outbound: [{{listen: \"http://127.0.0.1:{}\", services: {{s: {{address: \"https://s.test\", \
             tls: {{ca: {:?}}}}}}}}}]\n",
            here(&format!("{own}.pem")),
            here(&format!("{own}.key")),
            free_port(),
            here(ca)
        )
    };
    let path = file(at, &yaml("long", "fourmi-ca/ca.pem"));
    for more in [&["--pre"][..], &[]] {
        let (_, said) = check(&path, more);
        let (mark, detail) = line(&said, "certificate", &here("long.pem"));
        assert!(mark == "ok" && ["19 days left", "20 days left"].contains(&detail), "{said:#}");
        assert_eq!(line(&said, "certificate", &here("fourmi-ca/ca.pem")).0, "ok");
    }
    assert_eq!(run_fourmi(&["validate", "-c", path.to_str().unwrap()]).stderr, "");

    let path = file(at, &yaml("short", "over.pem"));
    for more in [&["--pre"][..], &[]] {
        let (ended, said) = check(&path, more);
        let (mark, detail) = line(&said, "certificate", &here("short.pem"));
        assert!(mark == "warning" && detail.starts_with("expires in ") && detail.contains("renew it"), "{said:#}");
        let (mark, detail) = line(&said, "certificate", &here("over.pem"));
        assert!(ended.code == 1 && mark == "failed" && detail.starts_with("has expired, on 2001-01-01"), "{said:#}");
    }
    let ended = run_fourmi(&["validate", "-c", path.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let all = format!("{}{}", ended.stdout, ended.stderr);
    for said in ["short.pem expires in ", "it is not for servers", "over.pem has expired, on 2001-01-01"] {
        assert!(all.contains(said), "{said}: {all}");
    }
    assert_eq!(all.matches("warning[config/certificate-").count(), 3, "{all}");
}

#[test]
fn a_sink_whose_receiver_is_down_fails_before_and_after_its_first_record() {
    let worker = Worker::echo();
    let down = free_port();
    for (logs, target) in [
        (format!("{{otlp: {{endpoint: \"http://127.0.0.1:{down}\"}}}}"), format!("otlp http://127.0.0.1:{down}")),
        (format!("{{graylog: {{to: \"tcp://127.0.0.1:{down}\"}}}}"), format!("graylog tcp://127.0.0.1:{down}")),
    ] {
        let fourmi = Setup::beside(worker.address()).logs(format!("[stdout, {logs}]")).start();
        let (ended, said) = check(fourmi.file(), &[]);
        let (mark, detail) = line(&said, "sink", &target);
        assert!(ended.code == 1 && mark == "failed" && detail.contains("refused"), "{said:#}");
        assert_eq!(line(&said, "sink", "stdout").0, "ok");

        assert_eq!(fourmi.get("/").status(), 200);
        until("the sink has tried", || {
            let said = check(fourmi.file(), &[]).1;
            let (mark, detail) = line(&said, "sink", &target);
            mark == "failed" && detail.starts_with("failing: ") && detail.contains(" ago)")
        });
        let plain = run_fourmi(&["check", "-c", fourmi.file().to_str().unwrap()]);
        assert!(plain.code == 1 && plain.stdout.contains(&format!("failed   sink {target}")), "{}", plain.stdout);

        // What waited arrives when the receiver is there, and then all is well.
        let _up: Box<dyn std::any::Any> = match target.starts_with("otlp") {
            true => Box::new(HttpSink::start_on(down, None, |_| Answer::new(200, ""))),
            false => Box::new(Worker::scripted_on(down, |mut conn| drop(conn.until_closed()))),
        };
        let (ended, said) = check(fourmi.file(), &["--wait", "120s"]);
        assert_eq!((ended.code, line(&said, "sink", &target).0), (0, "ok"), "{said:#}");
    }
}

/// With a broken file no command may reach whoever happens to be at the default address.
#[test]
fn a_broken_file_never_leads_to_another_fourmi() {
    let worker = Worker::echo();
    let mut fourmi = Setup::beside(worker.address()).start();
    let folder = fourmi.file().parent().unwrap().to_owned();
    let ask = |fourmi: &Fourmi, yaml: &str, command: &str| {
        fourmi.rewrite(yaml);
        run_fourmi_in(&folder, &[command])
    };
    let own = fourmi.yaml();
    // The address is certain, though the rest is not: the right one is asked.
    for broken in [own.clone() + "nonsense: 1\n", own.clone() + "worker: [}\n", own.clone() + "service: again\n"] {
        let ended = ask(&fourmi, &broken, "health");
        assert_eq!(ended.code, 0, "{broken}{ended:?}");
        assert!(ended.stderr.contains(&format!("asking 127.0.0.1:{}", fourmi.admin_port())), "{ended:?}");
    }
    // It is not: nobody is asked, whatever listens at the default address.
    let misspelt = own.replace("admin:", "admn:");
    let nonsense = own.replace(&format!("127.0.0.1:{}\"}}\nlogs", fourmi.admin_port()), "nowhere\"}\nlogs");
    assert_ne!(nonsense, own);
    for broken in [misspelt.as_str(), &nonsense, "worker: [}\n"] {
        for command in ["health", "reload", "drain", "stop"] {
            let ended = ask(&fourmi, broken, command);
            assert_eq!(ended.code, 78, "{command} with {broken}{ended:?}");
            assert!(ended.stderr.contains("error[config/") && ended.stderr.contains("--admin URL"), "{ended:?}");
        }
        let (ended, said) = check(fourmi.file(), &[]);
        assert_eq!((ended.code, line(&said, "admin", "").0), (78, "failed"));
    }
    let ended = run_fourmi(&["stop", "-c", "/no/such/fourmi.yaml"]);
    assert_eq!(ended.code, 66, "{ended:?}");
    // Whoever names it is served.
    let admin = format!("http://127.0.0.1:{}", fourmi.admin_port());
    assert_eq!(run_fourmi_in(&folder, &["health", "--admin", &admin]).code, 0);
    assert!(fourmi.is_running());
    assert_eq!(run_fourmi_in(&folder, &["stop", "--admin", &admin]).code, 0);
    assert_eq!(fourmi.ends(), 0);
}
