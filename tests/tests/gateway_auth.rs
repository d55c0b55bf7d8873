//! Who calls: real callers with keys, passwords, tokens and signatures, before a worker that tells what it saw.

use fourmi_tests::peers::{node_prints, python_prints, run};
use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Fourmi, GelfServer, Message, Setup, Worker};
use serde_json::{Value, json};

/// Entities with one route for each list of plugins, all to the worker.
fn gateway(routes: &[(&str, Value)], more: Value) -> Value {
    let route = |(name, plugins): &(&str, Value)| {
        let plugins: Vec<Value> = match plugins {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        json!({"name": name, "paths": [format!("/{name}")], "plugins": plugins})
    };
    let mut all = json!({
        "services": [{"name": "app", "host": "worker", "routes": routes.iter().map(route).collect::<Vec<_>>()}],
    });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

fn plugin(name: &str, config: Value) -> Value {
    json!({"name": name, "config": config})
}

fn start(worker: &Worker, entities: &Value) -> Fourmi {
    Setup::beside(worker.address()).more(&format!("gateway: {entities}\n")).start()
}

fn people() -> Value {
    json!({
        "consumers": [
            {
                "username": "bob",
                "custom_id": "bobs-id",
                "keyauth_credentials": [{"key": "key-of-bob", "id": "11111111-1111-4111-8111-111111111111"}],
                "basicauth_credentials": [{"username": "bob", "password": "pass:word of bob"}],
                "hmacauth_credentials": [{"username": "bob-signs", "secret": "only bob knows"}],
                "acls": [{"group": "admin"}],
            },
            {"username": "eve", "keyauth_credentials": [{"key": "key-of-eve"}]},
            {"username": "anon"},
        ],
    })
}

/// What curl is answered: the status, the body, and the lines that it was answered with.
fn curl(fourmi: &Fourmi, path: &str, more: &[&str]) -> (u16, String, String) {
    let url = format!("http://127.0.0.1:{}{path}", fourmi.port());
    let mut arguments = vec![
        "-sS",
        "-g",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        "-D",
        "/dev/stderr",
        "-w",
        "\n%{http_code}",
        url.as_str(),
    ];
    arguments.extend(more);
    let output = run("curl", &arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let lines = String::from_utf8_lossy(&output.stderr).to_ascii_lowercase();
    (status.parse().unwrap(), body.to_owned(), lines)
}

/// What the worker was told of who called.
fn told(worker: &Worker) -> String {
    let last = worker.last();
    let of = |name: &str| last.header(name).unwrap_or("-").to_owned();
    let names = ["username", "custom-id", "groups"].map(|n| of(&format!("x-consumer-{n}")));
    format!("{} {} {}", names.join(" "), of("x-credential-identifier"), of("x-anonymous-consumer"))
}

fn message(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"))["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn curl_with_keys_and_passwords() {
    let worker = Worker::echo();
    let both =
        json!([plugin("key-auth", json!({"anonymous": "anon"})), plugin("basic-auth", json!({"anonymous": "anon"}))]);
    let hidden = plugin("key-auth", json!({"key_in_body": true, "hide_credentials": true}));
    let routes = [
        ("key", plugin("key-auth", json!({}))),
        ("hidden", hidden),
        ("basic", plugin("basic-auth", json!({"hide_credentials": true}))),
        ("both", both),
        ("acl", json!([plugin("key-auth", json!({})), plugin("acl", json!({"allow": ["admin"]}))])),
    ];
    let fourmi = start(&worker, &gateway(&routes, people()));
    let id = "11111111-1111-4111-8111-111111111111";

    let (status, body, lines) =
        curl(&fourmi, "/key/a?b=c", &["-H", "apikey: key-of-bob", "-H", "X-Consumer-Username: root"]);
    assert_eq!((status, told(&worker)), (200, format!("bob bobs-id - {id} -")), "{body} {lines}");
    assert_eq!(worker.last().target(), "/a?b=c");
    let (status, body, lines) = curl(&fourmi, "/key", &[]);
    assert_eq!((status, message(&body).as_str()), (401, "No API key found in request"));
    assert!(lines.contains("www-authenticate: key\r\n"), "{lines}");
    assert_eq!(message(&curl(&fourmi, "/key?apikey=nobody's", &[]).1), "Unauthorized");
    assert_eq!(message(&curl(&fourmi, "/key?apikey=key-of-bob&apikey=x", &[]).1), "Duplicate API key found");
    // Another spelling of the path is the same path.
    for spelling in ["/%6bey", "//key", "/x/../key", "/./key"] {
        assert_eq!(curl(&fourmi, spelling, &["--path-as-is"]).0, 401, "{spelling}");
    }

    // The key is gone, and the length of the body is that of what is left.
    for (query, more, left) in [
        ("?x=1", vec!["-d", "a=1&apikey=key-of-bob&b=2"], "a=1&b=2"),
        (
            "?x=1",
            vec!["-H", "Content-Type: application/json", "-d", "{\"apikey\": \"key-of-bob\", \"n\": 1.50}"],
            "{ \"n\": 1.50}",
        ),
        ("?x=1&apikey=2", vec!["-H", "apikey: key-of-bob", "-d", "a=1"], "a=1"),
    ] {
        let (status, body, _) = curl(&fourmi, &format!("/hidden{query}"), &more);
        assert_eq!((status, told(&worker)), (200, format!("bob bobs-id - {id} -")), "{more:?} {body}");
        let last = worker.last();
        assert_eq!((last.text().as_str(), last.target(), last.header("apikey")), (left, "/?x=1", None), "{more:?}");
        assert_eq!(last.header("content-length"), Some(left.len().to_string().as_str()));
    }
    let (status, ..) = curl(&fourmi, "/hidden", &["-F", "a=1", "-F", "apikey=key-of-bob", "-F", "b=2"]);
    let last = worker.last().text();
    assert!(
        status == 200 && !last.contains("apikey") && last.contains("name=\"a\"") && last.contains("name=\"b\""),
        "{last}"
    );

    let (status, ..) = curl(&fourmi, "/basic", &["-u", "bob:pass:word of bob"]);
    assert_eq!((status, told(&worker)), (200, "bob bobs-id - bob -".to_owned()));
    assert_eq!(worker.last().header("authorization"), None);
    let (status, body, lines) = curl(&fourmi, "/basic", &["-u", "bob:password"]);
    assert_eq!((status, message(&body).as_str()), (401, "Unauthorized"));
    assert!(lines.contains("www-authenticate: basic realm=\"service\""), "{lines}");

    assert_eq!(curl(&fourmi, "/both", &["-u", "bob:pass:word of bob"]).0, 200);
    assert_eq!(told(&worker), "bob bobs-id - bob -");
    assert_eq!(curl(&fourmi, "/both", &[]).0, 200);
    assert_eq!(told(&worker), "anon - - - true");

    assert_eq!(curl(&fourmi, "/acl", &["-H", "apikey: key-of-bob"]).0, 200);
    assert_eq!(told(&worker), format!("bob bobs-id admin {id} -"));
    let (status, body, _) = curl(&fourmi, "/acl", &["-H", "apikey: key-of-eve"]);
    assert_eq!((status, message(&body).as_str()), (403, "You cannot consume this service"));

    // HTTP/2, and gRPC, whose status stands in its own place.
    let h2 = ["--http2-prior-knowledge", "-H", "apikey: key-of-eve"];
    assert_eq!((curl(&fourmi, "/key", &h2).0, told(&worker).split(' ').next()), (200, Some("eve")));
    let grpc = ["--http2-prior-knowledge", "-H", "Content-Type: application/grpc", "-H", "TE: trailers", "-d", ""];
    let (status, _, lines) = curl(&fourmi, "/key", &grpc);
    assert!(status == 200 && lines.contains("grpc-status: 16"), "{status} {lines}");
}

#[test]
fn tokens_of_pyjwt_and_jsonwebtoken() {
    let printed = python_prints("tokens.py", &[]) + &node_prints("tokens.js", "jsonwebtoken");
    let all: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.len(), 25);
    let secret = |token: &Value| {
        let mut secret = json!({"key": token["key"], "algorithm": token["algorithm"]});
        for (from, to) in [("secret", "secret"), ("pem", "rsa_public_key")] {
            if let Some(value) = token.get(from) {
                secret[to] = value.clone();
            }
        }
        secret
    };
    let secrets: Vec<Value> = all.iter().map(secret).collect();
    let consumers = json!({"consumers": [{"username": "bob", "jwt_secrets": secrets}]});
    let worker = Worker::echo();
    let config = json!({"claims_to_verify": ["exp"], "cookie_names": ["token"], "realm": "tests"});
    let fourmi = start(&worker, &gateway(&[("jwt", plugin("jwt", config))], consumers));
    let bearer = |token: &Value| format!("Authorization: Bearer {}\r\n", token.as_str().unwrap());
    for token in &all {
        let answer = fourmi.get_with("/jwt", &bearer(&token["token"]));
        assert_eq!(answer.status(), 200, "{}: {}", token["key"], answer.text());
        assert_eq!(told(&worker), format!("bob - - {} -", token["key"].as_str().unwrap()));
        let refused = |answer: &Message, says: Value| {
            assert_eq!((answer.status(), answer.json()), (401, says), "{}", token["key"]);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tests\", error=\"invalid_token\""));
        };
        refused(&fourmi.get_with("/jwt", &bearer(&token["late"])), json!({"exp": "token expired"}));
        // The signature of one under the claims of another.
        let (head, tail) = (token["token"].as_str().unwrap(), token["late"].as_str().unwrap());
        let mixed = format!("{}.{}", head.rsplit_once('.').unwrap().0, tail.rsplit_once('.').unwrap().1);
        refused(&fourmi.get_with("/jwt", &bearer(&mixed.into())), json!({"message": "Invalid signature"}));
    }
    let token = all[0]["token"].as_str().unwrap();
    assert_eq!(fourmi.get(&format!("/jwt?jwt={token}")).status(), 200);
    assert_eq!(fourmi.get_with("/jwt", &format!("Cookie: a=b; token={token}\r\n")).status(), 200);
    let answer = fourmi.get("/jwt");
    assert_eq!((answer.status(), answer.text().as_str()), (401, "{\"message\":\"Unauthorized\"}"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tests\""));
}

#[test]
fn requests_that_python_signed() {
    let worker = Worker::echo();
    let config = json!({"validate_request_body": true, "enforce_headers": ["date", "digest", "request-line"]});
    let fourmi = start(&worker, &gateway(&[("hmac", plugin("hmac-auth", config))], people()));
    let port = fourmi.port().to_string();
    // Escapes and dots that the gateway writes in another way are signed as they were sent.
    let targets = ["/hmac", "/hmac/%7Euser//x?a=%2f&b=+&b", "/hmac/a/../b?c"];
    for algorithm in ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        for target in targets {
            for (method, body) in [("GET", ""), ("POST", "a body")] {
                let sent = python_prints("signer.py", &[&port, algorithm, method, target, body, ""]);
                assert_eq!(sent.trim(), "200", "{algorithm} {method} {target}");
                assert_eq!(told(&worker), "bob bobs-id - bob-signs -");
                assert_eq!(worker.last().text(), body);
            }
        }
    }
    for wrong in ["amount", "body", "target", "method", "date"] {
        let sent = python_prints("signer.py", &[&port, "hmac-sha256", "POST", targets[1], "a body", wrong]);
        assert_eq!(sent.trim(), "401", "{wrong}");
    }
    assert_eq!(message(&fourmi.get("/hmac").text()), "Unauthorized");
}

