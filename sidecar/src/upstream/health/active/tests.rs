use super::*;
use crate::codec::Socket;
use crate::exchange::{ConnectionSide, Silent};
use crate::upstream::health::{Passive, State};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

fn counted() -> Counted {
    Counted::new(Rc::new(Silent), ConnectionSide::Upstream)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// How a peer answers, beside with a status.
const GARBAGE: u16 = 1;
const CLOSE: u16 = 2;
const NEVER: u16 = 3;

/// An instance that answers as it is told.
#[derive(Clone, Default)]
struct Peer {
    answer: Rc<Cell<u16>>,
    heads: Rc<RefCell<Vec<String>>>,
    now: Rc<Cell<u32>>,
    most: Rc<Cell<u32>>,
}

impl Peer {
    async fn begin(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.serve(listener);
        address
    }

    fn serve(&self, listener: TcpListener) -> JoinHandle<()> {
        let peer = self.clone();
        tokio::task::spawn_local(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let peer = peer.clone();
                tokio::task::spawn_local(async move { peer.answer(socket).await });
            }
        })
    }

    async fn answer(&self, mut socket: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.heads.borrow_mut().push(String::from_utf8(head).unwrap());
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.now.set(self.now.get() - 1);
        let answer = match self.answer.get() {
            GARBAGE => "SSH-2.0-Peer\r\n\r\n".to_owned(),
            CLOSE => return,
            NEVER => std::future::pending().await,
            status => format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"),
        };
        let _ = socket.write_all(answer.as_bytes()).await;
    }

    fn asked(&self) -> usize {
        self.heads.borrow().len()
    }
}

fn opener(address: SocketAddr) -> Opener {
    Box::new(move || Box::pin(async move { Ok(Socket::Tcp(TcpStream::connect(address).await?)) }))
}

const QUICK: Duration = Duration::from_millis(10);

fn active(failures: u8, successes: u8) -> Active {
    let mut active = Active { healthy_interval: QUICK, unhealthy_interval: QUICK, ..Active::default() };
    active.timeout = Duration::from_secs(10);
    let limits = &mut active.limits;
    (limits.http_failures, limits.tcp_failures, limits.timeouts) = (failures, failures, failures);
    limits.successes = successes;
    active
}

fn instance(standing: &Arc<Standing>, address: SocketAddr) -> Instance {
    Instance {
        standing: standing.clone(),
        floor: Floor::new(vec![standing.clone(), Standing::new(false)]),
        ejection: Ejection::default(),
        open: opener(address),
        authority: "shop.internal:80".to_owned(),
        two: false,
        messages: false,
        permits: Rc::new(Semaphore::new(10)),
    }
}

/// Checks it, and notes what is said of changes.
fn begin(instance: Instance, check: Check) -> (JoinHandle<()>, Rc<RefCell<Vec<bool>>>) {
    let changes = Rc::new(RefCell::new(Vec::new()));
    let told = changes.clone();
    let task = keep_checking(instance, check, counted, move |up| told.borrow_mut().push(up));
    (tokio::task::spawn_local(task), changes)
}

