//! The client: what is shared by all requests of a process.

use crate::{
    Config, ConfigError, RequestError, TransportError, connect,
    link::{Link, Question},
    map::{self, Map},
    request::{self, Place},
    route,
    session::{Sessions, Ticket},
};
use banyan_model::{
    Body, Entity, Method, Operation, Path, Representation, RequestId, RequestPrimitive, ResourceType,
    ResponsePrimitive, StatusCode, Timestamp,
    path::SubtreeRoot,
    placement::{NodeId, ShardId},
    query::{Cursor, Search},
    route::Claim,
    value::{NamedReference, Struct},
};
use banyan_proto::{
    convert::{self, Malformed},
    v1::{self, answer, submission},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, TryAcquireError, watch},
    task::AbortHandle,
    time::Instant,
};
use tonic::transport::Channel;

/// An encoded request may not be larger: one frame holds it with room to spare.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// What a request costs besides its bytes.
const REQUEST_BYTES_MIN: usize = 256;
/// What is told when too much is under way here.
const BUSY_RETRY_AFTER: Duration = Duration::from_millis(500);

/// The way into the cluster; cheap to clone, one a process. Its streams close when the last clone is gone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    follower: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Whose id a request bears; one that changes nothing has none.
enum Naming {
    None,
    Own,
    Given(RequestId),
}

/// What requests, links and the map's watch share.
pub(crate) struct Shared {
    config: Config,
    map: watch::Sender<Option<Arc<Map>>>,
    links: RwLock<HashMap<NodeId, Arc<Link>>>,
    leaders: Mutex<HashMap<ShardId, NodeId>>,
    sessions: Sessions,
    requests: Semaphore,
    bytes: Semaphore,
}

