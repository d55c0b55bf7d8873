//! The cookie by which a caller stays with its instance.

/// Hexadecimal digits of a value: 128 random bits.
const DIGITS: usize = 32;

/// A cookie that the caller does not have yet. The answer must bring it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCookie {
    /// The value of the header line `Set-Cookie`.
    pub set_cookie: String,
    value: std::ops::Range<usize>,
}

impl NewCookie {
    /// One with a random value: it only has to be unlike others, it opens nothing.
    pub(super) fn random(name: &str, path: &str) -> NewCookie {
        let value = fastrand::u128(..);
        let start = name.len() + 1;
        let set_cookie = format!("{name}={value:0width$x}; Path={path}; SameSite=Lax; HttpOnly", width = DIGITS);
        NewCookie { set_cookie, value: start..start + DIGITS }
    }

    /// Its value.
    pub fn value(&self) -> &str {
        self.set_cookie.get(self.value.clone()).unwrap_or_default()
    }
}

/// The value of a cookie among the lines `Cookie`; the first of that name.
pub(super) fn find<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    lines.flat_map(|line| line.split(|b| *b == b';')).find_map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        let (found, value) = pair.split_at_checked(equals)?;
        (found.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}
