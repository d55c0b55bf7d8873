use super::out::PACKET_MIN;
use super::report::{Lot, Report};
use super::*;
use crate::names::metric;
use crate::sink::metric::{Sampling, WorkerSeries};
use crate::sink::record::tests::{identity, sample};

mod encoding;
mod sending;
