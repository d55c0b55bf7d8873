//! `fourmi validate` with a Kong file, from outside: what a script and a person see.

use fourmi_tests::sidecar::run_fourmi_in;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

fn folder(name: &str, text: &str) -> TempDir {
    let folder = TempDir::with_prefix("kong-").unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kong/kong.yaml")).unwrap()
}

#[test]
fn a_good_file_says_what_it_holds() {
    let folder = folder("kong.yaml", &example());
    let ended = run_fourmi_in(folder.path(), &["validate", "kong.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.starts_with("kong.yaml: 3 services, 6 routes, 3 consumers, 11 plugins, 1 upstream"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("warning[config/ignored]: `_info.select_tags`"), "{ended:?}");
    let ended = run_fourmi_in(folder.path(), &["validate", "kong.yaml", "--deny-warnings"]);
    assert!(ended.code == 78 && ended.stdout.is_empty(), "{ended:?}");
}

#[test]
fn a_bad_file_tells_everything_at_once() {
    let text = "{\n\t\"_format_version\": \"3.0\",\n\t\"services\": [{\"port\": 99999}],\n\t\"routes\": [{\"service\": \"a\", \"paths\": [\"/\"]}]\n}\n";
    let folder = folder("kong.json", text);
    let ended = run_fourmi_in(folder.path(), &["validate", "kong.json"]);
    assert!(ended.code == 78 && ended.stdout.is_empty(), "{ended:?}");
    for words in [
        "kong.json:3:15: error[config/missing-key]: `services[0].host`: required field missing\n",
        "kong.json:3:24: error[config/bad-value]: `services[0].port`: value should be between 0 and 65535\n",
        "\n 4 |  \"routes\": [{\"service\": \"a\", \"paths\": [\"/\"]}]\n   |                         ^^^\nfix: add the service to `services`",
        "3 errors",
    ] {
        assert!(ended.stderr.contains(words), "{words:?}: {}", ended.stderr);
    }
    let ended = run_fourmi_in(folder.path(), &["validate", "kong.json", "--output", "json"]);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    let keys: Vec<_> = said.as_array().unwrap().iter().map(|p| p["key"].as_str().unwrap()).collect();
    assert_eq!((ended.code, keys), (78, vec!["services[0].host", "services[0].port", "routes[0].service"]));
}

/// The file beside the configuration, and the file alone.
#[test]
fn it_is_part_of_a_configuration() {
    let folder = folder("kong.yaml", &example());
    std::fs::write(folder.path().join("fourmi.yaml"), "gateway: kong.yaml\n").unwrap();
    for line in [&["validate", "fourmi.yaml"][..], &["config", "show", "-c", "fourmi.yaml"][..]] {
        let ended = run_fourmi_in(folder.path(), line);
        assert_eq!(ended.code, 0, "{line:?}: {ended:?}");
    }
    let alone = run_fourmi_in(folder.path(), &["config", "show", "-c", "kong.yaml"]);
    assert!(alone.code == 0 && alone.stdout.contains("http://0.0.0.0:25001"), "{alone:?}");
    assert!(!alone.stdout.contains("shop-app-key"), "{alone:?}");
    let broken = example().replace("retries: 2", "retries: many");
    std::fs::write(folder.path().join("kong.yaml"), broken).unwrap();
    for line in [&["run", "-c", "kong.yaml"][..], &["run", "-c", "fourmi.yaml"][..], &["validate", "fourmi.yaml"][..]] {
        let ended = run_fourmi_in(folder.path(), line);
        let said = ended.stdout.clone() + &ended.stderr;
        assert!(ended.code == 78 && said.contains("kong.yaml:") && said.contains("retries"), "{line:?}: {ended:?}");
    }
}
