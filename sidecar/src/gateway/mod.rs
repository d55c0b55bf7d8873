//! The gateway: what a Kong file says, as plain values with every default filled in.
//!
//! [`entity`] is the form, [`id`] how entities are named for ever, [`path`] how a path is brought to the form in
//! which it is compared. The file itself is read by `config`, which knows the places of its text.

pub mod entity;
pub mod fields;
pub mod id;
pub mod path;
pub mod people;
mod rules;
pub mod sinks;
pub(crate) mod times;
mod wrong;

pub use entity::Entities;
pub use id::Id;
pub use wrong::Wrong;