#[test]
fn a_certificate_that_the_listener_verified() {
    let pki = tempfile::TempDir::with_prefix("pki-").unwrap();
    for line in ["init", "issue payment --ip 127.0.0.1", "issue caller", "issue stranger"] {
        let mut arguments = vec!["cert"];
        arguments.extend(line.split(' '));
        arguments.extend(["--dir", "."]);
        if line != "init" {
            arguments.extend(["--out", "."]);
        }
        let ended = run_fourmi_in(pki.path(), &arguments);
        assert_eq!(ended.code, 0, "{line}: {}", ended.stderr);
    }
    let at = |name: &str| pki.path().join(name).display().to_string();
    let subject = run("openssl", &["x509", "-noout", "-ext", "subjectAltName", "-in", &at("caller.pem")]);
    let subject = String::from_utf8(subject.stdout).unwrap();
    let name =
        subject.split("URI:").nth(1).and_then(|after| after.split([',', '\n']).next()).unwrap().trim().to_owned();
    assert!(name.starts_with("spiffe://") && name.ends_with("caller"), "{subject}");

    let worker = Worker::echo();
    let setup = Setup::alone();
    let people = json!({"consumers": [{"username": "caller", "custom_id": name, "acls": [{"group": "internal"}]}]});
    let routes = [
        ("mtls", json!([plugin("mtls-auth", json!({})), plugin("acl", json!({"allow": ["internal"]}))])),
        (
            "group",
            json!([
                plugin("mtls-auth", json!({"skip_consumer_lookup": true})),
                plugin("acl", json!({"allow": [name]}))
            ]),
        ),
    ];
    let tls = format!(
        "certificate: {:?}, key: {:?}, client_ca: {:?}, client_auth: optional",
        at("payment.pem"),
        at("payment.key"),
        at("ca.pem")
    );
    let port = setup.inbound_port();
    let fourmi = setup
        .more(&format!("worker: {{address: {:?}}}\n", worker.address()))
        .more(&format!("inbound: [{{listen: \"https://127.0.0.1:{port}\", tls: {{{tls}}}}}]\n"))
        .more(&format!("gateway: {}\n", gateway(&routes, people)))
        .start();
    let ask = |path: &str, who: Option<&str>| {
        let (url, ca) = (format!("https://127.0.0.1:{}{path}", fourmi.port()), at("ca.pem"));
        let (cert, key) =
            (at(&format!("{}.pem", who.unwrap_or_default())), at(&format!("{}.key", who.unwrap_or_default())));
        let mut arguments = vec!["-sS", "--noproxy", "*", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"];
        arguments.extend(["--cacert", &ca, &url]);
        if who.is_some() {
            arguments.extend(["--cert", &cert, "--key", &key]);
        }
        String::from_utf8(run("curl", &arguments).stdout).unwrap()
    };
    assert_eq!(
        (ask("/mtls", Some("caller")), told(&worker)),
        ("200".into(), format!("caller {name} internal {name} -"))
    );
    assert_eq!((ask("/mtls", Some("stranger")), ask("/mtls", None)), ("401".into(), "401".into()));
    assert_eq!((ask("/group", Some("caller")), told(&worker)), ("200".into(), "- - - - -".to_owned()));
    assert_eq!(worker.last().header("x-authenticated-groups"), Some(name.as_str()));
    assert_eq!((ask("/group", Some("stranger")), ask("/group", None)), ("403".into(), "401".into()));
}

#[test]
fn no_secret_is_told() {
    let worker = Worker::echo();
    let gelf = GelfServer::start();
    let routes = [
        ("key", plugin("key-auth", json!({"key_in_body": true}))),
        ("basic", plugin("basic-auth", json!({}))),
        ("hmac", plugin("hmac-auth", json!({}))),
        ("jwt", plugin("jwt", json!({}))),
    ];
    let entities = gateway(&routes, people());
    let fourmi = Setup::beside(worker.address())
        .gelf(&gelf)
        .env("FOURMI_LOG_LEVEL", "debug")
        .more(&format!("gateway: {entities}\n"))
        .start();
    let basic = "Authorization: Basic Ym9iOnBhc3M6d29yZCBvZiBib2I=\r\n";
    for (status, answer) in [
        (200, fourmi.get_with("/key", "apikey: key-of-bob\r\n")),
        (200, fourmi.get("/key?apikey=key-of-bob")),
        (401, fourmi.get("/key?apikey=key-of-bob&apikey=key-of-eve")),
        (401, fourmi.get("/key?apikey=key-of-nobody")),
        (200, fourmi.get_with("/basic", basic)),
        (401, fourmi.get_with("/hmac", basic)),
        (401, fourmi.get_with("/jwt", "Authorization: Bearer key-of-bob.key-of-bob.key-of-bob\r\n")),
    ] {
        assert_eq!(answer.status(), status);
    }
    let records = gelf.wait_for(7);
    assert!(records.iter().any(|r| r.to_string().contains("bob")), "nobody is told who called: {records:?}");
    let metrics = fourmi.admin("GET", "/metrics").text();
    let told = format!("{records:?}{metrics}{}{}", fourmi.stdout(), fourmi.stderr());
    for secret in ["key-of", "only bob knows", "word of bob", "Ym9iOnBhc3M6d29yZCBvZiBib2I"] {
        assert!(!told.contains(secret), "{secret} is told: {told}");
    }
}
