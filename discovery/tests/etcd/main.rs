//! A registry that several share through etcd, with real etcds of both versions.
//!
//! `etcd` and `etcdctl` are Debian's, 3.5 is PyPI's; `./test` at the root installs both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../asking/mod.rs"]
mod asking;
mod away;
mod battery;
#[path = "../calling/client.rs"]
#[allow(dead_code, reason = "the rows use all of it")]
mod client;
mod harness;
mod pairs;
#[path = "../rows/mod.rs"]
mod rows;
mod skydns;
mod trust;
