//! One request's way in and its answer's way out.

use super::{
    Response, Service,
    accept::Accept,
    carried::carried_answer,
    conditions, correlation, criteria,
    hold::Hold,
    intake::{self, Budget, Taken},
    names,
    rate::Rates,
    relay::{Held, Hop, Relay, passed_back},
    response::{self, Dress},
    source::Source,
    target, via,
};
use crate::{
    Handler,
    handler::Exchange,
    identity::{Identity, Peer, Said},
};
use banyan_codec::{Edition, Format, Limits};
use banyan_model::{
    Body, Entity, Method, Path, Refusal, RequestPrimitive, ResourceType, ResponsePrimitive, Scl, StatusCode,
    channel, group, partial,
    primitive::NotifyMedia,
    saf::{self, Trpdt},
    tables,
};
use http::{HeaderMap, Request, header, request::Parts};
use hyper::body::Incoming;
use std::time::Duration;

/// What the mapping has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What this SCL calls itself: sclBase path and the authorities that mean it (none: all).
    pub scl: Scl,
    /// Scheme and authority under which the operator says that this SCL is reached. Default: none.
    pub public_uri: Option<String>,
    /// The edition in which documents are written. Default V2.1.1.
    pub edition: Edition,
    /// What one body may cost; `bytes_max` is the limit behind 413.
    pub limits: Limits,
    /// From the header to the end of the body. Default 30 s.
    pub body_timeout: Duration,
    /// Octets a second that a body must bring once it has taken 5 s; past it 408. Default 100; 0: any.
    pub body_rate_min: u64,
    /// Octets of all request bodies in memory at once; beyond it 503. Default 256 MiB.
    pub bodies_bytes_max: usize,
    /// Requests a second; beyond it 429.
    pub rates: PerSecond,
}

/// How many requests a second, twice as many at once, anybody may make before it is asked to come later. 0: any number,
/// the default, for what is honest only the operator knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PerSecond {
    /// A source: an IPv4 address or an IPv6 /64.
    pub source: u32,
    /// A requestingEntity.
    pub identity: u32,
    /// A tenant: the SCL or application registered here that a requestingEntity is or stands below, or else what is
    /// known under its authority.
    pub tenant: u32,
}

impl Config {
    /// The defaults for an SCL.
    pub fn new(scl: Scl) -> Config {
        Config {
            scl,
            public_uri: None,
            edition: Edition::default(),
            limits: Limits::default(),
            body_timeout: Duration::from_secs(30),
            body_rate_min: 100,
            bodies_bytes_max: 256 << 20,
            rates: PerSecond::default(),
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
    limits: Asked,
    hold: Hold,
    relay: Option<Relay>,
}

/// Who asked how often.
#[derive(Debug)]
struct Asked {
    source: Option<Rates>,
    identity: Option<Rates>,
    tenant: Option<Rates>,
}

impl Asked {
    fn new(most: PerSecond) -> Asked {
        let PerSecond { source, identity, tenant } = most;
        Asked { source: Rates::new(source), identity: Rates::new(identity), tenant: Rates::new(tenant) }
    }

    fn by_source(&self, peer: &Peer) -> Result<(), Box<ResponsePrimitive>> {
        let Some(rates) = &self.source else { return Ok(()) };
        rates.take(Source::of(peer.address)).map_err(|wait| too_many("source", wait))
    }

    fn by_entity(&self, scl: &Scl, entity: &Entity) -> Result<(), Box<ResponsePrimitive>> {
        if let Some(rates) = &self.identity {
            rates.take(&entity.0).map_err(|wait| too_many("requestingEntity", wait))?;
        }
        if let Some(rates) = &self.tenant {
            rates.take(tenant(scl, entity)).map_err(|wait| too_many("tenant", wait))?;
        }
        Ok(())
    }
}

/// The SCL or application registered here that an entity is or stands below; the authority of any other.
fn tenant<'a>(scl: &Scl, entity: &'a Entity) -> &'a str {
    let entity = entity.0.as_str();
    let (below, segments) = match entity.strip_prefix(scl.base.as_str()) {
        Some(below) => (below.strip_prefix('/').unwrap_or(below), 2),
        None => (entity.split_once("://").map_or(entity, |(_, rest)| rest), 1),
    };
    let end = below.match_indices('/').nth(segments - 1).map_or(below.len(), |(at, _)| at);
    &below[..end]
}

