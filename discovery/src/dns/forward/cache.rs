//! Answers of recursors, for as long as they say.

use super::Asking;
use foldhash::HashMap;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record};
use std::time::{Duration, Instant};

/// The longest that an answer is kept, whatever it says.
const KEEP_MAX: u32 = 300;

#[derive(Debug)]
struct Kept {
    message: Message,
    from: Instant,
    until: Instant,
}

/// Answers by question. When the younger half is full it becomes the older one, which is dropped: nothing is searched
/// for what to drop.
#[derive(Debug)]
pub(super) struct Cache {
    half: usize,
    young: HashMap<Asking, Kept>,
    old: HashMap<Asking, Kept>,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Cache { half: most / 2, young: HashMap::default(), old: HashMap::default() }
    }

    /// A known answer, with what is left of its time.
    pub(super) fn get(&mut self, question: &Asking, now: Instant) -> Option<Message> {
        let kept = self.young.get(question).or_else(|| self.old.get(question)).filter(|kept| kept.until > now)?;
        let mut message = kept.message.clone();
        let age = u32::try_from(now.saturating_duration_since(kept.from).as_secs()).unwrap_or(u32::MAX);
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(message)
    }

    pub(super) fn put(&mut self, question: Asking, message: &Message, now: Instant) {
        let seconds = seconds(message);
        if self.half == 0 || seconds == 0 || message.metadata.truncation {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        let until = now + Duration::from_secs(u64::from(seconds));
        self.young.insert(question, Kept { message: message.clone(), from: now, until });
    }
}

/// How long an answer may be kept: as long as its shortest record; a negative one as its SOA record says (RFC 2308).
fn seconds(message: &Message) -> u32 {
    let positive = message.metadata.response_code == ResponseCode::NoError && !message.answers.is_empty();
    let negative = |record: &Record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    };
    let told = match positive {
        true => message.answers.iter().map(|record| record.ttl).min(),
        false => message.authorities.iter().filter_map(negative).min(),
    };
    told.unwrap_or(0).min(KEEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::labels::name_of;
    use crate::dns::reply::address;
    use hickory_proto::rr::RecordType;
    use std::net::Ipv4Addr;

    #[test]
    fn answers_are_kept_for_their_time_and_the_number_is_bounded() {
        let mut cache = Cache::new(8);
        let asking = |n: u32| Asking {
            name: name_of(&format!("n{n}.example")).unwrap(),
            kind: RecordType::A,
            tcp: false,
            dnssec: false,
            marked: false,
        };
        let answer = |ttl| {
            let mut message = Message::query();
            message.add_answer(address(&asking(0).name, ttl, Ipv4Addr::LOCALHOST.into(), RecordType::A).unwrap());
            message
        };
        let now = Instant::now();
        cache.put(asking(0), &answer(10), now);
        let later = now + Duration::from_secs(4);
        assert_eq!(cache.get(&asking(0), later).unwrap().answers[0].ttl, 6);
        assert!(cache.get(&asking(0), now + Duration::from_secs(10)).is_none());
        cache.put(asking(1), &answer(0), now);
        assert!(cache.get(&asking(1), now).is_none(), "0 is not to be kept");
        for n in 0..1000 {
            cache.put(asking(n), &answer(10), now);
        }
        let kept = (0..1000).filter(|n| cache.get(&asking(*n), now).is_some()).count();
        assert!((4..=8).contains(&kept), "{kept}");
    }
}
