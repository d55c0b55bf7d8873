//! No report repeats a secret, whatever is wrong beside it.

use super::*;

/// Every secret of these texts has this in it.
const MARK: &str = "S3CR3T";

const KONG: &str = r#"_format_version: "3.0"
x-shared: &shared S3CR3T-anchored
services:
- {name: a, url: "http://user:S3CR3T-user@h:99999/", foo: 1}
- {name: b, url: "http://user:S3CR3T-other@", retries: x}
consumers:
- username: u
  keyauth_credentials: [{key: S3CR3T1, foo: 1}, {kye: S3CR3T2}, {key: [S3CR3T3]}, {key: *shared, foo: 1}, {key:S3CR3T4}, key=S3CR3T5]
  basicauth_credentials: [{username: u, password: S3CR3T6, foo: 1}, {username: [], password: 'S3CR3T7'}]
  hmacauth_credentials: [{username: u, secret: "S3CR3T8", foo: 1}, S3CR3T9]
  jwt_secrets: [{key: S3CR3T10, secret: S3CR3T11, algorithm: none}, {key: {S3CR3T12: 1}}]
- {username: v, keyauth_credentials: S3CR3T13, basicauth_credentials: [[S3CR3T14]]}
certificates:
- cert: "-----BEGIN PRIVATE KEY----- S3CR3T15"
  key: |
    -----BEGIN PRIVATE KEY-----
    S3CR3T16
  foo: 1
- {cert: c, key: S3CR3T17, foo: 1}
plugins:
- {name: rate-limiting, config: {minute: x, policy: redis, redis: {host: h, password: S3CR3T18, pasword: S3CR3T19}}}
- {name: http-log, config: {http_endpoint: "http://l:S3CR3T20@h", headers: {authorization: Bearer S3CR3T21, x-a: [S3CR3T22]}, timeout: x}}
- {name: request-transformer, config: {add: {headers: ["x-api: S3CR3T23", S3CR3T24], foo: 1}}}
- {name: nothing, config: {client_secret: [S3CR3T25], api_key: S3CR3T26}} # token: S3CR3T27
"#;

const OURS: &str = "logs:
- http: {to: 'https://u:S3CR3T1@h', token: [S3CR3T2], headers: {authorization: Bearer S3CR3T3}, foo: 1}
- splunk: {to: 'ftp://u:S3CR3T4@h', token: S3CR3T5, tokn: S3CR3T6}
- loki: {to: 'http://u:S3CR3T7@h:99999', password: {S3CR3T8: 1}}
worker: 'http://u:S3CR3T9@h:99999'
metrics: {password: '${SOME_TOKEN}', foo: 1}
traces: {otlp: {to: '${SOME_URL}', headers: ['a: S3CR3T10'], api_key: S3CR3T11}}
";

fn report(name: &str, text: &str) -> Report {
    let env = [
        ("SOME_TOKEN", "S3CR3T-env"),
        ("SOME_URL", "http://u:S3CR3T-url@h:99999"),
        ("FOURMI_LOGS", "[{splunk: {to: 3, token: S3CR3T-over, foo: 1}}]"),
    ];
    let env: Vec<_> = env.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let env = if text.contains("SOME") { &env[..] } else { &[] };
    parse(name, text, env).err().unwrap_or_else(|| panic!("accepted: {text}"))
}

fn silent(report: &Report) {
    let all = format!("{report}\n{:#}\n{}", report.json(), report.render(false));
    let told: Vec<&str> = all.lines().filter(|line| line.contains(MARK)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn no_report_repeats_a_secret() {
    let kong = report("kong.yaml", KONG);
    assert!(kong.problems.len() > 15, "{}", kong.render(false));
    let ours = report("fourmi.yaml", OURS);
    assert!(ours.problems.len() > 4, "{}", ours.render(false));
    let inline = format!("gateway:\n{}", KONG.lines().map(|l| format!("  {l}\n")).collect::<String>());
    for report in [&kong, &ours, &self::report("fourmi.yaml", &inline)] {
        silent(report);
    }
    // A file cut anywhere is no YAML, or another one.
    // What an anchor holds shows where it is used, which may be cut off.
    for text in [KONG.replace("S3CR3T-anchored", "plain").as_str()] {
        for (at, _) in text.char_indices().filter(|(i, _)| i % 7 == 0) {
            // What cannot be parsed may show a line to whoever validates it; what is logged shows none.
            for broken in [format!("{}\n\t]: '", &text[..at]), format!("{}\" {}", &text[..at], &text[at..])] {
                if let Err(report) = parse("kong.yaml", &broken, &[]) {
                    assert!(!report.to_string().contains(MARK), "{report}");
                }
            }
        }
    }
}

#[test]
fn an_excerpt_keeps_its_places_and_a_log_has_none() {
    let text = "_format_version: '3.0'\nconsumers: [{username: u, keyauth_credentials: [{key: hidden, foo: 1}]}]\n";
    let report = parse("kong.yaml", text, &[]).expect_err("there is no foo");
    let shown = report.render(false);
    assert!(shown.contains("consumers: [{username: u,") && !shown.contains("hidden"), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let at = |line: &str, what: &str| line.find(what).and_then(|i| line.get(..i)).map(|t| t.chars().count());
    assert_eq!(at(lines[1], "foo"), at(lines[2], "^^^"), "{shown}");
    // What a failed reload logs and answers.
    let logged = report.to_string();
    assert!(logged.starts_with("kong.yaml:2:") && logged.contains("foo") && logged.contains("fix: "), "{logged}");
    assert!(!logged.contains(" | ") && logged.lines().count() == 2, "{logged}");
}
