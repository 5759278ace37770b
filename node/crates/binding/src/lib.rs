//! The protocol bindings of TS 102 921: requests from the wire become `RequestPrimitive`s, `ResponsePrimitive`s go
//! back, and nothing in between is decided here.
//!
//! In reading order: [`handler`] is the door to whoever answers, [`identity`] says who asks, [`session`] is what a channel of
//! mId proved and [`mid`] makes such channels, [`tls`] reads key files,
//! [`http`] is Annex C (server and client). What a peer sends can cost no more than the limits stated in each
//! `Config`; nothing it sends can panic a connection's task, let alone the process.

mod percent;

pub mod handler;
pub mod identity;
pub mod mid;
pub mod session;
pub mod tls;

pub mod http;

pub use handler::Handler;
