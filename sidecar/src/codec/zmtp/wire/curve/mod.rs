//! CURVE (RFC 26): both sides prove that they own their keys, and everything after that is encrypted.
//!
//! HELLO and WELCOME exchange keys of this connection only, so that nobody who learns the permanent ones later can read
//! what was recorded. INITIATE proves the client's permanent key, READY ends the handshake.

mod cipher;
mod client;
mod server;

pub(super) use cipher::{Cipher, OVERHEAD};
pub(super) use client::Client;
pub(super) use server::Server;

use super::error::Error;
use super::keys::{PublicKey, SecretKey, random};
use crypto_box::SalsaBox;
use crypto_box::aead::{AeadInPlace, Nonce};

/// What a box is longer than its content.
const TAG: usize = 16;
/// A cookie: we keep our state ourselves, so for us it is only a number that the client must repeat.
const COOKIE: usize = 96;
/// Content of a HELLO's box.
const SIGNATURE: usize = 64;
/// Bytes of a HELLO that mean nothing: an answer must not be longer than the question.
const PADDING: usize = 72;

/// What two keys have in common.
fn shared(public: &PublicKey, secret: &SecretKey) -> SalsaBox {
    SalsaBox::new(&public.point(), secret.scalar())
}

/// A nonce that is counted.
fn counted(purpose: &[u8; 16], number: u64) -> Nonce<SalsaBox> {
    let mut nonce = Nonce::<SalsaBox>::default();
    let number = number.to_be_bytes();
    nonce.iter_mut().zip(purpose.iter().chain(&number)).for_each(|(to, from)| *to = *from);
    nonce
}

/// A nonce that is random.
fn drawn(purpose: &[u8; 8], number: &[u8; 16]) -> Nonce<SalsaBox> {
    let mut nonce = Nonce::<SalsaBox>::default();
    nonce.iter_mut().zip(purpose.iter().chain(number)).for_each(|(to, from)| *to = *from);
    nonce
}

/// Parts, encrypted as one.
fn seal(key: &SalsaBox, nonce: &Nonce<SalsaBox>, parts: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut sealed = vec![0; TAG];
    parts.iter().for_each(|part| sealed.extend_from_slice(part));
    seal_in_place(key, nonce, &mut sealed)?;
    Ok(sealed)
}

/// Encrypts what stands behind the room for the tag.
fn seal_in_place(key: &SalsaBox, nonce: &Nonce<SalsaBox>, sealed: &mut [u8]) -> Result<(), Error> {
    let failed = Error::Sealed("a message of ours cannot be encrypted");
    let Some((tag, content)) = sealed.split_first_chunk_mut::<TAG>() else { return Err(failed) };
    let Ok(made) = key.encrypt_in_place_detached(nonce, &[], content) else { return Err(failed) };
    tag.copy_from_slice(&made);
    Ok(())
}

/// Decrypts what stands behind the tag; none if it is not what it says, and then it is left as it was.
fn open_in_place(key: &SalsaBox, nonce: &Nonce<SalsaBox>, sealed: &mut [u8]) -> Option<()> {
    let (tag, content) = sealed.split_first_chunk_mut::<TAG>()?;
    key.decrypt_in_place_detached(nonce, &[], content, &(*tag).into()).ok()
}

/// What is in a box.
fn open(key: &SalsaBox, nonce: &Nonce<SalsaBox>, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut opened = sealed.to_vec();
    open_in_place(key, nonce, &mut opened)?;
    opened.drain(..TAG);
    Some(opened)
}

/// Cuts off the first bytes.
fn cut<'a, const N: usize>(data: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = data.split_first_chunk()?;
    *data = rest;
    Some(first)
}

#[cfg(test)]
mod tests;
