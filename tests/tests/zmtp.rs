//! The corpus, and mutations of it that are the same in every run.
use fourmi::codec::zmtp::wire::{Error, Event};
use fourmi_tests::zmtp::{fuzz, run, settings};
use std::sync::Arc;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/zmtp");
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
        })
        .collect();
    all.sort();
    assert!(all.len() > 10);
    all
}

#[test]
fn conversations_of_real_peers() {
    for (name, input) in corpus() {
        for cut in [0, 1, 2] {
            let mut input = input.clone();
            input[1] = cut;
            fuzz(&input);
        }
        // With the limits that are usual.
        let mut settings = settings(input[0]).unwrap();
        settings.limits = fourmi::codec::zmtp::wire::Limits::default();
        let curve = settings.mechanism.name() == "CURVE";
        let outcome = run(&Arc::new(settings), &input[2..], None);
        let messages = outcome.events.iter().filter(|event| matches!(event, Event::Message(_))).count();
        match name.as_str() {
            "pyzmq-mismatch" => assert_eq!((outcome.error, messages), (None, 0)),
            "pyzmq-sub" => assert!(matches!(outcome.error, Some(Error::SocketType { .. }))),
            name if name.ends_with("plain-bad") => assert!(matches!(outcome.events[..], [Event::Login(_)])),
            // What was encrypted for one connection cannot be said again in another.
            _ if curve => assert!(matches!(outcome.error, Some(Error::Sealed(_))), "{name}: {:?}", outcome.error),
            _ => assert!(messages > 0 && outcome.error.is_none(), "{name}: {:?}", outcome.error),
        }
    }
}

#[test]
fn mutations_of_conversations() {
    let corpus = corpus();
    // More of them, and others, for a long run: ZMTP_ROUNDS=200000.
    let rounds = std::env::var("ZMTP_ROUNDS").map_or(8_000, |rounds| rounds.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(rounds);
    for round in 0..rounds {
        let (_, input) = random.choice(&corpus).unwrap();
        let curve = matches!(input[0], b'2' | b'5');
        // Curves are slow without optimisation, and a changed box says nothing new.
        if curve && round % 40 != 0 {
            continue;
        }
        let mut input = input[..input.len().min(2000)].to_vec();
        input[1] = random.u8(..);
        for _ in 0..random.usize(1..=4) {
            mutate(&mut input, &corpus, &mut random);
        }
        fuzz(&input);
    }
}

fn mutate(input: &mut Vec<u8>, corpus: &[(String, Vec<u8>)], random: &mut fastrand::Rng) {
    // The first two bytes are ours; the greeting is left alone most of the time.
    let from = if random.u8(..8) == 0 { 2 } else { 66.min(input.len()) };
    let at = random.usize(from..=input.len());
    match random.u8(..8) {
        0 => input.truncate(at),
        1 => input.insert(at, random.u8(..)),
        2 if at < input.len() => input[at] ^= 1 << random.u8(..8),
        3 if at < input.len() => input[at] = *random.choice(&[0, 1, 2, 3, 4, 6, 7, 8, 127, 128, 255]).unwrap(),
        4 if at < input.len() => drop(input.remove(at)),
        5 => {
            let (_, other) = random.choice(corpus).unwrap();
            let end = other.len().min(2000);
            let start = random.usize(2..end);
            input.truncate(at);
            input.extend_from_slice(&other[start..end]);
        }
        6 => {
            let end = random.usize(at..=input.len().min(at + 100));
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            // A frame of its own.
            let mut frame = vec![random.u8(..8)];
            if frame[0] & 2 == 0 {
                frame.push(random.u8(..))
            } else {
                frame.extend(random.u64(..).to_be_bytes())
            }
            let n = random.usize(..200);
            frame.extend(std::iter::repeat_with(|| random.u8(..)).take(n));
            input.splice(at..at, frame);
        }
    }
}

#[test]
fn bytes_without_any_sense() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..5_000 {
        let n = random.usize(..300);
        let mut input: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(n).collect();
        if let Some(first) = input.first_mut() {
            *first = *random.choice(b"0134").unwrap();
        }
        fuzz(&input);
    }
}
