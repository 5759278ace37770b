//! placeholder
pub mod roles;