fn too_many(who: &str, wait: Duration) -> Box<ResponsePrimitive> {
    Box::new(ResponsePrimitive {
        info: format!("{who}: more requests a second than it may make"),
        retry_after_ms: Some(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1)),
        ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
    })
}

/// What a request turned out to be. The body's share of the budget is held as long as it may be in memory.
#[allow(clippy::large_enum_variant, reason = "nearly all are ours")]
enum Read {
    Ours {
        request: RequestPrimitive,
        taken: Option<Taken>,
    },
    /// For another SCL.
    Elsewhere {
        uri: String,
        entity: Entity,
        via: Vec<String>,
        taken: Option<Taken>,
    },
    /// The same, and the connection is held for the answer.
    Held {
        request: RequestPrimitive,
        delay: Trpdt,
        taken: Option<Taken>,
    },
}

/// What is answered.
#[allow(clippy::large_enum_variant, reason = "nearly all are ours")]
enum Answer {
    Ours(Exchange),
    /// Written by whoever the request was passed on to.
    Relayed(Response),
}

impl<H: Handler, I: Identity> Binding<H, I> {
    /// Puts the mapping in front of `handler`.
    pub fn new(config: Config, identity: I, handler: H) -> Binding<H, I> {
        let budget = Budget::new(config.bodies_bytes_max);
        let limits = Asked::new(config.rates);
        Binding { handler, identity, config, budget, limits, hold: Hold::default(), relay: None }
    }

    /// Has requests that are another's to answer passed on; without it they are NOT_FOUND.
    #[must_use]
    pub fn with_relay(self, relay: Relay) -> Binding<H, I> {
        Binding { relay: Some(relay), ..self }
    }

    /// What the SCL calls itself.
    pub fn scl(&self) -> &Scl {
        &self.config.scl
    }

    /// Has its bodies count with those of another, so that both together stay within the bound.
    #[must_use]
    pub fn sharing<G, J>(self, with: &Binding<G, J>) -> Binding<H, I> {
        Binding { budget: with.budget.clone(), ..self }
    }

    async fn answer(&self, head: &Parts, body: Incoming, peer: &Peer, dress: &mut Dress) -> Answer {
        match self.read(head, body, peer, dress).await {
            Err(refused) => Answer::Ours((*refused).into()),
            Ok(Read::Elsewhere { uri, entity, via, taken }) => match self.handler.route(uri).await {
                Ok(hop) => self.pass_on(&hop, head, taken.as_ref(), &entity, &via).await,
                Err(refusal) => Answer::Ours(ResponsePrimitive::from(refusal).into()),
            },
            Ok(Read::Held { request, delay, taken: _share }) => {
                Answer::Ours(self.hold.answer(&self.handler, request, delay, peer).await)
            }
            Ok(Read::Ours { request, taken }) => {
                let answer = self.handler.exchange(request, peer).await;
                let Some(uri) = &answer.response.retarget else { return Answer::Ours(answer) };
                let hop = match uri.starts_with('/') {
                    true => match self.handler.route(uri.clone()).await {
                        Ok(hop) => hop,
                        Err(refusal) => return Answer::Ours(ResponsePrimitive::from(refusal).into()),
                    },
                    false => Hop { uri: uri.clone(), host: None, channel: None },
                };
                // Said again rather than kept: nearly no request goes on.
                let said = self.who(peer, &head.headers).await.map_err(refused);
                let said = said.and_then(|entity| Ok((entity, passed_on(&self.config.scl, &head.headers)?)));
                match said {
                    Ok((entity, via)) => self.pass_on(&hop, head, taken.as_ref(), &entity, &via).await,
                    Err(refused) => Answer::Ours((*refused).into()),
                }
            }
        }
    }

    async fn who(&self, peer: &Peer, headers: &HeaderMap) -> Result<Entity, Refusal> {
        match self.identity.identify(peer, headers)? {
            Said::Known(entity) => Ok(entity),
            Said::Token(claim) => self.identity.resolve(claim).await,
        }
    }

