//! Reads expressions.

use super::lex::{Lexer, Token};

/// How deep parentheses, indices and operators may be nested.
const DEPTH_MAX: usize = 24;
/// Of how many parts an expression may be made.
const NODES_MAX: usize = 256;

/// Lua's words that stand for no value.
const WORDS: [&str; 16] = [
    "break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in", "local", "repeat", "return", "then",
    "until", "while",
];

/// Something of the request that is asked by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Header lines.
    Headers,
    /// Arguments of the query.
    Query,
    /// What the route's expression matched.
    Captures,
    /// What Lua of others would have left; nothing.
    Shared,
}

const SOURCES: [(&str, Source); 4] = [
    ("headers", Source::Headers),
    ("query_params", Source::Query),
    ("uri_captures", Source::Captures),
    ("shared", Source::Shared),
];

/// A function of Lua's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Type,
    ToString,
    ToNumber,
    Lower,
    Upper,
    Length,
    Sub,
}

const FUNCTIONS: [(&str, Function); 3] =
    [("type", Function::Type), ("tostring", Function::ToString), ("tonumber", Function::ToNumber)];

const METHODS: [(&str, Function); 4] =
    [("lower", Function::Lower), ("upper", Function::Upper), ("len", Function::Length), ("sub", Function::Sub)];

/// What stands between two values, or before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Less,
    More,
    AtMost,
    AtLeast,
    Other,
    Same,
    Concat,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
    Power,
    Not,
    Length,
    Negate,
}

/// An expression.
#[derive(Debug)]
pub(super) enum Expr {
    Nil,
    Truth(bool),
    Number(f64),
    Text(Box<[u8]>),
    /// All of it, which only `type` and an index that is computed can do anything with.
    Source(Source),
    /// A field whose name is in the text; of a header in lower case.
    Field(Source, Box<str>),
    Index(Box<(Expr, Expr)>),
    Call(Function, Box<[Expr]>),
    One(Operator, Box<Expr>),
    Two(Operator, Box<(Expr, Expr)>),
}

impl Expr {
    /// Whether the source is asked anywhere.
    pub(super) fn asks(&self, what: Source) -> bool {
        match self {
            Expr::Source(source) | Expr::Field(source, _) => *source == what,
            Expr::Index(two) | Expr::Two(_, two) => two.0.asks(what) || two.1.asks(what),
            Expr::Call(_, of) => of.iter().any(|e| e.asks(what)),
            Expr::One(_, of) => of.asks(what),
            Expr::Nil | Expr::Truth(_) | Expr::Number(_) | Expr::Text(_) => false,
        }
    }
}

struct Parser<'t> {
    /// Behind `token`.
    lexer: Lexer<'t>,
    token: Token<'t>,
    depth: usize,
    nodes: usize,
}

