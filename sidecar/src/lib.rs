//! Fourmi: a small process beside every worker. All command traffic passes through it and is named, logged,
//! counted and guarded there.
//!
//! Read [`pipeline`] first: it is the life of one exchange, top to bottom.

pub mod admin;
pub mod cert;
pub mod cli;
pub mod codec;
pub mod command;
pub mod config;
pub mod control;
pub mod demo;
pub mod exchange;
pub mod gateway;
pub mod lines;
pub mod middleware;
pub mod names;
pub mod pipeline;
pub mod registry;
pub mod route;
pub mod runtime;
mod section;
pub mod sink;
pub mod spool;
pub mod tls;
mod token;
pub mod upstream;
