//! Kubernetes: the schemas of two versions, what the objects say of each other, and the sidecar run for real as the
//! kubelet would run it: its configuration, its variables, its probes and its hook.

use crate::{BEYOND_DRAIN, Running, effective, entries, items, port_of, python_peer, ran, seconds, status, text};
use crate::{word, yaml};
use fourmi_tests::sidecar::binary;
use fourmi_tests::{Client, free_port, until};
use serde_json::{Value, json};
use std::process::Command;

/// The oldest version that the example claims.
const OLDEST: &str = "1.30";

const FILES: [&str; 5] = ["namespace.yaml", "configmap.yaml", "deployment.yaml", "service.yaml", "networkpolicy.yaml"];

fn object(file: &str) -> Value {
    yaml(&text(&format!("kubernetes/{file}"))).remove(0)
}

fn by_name<'a>(list: &'a Value, name: &str) -> &'a Value {
    items(list).find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn conformance_of_the_manifests_with_the_schemas_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let check = |source: &str, version: Option<&str>| {
        let file = folder.path().join("object.yaml");
        std::fs::write(&file, source).unwrap();
        let mut command = Command::new(python_peer("kubernetes-validate"));
        command.arg("--strict").args(version.map(|v| ["-k", v]).into_iter().flatten());
        ran(command.arg(&file))
    };
    for file in FILES {
        let source = text(&format!("kubernetes/{file}"));
        for version in [Some(OLDEST), None] {
            let (good, said) = check(&source, version);
            assert!(good, "{file}, {version:?}: {said}");
        }
    }
    let deployment = text("kubernetes/deployment.yaml");
    let (good, said) = check(&deployment.replace("startupProbe:", "startupProb:"), None);
    assert!(!good && said.contains("startupProb"), "{said}");
    assert!(!check(&deployment, Some("1.27")).0, "1.27 has no native sidecars");
    assert!(deployment.contains(&format!("Kubernetes {OLDEST} or newer")));
}

#[test]
fn the_objects_agree() {
    let (deployment, service) = (object("deployment.yaml"), object("service.yaml"));
    let (template, pod) = (&deployment["spec"]["template"], &deployment["spec"]["template"]["spec"]);
    let labels = &template["metadata"]["labels"];
    let selectors = [
        &deployment["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &object("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
    ]
    .map(Clone::clone);
    for selector in &selectors {
        assert!(
            entries(selector).count() > 0 && entries(selector).all(|(key, value)| labels[key] == *value),
            "{selector}"
        );
    }
    let namespace = word(&object("namespace.yaml"), "/metadata/name").to_owned();
    for file in &FILES[1..] {
        assert_eq!(object(file)["metadata"]["namespace"], json!(namespace), "{file}");
    }

    let fourmi = by_name(&pod["initContainers"], "fourmi");
    assert_eq!(fourmi["restartPolicy"], "Always", "else the worker would wait for its end");
    let volume = by_name(&pod["volumes"], "fourmi");
    assert_eq!(volume["configMap"]["name"], object("configmap.yaml")["metadata"]["name"]);
    let mount = by_name(&fourmi["volumeMounts"], "fourmi");
    assert_eq!((mount["mountPath"].as_str(), mount.get("subPath")), (Some("/etc/fourmi"), None));

    let config = configuration().1;
    let (commands, admin) = (by_name(&fourmi["ports"], "commands"), by_name(&fourmi["ports"], "admin"));
    assert_eq!(commands["containerPort"], json!(port_of(&config["inbound"][0]["listen"])));
    assert_eq!(admin["containerPort"], json!(port_of(&config["admin"]["listen"])));
    assert_eq!(template["metadata"]["annotations"]["prometheus.io/port"], json!(admin["containerPort"].to_string()));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "commands");
    // The kubelet comes from outside of the pod's loopback.
    assert!(word(&config, "/admin/listen").starts_with("0.0.0.0:"));
    assert!(word(&config, "/worker/address/0/url").contains("//127.0.0.1:"), "nobody goes past the sidecar");
    let worker = by_name(&pod["containers"], "payment");
    let proxy = by_name(&worker["env"], "http_proxy");
    assert_eq!(proxy["value"], config["outbound"][0]["listen"]);

    // The worker waits for the startup probe, and /readyz waits for the worker.
    assert_eq!(word(fourmi, "/startupProbe/httpGet/path"), "/livez");
    assert_eq!(word(fourmi, "/livenessProbe/httpGet/path"), "/livez");
    assert_eq!(word(fourmi, "/readinessProbe/httpGet/path"), "/readyz");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(fourmi[probe]["httpGet"]["port"], "admin");
    }
}

#[test]
fn the_times_of_a_stop_fit_into_each_other() {
    let pod = object("deployment.yaml")["spec"]["template"]["spec"].clone();
    let fourmi = by_name(&pod["initContainers"], "fourmi");
    let hook = &fourmi["lifecycle"]["preStop"]["exec"]["command"];
    let after = |flag: &str| seconds(&hook[items(hook).position(|w| w == flag).unwrap() + 1]);
    let worker = by_name(&pod["containers"], "payment");
    let sleep = seconds(&worker["lifecycle"]["preStop"]["sleep"]["seconds"]);
    assert!(sleep >= after("--wait") + after("--timeout"), "the worker must serve as long as the sidecar may drain");
    let whole = seconds(&pod["terminationGracePeriodSeconds"]);
    let drain = seconds(&configuration().1["timeouts"]["drain"]);
    // Some seconds for the worker's own end, which stands between the hooks and the sidecar's.
    assert!(whole >= sleep + 10.0 + drain + BEYOND_DRAIN, "{whole} s are too few");
}

