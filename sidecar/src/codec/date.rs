//! The `Date` line of an answer that came without one (RFC 9110, 6.6.1).

use crate::exchange::Headers;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// The second that a thread wrote last, as text.
struct Last {
    second: u64,
    text: String,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { second: 0, text: String::new() }) };
}

/// Adds the line where it is missing. The text is made once a second.
pub fn add(headers: &mut Headers, now: SystemTime) {
    if headers.contains("date") {
        return;
    }
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    LAST.with_borrow_mut(|last| {
        if last.second != second || last.text.is_empty() {
            last.second = second;
            last.text = imf_fixdate(second);
        }
        headers.append("date", &last.text);
    });
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn imf_fixdate(second: u64) -> String {
    let at = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_date_of_the_specification() {
        let mut headers = Headers::default();
        add(&mut headers, UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(headers.get("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        add(&mut headers, UNIX_EPOCH + Duration::from_secs(784_111_778));
        assert_eq!(headers.len(), 1);
    }
}
