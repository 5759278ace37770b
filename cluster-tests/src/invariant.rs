//! Properties that must hold whatever broke, one file each. Each is a pure function over what the [`crate::oracle`]
//! recorded and what the cluster says afterwards, with tests that show that it can fail.

pub mod instances;
pub mod linear;
pub mod notifications;
pub mod reads;
