use super::super::settings::{Limits, Mechanism, Secret};
use super::*;
use SocketType::{Dealer, Rep, Req, Router};
use proptest::prelude::*;

pub(in super::super) fn machine(kind: SocketType, mechanism: Mechanism) -> Machine {
    Machine::new(Arc::new(Settings::new(kind, mechanism)))
}

fn with_limits(limits: Limits) -> Machine {
    Machine::new(Arc::new(Settings { limits, ..Settings::new(Router, Mechanism::Null) }))
}

fn plain(user: &'static str, password: &'static str) -> Mechanism {
    Mechanism::PlainClient { user: Bytes::from_static(user.as_bytes()), password: Secret::new(password) }
}

fn message(frames: &[&[u8]]) -> Message {
    frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
}

pub(in super::super) fn written(machine: &mut Machine) -> Vec<u8> {
    let n = machine.output().remaining();
    machine.output().copy_to_bytes(n).to_vec()
}

/// A verdict on a login.
fn judge(machine: &mut Machine, credentials: &Credentials) {
    match credentials {
        Credentials::Plain { user, password } if user == "shop" && password.is(b"pw") => machine.accept().unwrap(),
        Credentials::Curve { .. } => machine.accept().unwrap(),
        Credentials::Plain { .. } => machine.refuse("400"),
    }
}

/// Every event until more bytes are needed.
fn events(machine: &mut Machine, input: &mut BytesMut, into: &mut Vec<Event>) -> Result<(), Error> {
    while let Some(event) = machine.read(input)? {
        if let Event::Login(credentials) = &event {
            judge(machine, credentials);
        }
        into.push(event);
    }
    Ok(())
}

/// What a conversation leads to, with bytes that come in such pieces.
fn fed(mut machine: Machine, bytes: &[u8], cuts: &[usize]) -> (Vec<Event>, Option<Error>, Vec<u8>) {
    let (mut input, mut seen, mut at) = (BytesMut::new(), Vec::new(), 0);
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let end = cut.clamp(at, bytes.len());
        input.extend_from_slice(&bytes[at..end]);
        at = end;
        if let Err(error) = events(&mut machine, &mut input, &mut seen) {
            return (seen, Some(error), written(&mut machine));
        }
    }
    (seen, None, written(&mut machine))
}

/// Two machines, until neither has anything to say.
pub(in super::super) fn talk(a: &mut Machine, b: &mut Machine) -> Result<(Vec<Event>, Vec<Event>), Error> {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    let (mut to_a, mut to_b) = (BytesMut::new(), BytesMut::new());
    loop {
        to_b.extend(written(a));
        to_a.extend(written(b));
        if to_a.is_empty() && to_b.is_empty() {
            return Ok((of_a, of_b));
        }
        events(a, &mut to_a, &mut of_a)?;
        events(b, &mut to_b, &mut of_b)?;
        assert!(to_a.is_empty() && to_b.is_empty());
    }
}

fn connected(ours: SocketType, theirs: SocketType) -> (Machine, Machine) {
    let (mut a, mut b) = (machine(ours, Mechanism::Null), machine(theirs, Mechanism::Null));
    talk(&mut a, &mut b).unwrap();
    assert!(a.is_ready() && b.is_ready());
    (a, b)
}

/// What a REQ says that introduces itself, asks twice and pings in the middle of a message.
fn conversation(mechanism: Mechanism) -> Vec<u8> {
    let mut settings = Settings::new(Req, mechanism.clone());
    settings.identity = Bytes::from_static(b"me");
    let mut req = Machine::new(Arc::new(settings));
    let server = if mechanism.name() == "NULL" { Mechanism::Null } else { Mechanism::PlainServer };
    let mut router = machine(Router, server);
    let mut bytes = Vec::new();
    let (mut to_req, mut to_router) = (BytesMut::new(), BytesMut::new());
    while !req.is_ready() || !router.is_ready() {
        let said = written(&mut req);
        bytes.extend(&said);
        to_router.extend(said);
        events(&mut router, &mut to_router, &mut Vec::new()).unwrap();
        to_req.extend(written(&mut router));
        events(&mut req, &mut to_req, &mut Vec::new()).unwrap();
    }
    req.send(&message(&[b"", b"hello"])).unwrap();
    req.ping(Some(Duration::from_secs(3)), b"ctx").unwrap();
    bytes.extend(written(&mut req));
    bytes.extend(b"\x01\x02id\x01\x00\x04\x07\x04PING\0\x00\x04\x08\x07UNKNOWN\x00\x02ok");
    req.send(&message(&[b"", &[b'x'; 300], &[b'y'; 20_000]])).unwrap();
    bytes.extend(written(&mut req));
    bytes
}

