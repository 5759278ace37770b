//! The codec from outside: golden files, the project's samples, generated round trips, liberal and hostile input.

mod edition;
mod emitted;
#[path = "../../../model/tests/it/every_type.rs"]
mod every_type;
mod golden;
mod hostile;
mod listing;
mod openapi;
mod reading;
mod round_trip;
mod sample;
mod schema_check;
mod written;
