//! The state machine from outside: behaviour as data, random sequences against a naive tree, replicas that must agree.
#![allow(clippy::unwrap_used)]

mod aggregation;
mod announce;
mod behaviour;
mod channel;
mod deferred;
mod every_type;
mod kinds;
mod member_cost;
mod modes_by_table;
mod naive;
#[path = "../../../codec/tests/it/sample.rs"]
#[allow(dead_code)]
mod sample;
mod sequences;
mod store_notify;
mod support;
