//! The upstreams behind the sidecar: real servers that tell what they saw, and one that is not there.

use fourmi_tests::h2::{H2Worker, Pieces};
use fourmi_tests::peers::redis::Redis;
use fourmi_tests::wire::Message;
use fourmi_tests::{Worker, free_port};
use serde_json::{Value, json};
use std::time::Duration;

/// The header of a request that says what the upstream is to answer.
pub(crate) const ANSWER: &str = "Echo-Answer";
/// The names that a Kong file can use as `@NAME@`: upstreams that echo over HTTP/1.
const ECHOES: [&str; 4] = ["A", "B", "C", "D"];

/// A request that an upstream saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Those that a Kong file names.
pub(crate) struct Upstreams {
    echoes: Vec<(&'static str, Worker)>,
    grpc: Option<H2Worker>,
    redis: Option<Redis>,
    nobody: u16,
}

impl Upstreams {
    /// Starts those that this Kong file names.
    pub(crate) fn of(kong: &str) -> Self {
        let named = |name: &str| kong.contains(&format!("@{name}@"));
        Upstreams {
            echoes: ECHOES.into_iter().filter(|n| named(n)).map(|n| (n, echo(n))).collect(),
            grpc: named("G").then(|| H2Worker::replying(|_| greeting())),
            redis: named("redis").then(|| Redis::start_on(free_port(), &["--requirepass", "open-sesame"])),
            nobody: free_port(),
        }
    }

    /// A text with their addresses.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, worker) in &self.echoes {
            text = text.replace(&format!("@{name}@"), &format!("127.0.0.1:{}", worker.port()));
        }
        if let Some(grpc) = &self.grpc {
            text = text.replace("@G@", grpc.address().trim_start_matches("h2c://"));
        }
        if let Some(redis) = &self.redis {
            text = text.replace("@redis@", &redis.port().to_string());
        }
        text.replace("@nobody@", &self.nobody.to_string())
    }

    /// Everything that they have seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for (name, worker) in &self.echoes {
            all.extend(worker.requests().into_iter().map(|request| Seen {
                at: name.to_string(),
                method: request.method().to_owned(),
                target: request.target().to_owned(),
                body: request.text(),
                headers: request.headers,
            }));
        }
        for request in self.grpc.iter().flat_map(H2Worker::requests) {
            let line = |(n, v): (&http::HeaderName, &http::HeaderValue)| {
                (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())
            };
            all.push(Seen {
                at: "G".to_owned(),
                method: request.method.to_string(),
                target: request.path.clone(),
                headers: request.headers.iter().map(line).collect(),
                body: String::from_utf8_lossy(&request.body).into_owned(),
            });
        }
        all
    }

    /// How many requests each of them has seen.
    pub(crate) fn counts(&self) -> Vec<(String, usize)> {
        let mut all: Vec<_> = self.echoes.iter().map(|(n, w)| (n.to_string(), w.requests().len())).collect();
        all.extend(self.grpc.iter().map(|g| ("G".to_owned(), g.requests().len())));
        all
    }
}

/// A text whose addresses nobody listens on, to be checked only.
pub(crate) fn filled_with_nobody(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ECHOES.into_iter().chain(["G"]) {
        text = text.replace(&format!("@{name}@"), "127.0.0.1:1");
    }
    text.replace("@redis@", "1").replace("@nobody@", "1")
}

fn echo(name: &'static str) -> Worker {
    Worker::replying(move |request| {
        let told = request.header(ANSWER).and_then(|text| serde_json::from_str::<Value>(text).ok());
        answer(name, request, told.unwrap_or_default())
    })
}

fn answer(name: &str, request: &Message, told: Value) -> Vec<u8> {
    std::thread::sleep(Duration::from_millis(told["after"].as_u64().unwrap_or(0)));
    let status = told["status"].as_u64().unwrap_or(200);
    let mut head = format!("HTTP/1.1 {status} Echo\r\n");
    let lines = told["headers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let lines: Vec<&str> = lines.collect();
    for line in &lines {
        head += &format!("{line}\r\n");
    }
    if !lines.iter().any(|l| l.to_ascii_lowercase().starts_with("content-type:")) {
        head += "Content-Type: application/json\r\n";
    }
    let body = told["body"].as_str().map(str::to_owned).unwrap_or_else(|| {
        json!({"at": name, "method": request.method(), "target": request.target(), "headers": request.headers})
            .to_string()
    });
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    if request.method() != "HEAD" {
        head += &body;
    }
    head.into_bytes()
}

/// What the gRPC upstream says to every call: an empty message, and that all is well.
fn greeting() -> http::Response<Pieces> {
    let body = Pieces::of(vec![0, 0, 0, 0, 0]).with_trailers(&[("grpc-status", "0")]);
    http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}
