//! What is told about a command: GELF, standard output. Fields and their types are what users search by.

use fourmi_tests::{GelfServer, Setup, Worker, eventually, free_port, gelf};
use serde_json::Value;

#[test]
fn a_record_has_exactly_the_documented_fields() {
    let (worker, server) = (Worker::echo(), GelfServer::start());
    let fourmi = Setup::beside(worker.address()).gelf(&server).more("tags: {team: orders}").start();
    let answer =
        fourmi.post("/status/201", "Fourmi-Command: CreateOrder\r\nFourmi-Id: 42\r\nFourmi-Tags: shop=7\r\n", "hello");
    let record = server.wait_for(1).remove(0);
    let text = [
        ("version", "1.1"),
        ("host", "box"),
        ("_facility", "test"),
        ("_env", "test"),
        ("_service", "payment"),
        ("_hostname", "box"),
        ("_command", "CreateOrder"),
        ("_command_id", "42"),
        ("_tag_team", "orders"),
        ("_tag_shop", "7"),
        ("_direction", "inbound"),
        ("_protocol", "http/1.1"),
        ("_outcome", "success"),
        ("_client", "127.0.0.1"),
    ];
    for (field, expected) in text {
        assert_eq!(record[field], expected, "{field} of {record}");
    }
    for (field, expected) in [("level", 6), ("_status", 201), ("_attempt", 1), ("_bytes_in", 5)] {
        assert_eq!(record[field].as_u64(), Some(expected), "{field} is a number: {record}");
    }
    assert_eq!(record["_bytes_out"].as_u64(), Some(answer.body.len() as u64));
    for field in ["_duration_ms", "_upstream_ms", "_overhead_ms"] {
        assert!(
            record[field].is_f64(),
            "{field} always has a decimal point, or the index takes it for an integer: {record}"
        );
        assert!((0.0..60_000.0).contains(&record[field].as_f64().unwrap()), "{field}: {record}");
    }
    let (whole, upstream) = (record["_duration_ms"].as_f64().unwrap(), record["_upstream_ms"].as_f64().unwrap());
    assert!(whole >= upstream, "{record}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..now + 1.0).contains(&record["timestamp"].as_f64().unwrap()), "{record}");
    assert!(record["short_message"].as_str().is_some_and(|m| !m.trim().is_empty()));
    assert!(record["_tags"].as_str().is_some_and(|t| t.contains("team") && t.contains("shop")), "{record}");
    assert!(record["_upstream"].as_str().is_some_and(|u| u.contains(&worker.port().to_string())), "{record}");
    assert_eq!(
        (record["_trace_id"].as_str().map(str::len), record["_span_id"].as_str().map(str::len)),
        (Some(32), Some(16))
    );
    let known = "version host timestamp level short_message _facility _env _service _hostname _command _command_id _tags \
         _direction _protocol _route _consumer _status _outcome _duration_ms _upstream_ms _overhead_ms _attempt _bytes_in \
         _bytes_out _client _upstream _trace_id _span_id _error";
    for field in record.as_object().unwrap().keys() {
        assert!(
            field.starts_with("_tag_") || known.split_whitespace().any(|k| k == field),
            "{field} is not documented"
        );
    }
}

#[test]
fn the_level_tells_how_bad_it_was() {
    let (worker, server) = (Worker::echo(), GelfServer::start());
    let fourmi =
        Setup::beside(worker.address()).gelf(&server).more("limits: {body: 10}\ntimeouts: {answer: 200ms}").start();
    for (path, body, level, outcome, status) in [
        ("/status/302", "", 6, "success", 302),
        ("/status/404", "", 4, "client_error", 404),
        ("/status/500", "", 3, "server_error", 500),
        ("/a", "more than ten bytes", 4, "rejected", 413),
        ("/slow/900", "", 3, "timeout", 504),
    ] {
        let id = format!("{status}x");
        fourmi.post(path, &format!("Fourmi-Id: {id}\r\n"), body);
        let record = server.record("_command_id", &id);
        let got = (record["level"].as_u64(), record["_outcome"].as_str(), record["_status"].as_u64());
        assert_eq!(got, (Some(level), Some(outcome), Some(status)), "{record}");
        assert_eq!(
            record.get("_error").is_some(),
            status > 400 && outcome != "client_error" && outcome != "server_error",
            "{record}"
        );
    }
}

#[test]
fn secrets_never_appear() {
    let worker = Worker::answering("HTTP/1.1 200 OK\r\nSet-Cookie: sid=hunter2\r\nContent-Length: 0\r\n\r\n");
    let server = GelfServer::start();
    let both = format!(
        "[{{graylog: {{to: \"udp://127.0.0.1:{}\", compress: none}}}}, {{stdout: {{format: json}}}}]",
        server.port()
    );
    let fourmi = Setup::beside(worker.address()).logs(both).start();
    fourmi.get_with(
        "/?token=hunter2&password=hunter2",
        "Authorization: Bearer hunter2\r\nCookie: sid=hunter2\r\nProxy-Authorization: hunter2\r\n",
    );
    server.wait_for(1);
    let told = server.datagrams().iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect::<String>();
    for text in [told, fourmi.stdout(), fourmi.stderr(), fourmi.metrics().text()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn standard_output_has_one_object_a_line_with_the_same_words() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).logs("[{stdout: {format: auto}}]").start();
    fourmi.post("/", "Fourmi-Command: Pay\r\nFourmi-Id: a\"b\\c\r\nFourmi-Tags: shop=7\r\n", "x");
    let record: Value = eventually("a line", || {
        fourmi.stdout().lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).find(|v| v["command"] == "Pay")
    });
    assert_eq!(
        (&record["service"], &record["env"], &record["tag_shop"]),
        (&"payment".into(), &"test".into(), &"7".into())
    );
    assert_eq!((record["status"].as_u64(), record["bytes_in"].as_u64()), (Some(200), Some(1)));
    assert!(record["duration_ms"].is_number() && record["trace_id"].is_string(), "{record}");
}

