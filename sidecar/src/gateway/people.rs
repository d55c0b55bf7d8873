//! Who may call: the consumers of a file and what they prove themselves by, ready to be looked up.
//!
//! Made for many: texts lie in one piece or are shared, and secrets are compared in constant time. Nothing here can be
//! shown: there is no `Debug`.

mod index;
mod signed;

pub use signed::{Algorithm, Signed, Verified, public_key};

use super::Id;
use super::entity::Entities;
use crate::exchange::{Consumer, Credential};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use index::Index;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Consumers and their credentials.
pub struct People {
    /// In the order of the file.
    pub consumers: Box<[Arc<Consumer>]>,
    /// The names of consumer groups, by their places.
    pub groups: Box<[Arc<str>]>,
    usernames: Index,
    custom_ids: Index,
    keys: Table<Key>,
    /// Every API key, one after the other.
    key_texts: Box<[u8]>,
    basic: Table<Password>,
    hmac: Table<Box<[u8]>>,
    jwt: Table<Signed>,
    /// When they were loaded.
    since: Instant,
}

impl Default for People {
    fn default() -> People {
        People::new(&Entities::default())
    }
}

/// Credentials of one kind.
struct Table<S> {
    index: Index,
    all: Box<[Entry<S>]>,
}

struct Entry<S> {
    credential: Credential,
    consumer: u32,
    secret: S,
}

/// Where an API key lies, and how long it holds.
pub struct Key {
    start: u32,
    len: u32,
    /// Seconds from the load; 0: for ever.
    ttl: u32,
}

/// A credential that was found, and whose it is.
pub struct Found<'a, S> {
    /// The consumer.
    pub consumer: &'a Arc<Consumer>,
    /// The credential.
    pub credential: &'a Credential,
    /// What only the consumer knows.
    pub secret: &'a S,
}

/// Kong's hash of a password.
pub struct Password([u8; 20]);

impl Password {
    /// One that fits nothing: whoever asks for somebody unknown is kept as long as everybody.
    pub const NOBODY: Password = Password([0; 20]);

    /// Of 40 hexadecimal digits.
    fn parse(hex: &str) -> Option<Password> {
        let mut hash = [0; 20];
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return None;
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        for (to, [high, low]) in hash.iter_mut().zip(pairs) {
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Password(hash))
    }

    /// Whether this is the password of the consumer with that id.
    #[must_use]
    pub fn fits(&self, password: &[u8], consumer: &str) -> bool {
        let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(password);
        hash.update(consumer.as_bytes());
        verify_slices_are_equal(hash.finish().as_ref(), &self.0).is_ok()
    }
}

/// Texts that are said often, kept once.
#[derive(Default)]
struct Shared(HashSet<Arc<str>>);

impl Shared {
    fn one(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.0.insert(new.clone());
        new
    }
}