    async fn pass_on(
        &self,
        hop: &Hop,
        head: &Parts,
        taken: Option<&Taken>,
        entity: &Entity,
        via: &[String],
    ) -> Answer {
        let Some(relay) = &self.relay else {
            return Answer::Ours(ResponsePrimitive::from(Refusal::not_found()).into());
        };
        let bytes = taken.map(|taken| taken.bytes.clone()).unwrap_or_default();
        if let Some(channel) = &hop.channel {
            let held = Held { head, bytes, entity: &entity.0, via };
            return match self.carry(relay, hop, channel, held).await {
                Ok(response) => Answer::Relayed(response),
                Err(refusal) => Answer::Ours(ResponsePrimitive::from(refusal).into()),
            };
        }
        match relay.pass_on(hop, Held { head, bytes, entity: &entity.0, via }).await {
            Ok(response) => Answer::Relayed(response),
            Err(refusal) => Answer::Ours(ResponsePrimitive::from(refusal).into()),
        }
    }

    /// Has a request carried by a channel, and brings the answer that came back.
    async fn carry(
        &self,
        relay: &Relay,
        hop: &Hop,
        channel: &Path,
        held: Held<'_>,
    ) -> Result<Response, Refusal> {
        let method = match self.method(&held.head.method) {
            Ok(Method::Create) => {
                // What a POST is, its body says, and the end of its target.
                let target = hop.uri.rsplit('/').next().and_then(Path::parse).unwrap_or_default();
                let (limits, headers) = (&self.config.limits, &held.head.headers);
                intake::post(&intake::decode(&held.head.method, &target, headers, &held.bytes, limits))
            }
            Ok(method) => method,
            Err(refused) => return Err(Refusal::new(refused.status, refused.info)),
        };
        let answer_at = self.config.scl.address(&channel.child(channel::ANSWER));
        let id = self.handler.correlation_id();
        let message = relay.carried(hop, method, held, &answer_at, &id)?;
        let answer = self.handler.through(channel.clone(), message, id).await?;
        Ok(passed_back(carried_answer(&answer)))
    }

    /// Makes the primitive, or the answer to a request that cannot become one. The body's share of the budget is
    /// held as long as the primitive may be in memory.
    async fn read(
        &self,
        head: &Parts,
        body: Incoming,
        peer: &Peer,
        dress: &mut Dress,
    ) -> Result<Read, Box<ResponsePrimitive>> {
        let scl = &self.config.scl;
        self.limits.by_source(peer).inspect_err(|_| dress.too_many = true)?;
        let target =
            target::read(scl, head.version, peer.secure, &head.uri, &head.headers).map_err(refused)?;
        let reached_at = self.reached_at(&target, peer);
        dress.authority = target.authority;
        intake::framing(&head.headers).map_err(refused)?;
        let requesting_entity = self.who(peer, &head.headers).await.map_err(refused)?;
        self.limits.by_entity(scl, &requesting_entity).inspect_err(|_| dress.too_many = true)?;
        let method = self.method(&head.method)?;
        if method == Method::Delete
            && head.uri.path().ends_with('/')
            && target.path.as_ref().is_some_and(is_list)
        {
            let info = "targetID: ends with the empty name of an entry; the whole list is addressed without the slash";
            return Err(refused(Refusal::new(StatusCode::BadRequest, info)));
        }
        let via = passed_on(scl, &head.headers)?;
        let has_body = matches!(method, Method::Create | Method::Update);
        let Some(target) = target.path else {
            let uri = target.elsewhere.ok_or_else(|| refused(Refusal::not_found()))?;
            let later = correlation::read(scl, &head.headers).map_err(refused)?;
            let taken = if has_body { Some(self.take(body).await?) } else { None };
            let (is_asked_for, delay) = (later.correlation.is_some(), later.trpdt);
            if is_asked_for || delay.is_some() {
                let request =
                    self.stored(head, method, &uri, requesting_entity, via, later, taken.as_ref(), dress)?;
                return Ok(match delay.filter(|_| !is_asked_for) {
                    Some(delay) => Read::Held { request, delay, taken },
                    None => Read::Ours { request, taken },
                });
            }
            return Ok(Read::Elsewhere { uri, entity: requesting_entity, via, taken });
        };
        dress.content = is_content(&target);
        if !dress.acceptable && !may_be_content(&target) {
            let info = "Accept: neither application/xml nor application/json";
            return Err(refused(Refusal::new(StatusCode::NotAcceptable, info)));
        }

        let later = correlation::read(scl, &head.headers).map_err(refused)?;
        let mut primitive = RequestPrimitive {
            conditions: conditions::read(&head.headers),
            correlation: later.correlation,
            rcat: later.rcat,
            trpdt: later.trpdt,
            via,
            reference_point: self.identity.reference_point(),
            group_request: group_request(&head.headers)?,
            reached_at,
            ..RequestPrimitive::new(method, target, requesting_entity)
        };
        if group::leads_to_members(&primitive.target) && dress.format == Format::Json {
            // The members' answers are documents within the answer. A body that is one decides below.
            primitive.notify_media = NotifyMedia::Json;
        }
        if method == Method::Retrieve {
            let read = criteria::read(head.uri.query().unwrap_or_default());
            primitive.filter = read.map(|(mut criteria, if_match)| {
                primitive.conditions.if_match.extend(if_match);
                conditions::in_format(&mut criteria.if_none_match, dress.format);
                criteria
            });
            conditions::in_format(&mut primitive.conditions.if_none_match, dress.format);
        }
        if !has_body {
            return Ok(Read::Ours { request: primitive, taken: None });
        }
        let taken = self.take(body).await?;
        let limits = &self.config.limits;
        primitive.body = intake::decode(&head.method, &primitive.target, &head.headers, &taken.bytes, limits);
        match intake::format(&head.headers) {
            Some(Format::Json) => primitive.notify_media = NotifyMedia::Json,
            Some(Format::Xml) => primitive.notify_media = NotifyMedia::Xml,
            None => {}
        }
        if method == Method::Create {
            primitive.method = intake::post(&primitive.body);
        }
        Ok(Read::Ours { request: primitive, taken: Some(taken) })
    }

