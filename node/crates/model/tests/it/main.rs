//! The state machine from outside: behaviour as data, random sequences against a naive tree, replicas that must agree.
#![allow(clippy::unwrap_used)]

mod behaviour;
mod channel;
mod naive;
mod sequences;
mod support;
