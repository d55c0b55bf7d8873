//! Clients of outside servers that commands have a question for. They live on threads of their own; whoever asks has a
//! channel to them, and an answer or none within a deadline.

pub mod redis;