impl Client {
    /// Begins to look for the cluster; does not wait for it. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: Config) -> Result<Client, ConfigError> {
        config.validate()?;
        let shared = Arc::new(Shared {
            map: watch::Sender::new(None),
            links: RwLock::default(),
            leaders: Mutex::default(),
            sessions: Sessions::default(),
            requests: Semaphore::new(config.in_flight_max),
            bytes: Semaphore::new(config.in_flight_bytes_max),
            config,
        });
        let (seeds, tls) = (shared.config.nodes.clone(), shared.config.tls.clone());
        let publisher = shared.clone();
        let publish = move |map| publisher.publish(map);
        let follower = tokio::spawn(map::follow(seeds, tls, publish, shared.map.subscribe())).abort_handle();
        Ok(Client { inner: Arc::new(Inner { shared, follower }) })
    }

    /// Asks the cluster for `request` and waits for the answer, at most until `deadline`. If the future is dropped
    /// the request may still be carried out.
    ///
    /// # Errors
    /// [`RequestError`]; `response()` of it is what to tell the issuer.
    pub async fn submit(
        &self,
        request: RequestPrimitive,
        deadline: Instant,
    ) -> Result<ResponsePrimitive, RequestError> {
        self.submit_as(RequestId::default(), request, deadline).await
    }

    /// The same under an id of the caller's, which makes whatever is sent under it again the same request. All zero:
    /// none. The child of a root collection that `request` creates must have a name.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn submit_as(
        &self,
        id: RequestId,
        mut request: RequestPrimitive,
        deadline: Instant,
    ) -> Result<ResponsePrimitive, RequestError> {
        let place = Place::Slot(route::subtree(&mut request).slot());
        let mutating = request.method != Method::Retrieve;
        let bytes = convert::request_to_bytes(&request);
        drop(request);
        let size = bytes.len();
        let what = submission::What::Request(bytes);
        let naming = match (mutating, id.session) {
            (false, _) => Naming::None,
            (true, 0) => Naming::Own,
            (true, _) => Naming::Given(id),
        };
        response(self.ask(place, what, size, naming, deadline).await?)
    }

    /// Polls the channel at `request.target`, whose leader holds the poll until something waits there, at most for
    /// `hold`; nothing came: REQUEST_TIMEOUT. Of a message the second value is its number, to be confirmed by
    /// [`Client::taken`]. Polls do not count against `in_flight_max`: the caller bounds them.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn poll(
        &self,
        request: &RequestPrimitive,
        hold: Duration,
        deadline: Instant,
    ) -> Result<(ResponsePrimitive, Option<u64>), RequestError> {
        let place = Place::Slot(request.target.slot());
        let request = convert::request_to_bytes(request);
        let bytes = request.len();
        let hold_ms = u32::try_from(hold.as_millis()).unwrap_or(u32::MAX);
        let kind = v1::internal::Kind::Poll(v1::Poll { request, hold_ms });
        match self.internal_held(place, kind, bytes, hold, deadline).await? {
            answer::What::Polled(v1::Polled { response, sequence }) => {
                Ok((convert::response_from_bytes(response)?, Some(sequence)))
            }
            other => Ok((response(other)?, None)),
        }
    }

    /// The way to a resource of another SCL: `uri` is absolute and without a query, or a path that begins with the id of
    /// an SCL. Every shard is asked; the scl with the best claim counts. `None`: none has it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn route(&self, uri: &str, deadline: Instant) -> Result<Option<v1::Routed>, RequestError> {
        let map = self.map().borrow().clone();
        let shards = map.iter().flat_map(|map| &map.shards.shards).map(|shard| shard.id);
        let mut asked: FuturesUnordered<_> = shards
            .map(|shard| {
                let kind = v1::internal::Kind::Route(uri.to_owned());
                self.internal(Place::Shard(shard), kind, deadline)
            })
            .collect();
        let mut best: Option<v1::Routed> = None;
        while let Some(answer) = asked.next().await {
            match answer? {
                answer::What::Routed(routed) => {
                    if routed.matched > 0 && best.as_ref().is_none_or(|best| claim(&routed) > claim(best)) {
                        best = Some(routed);
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(best)
    }

    /// The poller of `channel` has message `sequence`: it is not handed out again.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn taken(&self, channel: &Path, sequence: u64, deadline: Instant) -> Result<(), RequestError> {
        let place = Place::Slot(channel.slot());
        let taken = v1::Taken { channel: Some(channel.into()), sequence };
        let answer = self.internal(place, v1::internal::Kind::Taken(taken), deadline).await?;
        response(answer).map(drop)
    }

    /// Sends a requestNotify into a communicationChannel and waits for its owner's answer: a response whose body is a
    /// responseNotify, or a refusal.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn through(
        &self,
        channel: &Path,
        message: &Struct,
        correlation_id: &str,
        deadline: Instant,
    ) -> Result<ResponsePrimitive, RequestError> {
        let through = v1::Through {
            channel: Some(channel.into()),
            message: Some(message.into()),
            correlation_id: correlation_id.to_owned(),
        };
        let bytes = through.encoded_len();
        let kind = v1::internal::Kind::Through(through);
        let what = submission::What::Internal(v1::Internal { kind: Some(kind) });
        // It waits for a poll on purpose: only a broken stream sends it to the next leader.
        let patience = deadline.saturating_duration_since(Instant::now());
        let place = Place::Slot(channel.slot());
        response(self.ask_patiently(place, what, bytes, Naming::Own, deadline, patience).await?)
    }

    /// The members of a root collection that live in `shard`, in name order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn members(
        &self,
        shard: ShardId,
        collection: &str,
        after: Option<&str>,
        limit: u32,
        deadline: Instant,
    ) -> Result<Vec<(ResourceType, NamedReference)>, RequestError> {
        let list =
            v1::ListMembers { collection: collection.to_owned(), after: after.map(str::to_owned), limit };
        match self.internal(Place::Shard(shard), v1::internal::Kind::ListMembers(list), deadline).await? {
            answer::What::Members(members) => Ok(convert::members(members)?),
            other => Err(unexpected(&other)),
        }
    }

    /// The SCLs that are registered with this `link`. A look into the index of every shard, however many are registered.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn linked(&self, link: &str, deadline: Instant) -> Result<Vec<NamedReference>, RequestError> {
        self.scls(|| v1::internal::Kind::Linked(link.to_owned()), deadline).await
    }

    /// The SCLs whose `link` is this URI or stands above or below it. The same.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn overlapping(
        &self,
        uri: &str,
        deadline: Instant,
    ) -> Result<Vec<NamedReference>, RequestError> {
        self.scls(|| v1::internal::Kind::Overlapping(uri.to_owned()), deadline).await
    }

    async fn scls(
        &self,
        question: impl Fn() -> v1::internal::Kind,
        deadline: Instant,
    ) -> Result<Vec<NamedReference>, RequestError> {
        // Without a map nobody would be asked, and nobody found.
        let why = RequestError::Unavailable { why: "no cluster map", retry_after: request::RETRY_AFTER };
        let map = self.map().borrow().clone().ok_or(why)?;
        let shards = map.shards.shards.iter().map(|shard| shard.id);
        let mut asked: FuturesUnordered<_> =
            shards.map(|shard| self.internal(Place::Shard(shard), question(), deadline)).collect();
        let mut found = Vec::new();
        while let Some(answer) = asked.next().await {
            match answer? {
                answer::What::Members(members) => {
                    found.extend(convert::members(members)?.into_iter().map(|(_, scl)| scl));
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(found)
    }

    /// What `shard` has that a search selects and `entity` may know of, from where the last answer ended: about `limit`
    /// addresses, and where to go on if that was not all.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn discover(
        &self,
        shard: ShardId,
        entity: &Entity,
        search: &Search,
        from: Option<&Cursor>,
        limit: u32,
        deadline: Instant,
    ) -> Result<(Vec<String>, Option<Cursor>), RequestError> {
        let question = convert::discover_to_wire(entity, search, from, limit);
        match self.internal(Place::Shard(shard), v1::internal::Kind::Discover(question), deadline).await? {
            answer::What::Discovered(found) => Ok(convert::discovered(found)),
            other => Err(unexpected(&other)),
        }
    }

    /// The accessRight at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn access_right(
        &self,
        path: &Path,
        deadline: Instant,
    ) -> Result<Option<Representation>, RequestError> {
        let place = Place::Slot(path.slot());
        let answer = self.internal(place, v1::internal::Kind::AccessRight(path.into()), deadline).await?;
        let response = response(answer)?;
        match (response.status, response.body) {
            (StatusCode::Ok, Body::Representation(representation)) => Ok(Some(representation)),
            (StatusCode::NotFound, _) => Ok(None),
            (status, _) => Err(RequestError::Refused(format!("accessRight: {status:?}"))),
        }
    }

    /// The resources that hold store-and-forward policies below a collection of management objects.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn policies(
        &self,
        mgmt_objs: &Path,
        deadline: Instant,
    ) -> Result<Vec<(Path, Representation)>, RequestError> {
        let place = Place::Slot(mgmt_objs.slot());
        match self.internal(place, v1::internal::Kind::Policies(mgmt_objs.into()), deadline).await? {
            answer::What::Policies(policies) => convert::policies(policies).map_err(RequestError::Answer),
            other => Err(unexpected(&other)),
        }
    }

    /// Has an operation applied in the subtree `at`. It must be idempotent by its own content: it has no request id,
    /// and may be sent more than once.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn operate(
        &self,
        at: &SubtreeRoot,
        operation: &Operation,
        deadline: Instant,
    ) -> Result<ResponsePrimitive, RequestError> {
        let command = v1::Command { operation: Some(operation.into()), ..v1::Command::default() };
        let place = Place::Slot(at.slot());
        response(self.internal(place, v1::internal::Kind::Command(command), deadline).await?)
    }

    /// Whether there is a map and a stream to at least one node.
    pub fn ready(&self) -> bool {
        self.inner.shared.map().is_some() && self.inner.shared.links.read().values().any(|link| link.is_up())
    }

    /// The newest map, and every newer one; `None` until the cluster was found.
    pub fn map(&self) -> watch::Receiver<Option<Arc<Map>>> {
        self.inner.shared.map.subscribe()
    }

    /// A connection of its own to a member, for another service than requests.
    ///
    /// # Errors
    /// [`TransportError`]; [`TransportError::Address`] for a node that the map does not have.
    pub async fn connect(&self, node: NodeId) -> Result<Channel, TransportError> {
        let shared = &self.inner.shared;
        let member = shared.map().and_then(|map| map.members.get(&node).cloned());
        let Some(member) = member else {
            return Err(TransportError::Address(format!("node {:016x}", node.0)));
        };
        connect(&member.address, shared.config.tls.as_ref()).await
    }

    pub(crate) async fn internal(
        &self,
        place: Place,
        kind: v1::internal::Kind,
        deadline: Instant,
    ) -> Result<answer::What, RequestError> {
        let what = submission::What::Internal(v1::Internal { kind: Some(kind) });
        self.ask(place, what, 0, Naming::None, deadline).await
    }

    /// The same for what is held on purpose, for at most `hold`: it does not count against `in_flight_max`.
    pub(crate) async fn internal_held(
        &self,
        place: Place,
        kind: v1::internal::Kind,
        bytes: usize,
        hold: Duration,
        deadline: Instant,
    ) -> Result<answer::What, RequestError> {
        let shared = &*self.inner.shared;
        let shard = shared.shard(place, deadline).await?;
        let what = submission::What::Internal(v1::Internal { kind: Some(kind) });
        let question = Question { shard: shard.0, deadline, ticket: None, what, bytes };
        // Only one that is silent for longer is frozen.
        request::ask(shared, place, question, hold + request::PATIENCE).await
    }

    async fn ask(
        &self,
        place: Place,
        what: submission::What,
        bytes: usize,
        naming: Naming,
        deadline: Instant,
    ) -> Result<answer::What, RequestError> {
        self.ask_patiently(place, what, bytes, naming, deadline, request::PATIENCE).await
    }

    async fn ask_patiently(
        &self,
        place: Place,
        what: submission::What,
        bytes: usize,
        naming: Naming,
        deadline: Instant,
        patience: Duration,
    ) -> Result<answer::What, RequestError> {
        let shared = &*self.inner.shared;
        if bytes > REQUEST_BYTES_MAX {
            return Err(RequestError::Refused(format!("{bytes} bytes are more than {REQUEST_BYTES_MAX}")));
        }
        let weight = bytes.max(REQUEST_BYTES_MIN).min(shared.config.in_flight_bytes_max);
        let weight = u32::try_from(weight).expect("the limit of bytes is below 4 GiB");
        let _request = shared.requests.try_acquire().map_err(busy)?;
        let _bytes = shared.bytes.try_acquire_many(weight).map_err(busy)?;

        let shard = shared.shard(place, deadline).await?;
        let ticket = match naming {
            Naming::None => None,
            Naming::Own => Some(shared.sessions.ticket(shard)),
            Naming::Given(id) => Some(Ticket::Given(id)),
        };
        let question = Question { shard: shard.0, deadline, ticket, what, bytes };
        request::ask(shared, place, question, patience).await
    }
}

