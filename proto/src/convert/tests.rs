//! Nothing is lost on the way to bytes and back, bytes stay what they are, and no bytes take the reader down.

mod golden;
mod hostile;
mod round_trip;
mod strategy;