#[test]
fn a_req_talks_to_our_router() {
    let bytes = conversation(Mechanism::Null);
    let (seen, error, answers) = fed(machine(Router, Mechanism::Null), &bytes, &[]);
    assert_eq!(error, None);
    let peer = Peer { socket_type: Req, identity: Bytes::from_static(b"me"), minor: 1, metadata: Metadata::default() };
    assert_eq!(
        seen,
        [
            Event::Ready(peer),
            Event::Message(message(&[b"", b"hello"])),
            Event::Ping { ttl: Some(Duration::from_secs(3)) },
            Event::Ping { ttl: None },
            Event::Message(message(&[b"id", b"", b"ok"])),
            Event::Message(message(&[b"", &[b'x'; 300], &[b'y'; 20_000]])),
        ]
    );
    assert!(answers.ends_with(b"\x04\x08\x04PONGctx\x04\x05\x04PONG"));
}

#[test]
fn byte_by_byte_is_the_same() {
    for (mechanism, server) in [(Mechanism::Null, Mechanism::Null), (plain("shop", "pw"), Mechanism::PlainServer)] {
        let bytes = conversation(mechanism);
        let whole = fed(machine(Router, server.clone()), &bytes, &[]);
        assert_eq!(whole.1, None);
        assert_eq!(whole.0.len(), if server.is_server() { 7 } else { 6 });
        let every: Vec<usize> = (1..bytes.len()).collect();
        assert_eq!(fed(machine(Router, server.clone()), &bytes, &every), whole);
        for cut in 0..200 {
            assert_eq!(fed(machine(Router, server.clone()), &bytes, &[cut]), whole, "{cut}");
        }
    }
}

#[test]
fn both_sides_of_every_pair() {
    for ours in [Req, Rep, Dealer, Router] {
        for theirs in [Req, Rep, Dealer, Router] {
            let (mut a, mut b) = (machine(ours, Mechanism::Null), machine(theirs, Mechanism::Null));
            let talked = talk(&mut a, &mut b);
            if ours.talks_to(theirs) {
                assert!(talked.is_ok() && a.is_ready() && b.is_ready());
                a.send(&message(&[b"", b"x"])).unwrap();
                let (_, seen) = talk(&mut a, &mut b).unwrap();
                assert_eq!(seen, [Event::Message(message(&[b"", b"x"]))]);
            } else {
                let refused = Error::SocketType { ours, theirs: theirs.name().into() };
                assert_eq!(talked, Err(refused));
                // It is told, too.
                assert!(written(&mut a).ends_with(b"\x04\x1a\x05ERROR\x13Invalid socket type"));
                assert_eq!(a.read(&mut BytesMut::new()), Err(Error::Closed));
            }
        }
    }
}

#[test]
fn plain_good_and_bad() {
    let (mut client, mut server) = (machine(Dealer, plain("shop", "pw")), machine(Router, Mechanism::PlainServer));
    let (of_client, of_server) = talk(&mut client, &mut server).unwrap();
    assert!(matches!(&of_server[..], [Event::Login(_), Event::Ready(peer)] if peer.socket_type == Dealer));
    assert!(matches!(&of_client[..], [Event::Ready(peer)] if peer.socket_type == Router));

    let (mut client, mut server) = (machine(Dealer, plain("shop", "no")), machine(Router, Mechanism::PlainServer));
    let mut to_server = BytesMut::from(&written(&mut client)[..]);
    assert_eq!(server.read(&mut to_server), Ok(None));
    let mut to_client = BytesMut::from(&written(&mut server)[..]);
    assert_eq!(client.read(&mut to_client), Ok(None));
    to_server.extend(written(&mut client));
    let Ok(Some(Event::Login(credentials))) = server.read(&mut to_server) else { panic!("no login") };
    // Whatever comes now waits for the verdict.
    to_server.extend(b"\xff\xff");
    assert_eq!((server.read(&mut to_server), to_server.len(), server.wanted()), (Ok(None), 2, 0));
    judge(&mut server, &credentials);
    assert_eq!(server.read(&mut to_server), Err(Error::Closed));
    to_client.extend(written(&mut server));
    assert_eq!(client.read(&mut to_client), Err(Error::Peer("400".into())));
    assert_eq!(client.read(&mut to_client), Err(Error::Closed));
}