/// `s` 200, `m` 302, `n` 403, `f` 503, `c` failed connection, `t` timeout, `0` no HTTP; `E` ejected by commands.
#[test]
fn answers_in_a_row_take_out_and_bring_back() {
    for (failures, successes, script, state) in [
        (2, 2, "s", State::Healthy),
        (2, 2, "n", State::Unknown),
        (2, 2, "f", State::Unknown),
        (2, 2, "ff", State::Unhealthy),
        (2, 2, "fct", State::Unknown),
        (2, 2, "00", State::Unhealthy),
        (2, 2, "cc", State::Unhealthy),
        (2, 2, "tt", State::Unhealthy),
        (2, 2, "sfsfsfmf", State::Healthy),
        (2, 2, "sfnf", State::Unhealthy),
        (2, 2, "ff s", State::Unhealthy),
        (2, 2, "ff sm", State::Healthy),
        (2, 2, "ff sfs", State::Unhealthy),
        (2, 2, "ff sns", State::Healthy),
        (2, 3, "ff sfss f sss", State::Healthy),
        (2, 2, "ff ss f", State::Healthy),
        (0, 2, "ffffccccttt", State::Unknown),
        // What commands took out, checks bring back; but one good answer is not enough.
        (2, 2, "E s", State::Ejected),
        (2, 2, "E sfs", State::Ejected),
        (2, 2, "E ss", State::Healthy),
        (2, 2, "E ff", State::Unhealthy),
        (2, 2, "E ff ss", State::Healthy),
        // Checks that could never bring it back eject it, so that commands can.
        (2, 0, "s ff", State::Ejected),
        (2, 0, "s ff ssss", State::Ejected),
    ] {
        let one = Standing::new(false);
        let floor = Floor::new(vec![one.clone(), Standing::new(false)]);
        let active = active(failures, successes);
        for letter in script.chars().filter(|c| *c != ' ') {
            let report = match letter {
                's' => Report::Status(200),
                'm' => Report::Status(302),
                'n' => Report::Status(403),
                'f' => Report::Status(503),
                '0' => Report::Status(0),
                'c' => Report::TcpFailure,
                't' => Report::Timeout,
                _ => {
                    one.eject(&Ejection::default(), &floor, 1000, || "commands".into());
                    continue;
                }
            };
            one.checked_at(&active, report, &report.to_string(), (&Ejection::default(), &floor), 1000);
        }
        assert_eq!(one.state_at(1000), state, "{failures} {successes} {script}");
        assert_eq!(one.usable_at(1000), matches!(state, State::Healthy | State::Unknown));
    }
}

#[test]
fn every_way_of_not_answering_has_its_name() {
    run(async {
        let peer = Peer::default();
        let address = peer.begin().await;
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let question = Question::Http { path: "/up?x=1", headers: &[("x-key".into(), "5".into())], two: false };
        let ask = async |address, patience| probe(&opener(address), "h:1", question, patience, counted()).await;
        let long = Duration::from_secs(60);
        for (told, report, words) in [
            (200, Report::Status(200), "status 200"),
            (999, Report::Status(999), "status 999"),
            (GARBAGE, Report::Status(0), "no HTTP"),
            (CLOSE, Report::TcpFailure, "ended before"),
        ] {
            peer.answer.set(told);
            let answer = ask(address, long).await;
            assert_eq!((answer.report, answer.opened), (report, true));
            assert!(answer.words.contains(words), "{answer:?}");
        }
        let head = peer.heads.borrow()[0].to_ascii_lowercase();
        assert!(head.starts_with("get /up?x=1 http/1.1\r\n"), "{head}");
        for line in ["host: h:1\r\n", "x-key: 5\r\n", "user-agent: fourmi-check\r\n"] {
            assert!(head.contains(line), "{head}");
        }
        let answer = ask(gone, long).await;
        assert_eq!((answer.report, answer.opened), (Report::TcpFailure, false));
        // The peer stays silent, so no time is too short to tell.
        peer.answer.set(NEVER);
        let answer = ask(address, Duration::from_millis(50)).await;
        assert_eq!((answer.report, answer.words.as_str()), (Report::Timeout, "no answer within 50ms"));
    });
}

#[test]
fn an_instance_goes_and_comes_back() {
    run(async {
        let peer = Peer::default();
        peer.answer.set(200);
        let standing = Standing::new(false);
        let here = instance(&standing, peer.begin().await);
        let (task, changes) = begin(here, Check::Active(Box::new(active(3, 2))));
        until("up", || standing.state() == State::Healthy && standing.up()).await;
        peer.answer.set(500);
        until("down", || standing.state() == State::Unhealthy && !standing.usable()).await;
        assert_eq!(standing.shown().last_failure.as_deref(), Some("status 500"));
        peer.answer.set(302);
        until("up again", || standing.state() == State::Healthy).await;
        peer.answer.set(CLOSE);
        until("down again", || standing.state() == State::Unhealthy).await;
        until("told", || *changes.borrow() == [true, false, true, false]).await;
        // By hand, against the checks, which still go on.
        standing.force(Some(true));
        until("told", || changes.borrow().len() == 5).await;
        let asked = peer.asked();
        until("asked on", || peer.asked() > asked + 2).await;
        assert_eq!(standing.state(), State::ForcedUp);
        task.abort();
    });
}

