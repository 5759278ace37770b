//! One request's way in and its answer's way out.

use super::{
    Response, Service,
    accept::Accept,
    conditions, correlation, criteria,
    intake::{self, Budget},
    response::{self, Dress},
    target,
};
use crate::{
    Handler,
    handler::Exchange,
    identity::{Identity, Peer},
};
use banyan_codec::{Edition, Format, Limits};
use banyan_model::{
    Method, Path, Refusal, RequestPrimitive, ResponsePrimitive, Scl, StatusCode, group,
    primitive::NotifyMedia,
};
use http::{Request, request::Parts};
use hyper::body::Incoming;
use std::time::Duration;

/// groupRequestIdentifier as a header.
const GROUP_REQUEST: &str = "x-etsi-grouprequestidentifier";

/// What the mapping has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What this SCL calls itself: sclBase path and the authorities that mean it (none: all).
    pub scl: Scl,
    /// The edition in which documents are written. Default V2.1.1.
    pub edition: Edition,
    /// What one body may cost; `bytes_max` is the limit behind 413.
    pub limits: Limits,
    /// From the header to the end of the body. Default 30 s.
    pub body_timeout: Duration,
    /// Octets of all request bodies in memory at once; beyond it 503. Default 256 MiB.
    pub bodies_bytes_max: usize,
}

impl Config {
    /// The defaults for an SCL.
    pub fn new(scl: Scl) -> Config {
        Config {
            scl,
            edition: Edition::default(),
            limits: Limits::default(),
            body_timeout: Duration::from_secs(30),
            bodies_bytes_max: 256 << 20,
        }
    }
}

/// The mapping of HTTP requests to primitives, in front of a handler.
#[derive(Debug)]
pub struct Binding<H, I> {
    handler: H,
    identity: I,
    config: Config,
    budget: Budget,
}

impl<H: Handler, I: Identity> Binding<H, I> {
    /// Puts the mapping in front of `handler`.
    pub fn new(config: Config, identity: I, handler: H) -> Binding<H, I> {
        let budget = Budget::new(config.bodies_bytes_max);
        Binding { handler, identity, config, budget }
    }

    async fn answer(&self, head: &Parts, body: Incoming, peer: &Peer, dress: &mut Dress) -> Exchange {
        let read = self.read(head, body, peer, dress).await;
        let (request, _share) = match read {
            Ok(read) => read,
            Err(refused) => return (*refused).into(),
        };
        self.handler.exchange(request).await
    }

    /// Makes the primitive, or the answer to a request that cannot become one. The body's share of the budget is
    /// held as long as the primitive may be in memory.
    async fn read(
        &self,
        head: &Parts,
        body: Incoming,
        peer: &Peer,
        dress: &mut Dress,
    ) -> Result<(RequestPrimitive, impl Sized + use<H, I>), Box<ResponsePrimitive>> {
        let scl = &self.config.scl;
        let target = target::read(scl, head.version, &head.uri, &head.headers).map_err(refused)?;
        dress.authority = target.authority;
        let requesting_entity = self.identity.identify(peer, &head.headers).map_err(refused)?;
        let target = target.path.ok_or_else(|| refused(Refusal::not_found()))?;
        let method = self.method(&head.method)?;
        if !dress.acceptable && !addresses_content(&target) {
            let info = "Accept: neither application/xml nor application/json";
            return Err(refused(Refusal::new(StatusCode::NotAcceptable, info)));
        }

        let correlation = correlation::read(scl, &head.headers).map_err(refused)?;
        let mut primitive = RequestPrimitive {
            conditions: conditions::read(&head.headers),
            correlation,
            ..RequestPrimitive::new(method, target, requesting_entity)
        };
        // No header has a name for it in the standard; this one is private to implementations.
        primitive.group_request =
            head.headers.get(GROUP_REQUEST).and_then(|id| id.to_str().ok()).map(str::to_owned);
        if group::leads_to_members(&primitive.target) && dress.format == Format::Json {
            // The members' answers are documents within the answer. A body that is one decides below.
            primitive.notify_media = NotifyMedia::Json;
        }
        let mut share = None;
        match method {
            Method::Retrieve => primitive.filter = criteria::read(head.uri.query().unwrap_or_default()),
            Method::Create | Method::Update => {
                let limits = &self.config.limits;
                let taken = intake::read(body, limits.bytes_max, self.config.body_timeout, &self.budget);
                let taken = taken.await?;
                primitive.body =
                    intake::decode(&head.method, &primitive.target, &head.headers, &taken.bytes, limits);
                share = Some(taken);
                match intake::format(&head.headers) {
                    Some(Format::Json) => primitive.notify_media = NotifyMedia::Json,
                    Some(Format::Xml) => primitive.notify_media = NotifyMedia::Xml,
                    None => {}
                }
                if method == Method::Create {
                    primitive.method = intake::post(&primitive.body);
                }
            }
            Method::Delete | Method::Execute | Method::Notify => {}
        }
        Ok((primitive, share))
    }

    /// The method a verb begins as; a POST is looked at again once its body is known.
    fn method(&self, verb: &http::Method) -> Result<Method, Box<ResponsePrimitive>> {
        match *verb {
            http::Method::GET => Ok(Method::Retrieve),
            http::Method::POST => Ok(Method::Create),
            http::Method::PUT => Ok(Method::Update),
            http::Method::DELETE => Ok(Method::Delete),
            _ => {
                let mut refusal =
                    Refusal::new(StatusCode::MethodNotAllowed, "method: no primitive is mapped to it");
                refusal.allow = vec![Method::Retrieve, Method::Create, Method::Update, Method::Delete];
                Err(refused(refusal))
            }
        }
    }
}

impl<H: Handler, I: Identity> Service for Binding<H, I> {
    async fn call(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let (head, body) = request.into_parts();
        let accept = Accept::read(&head.headers);
        let preferred = intake::format(&head.headers).unwrap_or(Format::Xml);
        let chosen = accept.choose(preferred);
        let mut dress = Dress {
            format: chosen.unwrap_or(preferred),
            edition: self.config.edition,
            acceptable: chosen.is_some(),
            accept,
            secure: peer.secure,
            authority: None,
            challenge: self.identity.challenge(),
            retrieve: head.method == http::Method::GET,
        };
        let Exchange { response: answer, handed } = self.answer(&head, body, peer, &mut dress).await;
        let mut response = response::write(answer, &dress);
        if let Some(handed) = handed
            && response.status() == http::StatusCode::OK
        {
            response.body_mut().tell(handed);
        }
        response
    }
}

/// Whether a path may lead to raw content, which is answered in its own media type whatever our formats are.
fn addresses_content(target: &Path) -> bool {
    target.segments().iter().skip(1).any(|segment| segment == "content")
}

fn refused(refusal: Refusal) -> Box<ResponsePrimitive> {
    Box::new(refusal.into())
}
