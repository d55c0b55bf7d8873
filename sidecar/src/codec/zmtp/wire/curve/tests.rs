use super::super::command::Command;
use super::super::machine::tests::{machine, talk, written};
use super::super::settings::{Credentials, Mechanism, Settings};
use super::super::{Error, Event, Machine, Message, Output, PublicKey, SecretKey, SocketType};
use SocketType::{Dealer, Router};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

fn pair() -> (Machine, Machine, PublicKey) {
    let (ours, theirs) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    let public = theirs.public();
    let client = Mechanism::CurveClient { server: ours.public(), secret: theirs };
    let mut settings = Settings::new(Router, Mechanism::CurveServer { secret: ours });
    settings.limits.message = 128 << 10;
    (machine(Dealer, client), Machine::new(Arc::new(settings)), public)
}

fn connected() -> (Machine, Machine) {
    let (mut client, mut server, _) = pair();
    talk(&mut client, &mut server).unwrap();
    (client, server)
}

fn message(frames: &[&[u8]]) -> Message {
    frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
}

/// One message of the client's as it is on the wire.
fn sealed(client: &mut Machine, frames: &[&[u8]]) -> Vec<u8> {
    client.send(&message(frames)).unwrap();
    written(client)
}

fn read(machine: &mut Machine, bytes: &[u8]) -> Result<Option<Event>, Error> {
    machine.read(&mut BytesMut::from(bytes))
}

#[test]
fn both_sides_and_back() {
    let (mut client, mut server, public) = pair();
    let (of_client, of_server) = talk(&mut client, &mut server).unwrap();
    assert!(matches!(&of_server[..], [Event::Login(Credentials::Curve { key }), Event::Ready(peer)]
        if *key == public && peer.socket_type == Dealer));
    assert!(matches!(&of_client[..], [Event::Ready(peer)] if peer.socket_type == Router));
    let big = vec![b'x'; 100_000];
    for frames in [&[&b""[..], b"hello"][..], &[b"id", b"", &big, b"", &big[..300]], &[b""], &[&big]] {
        client.send(&message(frames)).unwrap();
        assert!(client.ping(None, b"still there?").unwrap());
        server.send(&message(frames)).unwrap();
        let (of_client, of_server) = talk(&mut client, &mut server).unwrap();
        assert_eq!(of_server, [Event::Message(message(frames)), Event::Ping { ttl: None }]);
        let pong = Event::Pong { context: Bytes::from_static(b"still there?") };
        assert_eq!(of_client, [Event::Message(message(frames)), pong]);
    }
}

#[test]
fn sizes_of_the_specification() {
    let (mut client, mut server, _) = pair();
    let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::from(&written(&mut client)[..]));
    server.read(&mut to_server).unwrap();
    to_client.extend(written(&mut server));
    client.read(&mut to_client).unwrap();
    let hello = written(&mut client);
    assert_eq!((hello.len(), &hello[..10]), (202, &b"\x04\xc8\x05HELLO\x01\x00"[..]));
    to_server.extend(hello);
    server.read(&mut to_server).unwrap();
    let welcome = written(&mut server);
    assert_eq!((welcome.len(), &welcome[..10]), (170, &b"\x04\xa8\x07WELCOME"[..]));
    to_client.extend(welcome);
    client.read(&mut to_client).unwrap();
    let initiate = written(&mut client);
    assert!(initiate.starts_with(b"\x06\0\0\0\0\0\0") && initiate[9..].starts_with(b"\x08INITIATE"));
    // The permanent key is not to be seen.
    let Mechanism::CurveClient { secret, .. } = &client.settings().mechanism else { unreachable!() };
    assert!(!initiate.windows(32).any(|part| part == secret.public().as_bytes()));
}

#[test]
fn a_client_with_another_servers_key() {
    let (_, mut server, _) = pair();
    let (mut client, _, _) = pair();
    let error = talk(&mut client, &mut server).unwrap_err();
    assert_eq!(error.to_string(), "a HELLO of CURVE is not for our key: the client has another server's");
}

#[test]
fn a_client_that_is_not_welcome() {
    let (mut client, mut server, _) = pair();
    let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
    let credentials = loop {
        to_server.extend(written(&mut client));
        if let Some(Event::Login(credentials)) = server.read(&mut to_server).unwrap() {
            break credentials;
        }
        to_client.extend(written(&mut server));
        client.read(&mut to_client).unwrap();
    };
    assert!(matches!(credentials, Credentials::Curve { .. }));
    server.refuse("400");
    to_client.extend(written(&mut server));
    assert_eq!(client.read(&mut to_client), Err(Error::Peer("400".into())));
}

