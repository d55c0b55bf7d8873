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
    let key = ["-H", "apikey: shop-app-key"];
    let rows: &[(&[&str], &str, &str, &str)] = &[
        (&["http://shop.example.com/orders/7?x=1"], "orders-all", "/api/7?x=1", "http://10.0.0.1:8080"),
        (&["http://eu.shop.example.com/v2/orders"], "orders-all", "/api", "http://10.0.0.1:8080"),
        (&["POST", "http://shop.example.com/orders"], "orders-all", "/api", "http://10.0.0.1:8080"),
        (
            &["http://other/orders", "-H", "X-Client: ios", "-H", "User-Agent: Shop-App/3"],
            "orders-mobile",
            "/api",
            "http://10.0.0.1:8080",
        ),
        (&["http://any/old/orders/1"], "old-orders", "/api/old/orders/1", "http://10.0.0.1:8080"),
        (&["https://pay.example.com/payment"], "payment", "/pay", "https://payment.internal:8443"),
    ];
    for (line, route, path, instance) in rows {
        let (code, said) = explain(&[*line, &key].concat());
        assert_eq!((code, said["route"]["name"].as_str()), (0, Some(*route)), "{line:?}: {said}");
        assert_eq!(
            (&said["upstream"]["path"], &said["instances"][0]),
            (&(*path).into(), &(*instance).into()),
            "{said}"
        );
    }
    for (line, answer) in [
        (&["http://other/nothing"][..], 404),
        (&["DELETE", "http://shop.example.com/orders"], 404),
        (&["http://pay.example.com/payment"], 308),
        (&["http://any/shop.Stock/Reserve"], 415),
        (&["http://any/a/..%2Fb"], 400),
        (&["http://shop.example.com/orders/7"], 401),
        (&["http://shop.example.com/orders/7", "-H", "apikey: nobody's"], 401),
        (&["http://any/old/orders"], 401),
    ] {
        let (code, said) = explain(line);
        assert!(code == 1 && said["answer"]["status"] == answer, "{line:?}: {said}");
    }
    let (_, said) = explain(&["http://any/old/orders"]);
    let says = |at: usize| said["middlewares"][at]["says"].as_str().unwrap_or_default().to_owned();
    let names: Vec<&str> = said["middlewares"].as_array().unwrap().iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names, ["correlation-id", "cors", "key-auth", "acl"], "{said}");
    // Nobody in particular is let in by the route's key-auth, and is in no group that the service's acl lets through.
    assert!(says(2).starts_with("passes") && says(3).starts_with("answers 40"), "{said}");
    assert_eq!((&said["not_reached"][0], &said["consumer"]), (&"rate-limiting".into(), &"nobody".into()), "{said}");
}
