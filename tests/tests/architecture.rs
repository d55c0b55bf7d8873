//! The shape of the code itself: who may call whom, how long a file may be, and that public names are documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may `use` whom inside the binary's crate. `names` may be used by all; a part may always use itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    (
        "cli",
        &[
            "admin", "cert", "codec", "command", "config", "control", "demo", "exchange", "gateway", "pipeline",
            "route", "runtime", "sink", "spool", "tls", "token", "upstream",
        ],
    ),
    ("admin", &["config", "control", "exchange", "runtime", "sink", "spool", "token"]),
    ("demo", &["cli", "config", "control", "exchange", "runtime", "sink"]),
    // Makes files on a command line; nothing that runs needs it.
    ("cert", &[]),
    ("control", &["config", "exchange", "tls"]),
    (
        "runtime",
        &[
            "codec",
            "command",
            "config",
            "control",
            "exchange",
            "lines",
            "middleware",
            "pipeline",
            "registry",
            "route",
            "sink",
            "spool",
            "tls",
            "upstream",
        ],
    ),
    // Compiles each part's own raw section by calling that part.
    (
        "config",
        &[
            "command",
            "exchange",
            "gateway",
            "lines",
            "middleware",
            "pipeline",
            "registry",
            "route",
            "sink",
            "spool",
            "tls",
            "token",
            "upstream",
        ],
    ),
    // What `discovery:` says, as plain values; the registry is a crate of its own.
    ("registry", &["tls"]),
    ("pipeline", &["command", "exchange", "gateway", "middleware", "route", "sink", "spool", "tls", "upstream"]),
    // It gets the way back as jobs that are asked for; it never sees the road.
    ("spool", &["exchange"]),
    ("codec", &["exchange", "tls"]),
    // Limits that processes share are asked of Redis through the control's channels.
    ("middleware", &["command", "control", "exchange", "gateway", "sink", "tls"]),
    ("command", &["exchange"]),
    ("route", &["exchange"]),
    // Connections to instances are made of the codec's client halves.
    ("upstream", &["codec", "exchange", "tls"]),
    ("sink", &["exchange", "tls"]),
    ("lines", &["exchange", "sink"]),
    ("exchange", &[]),
    // How a section of the configuration is described; any part may have one.
    ("section", &[]),
    // What encrypts, for whoever opens or takes connections.
    ("tls", &[]),
    // What a Kong file says, as plain values.
    // Its log and metric plugins are sinks, its consumers are those of exchanges.
    ("gateway", &["exchange", "route", "sink"]),
    ("names", &[]),
    // The admin listener's token, for those who ask and those who answer.
    ("token", &[]),
];

/// Arrows beyond the table, each with its reason. The list may only get shorter.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "pipeline",
        "codec",
        "the road is handed the codec's own incoming request and its upgraded streams, never hyper's types",
    ),
    ("route", "upstream", "a compiled route holds the instances that it leads to"),
    ("runtime", "admin", "the control thread runs the admin listener beside the signals"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return files };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The top-level parts that a source text takes from its own crate, wherever it names them.
fn parts_used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let code: String = text.lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        // `use crate::{a::B, c}`: every name at the first level of the braces.
        let rest = &code[at + "crate::".len()..];
        let word =
            |s: &str| s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        used.insert(word(&item));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            used.insert(word(&item));
        } else if !code[..at].ends_with(|c: char| c == '$' || c.is_alphanumeric() || c == '_') {
            used.insert(word(rest));
        }
    }
    used.remove("");
    used
}

#[test]
fn arrows_point_the_right_way() {
    let source = root().join("sidecar/src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        // Tests beside the code may look around.
        if inside.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs") {
            continue;
        }
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let part = first.trim_end_matches(".rs");
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == part) else {
            wrong.push(format!("{}: `{part}` has no place in the table of arrows", inside.display()));
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for used in parts_used(text) {
            if EXCEPTIONS.iter().any(|(from, to, _)| *from == part && *to == used) {
                continue;
            }
            let known = ARROWS.iter().any(|(name, _)| *name == used);
            if known && used != part && used != "names" && used != "section" && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {part} -> {used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows:\n{}", wrong.join("\n"));
}

#[test]
fn the_walk_sees_every_way_of_using() {
    let text = "use crate::config::Plan;\nuse crate::{sink, route::{self, Table}, names};\nlet x = crate::codec::h1();\n// crate::demo\n";
    let expected = ["codec", "config", "names", "route", "sink"].map(str::to_owned);
    assert_eq!(parts_used(text), BTreeSet::from(expected));
}

#[test]
fn discovery_stands_alone() {
    for file in rust_files(&root().join("discovery/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let uses = text.lines().any(|l| l.trim_start().starts_with("use fourmi::") || l.contains(" fourmi::"));
        assert!(!uses, "{} knows the sidecar", file.display());
    }
    let manifest = std::fs::read_to_string(root().join("discovery/Cargo.toml")).unwrap();
    assert!(!manifest.lines().any(|l| l.starts_with("fourmi.") || l.starts_with("fourmi =")), "{manifest}");
}

#[test]
fn middlewares_never_see_sockets() {
    for file in rust_files(&root().join("sidecar/src/middleware")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["tokio::net", "std::net::Tcp", "std::net::Udp", "socket2", "hyper::"] {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn hyper_stays_in_the_codec_and_the_apis() {
    let source = root().join("sidecar/src");
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap().display().to_string();
        // Every outgoing client of the control thread is hyper's, so the sinks' one is too.
        let free = [
            "codec/",
            "admin/",
            "control/",
            "demo/",
            "cli/client",
            "upstream/",
            "exchange/body.rs",
            "sink/transport/http.rs",
        ]
        .iter()
        .any(|part| inside.starts_with(part));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(free || !text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains("hyper::")), "{inside}");
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<String> = rust_files(&root())
        .iter()
        .map(|f| (f, std::fs::read_to_string(f).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 700)
        .map(|(f, lines)| format!("{}: {lines} lines", f.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_public_name_is_in_the_docs() {
    let names = std::fs::read_to_string(root().join("sidecar/src/names.rs")).unwrap();
    let public: Vec<&str> = names
        .lines()
        .filter_map(|l| l.trim().strip_prefix("pub const ")?.split_once(": &str = \"")?.1.split('"').next())
        .filter(|n| n.starts_with("fourmi-") || n.starts_with("fourmi_"))
        .filter(|n| *n != "fourmi-")
        .collect();
    assert!(public.len() > 10, "names.rs is read: {public:?}");
    let mut docs = std::fs::read_to_string(root().join("README.md")).unwrap_or_default().to_ascii_lowercase();
    for entry in std::fs::read_dir(root().join("docs")).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|e| e == "md") {
            docs += &std::fs::read_to_string(entry.path()).unwrap().to_ascii_lowercase();
        }
    }
    let missing: Vec<&&str> = public.iter().filter(|n| !docs.contains(**n)).collect();
    assert!(missing.is_empty(), "in names.rs but not in docs/*.md: {missing:?}");
}

#[test]
fn nothing_points_outside_the_project() {
    // The lock of the npm peers must not bind to one registry's host.
    let lock = std::fs::read_to_string(root().join("tests/peers/package-lock.json")).unwrap();
    assert!(!lock.contains("\"resolved\""), "run npm with --omit-lockfile-registry-resolved");
}
