//! Kong's declarative file from outside: what `validate` and `explain` say of it.

use fourmi_tests::sidecar::run_fourmi_in;
use serde_json::Value;
use std::path::Path;

fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kong/kong.yaml").display().to_string()
}

#[test]
fn a_kong_file_is_checked_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let well = run_fourmi_in(folder.path(), &["validate", &example()]);
    assert!(well.code == 0 && well.stdout.contains("3 services, 6 routes, 3 consumers"), "{well:?}");
    let wrong = "_format_version: '3.0'\nservices:\n  - name: a b\n    url: http://x\n    routes: [{paths: [orders]}]\n\
                 plugins: [{name: key-outh}, {name: acl, service: nobody}]\n";
    std::fs::write(folder.path().join("kong.yaml"), wrong).unwrap();
    let told = run_fourmi_in(folder.path(), &["validate", "kong.yaml"]);
    assert_eq!(told.code, 78, "{told:?}");
    for part in ["kong.yaml:3:", "kong.yaml:5:", "kong.yaml:6:", "key-auth", "nobody"] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    // It does not run yet, and says so.
    let run = run_fourmi_in(folder.path(), &["run", "-c", &example()]);
    assert!(run.code == 78 && run.stderr.contains("not supported yet"), "{run:?}");
}

#[test]
fn explain_says_which_route_takes_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let explain = |line: &[&str]| {
        let file = example();
        let all: Vec<&str> = ["explain", "-c", &file, "-o", "json"].into_iter().chain(line.iter().copied()).collect();
        let ended = run_fourmi_in(folder.path(), &all);
        (ended.code, serde_json::from_str::<Value>(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}")))
    };
    let rows: &[(&[&str], &str, &str)] = &[
        (&["http://shop.example.com/orders/7?x=1"], "orders-all", "http://orders-pool:8080/api/7"),
        (&["http://eu.shop.example.com/v2/orders"], "orders-all", "http://orders-pool:8080/api"),
        (&["POST", "http://shop.example.com/orders"], "orders-all", "http://orders-pool:8080/api"),
        (
            &["http://other/orders", "-H", "X-Client: ios", "-H", "User-Agent: Shop-App/3"],
            "orders-mobile",
            "http://orders-pool:8080/api",
        ),
        (&["http://any/old/orders/1"], "old-orders", "http://orders-pool:8080/api/old/orders/1"),
        (&["https://pay.example.com/payment"], "payment", "https://payment.internal:8443/pay"),
    ];
    for (line, route, upstream) in rows {
        let (code, said) = explain(line);
        assert_eq!((code, said["route"]["name"].as_str()), (0, Some(*route)), "{line:?}: {said}");
        assert_eq!(said["route"]["upstream"], *upstream, "{line:?}: {said}");
    }
    for (line, answer) in [
        (&["http://other/nothing"][..], "404 no Route"),
        (&["DELETE", "http://shop.example.com/orders"], "404 no Route"),
        (&["http://pay.example.com/payment"], "308 to https"),
        (&["http://any/shop.Stock/Reserve"], "415 "),
        (&["http://any/a/..%2Fb"], "400 bad-path"),
    ] {
        let (code, said) = explain(line);
        assert!(code == 1 && said["answer"].as_str().is_some_and(|a| a.starts_with(answer)), "{line:?}: {said}");
    }
    let (_, said) = explain(&["http://any/old/orders"]);
    let plugins = said["plugins"].to_string();
    for plugin in [r#""name":"key-auth","scope":"of the route""#, r#""name":"acl","scope":"of the service""#, "cors"] {
        assert!(plugins.contains(plugin), "{plugin}: {plugins}");
    }
}
