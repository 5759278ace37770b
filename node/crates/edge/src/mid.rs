//! Sessions on mId (TS 102 690 clause 8): who is at the other end, what it may do, and when it may no more.
//!
//! In reading order: `keys` tells a handshake the key of an identity, `owners` whose a certificate is, `sessions` knows
//! every channel that stands; `door` stands before the binding and answers `POST /m2m/bootstrap` and `POST /m2m/connection` (`made`), `rules` says what an
//! SCL may ask, `audit` has told what was refused.
//!
//! Invariants: no secret leaves this room but into a handshake; a session whose key was closed ends at once, and an
//! answer that was on its way when its key was closed makes no session; a channel without a service connection carries
//! nothing but the setting up of one.

mod audit;
mod channel;
mod door;
mod keys;
mod links;
mod made;
mod owners;
mod rules;
mod sessions;

pub(crate) use audit::Audit;
pub(crate) use channel::Measured;
pub(crate) use door::{BootstrapDoor, MidDoor, Owned};
pub(crate) use keys::{Keys, Lookup};
pub(crate) use links::Links;
pub(crate) use owners::DeviceCertificates;
pub(crate) use rules::{IvalPolicy, OverNetwork, OverSession, admitted, is_registration};
pub(crate) use sessions::Sessions;

use banyan_model::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a question to the keys' group may take; a failover takes less than two seconds.
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
