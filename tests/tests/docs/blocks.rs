//! Every example can be used: configurations are valid, data can be read, command lines have words that there are.

use super::{Block, apart, pages};
use fourmi_tests::peers::{Certificates, program, run};
use fourmi_tests::sidecar::{run_fourmi_in, run_fourmi_with};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// Problems of a configuration that say something of the machine, or of what stands around an extract.
const OF_THE_MACHINE: [&str; 4] = ["no-file", "no-directory", "missing-worker", "nothing-to-do"];

/// Blocks that are not what their language says, and why: page, a text of the block, reason. None is needed now.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

#[test]
fn every_example_is_what_it_says() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("kong.yaml"), gateway()).unwrap();
    let keys: BTreeSet<String> = root_keys();
    let (mut wrong, mut count) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (name, text) in pages() {
        for block in apart(&text).0 {
            let fault = match block.language.as_str() {
                // What nobody checks says so.
                "" => Some("a block without its language; `text` is for what has none".to_owned()),
                "text" => None,
                "http" => http(&block.text),
                "yaml" => yaml(&block, &keys, folder.path()),
                "json" => json(&block.text),
                "sh" => shell(&block.text),
                "console" => shell(&typed(&block.text)),
                other => Some(format!("nobody checks blocks of the language {other}")),
            };
            if EXCEPTIONS.iter().any(|(page, part, _)| *page == name && block.text.contains(part)) {
                assert!(fault.is_some(), "{name}:{}: nothing is wrong with it any more", block.line);
                *count.entry("exceptions".to_owned()).or_default() += 1;
                continue;
            }
            *count.entry(block.language.clone()).or_default() += 1;
            wrong.extend(fault.map(|fault| format!("{name}:{}: {fault}", block.line)));
        }
    }
    assert!(wrong.is_empty(), "{} examples are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count["yaml"] > 25 && count["sh"] + count["console"] > 30, "{count:?}");
    assert_eq!(count.get("exceptions").copied().unwrap_or(0), EXCEPTIONS.len(), "exceptions for what is not there");
    println!("examples, by language: {count:?}");
}

/// What examples mean by `gateway: kong.yaml`: a file with a certificate.
fn gateway() -> String {
    let certificates = Certificates::new();
    let pair = certificates.good();
    let certificate = serde_json::json!({"cert": pair.certificate, "key": pair.key, "snis": [{"name": "localhost"}]});
    serde_json::json!({"_format_version": "3.0", "certificates": [certificate]}).to_string()
}

/// The keys of a configuration's top.
fn root_keys() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&run_fourmi_in("/".as_ref(), &["schema"]).stdout).unwrap();
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

/// A whole configuration, of Fourmi or Kong, must be valid; rules of alerts too; the rest must be YAML.
fn yaml(block: &Block, keys: &BTreeSet<String>, folder: &std::path::Path) -> Option<String> {
    let read: Value = match serde_saphyr::from_str(&block.text) {
        Ok(read) => read,
        Err(error) => return Some(error.to_string()),
    };
    if read.as_array().is_some_and(|list| list.iter().any(|rule| rule["expr"].is_string())) {
        let rules = serde_json::json!({"groups": [{"name": "a", "rules": read}]});
        let file = folder.join("rules.json");
        std::fs::write(&file, rules.to_string()).unwrap();
        let checked = run("promtool", &["check", "rules", file.to_str().unwrap()]);
        return (!checked.status.success()).then(|| String::from_utf8_lossy(&checked.stderr).into_owned());
    }
    let top = read.as_object()?;
    let kong = top.contains_key("_format_version");
    if !kong && !top.keys().all(|key| keys.contains(key)) {
        return None;
    }
    let file = folder.join("example.yaml");
    std::fs::write(&file, &block.text).unwrap();
    // Whatever variables it names are set; those of certificates to certificates.
    let variables = regex::Regex::new(r"\$\{([A-Z_]+)\}|vault://env/([A-Z_]+)").unwrap();
    let names = variables.captures_iter(&block.text).map(|f| f.get(1).or(f.get(2)).unwrap().as_str().to_owned());
    let certificates = Certificates::new();
    let value = |name: &str| match name.rsplit('_').next() {
        Some("CERT") => certificates.good().certificate.clone(),
        Some("KEY") => certificates.good().key.clone(),
        Some("CA") => certificates.ca().to_owned(),
        _ => "x".to_owned(),
    };
    let set = names.map(|name| (name.clone(), value(&name))).collect();
    let ended = run_fourmi_with(folder, &set, &["validate", "example.yaml", "--json"]);
    if ended.code == 0 {
        return None;
    }
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    let problems = report.as_array().unwrap_or_else(|| panic!("{report}"));
    let code = |p: &Value| p["code"].as_str().unwrap_or_default().trim_start_matches("config/").to_owned();
    let bad: Vec<String> = problems
        .iter()
        .filter(|p| p["severity"] == "error" && !OF_THE_MACHINE.contains(&code(p).as_str()))
        .filter(|p| !["No such file", "does not exist"].iter().any(|said| p["message"].to_string().contains(said)))
        .map(|p| format!("{}: {}", code(p), p["message"]))
        .collect();
    (!bad.is_empty()).then(|| bad.join("; "))
}

