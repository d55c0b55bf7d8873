//! Harness and tests.