#[test]
fn a_vouch_for_another_connection() {
    // A man in the middle who lends his server's key to the client, and hands its proof on to the real server, fails:
    // the vouch names the server that it was meant for.
    let (real, false_one, theirs) =
        (SecretKey::generate().unwrap(), SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    let settings = Arc::new(Settings::new(Dealer, Mechanism::Null));
    let (mut out, mut answer) = (Output::default(), Output::default());
    let mut client = super::Client::start(&real.public(), &mut out).unwrap();
    let mut server = super::Server::Hello;
    let body = |out: &mut Output| {
        let bytes = bytes::Buf::copy_to_bytes(out, out.len());
        if bytes[0] == 4 { bytes.slice(2..) } else { bytes.slice(9..) }
    };
    server.command(Command::parse(&body(&mut out)).unwrap(), &real, &mut answer).unwrap();
    let welcome = body(&mut answer);
    client.command(Command::parse(&welcome).unwrap(), &real.public(), &theirs, &settings, &mut out).unwrap();
    let initiate = body(&mut out);
    let initiate = Command::parse(&initiate).unwrap();
    let error = server.command(initiate, &false_one, &mut answer).unwrap_err();
    assert_eq!(error, Error::Sealed("an INITIATE of CURVE does not prove the client's key"));
    assert!(server.command(initiate, &real, &mut answer).is_ok());
}

#[test]
fn nothing_can_be_changed_repeated_or_left_open() {
    for at in [0, 5, 9, 17, 25, 40] {
        let (mut client, mut server) = connected();
        let mut bytes = sealed(&mut client, &[b"", b"hello"]);
        bytes[2 + at % 36] ^= 1;
        assert!(matches!(read(&mut server, &bytes), Err(Error::Sealed(_))), "{at}");
        assert_eq!(read(&mut server, b""), Err(Error::Closed));
    }
    let (mut client, mut server) = connected();
    let bytes = sealed(&mut client, &[b"hello"]);
    assert!(read(&mut server, &bytes).unwrap().is_some());
    let repeated = read(&mut server, &bytes).unwrap_err();
    assert_eq!(repeated, Error::Sealed("an encrypted frame has a number that was used before"));
    // What the server sent cannot be sent back to it.
    let (_, mut server) = connected();
    server.send(&message(&[b"hello"])).unwrap();
    let bytes = written(&mut server);
    assert!(matches!(read(&mut server, &bytes), Err(Error::Sealed(_))));
    let (_, mut server) = connected();
    assert_eq!(read(&mut server, b"\x00\x05hello"), Err(Error::Sealed("a frame came that is not encrypted")));
}

#[test]
fn limits_hold_within_boxes_too() {
    let long = [0x02, 0, 0, 0, 1, 0, 0, 0, 0];
    let (_, mut server) = connected();
    assert!(matches!(read(&mut server, &long), Err(Error::MessageTooLong { .. })));
    let (mut client, mut server) = connected();
    let bytes = sealed(&mut client, &[&[0; 10]; 65].map(|frame| &frame[..]));
    assert_eq!(read(&mut server, &bytes), Err(Error::TooManyFrames(64)));
    let (mut client, mut server) = connected();
    let half = vec![0; 9 << 10];
    let bytes = sealed(&mut client, &[&half[..]; 15]);
    assert!(matches!(read(&mut server, &bytes), Err(Error::MessageTooLong { .. })));
}

#[test]
fn flags_within_a_box() {
    use super::super::frame;
    use super::{Cipher, counted, seal, shared};
    let (one, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    let session = shared(&one.public(), &other);
    let frame_of = |number: u64, content: &[u8]| {
        let sealed = seal(&session, &counted(b"CurveZMQMESSAGEC", number), &[content]).unwrap();
        BytesMut::from(&[&b"\x07MESSAGE"[..], &number.to_be_bytes(), &sealed].concat()[..])
    };
    let mut cipher = Cipher::of_server(shared(&other.public(), &one), 2, 2);
    for (flags, known) in
        [(0, Ok(0)), (1, Ok(frame::MORE)), (2, Ok(frame::COMMAND)), (3, Err(())), (4, Err(())), (255, Err(()))]
    {
        let number = 3 + u64::from(flags);
        let opened = cipher.open(frame_of(number, &[flags, b'x'])).map(|(flags, body)| (flags, body.to_vec()));
        assert_eq!(opened.map_err(|_| ()), known.map(|flags| (flags, b"x".to_vec())), "{flags}");
    }
    // A box with nothing in it has no flags.
    assert!(matches!(cipher.open(frame_of(1000, b"")), Err(Error::Sealed(_))));
    assert!(cipher.open(frame_of(u64::MAX, b"\0")).is_ok());
    assert!(cipher.open(frame_of(u64::MAX, b"\0")).is_err());
    // Our own numbers end, too.
    let mut last = Cipher::of_server(shared(&other.public(), &one), u64::MAX, 0);
    let mut out = Output::default();
    assert_eq!((last.seal(0, &[b"x"], &mut out), out.len()), (Err(Error::Closed), 0));
}
