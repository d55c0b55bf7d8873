//! What transformers and validators of a Kong file do to real requests and answers.

use fourmi_tests::h2::{H2Client, Pieces, run};
use fourmi_tests::{Fourmi, Message, Setup, Worker};
use serde_json::{Value, json};

/// Fourmi with these routes before a worker: name, which is also the path, and plugins as YAML flow text.
fn gateway(worker: &Worker, routes: &[(&str, &str)]) -> Fourmi {
    let setup = Setup::beside(worker.address()).more("gateway: kong.yaml");
    let mut file = String::from("_format_version: \"3.0\"\nservices:\n- name: shop\n  url: http://worker\n  routes:\n");
    for (name, plugins) in routes {
        let path = if name.starts_with('~') { (*name).to_owned() } else { format!("/{name}") };
        file += &format!("  - paths: ['{path}']\n    strip_path: false\n    plugins: {plugins}\n");
    }
    std::fs::write(setup.folder().join("kong.yaml"), file).unwrap();
    setup.start()
}

const JSON: &str = "Content-Type: application/json\r\n";

/// The body that the worker got.
#[track_caller]
fn got(answer: &Message) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = answer.json()["body"].as_str().unwrap().to_owned();
    assert_eq!(answer.seen("content-length"), Some(body.len().to_string()), "the length of what was sent");
    body
}

#[test]
fn requests_are_changed() {
    let worker = Worker::echo();
    let fourmi = gateway(
        &worker,
        &[
            (
                "head",
                "[{name: request-transformer, config: {
                add: {headers: ['x-new:$(query_params.q or headers.host)'], querystring: ['added:a b']},
                remove: {headers: [x-secret], querystring: [q]}, rename: {headers: ['X-Old:X-Renamed']},
                replace: {headers: ['host:other.test']}, append: {headers: ['x-list:2']}}}]",
            ),
            (
                "~/users/(?<id>[^/]+)/orders",
                "[{name: request-transformer, config: {
                replace: {uri: '/v2/$(uri_captures.id)/$(uri_captures[1])'}}}]",
            ),
            ("math", "[{name: request-transformer, config: {replace: {uri: '/x/$(10 * query_params.n)'}}}]"),
            ("into", "[{name: request-transformer, config: {replace: {uri: '/public/$(query_params.file)'}}}]"),
            (
                "body",
                "[{name: request-transformer, config: {
                remove: {body: [secret]}, add: {body: ['who:$(headers[\"x-who\"])']}}}]",
            ),
        ],
    );
    let head = "X-Secret: 1\r\nX-Old: o\r\nx-list: 1\r\n";
    let answer = fourmi.get_with("/head?q=7&r=%7e", head);
    assert_eq!(answer.json()["target"], "/head?r=%7e&added=a%20b");
    assert_eq!((answer.seen("x-new"), answer.seen("x-secret")), (Some("7".into()), None));
    assert_eq!((answer.seen("x-renamed"), answer.seen("x-old")), (Some("o".into()), None));
    assert_eq!(answer.seen("host"), Some("other.test".into()));
    assert_eq!(worker.last().all("x-list"), ["1", "2"]);
    assert_eq!(fourmi.get("/head").seen("x-new"), Some("test".into()));

    assert_eq!(fourmi.get("/users/a%2Fb/orders?x=1").json()["target"], "/v2/a%2Fb/a%2Fb?x=1");
    assert_eq!(fourmi.get("/math?n=5").json()["target"], "/x/50?n=5");
    assert_eq!(
        fourmi.get("/into?file=a%20b%3F%0D%0Ax").json()["target"],
        "/public/a%20b%3F%0D%0Ax?file=a%20b%3F%0D%0Ax"
    );
    let before = worker.requests().len();
    let failed = fourmi.get("/math?n=x");
    assert_eq!((failed.status(), &failed.json()["message"]), (500, &json!("An unexpected error occurred")));
    for climb in ["..%2Fadmin", "%252e%252e%2Fadmin", "..%5Cadmin", "..;/admin"] {
        assert_eq!(fourmi.get(&format!("/into?file={climb}")).status(), 400, "{climb}");
    }
    let split = fourmi.get("/head?q=a%0D%0AX-Evil:1");
    assert_eq!((split.status(), worker.requests().len()), (500, before), "what is refused never reaches the worker");

    // Bodies: with a length, in chunks, none at all, of another type, broken, and longer than what is looked at.
    let who = format!("{JSON}X-Who: ann\r\n");
    let changed = fourmi.post("/body", &who, "{\"secret\": 1, \"n\": 12345678901234567890.50}");
    assert_eq!(got(&changed), "{\"n\":12345678901234567890.50,\"who\":\"ann\"}");
    let chunks = format!(
        "POST /body HTTP/1.1\r\nHost: a\r\n{who}Transfer-Encoding: chunked\r\n\r\n9\r\n{{\"secret\"\r\n3\r\n:1}}\r\n0\r\n\r\n"
    );
    assert_eq!(got(&fourmi.client().send(chunks).answer()), "{\"who\":\"ann\"}");
    assert_eq!(got(&fourmi.get_with("/body", &who)), "{\"who\":\"ann\"}");
    assert_eq!(got(&fourmi.post("/body", "Content-Type: text/plain\r\n", "{\"secret\":1}")), "{\"secret\":1}");
    assert_eq!(got(&fourmi.post("/body", &who, "{\"secret\":1,}")), "{\"secret\":1,}");
    let form = "Content-Type: application/x-www-form-urlencoded\r\nX-Who: a b\r\n";
    assert_eq!(got(&fourmi.post("/body", form, "a=1&secret=2&b")), "a=1&b&who=a%20b");
    let deep = format!("{{\"secret\":1,\"deep\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(
        got(&fourmi.post("/body", &who, &deep)).len(),
        deep.len() - "\"secret\":1,".len() + ",\"who\":\"ann\"".len()
    );
    let long = format!("{{\"secret\":\"{}\"}}", "x".repeat(8 << 20));
    assert_eq!(fourmi.post("/body", &who, &long).json()["length"], long.len());
}

