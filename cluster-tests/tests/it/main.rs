//! The cluster tests: real processes on loopback, broken on purpose. One binary, and one test at a time, for each
//! wants the machine for itself.
//!
//! Short by default. The long variants are chosen by environment variables; `docs/testing.md` lists them. A failure
//! prints its seed, the command that repeats it, the ends of all logs and where the data was kept.

mod support;

mod harness;

mod announced_elsewhere;
mod async_across_kill;
mod backup;
mod bad_folder;
mod bad_input;
mod catch_up;
mod chaos;
mod conformance;
mod cut_link;
mod flow;
mod gateway;
mod group_of_thousand;
mod kill_all;
mod kill_leader;
mod long_listing;
mod membership;
mod no_core;
mod no_majority;
mod notify_across_kill;
mod pause_leader;
mod power_cut;
mod reuse_of_data;
mod scl;
mod security;
mod slow_subscriber;
mod stop_leader;
mod store_and_forward;
