//! The load generator: what it sends, how it paces itself, what it measures.
//!
//! It runs on one thread, because it shares the machine with what it measures. A worker is one connection with one
//! request in flight; a run drives many of them at once, either as fast as answers come ([`pace::Pace::Closed`]) or on
//! a fixed schedule whose latencies count from when a request was due, not from when it could be sent
//! ([`pace::Pace::Fixed`]): a stalled server cannot hide its stall (no coordinated omission).

pub mod attack;
pub mod compare;
pub mod discovery;
pub mod etcd;
pub mod gateways;
pub mod handshakes;
pub mod nothing;
pub mod observe;
pub mod pace;
pub mod report;
pub mod work;