#[test]
fn methods_change_without_breaking_connections() {
    let worker = Worker::echo();
    let method = |method: &str| format!("[{{name: request-transformer, config: {{http_method: {method}}}}}]");
    let fourmi = gateway(&worker, &[("head", &method("HEAD")), ("get", &method("GET")), ("post", &method("POST"))]);
    let mut client = fourmi.client();
    // The worker's answer to HEAD announces a length, and no body follows.
    let answer = client.get("/head");
    assert_eq!((answer.status(), answer.text(), worker.last().method()), (200, String::new(), "HEAD"));
    // The worker's answer to GET has a body that the caller of HEAD does not get.
    client.send("HEAD /get HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((client.answer_to("HEAD").status(), worker.last().method()), (200, "GET"));
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let moved = client.post("/get?x=1", form, "a=1&b=%26");
    assert_eq!((&moved.json()["method"], &moved.json()["target"]), (&json!("GET"), &json!("/get?x=1&a=1&b=%26")));
    assert_eq!(client.get("/post").json()["method"], "POST");
}

#[test]
fn answers_are_changed() {
    let worker = Worker::replying(|request| match request.target() {
        "/chunked" => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
            5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n"
            .into(),
        "/text" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Gone: 1\r\nContent-Length: 7\r\n\r\n{\"a\":1}".into()
        }
        "/empty" => "HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n".into(),
        "/long" => {
            let body = format!("{{\"a\":\"{}\"}}", "x".repeat(9 << 20));
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            format!("{head}: {}\r\n\r\n{body}", body.len()).into()
        }
        _ => {
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Gone: 1\r\nX-List: 1\r\nContent-Length: 30\r\n\r\n\
            {\"a\":1, \"n\":123456789012345678}"
                .replace("Content-Length: 30", "Content-Length: 31")
                .into()
        }
    });
    let plugin = "{name: response-transformer, config: {
        remove: {headers: [X-Gone], json: [a]}, add: {headers: ['X-New:1'], json: ['t:5'], json_types: [number]},
        append: {headers: ['X-List:2']}}}";
    let closed = format!("[{plugin}, {{name: request-termination, config: {{status_code: 403, message: closed}}}}]");
    let fourmi = gateway(&worker, &[("closed", &closed), ("", &format!("[{plugin}]"))]);
    let json = |path: &str| {
        let answer = fourmi.get(path);
        let length = answer.header("content-length").map(|l| l.parse::<usize>().unwrap());
        assert_eq!(length, Some(answer.body.len()), "{path}");
        assert_eq!((answer.header("x-new"), answer.header("x-gone")), (Some("1"), None), "{path}");
        answer
    };
    let usual = json("/");
    assert_eq!((usual.text().as_str(), usual.all("x-list")), ("{\"n\":123456789012345678,\"t\":5}", vec!["1", "2"]));
    assert_eq!(json("/chunked").text(), "{\"t\":5}");
    assert_eq!(json("/text").text(), "{\"a\":1}");
    assert_eq!(json("/long").body.len(), (9 << 20) + 8);
    let empty = fourmi.get("/empty");
    assert_eq!((empty.status(), empty.header("x-new"), empty.text()), (204, Some("1"), String::new()));
    let mut client = fourmi.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").header("x-new"), Some("1"));
    assert_eq!(client.get("/").text(), usual.text());
    // What Fourmi answers itself is an answer like others.
    let own = json("/closed");
    assert_eq!((own.status(), own.json()), (403, json!({"message": "closed", "t": 5})));
}

