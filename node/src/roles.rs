//! Composition roots: the only place that knows everybody.

pub mod demo;
pub mod dev;
pub mod gateway;
pub mod node;