#[test]
fn who_is_well_is_not_asked_when_nobody_wants_it() {
    run(async {
        let peer = Peer::default();
        peer.answer.set(200);
        let standing = Standing::new(false);
        let here = instance(&standing, peer.begin().await);
        let floor = here.floor.clone();
        let active = Active { healthy_interval: Duration::ZERO, ..active(1, 2) };
        let (task, changes) = begin(here, Check::Active(Box::new(active)));
        // A connection tells that it is there, and nothing more is asked.
        until("reached", || *changes.borrow() == [true]).await;
        assert_eq!((peer.asked(), standing.state()), (0, State::Healthy));
        let mut passive = Passive::kong();
        passive.limits.tcp_failures = 1;
        assert!(matches!(standing.report(&passive, Report::TcpFailure, &floor), Change::Ejected(_)));
        // The ejection lasts ten seconds; the checks are sooner.
        until("back", || standing.state() == State::Healthy).await;
        assert_eq!(peer.asked(), 2);
        task.abort();
    });
}

#[test]
fn readiness_holds_at_once() {
    run(async {
        let peer = Peer::default();
        peer.answer.set(503);
        let standing = Standing::new(true);
        let check = Check::Ready { path: "/ready".into(), interval: QUICK };
        let (task, changes) = begin(instance(&standing, peer.begin().await), check);
        until("not ready", || standing.state() == State::Unhealthy).await;
        assert!(!standing.usable());
        peer.answer.set(204);
        until("ready", || standing.up()).await;
        peer.answer.set(302);
        until("not ready", || !standing.usable()).await;
        assert_eq!(standing.shown().last_failure.as_deref(), Some("status 302"));
        peer.answer.set(200);
        until("told", || *changes.borrow() == [false, true, false, true]).await;
        assert!(peer.heads.borrow().iter().all(|h| h.starts_with("GET /ready HTTP/1.1\r\n")));
        task.abort();
    });
}

#[test]
fn a_connection_is_enough_and_brings_back() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let standing = Standing::new(false);
        let here = instance(&standing, address);
        let floor = here.floor.clone();
        let (task, changes) = begin(here, Check::Connect);
        until("tried", || *changes.borrow() == [false]).await;
        assert!(standing.usable());
        // Commands find it gone, and then it is there.
        for _ in 0..5 {
            standing.report(&Passive::default(), Report::TcpFailure, &floor);
        }
        assert_eq!(standing.state(), State::Ejected);
        let peer = Peer::default();
        peer.serve(TcpListener::bind(address).await.unwrap());
        until("found", || standing.up() && standing.state() == State::Healthy).await;
        assert_eq!(peer.asked(), 0);
        task.abort();
    });
}

#[test]
fn no_more_at_once_than_asked_for() {
    run(async {
        let peer = Peer::default();
        peer.answer.set(200);
        let address = peer.begin().await;
        let active = Active { concurrency: 2, ..active(1, 1) };
        let permits = active.permits();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let here = Instance { permits: permits.clone(), ..instance(&Standing::new(false), address) };
                begin(here, Check::Active(Box::new(active.clone()))).0
            })
            .collect();
        until("many were asked", || peer.asked() >= 40).await;
        assert_eq!(peer.most.get(), 2);
        // One that ends while it asks gives its place back.
        tasks.iter().take(7).for_each(JoinHandle::abort);
        let asked = peer.asked();
        until("the last goes on", || peer.asked() > asked + 10).await;
    });
}