#[test]
fn requests_are_held_against_schemas() {
    let worker = Worker::echo();
    let schema =
        json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 5}}});
    let path = json!([{"name": "id", "in": "path", "required": true, "style": "simple", "explode": false,
        "schema": "{\"type\": \"integer\", \"maximum\": 10}"}]);
    let body = json!([{"name": "request-validator", "config": {"version": "draft7", "body_schema": schema.to_string(), "verbose_response": true}}]);
    let path = json!([{"name": "request-validator", "config": {"version": "draft4", "parameter_schema": path}}]);
    let fourmi = gateway(&worker, &[("body", &body.to_string()), ("~/items/(?<id>[^/]+)$", &path.to_string())]);
    let said = |answer: Message| (answer.status(), answer.json()["message"].clone());
    let no = |message: &str| (400, Value::from(message));
    assert_eq!(got(&fourmi.post("/body", JSON, "{ \"name\": \"x\" }")), "{ \"name\": \"x\" }");
    assert_eq!(fourmi.get("/items/7").json()["target"], "/items/7");
    let before = worker.requests().len();
    assert_eq!(said(fourmi.post("/body", JSON, "{}")), no("\"name\" is a required property"));
    assert_eq!(
        said(fourmi.post("/body", JSON, "{\"name\":\"secret\"}")),
        no("/name: value is longer than 5 characters")
    );
    assert_eq!(
        said(fourmi.post("/body", "Content-Type: text/xml\r\n", "<x/>")),
        no("specified Content-Type is not allowed")
    );
    assert_eq!(said(fourmi.post("/body", JSON, "[".repeat(100_000))), no("request body is not valid JSON"));
    for wrong in ["/items/11", "/items/x"] {
        assert_eq!(said(fourmi.get(wrong)), no("request param doesn't conform to schema"));
    }
    let long = format!("{{\"name\":\"x\",\"more\":\"{}\"}}", "x".repeat(8 << 20));
    assert_eq!(fourmi.post("/body", JSON, long).status(), 413);
    assert_eq!(worker.requests().len(), before);
}

#[test]
fn callers_over_http2_and_grpc() {
    let worker = Worker::echo();
    let method = |method: &str| format!("[{{name: request-transformer, config: {{http_method: {method}}}}}]");
    let body = "[{name: request-transformer, config: {remove: {body: [secret]}}},
        {name: response-transformer, config: {remove: {json: [headers, version, trailers]}}}]";
    let failing = "[{name: request-transformer, config: {add: {headers: ['x:$(10 * headers.none)']}}}]";
    let strict = "[{name: request-validator, config: {version: draft4, body_schema: '{}'}}]";
    let routes =
        [("body", body), ("failing", failing), ("strict", strict), ("head", &method("HEAD")), ("get", &method("GET"))];
    let fourmi = gateway(&worker, &routes);
    run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let json = [("content-type", "application/json")];
        let answer = client.send("POST", "/body?x", &json, Pieces::of("{\"secret\":1,\"b\":2}")).await.unwrap();
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(told, json!({"method": "POST", "target": "/body?x", "body": "{\"b\":2}", "length": 7}));
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        let head = client.get("/head").await;
        assert_eq!((head.status, head.body.len(), worker.last().method()), (200, 0, "HEAD"));
        let get = client.send("HEAD", "/get", &[], Pieces::default()).await.unwrap();
        assert_eq!((get.status, get.body.len(), worker.last().method()), (200, 0, "GET"));
        // What refuses a call says so as gRPC has it.
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        for (path, status) in [("/failing", "13"), ("/strict", "3")] {
            let answer = client.send("POST", path, &grpc, Pieces::of(vec![0; 5])).await.unwrap();
            assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status)), "{path}");
        }
    });
}