    /// A request for another SCL that may wait here until that can be asked (procedures.md 16). Its body goes on as it came.
    #[allow(clippy::too_many_arguments, reason = "what was read so far")]
    fn stored(
        &self,
        head: &Parts,
        method: Method,
        uri: &str,
        requesting_entity: Entity,
        via: Vec<String>,
        later: correlation::Later,
        taken: Option<&Taken>,
        dress: &Dress,
    ) -> Result<RequestPrimitive, Box<ResponsePrimitive>> {
        let mut primitive = RequestPrimitive {
            conditions: conditions::read(&head.headers),
            correlation: later.correlation,
            rcat: later.rcat,
            trpdt: later.trpdt,
            via,
            group_request: group_request(&head.headers)?,
            ..RequestPrimitive::new(method, saf::outward(uri), requesting_entity)
        };
        if dress.format == Format::Json {
            primitive.notify_media = NotifyMedia::Json;
        }
        let query = target::without_target_id(head.uri.query().unwrap_or_default());
        let (criteria, if_match) = criteria::read(&query).map_err(refused)?;
        primitive.filter = Ok(criteria);
        primitive.conditions.if_match.extend(if_match);
        let Some(taken) = taken else { return Ok(primitive) };
        if method == Method::Create {
            // What a POST is, its body says, and the end of its target.
            let target = uri.rsplit('/').next().and_then(Path::parse).unwrap_or_default();
            let limits = &self.config.limits;
            primitive.method =
                intake::post(&intake::decode(&head.method, &target, &head.headers, &taken.bytes, limits));
        }
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if let Some(content_type) = content_type {
            primitive.body = Body::Raw { content_type: content_type.to_owned(), bytes: taken.bytes.clone() };
        } else if !taken.bytes.is_empty() {
            return Err(refused(Refusal::new(StatusCode::BadRequest, "Content-Type: missing")));
        }
        Ok(primitive)
    }

