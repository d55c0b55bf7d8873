//! Following a name: looking it up again whenever an answer has had its time, and telling what changed.

use super::look::{Look, Memory, look};
use super::{Name, Resolver, Update};
use std::rc::Rc;
use std::time::Duration;

/// An answer is used for this long at least, whatever it says, so that no name is asked for all the time. Together
/// with asking never later than the time to live is over, a changed answer is used within that time and one second.
const HOLDS_MIN: Duration = Duration::from_secs(1);
/// And at most.
const HOLDS_MAX: Duration = Duration::from_secs(300);
/// The pauses between tries while a look-up fails.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// The part of a pause that chance may take off, so that many sidecars do not ask in step.
const JITTER: f64 = 0.1;

/// Looks the name up for ever. The instances are told when they change, trouble when it does.
///
/// What fails leaves what was known as it is, family by family and host by host. That a name has nothing any more is
/// an answer too, but only believed when asked twice: one wrong answer must not empty a service.
pub async fn follow(name: Name, resolver: Rc<Resolver>, publish: impl Fn(Update)) {
    let mut memory = Memory::default();
    let mut told = None;
    let mut trouble = None;
    let mut failures = 0;
    loop {
        // Boxed, so that a name takes little room while it waits.
        let mut now = Box::pin(look(&name, &resolver, &memory)).await;
        if now.is_gone() && told.as_ref().is_some_and(|found: &Vec<_>| !found.is_empty()) {
            now = Box::pin(look(&name, &resolver, &memory)).await;
        }
        failures = if now.failed { failures + 1 } else { 0 };
        let pause = pause(&now, failures, fastrand::f64());
        // Whatever failed may have had instances: nothing is only said by answers.
        if !(now.failed && now.found.is_empty()) {
            memory = now.memory;
            if told.as_ref() != Some(&now.found) {
                publish(Update::Instances(now.found.clone()));
                told = Some(now.found);
            }
        }
        if trouble != now.trouble {
            publish(Update::Trouble(now.trouble.clone()));
            trouble = now.trouble;
        }
        if name.address().is_some() {
            // An address stays what it is.
            return std::future::pending().await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before the next look-up; `chance` is from 0 to 1.
fn pause(look: &Look, failures: u32, chance: f64) -> Duration {
    let holds = look.holds.clamp(HOLDS_MIN, HOLDS_MAX);
    let pause = match failures {
        0 => holds,
        n => holds.min(AGAIN_MAX).min(AGAIN_MIN.saturating_mul(1 << (n - 1).min(16))),
    };
    pause.mul_f64(1.0 - JITTER * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(seconds: u64, failures: u32) -> (Duration, Duration) {
        let look = Look {
            found: Vec::new(),
            holds: Duration::from_secs(seconds),
            trouble: None,
            failed: failures > 0,
            memory: Memory::default(),
        };
        (pause(&look, failures, 1.0), pause(&look, failures, 0.0))
    }

    #[test]
    fn nothing_is_used_longer_than_it_holds_and_one_second() {
        let ms = Duration::from_millis;
        assert_eq!(pauses(0, 0), (ms(900), ms(1000)));
        assert_eq!(pauses(30, 0), (ms(27_000), ms(30_000)));
        assert_eq!(pauses(86_400, 0), (ms(270_000), ms(300_000)));
        // Failures: soon again, then less often; never later than an answer that holds shorter.
        assert_eq!([1, 2, 3, 4, 5, 99].map(|n| pauses(30, n).1), [500, 1000, 2000, 4000, 5000, 5000].map(ms));
        assert_eq!(pauses(2, 9).1, ms(2000));
    }
}