#[test]
fn the_wrong_kind_is_told_before_ready_in_plain() {
    let (mut client, mut server) = (machine(Rep, plain("shop", "pw")), machine(Router, Mechanism::PlainServer));
    assert!(matches!(talk(&mut client, &mut server), Err(Error::SocketType { .. })));
    assert_eq!(written(&mut server), b"\x04\x1a\x05ERROR\x13Invalid socket type");
}

#[test]
fn mechanisms_must_be_the_same() {
    let (mut client, mut server) = (machine(Req, plain("shop", "pw")), machine(Router, Mechanism::Null));
    let mut input = BytesMut::from(&written(&mut client)[..]);
    let error = server.read(&mut input).unwrap_err();
    assert_eq!(error.to_string(), "the peer's security mechanism is \"PLAIN\", ours is NULL");
    let (mut one, mut other) = (machine(Dealer, Mechanism::PlainServer), machine(Router, Mechanism::PlainServer));
    assert_eq!(talk(&mut one, &mut other).unwrap_err(), Error::BothServers("PLAIN"));
    // libzmq does not say who is the server; two clients notice by what they hear.
    let (mut one, mut other) = (machine(Dealer, plain("a", "")), machine(Router, plain("b", "")));
    assert!(matches!(talk(&mut one, &mut other), Err(Error::Unexpected { .. })));
}

#[test]
fn an_announced_size_costs_nothing() {
    let hello = conversation(Mechanism::Null);
    let ready = hello.windows(6).position(|w| w == b"\x01\x00\x00\x05he").unwrap();
    let tib = [2, 0, 0, 1, 0, 0, 0, 0, 0];
    for (head, wanted) in [
        (
            &tib[..],
            "a frame of 1099511627776 bytes would make a message of more than 16777216 bytes (0 came before it)",
        ),
        (&[6, 0, 0, 1, 0, 0, 0, 0, 0], "a command of 1099511627776 bytes, at most 65536 are allowed here"),
        (
            &[2, 255, 255, 255, 255, 255, 255, 255, 255],
            "a frame of 18446744073709551615 bytes would make a message of more than 16777216 bytes (0 came before it)",
        ),
    ] {
        let mut router = machine(Router, Mechanism::Null);
        let mut input = BytesMut::with_capacity(4096);
        input.extend_from_slice(&hello[..ready]);
        assert!(matches!(router.read(&mut input), Ok(Some(Event::Ready(_)))));
        input.extend_from_slice(head);
        let capacity = input.capacity();
        assert_eq!(router.read(&mut input).unwrap_err().to_string(), wanted);
        assert!(input.capacity() <= capacity && router.wanted() == 0);
    }
    // During the handshake less is allowed.
    let mut router = machine(Router, Mechanism::Null);
    let mut input = BytesMut::from(&hello[..64]);
    input.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 0x20, 1]);
    assert_eq!(router.read(&mut input), Err(Error::CommandTooLong { size: 8193, max: 8192 }));
    // And what is allowed is asked for in steps.
    let (_, mut router) = connected(Req, Router);
    let mut input = BytesMut::from(&[2, 0, 0, 0, 0, 0, 0xa0, 0, 0][..]);
    assert_eq!((router.read(&mut input), router.wanted()), (Ok(None), 1 << 20));
    input.extend_from_slice(&vec![0; 0xa0_0000 - 10]);
    assert_eq!((router.read(&mut input), router.wanted()), (Ok(None), 10));
}