    /// Where the client reached this SCL, as others may be told. An authority that the SCL does not know is only the
    /// client's word, so what the operator says goes before it; what he says knows the scheme, too, where something
    /// before the edge ends TLS.
    fn reached_at(&self, target: &target::Target, peer: &Peer) -> Option<String> {
        let public = self.config.public_uri.as_deref();
        let used = target.authority.as_deref().filter(|_| target.ours);
        let said = public.filter(|uri| {
            let same = |used: &str| uri.rsplit('/').next().is_some_and(|own| own.eq_ignore_ascii_case(used));
            self.config.scl.authorities.is_empty() || used.is_none_or(same)
        });
        said.map(str::to_owned).or_else(|| {
            let scheme = if peer.secure { "https" } else { "http" };
            used.map(|authority| format!("{scheme}://{authority}"))
        })
    }

    async fn take(&self, body: Incoming) -> Result<Taken, Box<ResponsePrimitive>> {
        let bounds = intake::Bounds {
            bytes_max: self.config.limits.bytes_max,
            timeout: self.config.body_timeout,
            rate_min: self.config.body_rate_min,
        };
        intake::read(body, bounds, &self.budget).await
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
            too_many: false,
            content: false,
            retrieve: head.method == http::Method::GET,
        };
        let Exchange { response: mut answer, handed, rest } =
            match self.answer(&head, body, peer, &mut dress).await {
                Answer::Ours(exchange) => exchange,
                Answer::Relayed(response) => return response,
            };
        if answer.next.is_some() && rest.is_none() {
            // A list that ends early must not look like a whole one.
            answer = Refusal::new(StatusCode::InternalServerError, "a listing has no end").into();
        }
        let mut response = response::write(answer, rest, &dress);
        if let Some(handed) = handed
            && response.status() == http::StatusCode::OK
        {
            response.body_mut().tell(handed);
        }
        response
    }
}

/// Whether a path may lead to raw content, or to what an application serves: either is answered in its own media type,
/// whatever our formats are.
fn may_be_content(target: &Path) -> bool {
    let segments = target.segments();
    let application = ResourceType::Application;
    let is_own = |name: &str| {
        application.attribute(name).is_some()
            || application.def().children.iter().any(|child| child.segment == name)
    };
    let served =
        matches!(segments, [collection, _, below, ..] if collection == "applications" && !is_own(below));
    served || is_content(target)
}

fn is_content(target: &Path) -> bool {
    target.segments().iter().skip(1).any(|segment| segment == "content")
}

/// Whether a path ends as the address of a list in an attribute does.
fn is_list(target: &Path) -> bool {
    let mut attributes = tables::TYPES.iter().flat_map(|of| of.attributes);
    let name = target.name().unwrap_or_default();
    attributes.any(|attribute| attribute.field.name == name && partial::entry(&attribute.field).is_some())
}

/// The SCLs before us; we must not be among them.
fn passed_on(scl: &Scl, headers: &HeaderMap) -> Result<Vec<String>, Box<ResponsePrimitive>> {
    let via = via::read(headers);
    match via.contains(&scl.id) {
        true => Err(refused(Refusal::new(StatusCode::BadRequest, "Via: a loop, this SCL has passed it on"))),
        false => Ok(via),
    }
}

fn group_request(headers: &HeaderMap) -> Result<Option<String>, Box<ResponsePrimitive>> {
    let Some(value) = headers.get(names::GROUP_REQUEST) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| {
        let info = format!("{}: not visible ASCII", names::spelled(&names::GROUP_REQUEST));
        refused(Refusal::new(StatusCode::BadRequest, info))
    })?;
    Ok(Some(text.to_owned()))
}

fn refused(refusal: Refusal) -> Box<ResponsePrimitive> {
    Box::new(refusal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_what_is_registered_here_or_an_authority() {
        let scl = Scl {
            id: "nscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: Vec::new(),
            founded_at: banyan_model::Timestamp(0),
        };
        for (entity, expected) in [
            ("/m2m/scls/gw-1", "scls/gw-1"),
            ("/m2m/scls/gw-1/applications/meter", "scls/gw-1"),
            ("/m2m/applications/meter", "applications/meter"),
            ("/m2m", ""),
            ("http://acme.example.com/app/1", "acme.example.com"),
            ("urn:dev:1", "urn:dev:1"),
            ("", ""),
        ] {
            assert_eq!(tenant(&scl, &Entity(entity.to_owned())), expected, "{entity}");
        }
    }
}
