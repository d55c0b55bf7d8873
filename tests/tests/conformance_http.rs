//! Real clients and a real worker: curl, nghttp, h2load, ab in front; nginx behind.

use fourmi_tests::peers::{self, Peer, printed, run};
use fourmi_tests::{Fourmi, Setup, Worker};

fn before_nginx() -> (Peer, Fourmi) {
    let nginx = peers::nginx();
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{}", nginx.port)).start();
    (nginx, fourmi)
}

fn url(fourmi: &Fourmi, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", fourmi.port())
}

#[test]
fn conformance_curl_in_all_its_versions() {
    let (nginx, fourmi) = before_nginx();
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let (root, big) = (url(&fourmi, "/"), url(&fourmi, "/big"));
        assert_eq!(printed("curl", &["-sS", "--noproxy", "*", version, &root]), "hello", "{version}");
        let size =
            printed("curl", &["-sS", "--noproxy", "*", version, "-o", "/dev/null", "-w", "%{size_download}", &big]);
        assert_eq!(size, (1 << 20).to_string(), "{version}");
        let packed = printed(
            "curl",
            &["-sS", "--noproxy", "*", version, "--compressed", "-o", "/dev/null", "-w", "%{http_code}", &big],
        );
        assert_eq!(packed, "200", "{version}");
        let part = printed("curl", &["-sS", "--noproxy", "*", version, "-r", "16-31", &big]);
        assert_eq!(part, "0123456789abcdef", "{version}");
        let head = printed("curl", &["-sS", "--noproxy", "*", version, "-I", &big]);
        assert!(head.to_ascii_lowercase().contains("content-length: 1048576"), "{version}: {head}");
    }
    // A body above curl's threshold makes it say Expect and wait a second for an answer.
    let folder = &nginx.folder;
    let file = folder.path().join("60k");
    std::fs::write(&file, vec![b'x'; 2 << 20]).unwrap();
    let mirror = Worker::mirror();
    let fourmi = Setup::beside(mirror.address()).start();
    let data = format!("@{}", file.display());
    let took = printed(
        "curl",
        &[
            "-sS",
            "--noproxy",
            "*",
            "--data-binary",
            &data,
            "-H",
            "Expect: 100-continue",
            "-o",
            "/dev/null",
            "-w",
            "%{size_download} %{time_total}",
            &url(&fourmi, "/"),
        ],
    );
    let (size, seconds) = took.split_once(' ').unwrap();
    assert_eq!(size, (2 << 20).to_string());
    assert!(seconds.parse::<f64>().unwrap() < 0.9, "{took}");
}

#[test]
fn conformance_curl_through_the_outbound_proxy() {
    let nginx = peers::nginx();
    let target = format!("http://127.0.0.1:{}/", nginx.port);
    let services = format!("{{shop: {{address: \"http://127.0.0.1:{}\"}}}}", nginx.port);
    let fourmi = Setup::alone().outbound(services).start();
    let proxy = format!("http://127.0.0.1:{}", fourmi.outbound_port());
    assert_eq!(printed("curl", &["-sS", "--noproxy", "", "-x", &proxy, "http://shop/"]), "hello");
    assert_eq!(printed("curl", &["-sS", "--noproxy", "", "-x", &proxy, &target]), "hello");
    assert_eq!(printed("curl", &["-sS", "--noproxy", "", "-p", "-x", &proxy, &target]), "hello", "through CONNECT");
}

#[test]
fn conformance_nghttp_and_h2load() {
    let (_nginx, fourmi) = before_nginx();
    let said = printed("nghttp", &["-v", "-H", "te: trailers", &url(&fourmi, "/")]);
    assert!(said.contains(":status: 200") && said.contains("hello"), "{said}");
    let said = printed("nghttp", &["-n", "-s", "-m", "20", &url(&fourmi, "/big")]);
    assert_eq!(said.matches(" 200 ").count(), 20, "{said}");
    let said = printed("h2load", &["-n", "3000", "-c", "8", "-m", "16", &url(&fourmi, "/")]);
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored"), "{said}");
    let said = printed("h2load", &["-n", "40", "-c", "2", "-m", "10", &url(&fourmi, "/big")]);
    assert!(said.contains("40 succeeded, 0 failed, 0 errored"), "{said}");
    let said = printed("h2load", &["--h1", "-n", "3000", "-c", "16", &url(&fourmi, "/")]);
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored"), "{said}");
    fourmi.counts("fourmi_commands_total", &[("outcome", "success")], 6061.0);
}

#[test]
fn conformance_ab_speaks_http_1_0() {
    let (_nginx, fourmi) = before_nginx();
    for keep in [&["-k"][..], &[]] {
        let mut arguments = vec!["-n", "200", "-c", "4", "-s", "10"];
        arguments.extend(keep);
        let target = url(&fourmi, "/");
        arguments.push(&target);
        let said = printed("ab", &arguments);
        assert!(
            said.contains("Complete requests:      200") && said.contains("Failed requests:        0"),
            "{keep:?}: {said}"
        );
        if !keep.is_empty() {
            assert!(!said.contains("Keep-Alive requests:    0"), "{said}");
        }
    }
}

#[test]
fn conformance_nginx_keeps_its_connection() {
    let (nginx, fourmi) = before_nginx();
    let mut client = fourmi.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "hello");
    }
    let log = std::fs::read_to_string(nginx.folder.path().join("access.log")).unwrap();
    let mut connections: Vec<&str> = log.lines().filter_map(|l| l.split("conn=").nth(1)).collect();
    connections.dedup();
    assert!(log.lines().count() >= 50 && connections.len() <= 2, "{} connections for 50 requests", connections.len());
}

#[test]
fn conformance_curl_sees_our_errors() {
    let nobody = fourmi_tests::free_port();
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{nobody}")).more("timeouts: {hold: 100ms}").spawn();
    fourmi.wait_live();
    let output = run("curl", &["-sS", "--noproxy", "*", "-i", &url(&fourmi, "/")]);
    let said = String::from_utf8_lossy(&output.stdout);
    let lower = said.to_ascii_lowercase();
    assert!(
        said.starts_with("HTTP/1.1 503")
            && lower.contains("retry-after:")
            && lower.contains("application/problem+json"),
        "{said}"
    );
    assert!(lower.contains("server: fourmi") || lower.contains("via: "), "{said}");
}