impl Shared {
    pub(crate) fn map(&self) -> Option<Arc<Map>> {
        self.map.borrow().clone()
    }

    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links.read().get(&node).cloned()
    }

    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.links.read().get(&node).is_some_and(|link| link.is_up())
    }

    pub(crate) fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.leaders.lock().get(&shard).copied()
    }

    pub(crate) fn leads(&self, shard: ShardId, node: NodeId) {
        self.leaders.lock().insert(shard, node);
    }

    pub(crate) fn does_not_lead(&self, shard: ShardId, node: NodeId) {
        let mut leaders = self.leaders.lock();
        if leaders.get(&shard) == Some(&node) {
            leaders.remove(&shard);
        }
    }

    /// Takes a newer map: opens streams to new members, closes those of members that left or moved.
    fn publish(&self, map: Map) {
        let mut links = self.links.write();
        links.retain(|node, link| map.members.get(node).is_some_and(|member| member.address == link.address));
        for (node, member) in &map.members {
            links.entry(*node).or_insert_with(|| {
                // Room for what was given up and stands here until the stream moves on.
                let queue_max = 2 * self.config.in_flight_max;
                Arc::new(Link::new(member.address.clone(), self.config.tls.clone(), queue_max))
            });
        }
        drop(links);
        tracing::info!(epoch = map.shards.epoch, members = map.members.len(), "cluster map");
        self.map.send_replace(Some(Arc::new(map)));
    }

    /// The shard of a place; waits for the first map.
    async fn shard(&self, place: Place, deadline: Instant) -> Result<ShardId, RequestError> {
        let unavailable = |why| RequestError::Unavailable { why, retry_after: request::RETRY_AFTER };
        let found = |map: &Map| place.shard(map).map(|shard| shard.id).ok_or(unavailable("no such shard"));
        if let Some(map) = &*self.map.borrow() {
            return found(map);
        }
        let mut maps = self.map.subscribe();
        let first = request::prerequisite(deadline, maps.wait_for(Option::is_some)).await;
        let map =
            first.and_then(Result::ok).and_then(|map| map.clone()).ok_or(unavailable("no cluster map"))?;
        found(&map)
    }
}

fn claim(routed: &v1::Routed) -> Claim {
    let v1::Routed { matched, by_link, since_ms, ref scl, .. } = *routed;
    Claim { by_link, matched, since: Timestamp(since_ms), scl: scl.clone() }
}

fn response(answer: answer::What) -> Result<ResponsePrimitive, RequestError> {
    match answer {
        answer::What::Response(bytes) => Ok(convert::response_from_bytes(bytes)?),
        other => Err(unexpected(&other)),
    }
}

pub(crate) fn unexpected(answer: &answer::What) -> RequestError {
    let kind = match answer {
        answer::What::Response(_) => "response",
        answer::What::Members(_) => "members",
        answer::What::Polled(_) => "polled",
        answer::What::Routed(_) => "routed",
        answer::What::Discovered(_) => "discovered",
        answer::What::Keys(_) => "keys",
        answer::What::Policies(_) => "policies",
        _ => "answer",
    };
    RequestError::Answer(Malformed::Unknown { what: kind, value: "not asked for".to_owned() })
}

fn busy(_: TryAcquireError) -> RequestError {
    RequestError::Busy { retry_after: BUSY_RETRY_AFTER }
}
