//! What clients send: JSON objects whose keys compare without case and underscores.

mod check;
mod fields;
mod instance;
#[cfg(test)]
mod tests;

pub(super) use check::{CHECK, check, told};
pub(super) use fields::Fields;
pub(super) use instance::{INSTANCE, Source, address, instance, node_meta};
