//! A backup's folder: a file for each shard, one for the keys' group, and the manifest.
//!
//! ```text
//! shard-1.snapshot ... shard-16.snapshot   the state of a shard at one entry of its log, as `storage` writes snapshots
//! keys.snapshot                            the same of the keys' group; what is secret in it is sealed
//! manifest.jsonl                           what all of that is, with size and SHA-256; see `manifest`
//! ```
//!
//! The manifest is written last, when every file is on disk, and appears whole or not at all: a folder without one holds no
//! backup. What the files hold is opaque here; who makes the copies and who loads them is elsewhere.

mod digest;
mod manifest;
mod verify;
mod write;

pub use manifest::{About, MANIFEST, Manifest, Part, Settings, Slots};
pub use verify::{Backup, Fault, OpenError};
pub use write::{Draft, PartFile, WriteError, Written};
