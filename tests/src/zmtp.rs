//! Hostile bytes for the ZMTP codec: whatever a peer sends, and however it is cut, the same comes of it, nothing
//! panics, and nothing is set aside for what was only announced.
//!
//! An input is a digit that says who we are (`0` a ROUTER without security, `1` PLAIN, `2` CURVE; `3` to `5` the same
//! as a DEALER that dials), a byte that says where to cut, then the bytes of the peer.

use bytes::{Buf, Bytes, BytesMut};
use fourmi::codec::zmtp::wire::{
    Credentials, Error, Event, Limits, Machine, Mechanism, Secret, SecretKey, Settings, SocketType,
};
use std::sync::Arc;

/// Small, so that they are met often.
pub const LIMITS: Limits = Limits { message: 4096, frames: 8, command: 512 };
/// Inputs that are longer say nothing new.
const INPUT_MAX: usize = 64 << 10;
/// The server's secret key in the corpus; the manual of libzmq has it.
pub const SECRET: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

/// What came of an input.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In order.
    pub events: Vec<Event>,
    /// The end, if there was one.
    pub error: Option<Error>,
    /// What we said; only its length where it has random numbers in it.
    pub said: (usize, Vec<u8>),
}

/// The body of a fuzz target.
///
/// # Panics
/// When a rule of the codec is broken.
pub fn fuzz(input: &[u8]) {
    let [who, cut, wire @ ..] = input else { return };
    if wire.len() > INPUT_MAX {
        return;
    }
    let Some(settings) = settings(*who) else { return };
    let settings = Arc::new(settings);
    let whole = run(&settings, wire, None);
    let pieces = run(&settings, wire, Some(*cut));
    assert_eq!(whole, pieces, "it matters where the bytes are cut");
}

/// Who we are, by the first byte of an input.
pub fn settings(who: u8) -> Option<Settings> {
    let plain = || Mechanism::PlainClient { user: Bytes::from_static(b"shop"), password: Secret::new("pw") };
    let secret: SecretKey = SECRET.parse().ok()?;
    let (socket_type, mechanism) = match who.wrapping_sub(b'0') % 6 {
        0 => (SocketType::Router, Mechanism::Null),
        1 => (SocketType::Router, Mechanism::PlainServer),
        2 => (SocketType::Router, Mechanism::CurveServer { secret }),
        3 => (SocketType::Dealer, Mechanism::Null),
        4 => (SocketType::Dealer, plain()),
        _ => (SocketType::Dealer, Mechanism::CurveClient { server: secret.public(), secret }),
    };
    Some(Settings { limits: LIMITS, ..Settings::new(socket_type, mechanism) })
}

/// What comes of these bytes, in pieces whose lengths follow from the seed.
pub fn run(settings: &Arc<Settings>, wire: &[u8], cut: Option<u8>) -> Outcome {
    let mut machine = Machine::new(settings.clone());
    let (mut input, mut events, mut rest) = (BytesMut::with_capacity(wire.len()), Vec::new(), wire);
    let mut random = fastrand::Rng::with_seed(u64::from(cut.unwrap_or_default()));
    let mut error = None;
    while error.is_none() && !rest.is_empty() {
        let piece = match cut {
            None => rest.len(),
            Some(0) => 1,
            Some(_) => random.usize(1..=rest.len().min(100)),
        };
        let (now, later) = rest.split_at(piece);
        input.extend_from_slice(now);
        rest = later;
        error = step(&mut machine, &mut input, &mut events).err();
    }
    if error.is_some() {
        assert_eq!(machine.read(&mut input), Err(Error::Closed));
        assert_eq!(machine.wanted(), 0);
    }
    let said = machine.output().len();
    assert!(said < 80 << 10, "{said} bytes wait for a peer that does not read");
    let said = machine.output().copy_to_bytes(said).to_vec();
    let drawn = settings.mechanism.name() == "CURVE";
    Outcome { events, error, said: (said.len(), if drawn { Vec::new() } else { said }) }
}

fn step(machine: &mut Machine, input: &mut BytesMut, events: &mut Vec<Event>) -> Result<(), Error> {
    loop {
        let room = input.capacity();
        let event = machine.read(input)?;
        assert!(input.capacity() <= room, "room was made for what is only announced");
        let Some(event) = event else { break };
        match &event {
            Event::Login(Credentials::Plain { password, .. }) if !password.is(b"pw") => machine.refuse("400"),
            Event::Login(_) => machine.accept()?,
            Event::Message(message) => {
                let limits = machine.settings().limits;
                assert!(!message.is_empty() && message.len() <= limits.frames && message.size() <= limits.message);
                sent_again(message, machine.settings());
            }
            Event::Ready(_) => assert!(machine.is_ready()),
            Event::Ping { .. } | Event::Pong { .. } => {}
        }
        events.push(event);
    }
    assert!((1..=1 << 20).contains(&machine.wanted()));
    Ok(())
}

/// What was read can be sent, and is the same message for the next one.
fn sent_again(message: &fourmi::codec::zmtp::wire::Message, settings: &Settings) {
    let null = Settings {
        mechanism: Mechanism::Null,
        limits: settings.limits,
        ..Settings::new(SocketType::Dealer, Mechanism::Null)
    };
    let null = Arc::new(null);
    let (mut one, mut other) = (Machine::new(null.clone()), Machine::new(null));
    let carry = |from: &mut Machine, to: &mut Machine| {
        let n = from.output().len();
        let mut input = BytesMut::from(&from.output().copy_to_bytes(n)[..]);
        to.read(&mut input)
    };
    for _ in 0..2 {
        assert!(carry(&mut one, &mut other).is_ok() && carry(&mut other, &mut one).is_ok());
    }
    assert!(one.send(message).is_ok());
    assert_eq!(carry(&mut one, &mut other), Ok(Some(Event::Message(message.clone()))));
}