#[test]
fn records_are_packed_and_cut_as_graylog_wants() {
    let tags: Vec<String> = (0..16).map(|n| format!("key{n}={}", fourmi_noise(n))).collect();
    let headers = format!("Fourmi-Command: Big\r\nFourmi-Tags: {}\r\n", tags.join(", "));
    for (compress, magic) in [("gzip", [0x1f, 0x8b]), ("zlib", [0x78, 0]), ("none", [b'{', 0])] {
        let (worker, server) = (Worker::echo(), GelfServer::start());
        let to = server.port();
        let logs = format!("[{{graylog: {{to: \"udp://127.0.0.1:{to}\", compress: {compress}, chunk: 512}}}}]");
        let fourmi = Setup::beside(worker.address()).logs(logs).start();
        fourmi.post("/", &headers, "");
        let record = server.record("_command", "Big");
        assert_eq!(record["_tag_key7"], fourmi_noise(7));
        let datagrams = server.datagrams();
        assert!(datagrams.len() > 1, "{compress}: one datagram of {} bytes", datagrams[0].len());
        assert!(datagrams.iter().all(|d| d.len() <= 512 && d.starts_with(&[0x1e, 0x0f])), "{compress}");
        assert!(
            datagrams.iter().all(|d| d[2..10] == datagrams[0][2..10] && d[11] as usize == datagrams.len()),
            "{compress}"
        );
        let whole: Vec<u8> = datagrams.iter().flat_map(|d| d[12..].to_vec()).collect();
        assert_eq!(whole[0], magic[0], "{compress}");
        if compress == "gzip" {
            assert_eq!(whole[1], magic[1]);
        } else if compress == "zlib" {
            assert_eq!(u16::from_be_bytes([whole[0], whole[1]]) % 31, 0);
        }
        assert!(serde_json::from_slice::<Value>(&gelf::unpack(&whole)).is_ok());
    }
}

/// Letters that do not compress well, the same every time.
fn fourmi_noise(seed: u64) -> String {
    let mut state = seed + 88_172_645_463_325_252;
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    (0..120)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            letters[(state % 64) as usize] as char
        })
        .collect()
}

#[test]
fn a_receiver_that_is_away_for_a_while_costs_only_its_own_records() {
    let (worker, port) = (Worker::echo(), free_port());
    let server = GelfServer::start_on(port);
    let fourmi = Setup::beside(worker.address()).gelf(&server).start();
    let mut client = fourmi.client();
    let mut send = |range: std::ops::Range<usize>| {
        for n in range {
            assert_eq!(client.post("/", &format!("Fourmi-Id: n{n}\r\n"), "").status(), 200);
        }
    };
    send(0..20);
    let before = server.wait_for(20);
    drop(server);
    send(20..60);
    let told = || fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog")]);
    eventually("every record has a fate", || (told() == 60.0).then_some(()));
    let server = GelfServer::start_on(port);
    // The refusal of the last datagram is seen with the next one; from then on they arrive.
    send(60..100);
    eventually("every record has a fate", || (told() == 100.0).then_some(()));
    let after = eventually("records arrive again", || {
        let records = server.records();
        records.iter().any(|r| r["_command_id"] == "n99").then_some(records)
    });
    let lost = fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog"), ("result", "dropped_error")]);
    let received = before.len() + after.len();
    assert!(lost > 0.0, "refusals are counted");
    assert!(after.len() >= 38, "{} of 40 arrived after the return", after.len());
    assert!(received as f64 + lost <= 100.0, "{received} received and {lost} lost");
}