/// Reads an expression up to the parenthesis that closes it; says where what follows that begins.
///
/// # Errors
/// What is wrong.
pub(super) fn expression(text: &str) -> Result<(Expr, usize), String> {
    let mut parser = Parser { lexer: Lexer::new(text), token: Token::End, depth: 0, nodes: 0 };
    parser.next()?;
    let expr = parser.or()?;
    if parser.token != Token::Symbol(")") {
        return Err(parser.unexpected());
    }
    Ok((expr, parser.lexer.at))
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Result<(), String> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self) -> String {
        match &self.token {
            Token::End => "$( is not closed".into(),
            Token::Name(name) => format!("unexpected {name}"),
            Token::Number(_) => "unexpected number".into(),
            Token::Text(_) => "unexpected string".into(),
            Token::Symbol("[") | Token::Symbol("(") | Token::Symbol(".") => {
                "only headers, query_params, uri_captures and shared have fields".into()
            }
            Token::Symbol(symbol) => format!("unexpected {symbol}"),
        }
    }

    fn take(&mut self, symbol: &'static str) -> Result<bool, String> {
        if self.token != Token::Symbol(symbol) {
            return Ok(false);
        }
        self.next().map(|()| true)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), String> {
        if self.take(symbol)? { Ok(()) } else { Err(self.unexpected()) }
    }

    fn node(&mut self) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX { Err(format!("an expression may have {NODES_MAX} parts")) } else { Ok(()) }
    }

    /// One level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("an expression may be nested {DEPTH_MAX} deep"));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Values with operators of one rank between them, from left to right.
    fn chain(
        &mut self,
        operators: &[(Token<'static>, Operator)],
        of: fn(&mut Self) -> Result<Expr, String>,
    ) -> Result<Expr, String> {
        let mut left = of(self)?;
        while let Some((_, operator)) = operators.iter().find(|(token, _)| *token == self.token) {
            self.next()?;
            self.node()?;
            left = Expr::Two(*operator, Box::new((left, of(self)?)));
        }
        Ok(left)
    }

    fn or(&mut self) -> Result<Expr, String> {
        self.deeper(|p| p.chain(&[(Token::Name("or"), Operator::Or)], Self::and))
    }

    fn and(&mut self) -> Result<Expr, String> {
        self.chain(&[(Token::Name("and"), Operator::And)], Self::comparison)
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let operators = [
            (Token::Symbol("<"), Operator::Less),
            (Token::Symbol(">"), Operator::More),
            (Token::Symbol("<="), Operator::AtMost),
            (Token::Symbol(">="), Operator::AtLeast),
            (Token::Symbol("~="), Operator::Other),
            (Token::Symbol("=="), Operator::Same),
        ];
        self.chain(&operators, Self::concat)
    }

    /// From right to left.
    fn concat(&mut self) -> Result<Expr, String> {
        let left = self.sum()?;
        if !self.take("..")? {
            return Ok(left);
        }
        self.node()?;
        let right = self.deeper(Self::concat)?;
        Ok(Expr::Two(Operator::Concat, Box::new((left, right))))
    }

    fn sum(&mut self) -> Result<Expr, String> {
        self.chain(&[(Token::Symbol("+"), Operator::Plus), (Token::Symbol("-"), Operator::Minus)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, String> {
        let operators = [
            (Token::Symbol("*"), Operator::Times),
            (Token::Symbol("/"), Operator::Divide),
            (Token::Symbol("%"), Operator::Modulo),
        ];
        self.chain(&operators, Self::unary)
    }

    fn unary(&mut self) -> Result<Expr, String> {
        let operator = match self.token {
            Token::Name("not") => Operator::Not,
            Token::Symbol("#") => Operator::Length,
            Token::Symbol("-") => Operator::Negate,
            _ => return self.power(),
        };
        self.next()?;
        self.node()?;
        Ok(Expr::One(operator, Box::new(self.deeper(Self::unary)?)))
    }

    fn power(&mut self) -> Result<Expr, String> {
        let base = self.value()?;
        if !self.take("^")? {
            return Ok(base);
        }
        self.node()?;
        let exponent = self.deeper(Self::unary)?;
        Ok(Expr::Two(Operator::Power, Box::new((base, exponent))))
    }

    /// A value with its fields and methods.
    fn value(&mut self) -> Result<Expr, String> {
        let mut value = self.primary()?;
        loop {
            let key = if self.take("[")? {
                let key = self.or()?;
                self.expect("]")?;
                key
            } else if self.take(".")? {
                let Token::Name(name) = self.token else { return Err(self.unexpected()) };
                self.next()?;
                Expr::Text(name.as_bytes().into())
            } else if self.take(":")? {
                let Token::Name(name) = self.token else { return Err(self.unexpected()) };
                self.next()?;
                value = self.call(method(name)?, Some(value))?;
                continue;
            } else {
                return Ok(value);
            };
            self.node()?;
            value = match (value, key) {
                (Expr::Source(source), Expr::Text(name)) => Expr::Field(source, field(source, &name)),
                (value, key) => Expr::Index(Box::new((value, key))),
            };
        }
    }

    fn primary(&mut self) -> Result<Expr, String> {
        self.node()?;
        let token = std::mem::replace(&mut self.token, Token::End);
        match token {
            Token::Number(number) => self.next().map(|()| Expr::Number(number)),
            Token::Text(text) => self.next().map(|()| Expr::Text(text.into())),
            Token::Symbol("(") => {
                self.next()?;
                let inner = self.or()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Name(name) => {
                self.next()?;
                self.named(name)
            }
            other => {
                self.token = other;
                Err(self.unexpected())
            }
        }
    }

    fn named(&mut self, name: &str) -> Result<Expr, String> {
        match name {
            "nil" => return Ok(Expr::Nil),
            "true" | "false" => return Ok(Expr::Truth(name == "true")),
            "string" => {
                self.expect(".")?;
                let Token::Name(name) = self.token else { return Err(self.unexpected()) };
                self.next()?;
                return self.call(method(name)?, None);
            }
            _ => {}
        }
        if let Some((_, source)) = SOURCES.iter().find(|(known, _)| *known == name) {
            return Ok(Expr::Source(*source));
        }
        if let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) {
            return self.call(*function, None);
        }
        Err(match WORDS.contains(&name) || matches!(name, "or" | "and" | "not") {
            true => format!("unexpected {name}"),
            false => format!("{name} is not known; known are headers, query_params, uri_captures and shared"),
        })
    }

    fn call(&mut self, function: Function, of: Option<Expr>) -> Result<Expr, String> {
        self.node()?;
        self.expect("(")?;
        let mut values: Vec<Expr> = of.into_iter().collect();
        if !self.take(")")? {
            loop {
                values.push(self.or()?);
                if !self.take(",")? {
                    self.expect(")")?;
                    break;
                }
            }
        }
        let most = if function == Function::Sub { 3 } else { 1 };
        let least = if function == Function::Sub { 2 } else { 1 };
        if (least..=most).contains(&values.len()) {
            Ok(Expr::Call(function, values.into()))
        } else {
            Err(format!("{} values for a function that takes {least} to {most}", values.len()))
        }
    }
}

fn method(name: &str) -> Result<Function, String> {
    let found = METHODS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function);
    found.ok_or_else(|| format!("{name} is not known; of Lua's string functions there are lower, upper, len and sub"))
}

/// The name of a field as it is compared.
fn field(source: Source, name: &[u8]) -> Box<str> {
    let name = String::from_utf8_lossy(name);
    match source {
        Source::Headers => name.to_ascii_lowercase().into(),
        _ => name.into(),
    }
}