/// An HTTP/2 server that answers each request with this.
async fn two(answer: impl Fn(&http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut connection) = h2::server::handshake(socket).await else { continue };
            while let Some(Ok((request, respond))) = connection.accept().await {
                answer(&request, respond);
            }
        }
    });
    address
}

#[test]
fn the_grpc_health_service_is_asked() {
    type Told = (u16, Option<&'static str>, &'static [u8], Option<&'static str>);
    let told: Rc<Cell<Told>> = Rc::new(Cell::new((200, None, b"", None)));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (answers, asked) = (told.clone(), seen.clone());
    run(async move {
        let address = two(move |request, mut respond| {
            let line = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
            asked.borrow_mut().push(format!(
                "{} {} {} {}",
                request.method(),
                request.uri(),
                line("te"),
                line("content-type")
            ));
            let (status, head, message, trailer) = answers.get();
            let mut response = http::Response::builder().status(status);
            if let Some(code) = head {
                response = response.header("grpc-status", code);
            }
            let mut stream = respond.send_response(response.body(()).unwrap(), head.is_some()).unwrap();
            if head.is_none() {
                stream.send_data(Bytes::from_static(message), trailer.is_none()).unwrap();
            }
            if let Some(code) = trailer {
                let lines = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
                stream.send_trailers(lines).unwrap();
            }
        })
        .await;
        for (answer, report) in [
            ((200, None, &b"\0\0\0\0\x02\x08\x01"[..], Some("0")), Report::Status(200)),
            ((200, None, b"\0\0\0\0\x02\x08\x02", Some("0")), Report::Status(503)),
            ((200, None, b"\0\0\0\0\0", Some("0")), Report::Status(503)),
            ((200, None, b"", Some("0")), Report::Status(0)),
            ((200, None, b"\0\0\0\0\x02\x08\x01", None), Report::Status(0)),
            // Trailers only: the server has no such service.
            ((200, Some("12"), b"", None), Report::Status(501)),
            ((200, None, b"", Some("5")), Report::Status(404)),
            ((200, Some("14"), b"", None), Report::Status(503)),
            ((404, None, b"no gRPC here", None), Report::Status(404)),
        ] {
            told.set(answer);
            let question = Question::Grpc { headers: &[] };
            let answered = probe(&opener(address), "g:1", question, Duration::from_secs(60), counted()).await;
            assert_eq!(answered.report, report, "{answer:?} {answered:?}");
        }
        let expected = "POST http://g:1/grpc.health.v1.Health/Check trailers application/grpc";
        assert!(seen.borrow().iter().all(|s| s == expected), "{:?}", seen.borrow());

        // The same as a check of an instance.
        told.set((200, None, b"\0\0\0\0\x02\x08\x01", Some("0")));
        let standing = Standing::new(false);
        let active = Active { speak: Speak::Grpc, ..active(1, 1) };
        let (task, _) = begin(instance(&standing, address), Check::Active(Box::new(active)));
        until("serving", || standing.state() == State::Healthy).await;
        told.set((200, None, b"\0\0\0\0\x02\x08\x02", Some("0")));
        until("not serving", || standing.state() == State::Unhealthy).await;
        assert_eq!(standing.shown().last_failure.as_deref(), Some("not serving"));
        task.abort();
    });
}

#[test]
fn http_is_asked_in_the_version_that_is_spoken() {
    run(async {
        let address = two(|request, mut respond| {
            let status = if request.uri().path() == "/live" { 200 } else { 404 };
            let response = http::Response::builder().status(status).body(()).unwrap();
            let _ = respond.send_response(response, true);
        })
        .await;
        for (path, status) in [("/live", 200), ("/", 404)] {
            let question = Question::Http { path, headers: &[], two: true };
            let answer = probe(&opener(address), "h:1", question, Duration::from_secs(60), counted()).await;
            assert_eq!(answer.report, Report::Status(status));
        }
    });
}
