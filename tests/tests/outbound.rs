//! What the worker sends: by `Host`, as its proxy, as a tunnel.

use fourmi_tests::{Setup, Worker, free_port};

#[test]
fn a_service_is_found_by_its_name_in_host() {
    let (worker, stock, mail) = (Worker::echo(), Worker::echo(), Worker::echo());
    let services =
        format!("{{stock: {{address: \"{}\"}}, mail: {{address: \"{}\"}}}}", stock.address(), mail.address());
    let fourmi = Setup::beside(worker.address()).outbound(services).start();
    for host in ["stock", "stock.service.fourmi", "STOCK.service.fourmi", "stock.service.fourmi:15001"] {
        let answer = fourmi.outbound().send(format!("GET /items/7 HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer();
        assert_eq!((answer.status(), answer.json()["target"].as_str()), (200, Some("/items/7")), "{host}");
    }
    assert_eq!(stock.requests().len(), 4);
    // As the worker's http_proxy: the target wins over Host.
    let answer = fourmi.outbound().send("GET http://mail/send?x=1 HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
    assert_eq!(answer.status(), 200);
    assert_eq!(mail.last().target(), "/send?x=1");
    assert_eq!(mail.last().header("host"), Some("mail"));
    assert_eq!((worker.requests().len(), stock.requests().len()), (0, 4));
}

#[test]
fn one_connection_of_the_worker_reaches_several_services() {
    let (stock, mail) = (Worker::echo(), Worker::echo());
    let services =
        format!("{{stock: {{address: \"{}\"}}, mail: {{address: \"{}\"}}}}", stock.address(), mail.address());
    let fourmi = Setup::alone().outbound(services).start();
    let mut client = fourmi.outbound();
    for (host, service) in [("stock", &stock), ("mail", &mail), ("stock", &stock)] {
        client.send(format!("POST /{host} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi"));
        assert_eq!(client.answer().json()["target"], format!("/{host}"));
        assert_eq!(service.last().text(), "hi");
    }
    assert_eq!((stock.connections(), mail.connections()), (1, 1));
}

#[test]
fn unknown_names_are_looked_up() {
    let other = Worker::echo();
    let fourmi = Setup::alone().outbound("{}").start();
    let answer =
        fourmi.outbound().send(format!("GET http://localhost:{}/x HTTP/1.1\r\nHost: a\r\n\r\n", other.port())).answer();
    assert_eq!((answer.status(), answer.json()["target"].as_str()), (200, Some("/x")));
    assert_eq!(other.last().header("host"), Some(format!("localhost:{}", other.port()).as_str()));
    // A name that nobody knows is an answer, not a hang.
    let answer = fourmi.outbound().send("GET http://nowhere.invalid/ HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert!([404, 502].contains(&answer.status()), "{}", answer.first);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[test]
fn connect_carries_bytes_both_ways() {
    let echo = Worker::scripted(|mut conn| {
        while let Ok(bytes) = conn.wire.some() {
            if bytes.is_empty() || !conn.send(bytes) {
                break;
            }
        }
        conn.wire.stream.shutdown(std::net::Shutdown::Write);
    });
    let fourmi = Setup::alone().outbound("{}").start();
    let mut client = fourmi.outbound();
    client.send(format!("CONNECT 127.0.0.1:{0} HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\n\r\n", echo.port()));
    assert_eq!(client.answer_head().status(), 200);
    for word in ["\x16\x03\x01 like TLS", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(word);
        assert_eq!(client.wire.exactly(word.len()).unwrap(), word.as_bytes());
    }
    client.half_close();
    assert_eq!(client.rest(), "");
    // Nobody there: an answer that says so.
    let nobody = free_port();
    let mut client = fourmi.outbound();
    client.send(format!("CONNECT 127.0.0.1:{nobody} HTTP/1.1\r\nHost: 127.0.0.1:{nobody}\r\n\r\n"));
    assert_eq!(client.answer_to("GET").status(), 502);
}

#[test]
fn the_inbound_side_is_no_open_proxy() {
    let (worker, other) = (Worker::echo(), Worker::echo());
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send(format!("CONNECT 127.0.0.1:{0} HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\n\r\n", other.port()));
    assert!(client.answer_head().status() >= 400);
    fourmi.client().send(format!("GET http://127.0.0.1:{}/x HTTP/1.1\r\nHost: a\r\n\r\n", other.port())).answer();
    assert_eq!((other.connections(), other.requests().len()), (0, 0));
}

#[test]
fn outbound_commands_are_told_apart() {
    let (worker, stock) = (Worker::echo(), Worker::echo());
    let services = format!("{{stock: {{address: \"{}\"}}}}", stock.address());
    let fourmi = Setup::beside(worker.address()).outbound(services).start();
    fourmi.get("/");
    fourmi.outbound().send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
    fourmi.counts("fourmi_commands_total", &[("direction", "inbound")], 1.0);
    fourmi.counts("fourmi_commands_total", &[("direction", "outbound")], 1.0);
}
