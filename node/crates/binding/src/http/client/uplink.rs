//! A way of its own to some authorities: what a GSCL has to its NSCL over mId (TS 102 690 clause 8).

use super::super::Stream;
use std::{fmt, io, pin::Pin, time::Duration};

/// What [`Uplink::connect`] returns.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// The `connect_timeout` of a client with an uplink: several may have to be asked, each with a few handshakes.
pub const UPLINK_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to whoever stands for some authorities, whatever their names resolve to. What it makes is as secure as the
/// reference point asks for: no TLS is put on top, and the reach of contacts does not count.
pub trait Uplink: fmt::Debug + Send + Sync + 'static {
    /// Whether requests for this `host[:port]` of a URI of this scheme go this way.
    fn covers(&self, scheme: &str, authority: &str) -> bool;

    /// Sets a channel up. The client bounds its time; dropping the future gives the attempt up.
    ///
    /// # Errors
    /// Nobody who may be called could be reached.
    fn connect(&self) -> Connecting<'_>;
}
