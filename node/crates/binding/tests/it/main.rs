//! The HTTP binding over a loopback port, seen from outside: raw requests as data, a fake tree behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod bench;
mod calling;

mod credentials;
mod hostile;
mod listing;
mod mapping;
mod outwards;
mod psk;
mod relay;
mod secure;
