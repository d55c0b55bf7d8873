//! The words of expressions.

/// A word of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    Name(&'t str),
    Number(f64),
    Text(Vec<u8>),
    Symbol(&'static str),
    End,
}

/// The longer ones first.
const SYMBOLS: [&str; 21] =
    ["..", "<=", ">=", "==", "~=", "(", ")", "[", "]", ".", ",", ":", "+", "-", "*", "/", "%", "^", "#", "<", ">"];

/// Takes a text apart.
pub(super) struct Lexer<'t> {
    text: &'t str,
    /// Behind the last word.
    pub(super) at: usize,
}

impl<'t> Lexer<'t> {
    /// At the beginning of a text.
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Result<Token<'t>, String> {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - trimmed.len();
        let Some(first) = trimmed.chars().next() else {
            return Ok(Token::End);
        };
        let taken = |fits: fn(char) -> bool| trimmed.split(|c| !fits(c)).next().unwrap_or_default();
        let second = trimmed.chars().nth(1).unwrap_or(' ');
        if first.is_ascii_alphabetic() || first == '_' {
            let name = taken(|c| c.is_ascii_alphanumeric() || c == '_');
            self.at += name.len();
            Ok(Token::Name(name))
        } else if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            let mut digits = taken(|c| c.is_ascii_alphanumeric() || c == '.');
            let hex = digits.starts_with("0x") || digits.starts_with("0X");
            if digits.ends_with(['e', 'E']) && !hex {
                let after = trimmed.get(digits.len()..).unwrap_or_default();
                let signed = after.trim_start_matches(['+', '-']);
                let more = signed.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
                digits = trimmed.get(..digits.len() + (after.len() - signed.len()) + more.len()).unwrap_or(digits);
            }
            self.at += digits.len();
            let number = super::number(digits.as_bytes());
            number.map(Token::Number).ok_or_else(|| format!("{digits} is no number"))
        } else if first == '"' || first == '\'' {
            self.string(first)
        } else if let Some(symbol) = SYMBOLS.iter().find(|s| trimmed.starts_with(**s)) {
            self.at += symbol.len();
            Ok(Token::Symbol(symbol))
        } else {
            Err(format!("unexpected {first:?}"))
        }
    }

    fn string(&mut self, quote: char) -> Result<Token<'t>, String> {
        let mut out = Vec::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + 1;
                return Ok(Token::Text(out));
            }
            if c != '\\' {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            let Some((_, escaped)) = chars.next() else { break };
            out.push(match escaped {
                'n' => b'\n',
                't' => b'\t',
                'r' => b'\r',
                'a' => 7,
                'b' => 8,
                'f' => 12,
                'v' => 11,
                '\\' | '"' | '\'' => u8::try_from(escaped).unwrap_or_default(),
                digit if digit.is_ascii_digit() => {
                    let mut code = digit.to_digit(10).unwrap_or_default();
                    for _ in 0..2 {
                        let Some(more) = chars.peek().and_then(|(_, c)| c.to_digit(10)) else { break };
                        code = code * 10 + more;
                        chars.next();
                    }
                    u8::try_from(code).map_err(|_| "an escape in a string is too large".to_owned())?
                }
                other => return Err(format!("\\{other} in a string is not known")),
            });
        }
        Err("a string is not closed".into())
    }
}