impl<S> Table<S> {
    fn new<'a>(entries: Vec<Entry<S>>, texts: impl Iterator<Item = &'a [u8]> + Clone) -> Table<S> {
        Table { index: Index::new(texts.enumerate()), all: entries.into() }
    }

    /// Of entries that are looked up by their identifiers.
    fn by_identifier(entries: Vec<Entry<S>>) -> Table<S> {
        let index = Index::new(entries.iter().map(|e| e.credential.identifier.as_bytes()).enumerate());
        Table { index, all: entries.into() }
    }

    fn find(&self, text: &[u8], same: impl Fn(&Entry<S>) -> bool) -> Option<&Entry<S>> {
        self.all.get(self.index.find(text, |at| self.all.get(at).is_some_and(&same))?)
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl People {
    /// Those of a file.
    pub fn new(entities: &Entities) -> People {
        let consumers = consumers(entities);
        let named = |of: fn(&Consumer) -> Option<&Arc<str>>| {
            let texts = consumers.iter().enumerate().filter_map(move |(at, c)| Some((at, of(c)?.as_bytes())));
            Index::new(texts)
        };
        let (usernames, custom_ids) = (named(|c| c.username.as_ref()), named(|c| c.custom_id.as_ref()));
        let all = &entities.credentials;
        let mut id = String::new();
        let mut entry = |of: Id, identifier: Option<&str>, consumer: usize| {
            id.clear();
            let _ = write!(id, "{of}");
            let id: Arc<str> = id.as_str().into();
            let identifier = identifier.map_or_else(|| id.clone(), Arc::from);
            (Credential { id, identifier }, place(consumer))
        };

        let mut texts = Vec::with_capacity(all.keys.iter().map(|k| k.key.len()).sum());
        let mut keys = Vec::with_capacity(all.keys.len());
        for of in &all.keys {
            let (credential, consumer) = entry(of.id, None, of.consumer);
            let (start, len) = (place(texts.len()), place(of.key.len()));
            // A time that is longer than the counter is as good as for ever, and 0 means that.
            let ttl = of.ttl.map_or(0, |ttl| u32::try_from(ttl).unwrap_or(0));
            texts.extend_from_slice(of.key.as_bytes());
            keys.push(Entry { credential, consumer, secret: Key { start, len, ttl } });
        }
        let basic = all.basic.iter().map(|of| {
            let (credential, consumer) = entry(of.id, Some(&of.username), of.consumer);
            Entry { credential, consumer, secret: Password::parse(&of.hash).unwrap_or(Password::NOBODY) }
        });
        let basic = Table::by_identifier(basic.collect());
        let hmac = all.hmac.iter().map(|of| {
            let (credential, consumer) = entry(of.id, Some(&of.username), of.consumer);
            Entry { credential, consumer, secret: of.secret.as_bytes().into() }
        });
        let hmac = Table::by_identifier(hmac.collect());
        let jwt = all.jwt.iter().filter_map(|of| {
            let secret = Signed::new(&of.algorithm, &of.secret, of.rsa_public_key.as_deref())?;
            let (credential, consumer) = entry(of.id, Some(&of.key), of.consumer);
            Some(Entry { credential, consumer, secret })
        });
        let jwt = Table::by_identifier(jwt.collect());
        People {
            groups: entities.consumer_groups.iter().map(|g| g.name.as_str().into()).collect(),
            usernames,
            custom_ids,
            keys: Table::new(keys, all.keys.iter().map(|k| k.key.as_bytes())),
            key_texts: texts.into(),
            basic,
            hmac,
            jwt,
            since: Instant::now(),
            consumers,
        }
    }

    /// The consumer of that name or id: what `anonymous` says. Ids are only asked for at load: nothing is kept for them.
    pub fn named(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.of_username(name).or_else(|| self.consumers.iter().find(|c| *c.id == *name))
    }

    /// The consumer of that name.
    pub fn of_username(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.of(&self.usernames, name, |c| c.username.as_ref())
    }

    /// The consumer that others call so.
    pub fn of_custom_id(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.of(&self.custom_ids, name, |c| c.custom_id.as_ref())
    }

    fn of(&self, index: &Index, text: &str, of: fn(&Consumer) -> Option<&Arc<str>>) -> Option<&Arc<Consumer>> {
        let same = |at| self.consumers.get(at).and_then(|c: &Arc<Consumer>| of(c)).is_some_and(|t| **t == *text);
        self.consumers.get(index.find(text.as_bytes(), same)?)
    }

    fn found<'a, S>(&'a self, entry: &'a Entry<S>) -> Option<Found<'a, S>> {
        let consumer = self.consumers.get(usize::try_from(entry.consumer).ok()?)?;
        Some(Found { consumer, credential: &entry.credential, secret: &entry.secret })
    }

    /// Whose API key this is, if it holds at that time.
    pub fn key(&self, key: &[u8], now: Instant) -> Option<Found<'_, Key>> {
        let text = |k: &Key| self.key_texts.get(k.start as usize..(k.start as usize).checked_add(k.len as usize)?);
        let same = |e: &Entry<Key>| text(&e.secret).is_some_and(|t| verify_slices_are_equal(t, key).is_ok());
        let entry = self.keys.find(key, same)?;
        let ttl = Duration::from_secs(entry.secret.ttl.into());
        if !ttl.is_zero() && now.saturating_duration_since(self.since) >= ttl {
            return None;
        }
        self.found(entry)
    }

    /// The password of that user.
    pub fn basic(&self, username: &[u8]) -> Option<Found<'_, Password>> {
        self.found(self.basic.find(username, |e| e.credential.identifier.as_bytes() == username)?)
    }

    /// The secret under which that user signs requests.
    pub fn hmac(&self, username: &[u8]) -> Option<Found<'_, Box<[u8]>>> {
        self.found(self.hmac.find(username, |e| e.credential.identifier.as_bytes() == username)?)
    }

    /// What the tokens of that key are held against.
    pub fn jwt(&self, key: &str) -> Option<Found<'_, Signed>> {
        self.found(self.jwt.find(key.as_bytes(), |e| *e.credential.identifier == *key)?)
    }
}

fn consumers(entities: &Entities) -> Box<[Arc<Consumer>]> {
    let mut shared = Shared::default();
    let mut acls: Vec<Vec<Arc<str>>> = vec![Vec::new(); entities.consumers.len()];
    for acl in &entities.credentials.groups {
        if let Some(of) = acls.get_mut(acl.consumer) {
            of.push(shared.one(&acl.group));
        }
    }
    let mut id = String::new();
    let consumer = |(at, (c, acls)): (usize, (&super::entity::Consumer, Vec<Arc<str>>))| {
        id.clear();
        let _ = write!(id, "{}", c.id);
        Arc::new(Consumer {
            id: id.as_str().into(),
            username: c.username.as_deref().map(Arc::from),
            custom_id: c.custom_id.as_deref().map(Arc::from),
            place: place(at),
            acls: acls.into(),
            groups: c.groups.iter().filter_map(|g| u32::try_from(*g).ok()).collect(),
        })
    };
    entities.consumers.iter().zip(acls).enumerate().map(consumer).collect()
}

#[cfg(test)]
mod tests;