#[test]
fn the_pod_is_allowed_where_the_restricted_standard_is_enforced() {
    assert_eq!(object("namespace.yaml")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let pod = object("deployment.yaml")["spec"]["template"]["spec"].clone();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(pod["securityContext"]["runAsUser"].as_u64().unwrap() > 0);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(key).is_none(), "{key}");
    }
    let allowed = ["configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim"];
    for volume in items(&pod["volumes"]) {
        assert!(entries(volume).all(|(kind, _)| kind == "name" || allowed.contains(&kind.as_str())), "{volume}");
    }
    for container in items(&pod["initContainers"]).chain(items(&pod["containers"])) {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{container}");
        assert!(container["resources"]["requests"]["memory"].is_string(), "{container}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
    }
}

/// The variables that the downward API makes of the deployment's own fields.
fn variables() -> Vec<(String, String)> {
    let template = object("deployment.yaml")["spec"]["template"].clone();
    let labels = &template["metadata"]["labels"];
    let fourmi = by_name(&template["spec"]["initContainers"], "fourmi").clone();
    let value = |field: &str| match field {
        // Names that look like numbers are names all the same.
        "metadata.name" => "payment-6c4f9d8b7-x2x4q".to_owned(),
        "metadata.namespace" => "1042".to_owned(),
        "spec.nodeName" => "node-7".to_owned(),
        other => {
            let key = other.strip_prefix("metadata.labels['").and_then(|k| k.strip_suffix("']"));
            let key = key.unwrap_or_else(|| panic!("{other} is no field of the downward API"));
            labels[key].as_str().unwrap_or_else(|| panic!("the pod has no label {key}")).to_owned()
        }
    };
    let pair = |v: &Value| (word(v, "/name").to_owned(), value(word(v, "/valueFrom/fieldRef/fieldPath")));
    items(&fourmi["env"]).map(pair).collect()
}

/// The ConfigMap's file in a folder, and what Fourmi makes of it with the pod's variables.
fn configuration() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fourmi.yaml");
    std::fs::write(&file, word(&object("configmap.yaml"), "/data/fourmi.yaml")).unwrap();
    let config = effective(&file, &variables());
    (folder, config)
}

/// The sidecar as the kubelet runs it, but for the ports.
#[test]
fn the_sidecar_starts_before_its_worker_and_drains_before_its_end() {
    let (folder, config) = configuration();
    assert_eq!((&config["service"], &config["env"]), (&json!("payment"), &json!("production")));
    let (inbound, outbound, admin, port) = (free_port(), free_port(), free_port(), free_port());
    let mut command = Command::new(binary());
    let mut fourmi =
        Running::start(command.args(["run", "-c"]).arg(folder.path().join("fourmi.yaml")).envs(variables()).envs([
            ("FOURMI_INBOUND", format!("[{{listen: \"http://127.0.0.1:{inbound}\"}}]")),
            ("FOURMI_OUTBOUND", format!("[{{listen: \"http://127.0.0.1:{outbound}\"}}]")),
            ("FOURMI_ADMIN__LISTEN", format!("0.0.0.0:{admin}")),
            ("FOURMI_WORKER__ADDRESS", format!("http://127.0.0.1:{port}")),
            ("FOURMI_LOGS", "[{stdout: {format: json}}]".to_owned()),
        ]));
    let sidecar = by_name(&object("deployment.yaml")["spec"]["template"]["spec"]["initContainers"], "fourmi").clone();
    let probe = |name: &str| status(admin, word(&sidecar[name], "/httpGet/path"));
    until("the startup probe succeeds without a worker", || probe("startupProbe") == 200);
    assert_eq!((probe("livenessProbe"), probe("readinessProbe")), (200, 503));
    let _worker = crate::worker(port);
    until("the pod is ready", || probe("readinessProbe") == 200);

    let slow = std::thread::spawn(move || Client::connect(inbound).get("/slow?ms=1500"));
    crate::busy(admin);
    let hook = &sidecar["lifecycle"]["preStop"]["exec"]["command"];
    let words: Vec<&str> = items(hook).skip(1).map(|w| w.as_str().unwrap()).collect();
    let mut hook = Command::new(binary());
    // The pause for balancers is not waited for here.
    hook.args(words.iter().map(|w| if *w == "5s" { "100ms" } else { w }))
        .env("FOURMI_ADMIN_URL", format!("http://127.0.0.1:{admin}"));
    let mut hook = Running::start(&mut hook);
    until("the pod is not ready", || probe("readinessProbe") == 503);
    assert_eq!(probe("livenessProbe"), 200, "who drains is not restarted");
    assert_eq!(Client::connect(inbound).get("/pay").status(), 200, "commands are served all the same");
    assert_eq!(hook.ends(), Some(0));
    assert!(slow.join().unwrap().text().starts_with("done /slow"), "the hook waited for it");

    fourmi.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(fourmi.ends(), Some(0));
    let said = fourmi.said();
    let line = said.lines().find(|l| l.contains("\"command\":\"GET.pay\"")).unwrap_or_else(|| panic!("{said}"));
    let record: Value = serde_json::from_str(line).unwrap();
    assert_eq!(record["hostname"], "payment-6c4f9d8b7-x2x4q");
    assert_eq!((&record["tag_namespace"], &record["tag_node"]), (&json!("1042"), &json!("node-7")));
    assert_eq!((&record["tag_version"], &record["tag_team"]), (&json!("1.0"), &json!("orders")));
}
