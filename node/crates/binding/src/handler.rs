//! Whoever answers primitives: the edge's forwarder, or a fake in a test.

use crate::{http::Hop, identity::Peer};
use banyan_model::{
    Path, Refusal, RequestPrimitive, ResponsePrimitive,
    value::{NamedReference, Struct},
};
use futures_util::Stream;
use std::pin::Pin;

/// Answers requests. Dropping the future (the peer went away) must be harmless: a write may then have happened or not.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Bounded in time by the implementation; a refusal or an overload is an answer too.
    fn handle(&self, request: RequestPrimitive) -> impl Future<Output = ResponsePrimitive> + Send;

    /// Where a request for another SCL goes: `uri` is absolute, or a path whose first segment is the id of an SCL.
    fn route(&self, uri: String) -> impl Future<Output = Result<Hop, Refusal>> + Send {
        let _ = uri;
        async { Err(Refusal::not_found()) }
    }

    /// Sends a requestNotify into a communicationChannel and brings the responseNotify that answers it.
    fn through(
        &self,
        channel: Path,
        message: Struct,
        correlation_id: String,
    ) -> impl Future<Output = Result<Struct, Refusal>> + Send {
        let _ = (channel, message, correlation_id);
        async { Err(Refusal::not_found()) }
    }

    /// A correlationID that no other request in a channel has.
    fn correlation_id(&self) -> String {
        String::new()
    }

    /// The same for one that may want to know whether the answer went out, and who is at the other end.
    fn exchange(&self, request: RequestPrimitive, peer: &Peer) -> impl Future<Output = Exchange> + Send {
        let _ = peer;
        async { self.handle(request).await.into() }
    }
}

/// An answer, and who wants word of it.
#[derive(Debug)]
pub struct Exchange {
    /// The answer.
    pub response: ResponsePrimitive,
    /// Told once the whole answer, if it is a success, was handed to the connection.
    pub handed: Option<Handed>,
    /// Of an answer whose lists are not complete (`ResponsePrimitive::next`): what follows. It is asked for as the
    /// connection takes it.
    pub rest: Option<Pages>,
}

/// The rest of a listing.
pub struct Pages(Pin<Box<dyn Stream<Item = Result<Page, BrokenOff>> + Send>>);

/// Further entries of one list of a collection; lists come in the order of their document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The attribute.
    pub list: String,
    /// Its next entries.
    pub entries: Vec<NamedReference>,
}

/// A listing could not be ended. The document stays open, and the connection does not end it as a whole one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the listing broke off: {0}")]
pub struct BrokenOff(pub String);

impl Pages {
    /// Pages as they come.
    pub fn new(pages: impl Stream<Item = Result<Page, BrokenOff>> + Send + 'static) -> Pages {
        Pages(Box::pin(pages))
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Page, BrokenOff>>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

impl From<ResponsePrimitive> for Exchange {
    fn from(response: ResponsePrimitive) -> Exchange {
        Exchange { response, handed: None, rest: None }
    }
}

/// Somebody who wants to know that an answer was handed to the connection. Must not block.
pub struct Handed(Box<dyn FnOnce() + Send>);

impl Handed {
    /// Calls `tell` then, at most once.
    pub fn new(tell: impl FnOnce() + Send + 'static) -> Handed {
        Handed(Box::new(tell))
    }

    pub(crate) fn tell(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handed")
    }
}