#[test]
fn limits_of_a_message() {
    let hello = written(&mut machine(Req, Mechanism::Null));
    let ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REQ";
    let start = [&hello[..], ready].concat();
    let limits = Limits { message: 10, frames: 3, command: 20 };
    let run = |tail: &[u8]| fed(with_limits(limits), &[&start[..], tail].concat(), &[]);
    let (seen, error, _) = run(b"\x01\x05aaaaa\x01\x00\x00\x05bbbbb\x00\x0acccccccccc");
    assert_eq!((seen.len(), error), (3, None));
    assert_eq!(run(b"\x01\x05aaaaa\x00\x06").1, Some(Error::MessageTooLong { size: 6, before: 5, max: 10 }));
    assert_eq!(run(b"\x01\0\x01\0\x01\0\x00\0").1, Some(Error::TooManyFrames(3)));
    assert_eq!(run(b"\x04\x15").1, Some(Error::CommandTooLong { size: 21, max: 20 }));
    assert_eq!(run(b"\x08").1, Some(Error::Flags(8)));
    assert_eq!(run(b"\x05").1, Some(Error::CommandMore(5)));
    assert_eq!(run(b"\x04\x00").1, Some(Error::Malformed("a command is shorter than its name")));
    assert_eq!(run(b"\x04\x06\x05ERROR").1, Some(Error::Peer(String::new())));
    let of_64 =
        |n: usize| fed(with_limits(Limits::default()), &[&start[..], &b"\x01\0".repeat(n), b"\0\0"].concat(), &[]);
    assert!(matches!(&of_64(63).0[..], [_, Event::Message(message)] if message.len() == 64));
    assert_eq!(of_64(64).1, Some(Error::TooManyFrames(64)));
}

#[test]
fn a_message_comes_after_the_handshake() {
    let start = written(&mut machine(Req, Mechanism::Null));
    let run = |tail: &[u8]| fed(machine(Router, Mechanism::Null), &[&start[..], tail].concat(), &[]).1;
    assert_eq!(run(b"\x00\x00"), Some(Error::EarlyMessage));
    assert!(matches!(run(b"\x04\x07\x04PING\0\0"), Some(Error::Unexpected { .. })));
    assert_eq!(run(b"\x04\x0a\x05ERROR\x03bad"), Some(Error::Peer("bad".into())));
    assert_eq!(run(b"\x04\x06\x05READY"), Some(Error::NoSocketType));
    assert_eq!(run(b"\x04\x07\x05READYx"), Some(Error::Malformed("metadata ends within a property")));
}

#[test]
fn a_peer_of_3_0_is_not_pinged_but_answered() {
    let mut bytes = conversation(Mechanism::Null);
    bytes[11] = 0;
    let mut router = machine(Router, Mechanism::Null);
    let (mut input, mut seen) = (BytesMut::from(&bytes[..]), Vec::new());
    events(&mut router, &mut input, &mut seen).unwrap();
    assert!(matches!(&seen[0], Event::Ready(peer) if peer.minor == 0));
    assert!(written(&mut router).ends_with(b"\x04PONG"));
    assert_eq!(router.ping(None, b""), Ok(false));
    assert!(router.output().is_empty());
}

#[test]
fn pings_come_back() {
    let (mut dealer, mut rep) = connected(Dealer, Rep);
    assert_eq!(dealer.ping(Some(Duration::from_millis(2500)), b"0123456789abcdefg"), Ok(true));
    let (of_dealer, of_rep) = talk(&mut dealer, &mut rep).unwrap();
    assert_eq!(of_rep, [Event::Ping { ttl: Some(Duration::from_millis(2500)) }]);
    assert_eq!(of_dealer, [Event::Pong { context: Bytes::from_static(b"0123456789abcdef") }]);
}

#[test]
fn pongs_do_not_pile_up_for_a_peer_that_does_not_read() {
    let (_, mut router) = connected(Req, Router);
    let mut seen = Vec::new();
    events(&mut router, &mut BytesMut::from(&b"\x04\x07\x04PING\0\0".repeat(50_000)[..]), &mut seen).unwrap();
    assert_eq!(seen.len(), 50_000);
    assert!(router.output().len() < PONGS + 32);
}

