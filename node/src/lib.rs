//! A member of the cluster: the rooms in reading order. `house.md` says which may use which.

pub mod clock;

pub mod subtree;

pub mod directory;

pub mod request;
