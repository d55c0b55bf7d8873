//! Reads expressions.

use super::{Expression, Test};
use regex::bytes::RegexBuilder;

/// The longest expression.
const LENGTH: usize = 8192;
/// How deep parentheses and `not` may lie in one another.
const DEPTH: usize = 32;
/// Words of an expression: it is done for each row.
const TOKENS_MAX: usize = 256;
/// Patterns of an expression, which are kept while a read waits.
const PATTERNS_MAX: usize = 4;
/// How much memory a pattern may take.
const PATTERN: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A bare word, which may be a keyword.
    Word(String),
    /// A text in quotes.
    Text(String),
    Equal,
    Unequal,
    Open,
    Close,
}

/// Reads a whole expression.
pub(super) fn expression(text: &str) -> Result<Expression, String> {
    if text.len() > LENGTH {
        return Err(format!("it is longer than {LENGTH} bytes"));
    }
    let tokens = tokens(text)?;
    let mut reader = Reader { tokens: &tokens, depth: 0, patterns: 0 };
    let expression = reader.any()?;
    match reader.tokens {
        [] => Ok(expression),
        [more, ..] => Err(format!("{} is not expected", shown(more))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("{word:?}"),
        Token::Text(text) => format!("{text:?}"),
        Token::Equal => "==".into(),
        Token::Unequal => "!=".into(),
        Token::Open => "(".into(),
        Token::Close => ")".into(),
    }
}

/// `Meta["a-b"]` is the word `Meta` and a text in brackets: one selector, told by a byte that no word has.
const KEY: char = '\0';

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '"' | '`' => {
                let (text, after) = quoted(rest)?;
                (Token::Text(text), after)
            }
            _ => match (rest.strip_prefix("=="), rest.strip_prefix("!=")) {
                (Some(after), _) => (Token::Equal, after),
                (_, Some(after)) => (Token::Unequal, after),
                _ => word(rest)?,
            },
        };
        tokens.push(token);
        if tokens.len() > TOKENS_MAX {
            return Err(format!("more than {TOKENS_MAX} words"));
        }
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    let mut read = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((read, text.get(at + 1..).unwrap_or_default())),
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => read.push('\n'),
                Some((_, 't')) => read.push('\t'),
                Some((_, c)) => read.push(c),
                None => break,
            },
            _ => read.push(c),
        }
    }
    Err("a quote is not closed".into())
}

fn word(text: &str) -> Result<(Token, &str), String> {
    let legal = |c: char| c.is_alphanumeric() || "_-./:*@~+%".contains(c);
    let end = text.find(|c| !legal(c)).unwrap_or(text.len());
    let (read, mut rest) = text.split_at(end);
    let mut word = read.to_owned();
    while let Some(key) = rest.strip_prefix('[').filter(|_| !word.is_empty()) {
        if !key.starts_with(['"', '`']) {
            return Err("a text in quotes is expected between [ and ]".into());
        }
        let (key, after) = quoted(key)?;
        rest = after.strip_prefix(']').ok_or("a [ is not closed")?;
        word.push(KEY);
        word.push_str(&key);
        // What follows begins with a dot, as if the key had been written after one.
        let end = rest.find(|c| !legal(c)).unwrap_or(rest.len());
        let (more, after) = rest.split_at(end);
        word.push_str(&more.replace('.', "\0"));
        rest = after;
    }
    match word.is_empty() {
        true => Err(format!("{:?} is not expected", text.chars().next().unwrap_or_default())),
        false => Ok((Token::Word(word), rest)),
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    depth: usize,
    patterns: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Token, String> {
        let (first, rest) = self.tokens.split_first().ok_or("it ends too early")?;
        self.tokens = rest;
        Ok(first.clone())
    }

    /// Takes a keyword if it is the next.
    fn takes(&mut self, word: &str) -> bool {
        match self.tokens {
            [Token::Word(next), rest @ ..] if next == word => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut left = self.all()?;
        while self.takes("or") {
            left = Expression::Or(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut left = self.one()?;
        while self.takes("and") {
            left = Expression::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("it is nested deeper than {DEPTH}"));
        }
        let read = if self.takes("not") {
            Expression::Not(Box::new(self.one()?))
        } else if let [Token::Open, rest @ ..] = self.tokens {
            self.tokens = rest;
            let inner = self.any()?;
            match self.next()? {
                Token::Close => inner,
                other => return Err(format!("{} where ) is expected", shown(&other))),
            }
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(read)
    }

    fn test(&mut self) -> Result<Expression, String> {
        let first = self.next()?;
        let not = self.takes("not");
        let (selector, test) = if self.takes("in") {
            (selector(self.next()?)?, Test::Has(value(first)?))
        } else if self.takes("contains") {
            (selector(first)?, Test::Has(value(self.next()?)?))
        } else if self.takes("matches") {
            let pattern = value(self.next()?)?;
            self.patterns += 1;
            if self.patterns > PATTERNS_MAX {
                return Err(format!("more than {PATTERNS_MAX} patterns"));
            }
            // Linear in the length of what is looked at, and of a limited size.
            let built = RegexBuilder::new(&pattern).unicode(false).size_limit(PATTERN).build();
            (selector(first)?, Test::Matches(built.map_err(|_| format!("{pattern:?} is no pattern"))?))
        } else if not {
            return Err("in, contains or matches is expected after not".into());
        } else if self.takes("is") {
            let not = self.takes("not");
            if !self.takes("empty") {
                return Err("empty is expected after is".into());
            }
            return Ok(negated(Expression::Is { selector: selector(first)?, test: Test::Empty }, not));
        } else {
            let not = match self.next()? {
                Token::Equal => false,
                Token::Unequal => true,
                other => return Err(format!("{} where an operator is expected", shown(&other))),
            };
            let test = Test::Equals(value(self.next()?)?);
            return Ok(negated(Expression::Is { selector: selector(first)?, test }, not));
        };
        Ok(negated(Expression::Is { selector, test }, not))
    }
}

fn negated(expression: Expression, not: bool) -> Expression {
    if not { Expression::Not(Box::new(expression)) } else { expression }
}

fn value(token: Token) -> Result<String, String> {
    match token {
        Token::Word(text) | Token::Text(text) if !text.contains(KEY) => Ok(text),
        other => Err(format!("{} where a value is expected", shown(&other))),
    }
}

/// The names that lead to a value: with dots between them, slashes as in a JSON pointer, or a key in brackets.
fn selector(token: Token) -> Result<Vec<String>, String> {
    let (text, pointer) = match &token {
        Token::Word(text) => (text.as_str(), None),
        Token::Text(text) => (text.as_str(), text.strip_prefix('/')),
        other => return Err(format!("{} where a name is expected", shown(other))),
    };
    let names: Vec<String> = match (pointer, text.split_once(KEY)) {
        (Some(pointer), _) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
        (None, Some((front, keys))) => front.split('.').chain(keys.split(KEY)).map(str::to_owned).collect(),
        (None, None) => text.split('.').map(str::to_owned).collect(),
    };
    match names.iter().any(String::is_empty) {
        true => Err(format!("{} is no name", shown(&token))),
        false => Ok(names),
    }
}
