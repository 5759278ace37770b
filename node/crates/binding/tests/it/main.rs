//! The HTTP binding over a loopback port, seen from outside: raw requests as data, a fake tree behind.

mod bench;

mod credentials;
mod hostile;
mod mapping;
mod outwards;
mod secure;
