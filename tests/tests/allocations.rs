//! A command on the steady path costs the data thread no allocation: identified, logged, counted, forwarded, answered.
//!
//! The data thread's own code runs on this thread, where allocations are counted; caller, worker and the sinks' senders
//! have threads of their own.

use fourmi::codec::Socket;
use fourmi::codec::server::{self, Life};
use fourmi::exchange::{ConnectionSide, Direction, Exchange, Tell, Wants, deadline};
use fourmi::pipeline::{self, Blueprint, Door, Lane, Served};
use fourmi::sink::{Hub, Teller};
use fourmi::upstream::{Member, Policy, Pool, Standing};
use fourmi_tests::{GelfServer, Worker};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

struct Telling(Teller);

impl Tell for Telling {
    fn in_flight(&self, direction: Direction, delta: i64) {
        self.0.in_flight(direction, delta);
    }
    fn begun(&self, exchange: &Exchange) {
        self.0.begun(exchange);
    }
    fn log(&self, exchange: &Exchange) {
        self.0.log(exchange);
    }
    fn count(&self, exchange: &Exchange) {
        self.0.count(exchange);
    }
    fn rejected(&self, reason: &'static str) {
        self.0.rejected(reason);
    }
    fn retried(&self, reason: &'static str) {
        self.0.retried(reason);
    }
    fn connection(&self, side: ConnectionSide, delta: i64) {
        self.0.connection(side, delta);
    }
}

/// Serves one connection as a data thread does, and calls `measure` with what it costs to serve the requests that
/// `caller` sends between its two marks.
fn counted(request: &'static str, warm: usize, measured: usize, whole: Wants) -> u64 {
    let worker = || {
        Worker::answering(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"ok\": true}\n",
        )
    };
    let (worker, other) = (worker(), worker());
    let gelf = GelfServer::start();
    let gateway = match whole {
        Wants::Nothing => "",
        _ => "gateway: {plugins: [{name: file-log, config: {path: /dev/null}}, {name: prometheus}]}\n",
    };
    let text = format!(
        "service: payment\nworker: {{address: ['{}', '{}']}}\nlogs: [{{graylog: {{to: 'udp://127.0.0.1:{}'}}}}]\nmetrics: {{sinks: [{{prometheus: {{}}}}]}}\n{gateway}",
        worker.address(),
        other.address(),
        gelf.port()
    );
    let plan = fourmi::config::parse("test.yaml", &text, &[]).unwrap_or_else(|r| panic!("{r}")).plan;
    let (hub, mut tellers) = Hub::new(&plan.identity, &plan.told(), &plan.metrics, 1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            hub.start();
            std::future::pending::<()>().await;
        });
    });
    let blueprint = Blueprint {
        identity: plan.identity.clone(),
        rules: plan.identify.clone(),
        trusted: plan.trusted.clone(),
        timeouts: plan.timeouts.clone(),
        limits: plan.limits.clone(),
        worker: plan.worker.as_ref().map(|w| Served {
            name: plan.identity.service.clone(),
            pool: Pool::new(w.addresses.iter().map(|a| Member::new(a.target.clone(), Standing::new(false))).collect()),
            // The usual choice of services: by latency.
            policy: std::sync::Arc::new(Policy::default()),
            gate: None,
            delivery: None,
        }),
        services: Vec::new(),
        finder: None,
        gateway: None,
        own: Vec::new(),
        outbound: false,
        logs: true,
        show: plan.show.clone(),
        whole,
        sampling: plan.sampling,
        spool: None,
        delivery: plan.delivery.clone(),
    };
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let (warmed, is_warm) = tokio::sync::oneshot::channel();
    let (done, is_done) = tokio::sync::oneshot::channel();
    let (go, goes) = std::sync::mpsc::sync_channel(1);
    let caller = std::thread::spawn(move || {
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut call = |n: usize| {
            for _ in 0..n {
                far.write_all(request.as_bytes()).unwrap();
                let (mut buffer, mut answer) = ([0; 4096], Vec::new());
                while !answer.ends_with(b"}\n") {
                    let n = far.read(&mut buffer).unwrap();
                    assert!(n > 0, "the connection ended");
                    answer.extend_from_slice(&buffer[..n]);
                }
                assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
            }
        };
        call(warm);
        warmed.send(()).unwrap();
        goes.recv().unwrap();
        call(measured);
        done.send(()).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    let serving = |()| {
        let lane = Lane::new(&blueprint, Rc::new(Telling(tellers.remove(0))));
        tokio::task::spawn_local(deadline::tick());
        let life = Life::new();
        let door = Rc::new(Door {
            direction: Direction::Inbound,
            local: None,
            peer: "10.1.2.3:999".parse().ok(),
            trusted: true,
            secure: false,
            session: None,
            sni: None,
            identity: None,
            names: None,
            life: life.clone(),
            _present: Box::new(()),
        });
        let limits = plan.limits.clone();
        let near = tokio::net::UnixStream::from_std(near).unwrap();
        tokio::task::spawn_local(async move {
            let handle = move |incoming| pipeline::travel(lane.clone(), door.clone(), incoming);
            server::serve(Socket::Unix(near), Vec::new(), &limits, life, handle).await
        });
    };
    runtime.block_on(async {
        serving(());
        is_warm.await.unwrap();
    });
    let info = allocation_counter::measure(|| {
        runtime.block_on(async {
            go.send(()).unwrap();
            is_done.await.unwrap();
        });
    });
    caller.join().unwrap();
    info.count_total
}

#[test]
fn a_command_on_the_steady_path_allocates_nothing() {
    let with_body = "POST /v1/commands HTTP/1.1\r\nHost: payment\r\nContent-Type: application/json\r\n\
                     Fourmi-Command: CreateOrder\r\nFourmi-Id: order-42\r\ntraceparent: \
                     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nAccept: */*\r\n\
                     Content-Length: 13\r\n\r\n{\"order\": 42}";
    let without = "GET /v1/orders HTTP/1.1\r\nHost: payment\r\nUser-Agent: test\r\n\r\n";
    for (request, whole) in [without, with_body].into_iter().flat_map(|r| [(r, Wants::Nothing), (r, Wants::All)]) {
        let count = counted(request, 300, 4000, whole);
        println!("{count} allocations for 4000 commands, {whole:?}: {}", request.lines().next().unwrap());
        // The mark that lets the caller go on, the runtime's beginning, and a connection to the instance that was not
        // chosen before are not a command's.
        assert!(count <= 40, "{count} allocations for 4000 commands of {request:?}");
    }
}
