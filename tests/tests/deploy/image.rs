//! The image: linted by hadolint, its build context looked at file by file. No daemon builds it here.

use crate::{python_peer, ran, root, text, yaml};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn conformance_of_the_dockerfiles_with_hadolint() {
    let folder = tempfile::tempdir().unwrap();
    let lint = |text: &str| {
        let file = folder.path().join("Dockerfile");
        std::fs::write(&file, text).unwrap();
        ran(Command::new(python_peer("hadolint")).arg("--no-color").arg("--failure-threshold=style").arg(&file))
    };
    for name in ["docker/Dockerfile", "docker/Dockerfile.worker"] {
        let (good, said) = lint(&text(name));
        assert!(good && said.is_empty(), "{name}: {said}");
    }
    // The linter would have seen it.
    let bad = text("docker/Dockerfile").replace("FROM rust:1.95-bookworm", "FROM rust:latest");
    let (good, said) = lint(&bad);
    assert!(!good && said.contains("DL3007"), "{said}");
}

/// The instructions of a Dockerfile, continued lines as one.
fn instructions(text: &str) -> Vec<(String, String)> {
    let code: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with('#')).collect();
    let joined = code.join("\n").replace("\\\n", " ");
    let pairs = joined.lines().filter_map(|l| l.trim().split_once(' '));
    pairs.map(|(word, rest)| (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

#[test]
fn the_image_holds_one_file_and_no_shell_is_needed() {
    let all = instructions(&text("docker/Dockerfile"));
    let last = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    let (builder, image) = all.split_at(last);
    let of =
        |word: &str| -> Vec<&str> { image.iter().filter(|(w, _)| w == word).map(|(_, rest)| rest.as_str()).collect() };
    assert_eq!(of("FROM"), ["scratch"]);
    assert_eq!(of("COPY"), ["--from=build --chmod=0755 /fourmi /fourmi"]);
    assert!(of("RUN").is_empty() && of("SHELL").is_empty(), "nothing can be run in an empty image");
    assert_eq!(of("ENTRYPOINT"), [r#"["/fourmi"]"#]);
    assert_eq!(of("CMD"), [r#"["run"]"#]);
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
    assert!(of("HEALTHCHECK")[0].ends_with(r#"CMD ["/fourmi", "health"]"#), "{:?}", of("HEALTHCHECK"));
    let (user, group) = of("USER")[0].split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    assert_eq!(of("EXPOSE"), ["25001"]);

    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let stated = |key: &str| {
        let line = manifest.lines().find(|l| l.starts_with(&format!("{key} ="))).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    assert!(builder[0].1.starts_with(&format!("rust:{}-", stated("rust-version"))), "{:?}", builder[0]);
    assert!(of("ARG").contains(&format!("VERSION={}", stated("version")).as_str()), "{:?}", of("ARG"));
    let labels = of("LABEL").join(" ");
    for label in [("licenses", stated("license")), ("source", stated("repository"))] {
        let expected = format!("org.opencontainers.image.{}=\"{}\"", label.0, label.1);
        assert!(labels.contains(&expected), "{labels}");
    }
}

/// Whether a path of the repository goes into the build: the last pattern that matches decides.
fn goes_in(path: &Path, ignore: &str) -> bool {
    let patterns = ignore.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    patterns.fold(true, |kept, line| {
        let (take, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        if pattern == "*" || path.starts_with(pattern) { take } else { kept }
    })
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !["target", "node_modules", ".git", ".peers"].contains(&name.as_str()) {
            sources(&entry.path(), found);
        } else if entry.path().is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn the_build_context_is_a_workspace_and_nothing_more() {
    let ignore = text("docker/Dockerfile.dockerignore");
    let (root, copy) = (root(), tempfile::tempdir().unwrap());
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        if goes_in(inside, &ignore) {
            let to = copy.path().join(inside);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&file, to).unwrap();
        }
    }
    for out in ["README.md", ".git/config", "examples/minimal/fourmi.yaml", "target/x", "tests/.peers/x", ".env"] {
        assert!(!goes_in(Path::new(out), &ignore), "{out} must stay out");
    }
    let (good, said) = ran(Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(copy.path()));
    assert!(good && said.contains("\"fourmi\""), "{said}");

    // What the program takes in when it is built must be there too; tests are not built.
    let mut files = Vec::new();
    sources(&copy.path().join("sidecar"), &mut files);
    let mut seen = 0;
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "rs") && !f.ends_with("tests.rs")) {
        let code = std::fs::read_to_string(file).unwrap();
        for (at, call) in code.match_indices("include_str!(\"").chain(code.match_indices("include_bytes!(\"")) {
            let path = code[at + call.len()..].split('"').next().unwrap();
            let target = file.parent().unwrap().join(path);
            assert!(target.is_file(), "{} takes in {path}, which is not in the build context", file.display());
            seen += 1;
        }
    }
    assert!(seen > 0, "the admin page's style at least");
}

#[test]
fn the_image_with_a_worker_takes_files_that_exist() {
    for (word, rest) in instructions(&text("docker/Dockerfile.worker")) {
        match word.as_str() {
            "COPY" if !rest.starts_with("--from") => {
                let from = rest.split(' ').next().unwrap();
                assert!(crate::example(from).is_file(), "{from}");
            }
            "ENTRYPOINT" => assert_eq!(yaml(&rest)[0], serde_json::json!(["fourmi", "run", "--"])),
            _ => {}
        }
    }
}
