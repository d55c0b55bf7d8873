//! The rows as they stand in their files.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One file of rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Kong files that several rows share, by name.
    #[serde(default)]
    files: BTreeMap<String, String>,
    rows: Vec<Row>,
}

/// One row, or a part of one: a row passes when each of its parts does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) id: u16,
    pub(crate) title: String,
    /// The Kong file by its name in `files`.
    file: Option<String>,
    /// The Kong file itself. Without a `_format_version` it is of 3.0.
    #[serde(default)]
    pub(crate) kong: String,
    /// Environment variables.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// More keys of fourmi.yaml.
    #[serde(default)]
    pub(crate) fourmi: String,
    /// A sidecar of its own, although others have the same file.
    #[serde(default)]
    alone: bool,
    /// So many seconds must be left of the minute or the hour before it begins.
    #[serde(default)]
    pub(crate) room: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) requests: Vec<Ask>,
    /// What `fourmi validate` says of the file; none of it an error means that the file is accepted.
    pub(crate) validate: Option<Vec<Said>>,
    /// What `fourmi explain` says of a request.
    pub(crate) explain: Option<Explained>,
    /// Why our answer is another than Kong's; what is expected is ours.
    pub(crate) differs: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// Part of the message.
    pub(crate) says: String,
    /// The path of the key.
    pub(crate) key: Option<String>,
    /// The line of the row's Kong file, from 1.
    pub(crate) line: Option<usize>,
    /// A warning, not an error.
    #[serde(default)]
    pub(crate) warning: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explained {
    pub(crate) url: String,
    /// The URL that its service is asked for.
    pub(crate) upstream: String,
}

/// One request, or several of a kind.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// Method and target as they go over the wire.
    pub(crate) send: String,
    /// The Host header; `tN.test` with the row's number if it is not given.
    pub(crate) host: Option<String>,
    /// `http` (the default), `https`, `h2` or `grpc`.
    #[serde(default)]
    pub(crate) over: Over,
    /// The name in the TLS greeting; the host if it is not given.
    pub(crate) sni: Option<String>,
    /// The client's address, told by a trusted proxy.
    pub(crate) from: Option<String>,
    /// Header lines.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    pub(crate) body: Option<String>,
    /// A body of so many bytes.
    pub(crate) size: Option<usize>,
    #[serde(default)]
    pub(crate) chunked: bool,
    /// JSON web tokens, put where `@name@` stands.
    #[serde(default)]
    pub(crate) tokens: BTreeMap<String, Token>,
    /// A signature of hmac-auth over this request.
    pub(crate) sign: Option<Sign>,
    /// So often, with the same answer every time.
    pub(crate) times: Option<u32>,
    /// Again and again until this status comes; then its answer is judged.
    pub(crate) until: Option<u16>,
    /// What the upstream answers, instead of telling what it saw.
    pub(crate) answers: Option<Answers>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Over {
    #[default]
    Http,
    Https,
    H2,
    Grpc,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    #[serde(default = "hs256")]
    pub(crate) alg: String,
    pub(crate) secret: String,
    /// More members of its header.
    #[serde(default)]
    pub(crate) header: serde_json::Map<String, Value>,
    #[serde(default)]
    pub(crate) claims: serde_json::Map<String, Value>,
}

fn hs256() -> String {
    "HS256".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sign {
    pub(crate) user: String,
    pub(crate) secret: String,
    #[serde(default = "hmac_sha256")]
    pub(crate) algorithm: String,
    /// What is signed.
    pub(crate) headers: String,
    /// The header that carries it.
    #[serde(default = "authorization")]
    pub(crate) into: String,
}

fn hmac_sha256() -> String {
    "hmac-sha256".to_owned()
}

fn authorization() -> String {
    "Authorization".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    pub(crate) body: Option<String>,
    /// After so many milliseconds.
    #[serde(default)]
    pub(crate) after: u64,
}

fn ok() -> u16 {
    200
}

/// What must come back, and what the upstream must have seen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// 200 if it is not given.
    pub(crate) status: Option<u16>,
    /// The message of an error, in JSON of four lines with a request id.
    pub(crate) message: Option<String>,
    /// The message of an answer in compact JSON without a request id.
    pub(crate) compact: Option<String>,
    /// The whole body.
    pub(crate) body: Option<String>,
    /// Part of the body.
    pub(crate) contains: Option<String>,
    /// The body is JSON with these members at least; null is a member that is not there.
    pub(crate) json: Option<Value>,
    /// Headers of the answer.
    #[serde(default)]
    pub(crate) headers: serde_json::Map<String, Value>,
    pub(crate) grpc: Option<u16>,
    pub(crate) grpc_message: Option<String>,
    /// The upstream that was asked.
    pub(crate) at: Option<String>,
    /// What it saw.
    pub(crate) up: Option<Up>,
    /// Whether an upstream was asked; by default what an error's message says.
    pub(crate) reached: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Up {
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) json: Option<Value>,
    #[serde(default)]
    pub(crate) headers: serde_json::Map<String, Value>,
}

/// Rows that are played by one sidecar.
pub(crate) struct Case {
    pub(crate) kong: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) fourmi: String,
    pub(crate) rows: Vec<Row>,
}

impl Row {
    /// Whether it may wait for the next minute.
    pub(crate) fn waits(&self) -> bool {
        !self.room.is_empty() || self.requests.iter().any(|r| r.until.is_some())
    }
    /// Whether the command line has to say something of its file.
    pub(crate) fn is_checked(&self) -> bool {
        self.validate.is_some() || self.explain.is_some()
    }
}

/// The name under which rows mean `examples/kong/kong.yaml`.
const EXAMPLE: &str = "examples/kong";

/// The example, with upstreams that are here.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kong/kong.yaml");
    let mut text = std::fs::read_to_string(path).unwrap();
    // Health checks would be counted among what the upstreams were asked.
    for (there, here) in [("10.0.0.1:8080", "@A@"), ("orders-2.internal", "@B@"), ("interval: 5", "interval: 0")] {
        assert!(text.contains(there), "the example has no {there} any more");
        text = text.replace(there, here);
    }
    text
}

/// Every row there is.
pub(crate) fn rows() -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rows/kong");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut all: Vec<Row> = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(file).unwrap();
        let page: Page = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        for mut row in page.rows {
            if row.file.as_deref() == Some(EXAMPLE) {
                row.kong = example();
            } else if let Some(shared) = &row.file {
                let text = page.files.get(shared).unwrap_or_else(|| panic!("{name}: T{}: no file {shared}", row.id));
                row.kong.clone_from(text);
            }
            assert!(!row.kong.is_empty(), "{name}: T{} has no Kong file", row.id);
            assert!(row.is_checked() || !row.requests.is_empty(), "{name}: T{} tests nothing", row.id);
            if !row.kong.contains("_format_version") {
                // Not a line of its own in front: lines are counted as they stand in the row.
                row.kong.push_str("_format_version: \"3.0\"\n");
            }
            all.push(row);
        }
    }
    all.sort_by_key(|r| r.id);
    all
}

/// Rows by the sidecar that they need.
pub(crate) fn cases(rows: Vec<Row>) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for row in rows {
        let shared = |c: &&mut Case| {
            let first = &c.rows[0];
            !row.alone && !first.alone && c.kong == row.kong && c.env == row.env && c.fourmi == row.fourmi
        };
        match cases.iter_mut().find(shared) {
            Some(case) => case.rows.push(row),
            None => cases.push(Case {
                kong: row.kong.clone(),
                env: row.env.clone(),
                fourmi: row.fourmi.clone(),
                rows: vec![row],
            }),
        }
    }
    cases
}
