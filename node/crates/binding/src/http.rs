//! The HTTP binding (TS 102 921 Annex C): HTTP/1.1 and HTTP/2, plain or TLS.
//!
//! [`Server`] moves HTTP messages and knows nothing of ETSI; [`Binding`] is the service that maps them to primitives:
//! target, identity, media types, body, conditions and query on the way in, status line, headers and body on the way
//! out. [`Caller`] and [`response()`] are the same mapping the other way round, for requests of our own, which [`Client`]
//! carries to the outside.
//!
//! The order in which a request is refused: its address cannot be read (400), nobody is named (402, 401, 403), it is
//! not below sclBase (404), the method is none of ours (405), no acceptable format (406), its body is too large, too
//! slow or too much at once (413, 408, 503). All else is the tree's to refuse, after authorisation: a body or query
//! that makes no sense travels on as a refusal.

mod accept;
mod asked;
mod binding;
mod body;
mod carried;
mod channel;
mod client;
mod conditions;
mod correlation;
mod criteria;
mod guard;
mod hold;
mod intake;
mod names;
mod outgoing;
mod rate;
mod relay;
mod response;
mod server;
mod source;
mod target;
mod via;

pub use asked::{Asked, asked};
pub use binding::{Binding, Config, PerSecond};
pub use carried::{Carried, carried_answer, request_notify};
pub use channel::{Accepting, Channel, Plain, Stream};
pub use client::{Client, ClientConfig, Connecting, Reach, SendError, UPLINK_TIMEOUT, Uplink};
pub use names::CORRELATION_ID;
pub use outgoing::{Caller, response, status_code};
pub use relay::{Hop, Relay};
pub use response::{http_status, response_notify};
pub use server::{Server, ServerConfig, Service};

pub use body::ResponseBody;

/// A whole response.
pub type Response = http::Response<ResponseBody>;

use crate::{Handler, identity::Identity};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves the mapping on a listener until `stop` resolves and what is in flight has ended (bounded by
/// [`ServerConfig::drain_timeout`]).
pub async fn serve<H: Handler, I: Identity>(
    listener: TcpListener,
    server: Server,
    binding: Arc<Binding<H, I>>,
    stop: impl Future<Output = ()>,
) {
    server.serve(listener, binding, stop).await;
}