/// One value, or one on each line.
fn json(text: &str) -> Option<String> {
    let error = serde_json::from_str::<Value>(text).err()?;
    let lines = text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok());
    (!lines).then(|| error.to_string())
}

/// A message's first line, if it has one, and header lines up to the first empty one.
fn http(text: &str) -> Option<String> {
    let first = regex::Regex::new(r"^([A-Z]+ \S+ HTTP/[0-9.]+|HTTP/[0-9.]+ [0-9]{3}( .*)?)$").unwrap();
    let header = regex::Regex::new(r"^[A-Za-z0-9-]+: \S.*$").unwrap();
    let head = text.lines().take_while(|line| !line.is_empty()).enumerate();
    let is_right = |at: usize, line: &str| header.is_match(line) || (at == 0 && first.is_match(line));
    let mut wrong = head.filter(|(at, line)| !is_right(*at, line));
    wrong.next().map(|(_, line)| format!("`{line}` is no line of a head"))
}

/// What was typed at a prompt, without what was answered.
fn typed(console: &str) -> String {
    let mut out = String::new();
    let mut goes_on = false;
    for line in console.lines() {
        let typed = line.strip_prefix("$ ").or(line.strip_prefix("# ")).or(goes_on.then_some(line));
        if let Some(typed) = typed {
            out.push_str(typed);
            out.push('\n');
        }
        goes_on = typed.is_some_and(|typed| typed.ends_with('\\'));
    }
    out
}

/// Bash can read it, and every `fourmi` in it has a subcommand and flags that there are.
fn shell(script: &str) -> Option<String> {
    let mut bash = Command::new(program("bash"));
    let mut bash = bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    if !output.status.success() {
        return Some(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let whole = script.replace("\\\n", " ");
    for line in whole.lines() {
        let line = line.split(" # ").next().unwrap_or_default().replace("&&", ";").replace([';', '&', '|'], "\n");
        for part in line.lines() {
            let words: Vec<&str> = part.split_whitespace().filter(|w| *w != "do").collect();
            let Some((&first, rest)) = words.split_first() else { continue };
            let mut arguments: Vec<&str> = match (first, rest) {
                // A part of the demo, whose words are its own.
                ("fourmi", ["demo-part", ..]) => continue,
                ("fourmi", rest) => rest.to_vec(),
                ("cargo", ["run", "--release", "--", rest @ ..] | ["run", "--", rest @ ..]) => rest.to_vec(),
                _ => continue,
            };
            // What comes after `--` is the worker's. Help is shown only if all before it is known.
            arguments.truncate(arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len()));
            arguments.retain(|word| !word.starts_with('>') && !word.starts_with('#'));
            arguments.push("--help");
            let ended = run_fourmi_in("/".as_ref(), &arguments);
            if ended.code != 0 {
                return Some(format!("`{part}`: {}", ended.stderr.lines().next().unwrap_or_default()));
            }
        }
    }
    None
}

#[test]
fn the_checks_see_what_is_wrong() {
    assert!(shell("fourmi valdate x.yaml").is_some_and(|fault| fault.contains("valdate")));
    assert!(shell("fourmi validate --deny-everything").is_some());
    assert!(shell("for x in").is_some());
    assert_eq!(shell("fourmi run -c a.yaml -- php --anything"), None);
    assert_eq!(http("POST /a HTTP/1.1\nFourmi-At: 2030-01-31T08:00:00Z\n\nbody of any kind"), None);
    assert!(http("Fourmi-At 2030").is_some() && http("A: b\nPOST / HTTP/1.1").is_some());
    assert_eq!(typed("$ a \\\n  b\nanswer\n$ c\n"), "a \\\n  b\nc\n");
    let folder = tempfile::TempDir::new().unwrap();
    let block = |text: &str| Block { language: "yaml".to_owned(), line: 1, text: text.to_owned() };
    let keys = root_keys();
    let fault = yaml(&block("worker: http://127.0.0.1:8080\ntimeouts: {answer: soon}\n"), &keys, folder.path());
    assert!(fault.as_ref().is_some_and(|fault| fault.contains("bad-value")), "{fault:?}");
    assert!(yaml(&block("a: [\n"), &keys, folder.path()).is_some());
    assert!(yaml(&block("- alert: X\n  expr: rate(\n"), &keys, folder.path()).is_some());
}
