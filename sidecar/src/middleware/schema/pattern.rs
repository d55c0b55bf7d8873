//! Lua's patterns, as far as it matters whether a text matches.

/// The longest pattern.
const PATTERN_MAX: usize = 512;
/// Steps of one match. Past them the text does not match.
const STEPS_MAX: usize = 100_000;

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    items: Box<[Item]>,
    anchored: bool,
    /// Whether the end of the text must be reached.
    ends: bool,
}

#[derive(Debug)]
enum Item {
    One(Class, Times),
    /// `%b()`.
    Balanced(u8, u8),
    /// `%f[set]`.
    Frontier(Class),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Maybe,
    /// As many as there are; at least so many.
    Many(usize),
    /// As few as will do.
    Few,
}

#[derive(Debug)]
enum Class {
    Any,
    Byte(u8),
    Letter(u8),
    Range(u8, u8),
    Set(Box<[Class]>, bool),
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        match self {
            Class::Any => true,
            Class::Byte(b) => *b == byte,
            Class::Range(from, to) => (*from..=*to).contains(&byte),
            Class::Set(classes, inverse) => classes.iter().any(|class| class.has(byte)) != *inverse,
            Class::Letter(letter) => {
                let found = match letter.to_ascii_lowercase() {
                    b'a' => byte.is_ascii_alphabetic(),
                    b'c' => byte.is_ascii_control(),
                    b'd' => byte.is_ascii_digit(),
                    b'g' => byte.is_ascii_graphic(),
                    b'l' => byte.is_ascii_lowercase(),
                    b'p' => byte.is_ascii_punctuation(),
                    b's' => byte.is_ascii_whitespace() || byte == 11,
                    b'u' => byte.is_ascii_uppercase(),
                    b'w' => byte.is_ascii_alphanumeric(),
                    _ => byte.is_ascii_hexdigit(),
                };
                found != letter.is_ascii_uppercase()
            }
        }
    }
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(text: &str) -> Result<Pattern, String> {
        if text.len() > PATTERN_MAX {
            return Err(format!("a pattern may have {PATTERN_MAX} bytes"));
        }
        let bytes = text.as_bytes();
        let anchored = bytes.first() == Some(&b'^');
        let mut rest = bytes.get(usize::from(anchored)..).unwrap_or_default();
        let mut items = Vec::new();
        let mut ends = false;
        while let Some((first, after)) = rest.split_first() {
            match (first, after) {
                // What is captured is of no interest.
                (b'(' | b')', _) => {
                    rest = after;
                    continue;
                }
                (b'$', []) => {
                    ends = true;
                    break;
                }
                (b'%', [b'b', open, close, more @ ..]) => {
                    items.push(Item::Balanced(*open, *close));
                    rest = more;
                    continue;
                }
                (b'%', [b'f', more @ ..]) if more.first() == Some(&b'[') => {
                    let (class, more) = class(more)?;
                    items.push(Item::Frontier(class));
                    rest = more;
                    continue;
                }
                (b'%', [b'b' | b'f', ..]) => return Err("malformed pattern (%b or %f)".into()),
                (b'%', [digit, ..]) if digit.is_ascii_digit() => {
                    return Err("what was captured cannot be asked for in a pattern".into());
                }
                _ => {}
            }
            let (class, more) = class(rest)?;
            let (times, more) = match more.split_first() {
                Some((b'*', more)) => (Times::Many(0), more),
                Some((b'+', more)) => (Times::Many(1), more),
                Some((b'-', more)) => (Times::Few, more),
                Some((b'?', more)) => (Times::Maybe, more),
                _ => (Times::Once, more),
            };
            items.push(Item::One(class, times));
            rest = more;
        }
        Ok(Pattern { items: items.into(), anchored, ends })
    }

    /// Whether a text holds it.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let mut steps = STEPS_MAX;
        let last = if self.anchored { 0 } else { text.len() };
        (0..=last).any(|from| self.matches(0, text, from, &mut steps))
    }

    fn matches(&self, item: usize, text: &[u8], from: usize, steps: &mut usize) -> bool {
        let (mut item, mut at) = (item, from);
        loop {
            if *steps == 0 {
                return false;
            }
            *steps -= 1;
            let Some(next) = self.items.get(item) else { return !self.ends || at == text.len() };
            item += 1;
            let here = text.get(at).copied();
            match next {
                Item::Frontier(class) => {
                    let before = at.checked_sub(1).and_then(|b| text.get(b)).copied().unwrap_or_default();
                    if class.has(before) || !class.has(here.unwrap_or_default()) {
                        return false;
                    }
                }
                Item::Balanced(open, close) => match balanced(text.get(at..).unwrap_or_default(), *open, *close) {
                    Some(length) => {
                        *steps = steps.saturating_sub(length);
                        at += length;
                    }
                    None => return false,
                },
                Item::One(class, Times::Once) => {
                    if !here.is_some_and(|b| class.has(b)) {
                        return false;
                    }
                    at += 1;
                }
                Item::One(class, Times::Maybe) => {
                    if here.is_some_and(|b| class.has(b)) && self.matches(item, text, at + 1, steps) {
                        return true;
                    }
                }
                Item::One(class, Times::Many(least)) => {
                    let rest = text.get(at..).unwrap_or_default();
                    let most = rest.iter().take_while(|b| class.has(**b)).count();
                    *steps = steps.saturating_sub(most);
                    return (*least..=most).rev().any(|count| self.matches(item, text, at + count, steps));
                }
                Item::One(class, Times::Few) => loop {
                    if self.matches(item, text, at, steps) {
                        return true;
                    }
                    if *steps == 0 || !text.get(at).is_some_and(|b| class.has(*b)) {
                        return false;
                    }
                    at += 1;
                },
            }
        }
    }
}

fn balanced(text: &[u8], open: u8, close: u8) -> Option<usize> {
    if text.first() != Some(&open) {
        return None;
    }
    let mut depth = 1_usize;
    for (at, byte) in text.iter().enumerate().skip(1) {
        if *byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + 1);
            }
        } else if *byte == open {
            depth += 1;
        }
    }
    None
}

/// A class at the beginning, and what follows it.
fn class(text: &[u8]) -> Result<(Class, &[u8]), String> {
    match text {
        [b'%', letter, rest @ ..] => Ok((escaped(*letter), rest)),
        [b'%'] => Err("malformed pattern (ends with '%')".into()),
        [b'[', rest @ ..] => set(rest),
        [b'.', rest @ ..] => Ok((Class::Any, rest)),
        [byte, rest @ ..] => Ok((Class::Byte(*byte), rest)),
        [] => Err("malformed pattern".into()),
    }
}

fn escaped(letter: u8) -> Class {
    if b"acdglpsuwx".contains(&letter.to_ascii_lowercase()) { Class::Letter(letter) } else { Class::Byte(letter) }
}

fn set(text: &[u8]) -> Result<(Class, &[u8]), String> {
    let inverse = text.first() == Some(&b'^');
    let mut rest = text.get(usize::from(inverse)..).unwrap_or_default();
    let mut classes = Vec::new();
    loop {
        rest = match rest {
            [b']', rest @ ..] if !classes.is_empty() => return Ok((Class::Set(classes.into(), inverse), rest)),
            [b'%', letter, rest @ ..] => {
                classes.push(escaped(*letter));
                rest
            }
            [from, b'-', to, rest @ ..] if *to != b']' => {
                classes.push(Class::Range(*from, *to));
                rest
            }
            [byte, rest @ ..] => {
                classes.push(Class::Byte(*byte));
                rest
            }
            [] => return Err("malformed pattern (missing ']')".into()),
        };
    }
}
