//! What somebody should know of a file of certificates before it is used: until when it holds, and for what.

use super::kept::Trouble;
use super::{Pem, files};
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY: i64 = 24 * 60 * 60;
/// How many seconds before its end a certificate is warned of.
pub const EXPIRES_SOON: i64 = 14 * DAY;

/// What the certificates of a file are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To be shown, with their chain: of no use when the first of them has expired.
    Shown,
    /// To be trusted: of no use when the last of them has.
    Trusted,
}

/// The certificates of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    not_before: i64,
    not_after: i64,
    /// Why the first is none that a server can show.
    pub no_server: Option<&'static str>,
}

/// Whether certificates hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// For so many days.
    Good(i64),
    /// For so many days, which are few.
    Soon(i64),
    /// Since then not any more, in seconds since 1970.
    Over(i64),
    /// Only from then on.
    Early(i64),
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Age::Good(days) => write!(f, "{days} days left"),
            Age::Soon(0) => f.write_str("expires within a day"),
            Age::Soon(1) => f.write_str("expires in 1 day"),
            Age::Soon(days) => write!(f, "expires in {days} days"),
            Age::Over(at) => write!(f, "has expired, on {}", date(at)),
            Age::Early(at) => write!(f, "holds only from {}", date(at)),
        }
    }
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |t| t.to_string())
}

/// Reads what a section names under `key`.
///
/// # Errors
/// Why it has no certificate.
pub fn about(pem: &Pem, key: &'static str, role: Role) -> Result<About, Trouble> {
    let all = files::certificates(pem, key)?;
    let times: Vec<(i64, i64)> = all.iter().filter_map(validity).collect();
    let (begins, ends) = (times.iter().map(|t| t.0), times.iter().map(|t| t.1));
    let (not_before, not_after) = match role {
        Role::Shown => (begins.max(), ends.min()),
        Role::Trusted => (begins.min(), ends.max()),
    };
    let no_server = all.first().and_then(no_server);
    Ok(About { not_before: not_before.unwrap_or(0), not_after: not_after.unwrap_or(0), no_server })
}

impl About {
    /// How it is now.
    pub fn age(&self) -> Age {
        self.age_at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed()))
    }

    fn age_at(&self, now: i64) -> Age {
        let left = self.not_after.saturating_sub(now);
        match left {
            ..=0 => Age::Over(self.not_after),
            _ if now < self.not_before => Age::Early(self.not_before),
            1..EXPIRES_SOON => Age::Soon(left / DAY),
            _ => Age::Good(left / DAY),
        }
    }
}

fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
}

fn no_server(certificate: &CertificateDer<'_>) -> Option<&'static str> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.is_ca() {
        return Some("it is an authority's own");
    }
    // Without the extension everything is allowed.
    let usage = parsed.extended_key_usage().ok().flatten()?;
    (!usage.value.server_auth && !usage.value.any).then_some("it is not for servers (no serverAuth)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_days() {
        let now = 1_800_000_000;
        for (begins, left, said) in [
            (-1, 15 * DAY + 1, "15 days left"),
            (-1, 14 * DAY, "14 days left"),
            (-1, 14 * DAY - 1, "expires in 13 days"),
            (-1, DAY, "expires in 1 day"),
            (-1, DAY - 1, "expires within a day"),
            (-1, 0, "has expired, on 2027-01-15T08:00:00Z"),
            (1, DAY, "holds only from 2027-01-15T08:00:01Z"),
        ] {
            let about = About { not_before: now + begins, not_after: now + left, no_server: None };
            assert_eq!(about.age_at(now).to_string(), said);
        }
    }
}