#[test]
fn calls_at_the_wrong_time() {
    let mut router = machine(Router, Mechanism::Null);
    assert!(matches!(router.send(&message(&[b"x"])), Err(Error::Call(_))));
    assert!(matches!(router.ping(None, b""), Err(Error::Call(_))));
    assert!(matches!(router.accept(), Err(Error::Call(_))));
    let (mut req, mut router) = connected(Req, Router);
    assert!(matches!(router.accept(), Err(Error::Call(_))));
    router.send(&Message::new()).unwrap();
    assert!(router.output().is_empty());
    router.send(&message(&[b"", b"x"])).unwrap();
    assert_eq!(talk(&mut req, &mut router).unwrap().0.len(), 1);
    router.refuse("because");
    assert!(router.output().is_empty() && router.wanted() == 0);
    assert_eq!(router.send(&message(&[b"x"])), Err(Error::Closed));
}

#[test]
fn a_few_bytes_at_a_time_hold_no_buffers() {
    let (_, mut router) = connected(Req, Router);
    let mut input = BytesMut::with_capacity(4096);
    let start = input.as_ptr();
    for _ in 0..63 {
        // One buffer does for all of them: each time, nothing else holds it.
        assert!(input.try_reclaim(4096) && input.as_ptr() == start);
        input.extend_from_slice(b"\x01\x01x");
        assert_eq!(router.read(&mut input), Ok(None));
    }
    input.extend_from_slice(b"\x00\x01y");
    assert!(matches!(router.read(&mut input), Ok(Some(Event::Message(message))) if message.len() == 64));
}

#[test]
fn ends_of_a_connection() {
    let bytes = conversation(Mechanism::Null);
    let told = |cut: usize| {
        let mut router = machine(Router, Mechanism::Null);
        let mut input = BytesMut::from(&bytes[..cut]);
        events(&mut router, &mut input, &mut Vec::new()).unwrap();
        router.end(&input).err().map(|error| error.to_string())
    };
    let start = bytes.windows(9).position(|w| w == b"\x01\x00\x00\x05hello").unwrap();
    assert_eq!(told(0).unwrap(), "the peer closed without a word");
    assert!(told(12).unwrap().starts_with("the peer closed within its greeting: its security mechanism may be"));
    assert_eq!(told(70).unwrap(), "the peer closed before the handshake was over");
    for cut in [1, 2, 5] {
        assert_eq!(told(start + cut).unwrap(), "the peer closed within a message");
    }
    assert_eq!((told(start), told(start + 9), told(bytes.len())), (None, None, None));
}

#[test]
fn what_left_and_what_did_not() {
    let (_, mut router) = connected(Req, Router);
    let starts: Vec<u64> = (0..3)
        .map(|_| {
            let start = router.output().queued();
            router.send(&message(&[b"", &[b'x'; 100]])).unwrap();
            start
        })
        .collect();
    router.output().advance(150);
    let written = router.output().written();
    assert_eq!(starts.iter().filter(|start| **start >= written).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_split_gives_the_same(mut cuts in proptest::collection::vec(0..21_000_usize, 0..40)) {
        cuts.sort_unstable();
        let bytes = conversation(plain("shop", "pw"));
        let whole = fed(machine(Router, Mechanism::PlainServer), &bytes, &[]);
        prop_assert_eq!(fed(machine(Router, Mechanism::PlainServer), &bytes, &cuts), whole);
    }

    #[test]
    fn frames_come_back_as_they_were(sizes in proptest::collection::vec(prop_oneof![0..300_usize, 16_300..16_500_usize], 1..64)) {
        let (mut dealer, mut router) = connected(Dealer, Router);
        let sent: Message = sizes.iter().map(|size| Bytes::from(vec![*size as u8; *size])).collect();
        dealer.send(&sent).unwrap();
        let (_, seen) = talk(&mut dealer, &mut router).unwrap();
        prop_assert_eq!(seen, [Event::Message(sent)]);
    }
}
