//! Requests that are answered later (procedures.md 17): accepted with a 202, carried out once, and their answers kept.
//!
//! All of it belongs to the one who asks, not to what is asked for: everything of a requestingEntity lies in a subtree of
//! its own, whose slot is made of its name and whose root no resource can have (a name holds no slash). So a correlationID
//! means the same wherever the request is repeated, another entity's same one is another request, and what one entity may
//! have kept is counted in one place.
//!
//! What is accepted is an entry of the queue [`place`]; whoever leads carries it out under an id made of its number
//! ([`request_id`]), so that the reply table of the shard that it goes to makes a second carrying out the first one's.
//! Its answer takes its place, and one that is to be sent stands in the queue [`answers`] until its contact has it.
//!
//! What is another SCL's to answer waits in a lane: see [`crate::saf`].
//!
//! Invariants: an entry is carried out here only while the reply table would still know it ([`WINDOW_MS`]); numbers grow
//! within a shard and are never reused; the totals are what is kept.

use crate::{
    Entity, Path, Refusal, RequestId, RequestPrimitive, ResponsePrimitive, StatusCode, SubtreeRoot,
    Timestamp, TreeView,
    command::QueueLimits,
    key::{Key, Range},
    placement::ShardId,
    primitive::NotifyMedia,
    record::Record,
    saf::{Forwarding, Rcat, Storing},
};
use bytes::Bytes;
use std::ops::ControlFlow;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

/// For this long after its acceptance a request may be carried out, or carried out again by the next leader. The reply
/// table remembers for longer.
pub const WINDOW_MS: i64 = 10 * 60_000;
/// Requests of this long share a session of the reply table: few sessions, and none that never falls silent.
const SESSION_MS: i64 = 60_000;

const COLLECTION: &str = "applications";
const ACCEPTED: &str = "accepted";
const ANSWERED: &str = "answered";

/// What the operator allows to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Of one requestingEntity.
    pub entity: QueueLimits,
    /// Of all in one shard.
    pub shard: QueueLimits,
}

/// A request that is to be accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deferral {
    /// Its [`place`].
    pub place: Path,
    /// Encoded, as it will be carried out: opaque here.
    pub request: Bytes,
    /// Tells a repetition from another request ([`digest`]).
    pub digest: u64,
    /// contactURI.
    pub contact: Option<String>,
    /// How an answer to the contact is written.
    pub media: NotifyMedia,
    /// How long the answer is kept.
    pub lifetime_ms: u64,
    /// Until when it is kept at least: whoever passed the request on may send it again until then.
    pub keep_until: Option<Timestamp>,
    /// It is another SCL's to answer: stored until that can be asked.
    pub storing: Option<Storing>,
    /// How much may be kept.
    pub limits: Limits,
}

/// A request that was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deferred {
    /// requestingEntity.
    pub entity: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// Which one of its shard it is.
    pub number: u64,
    /// See [`Deferral::digest`].
    pub digest: u64,
    /// contactURI.
    pub contact: Option<String>,
    /// How an answer to the contact is written.
    pub media: NotifyMedia,
    /// How long the answer is kept once nobody waits for it to be sent.
    pub lifetime_ms: u64,
    /// See [`Deferral::keep_until`].
    pub keep_until: Option<Timestamp>,
    /// It is another SCL's to answer.
    pub forwarding: Option<Forwarding>,
    /// What it takes: the request until it is answered, then the answer.
    pub octets: u64,
    /// The encoded `ResponsePrimitive`, opaque here. `None`: it is being carried out.
    pub answer: Option<Bytes>,
    /// When it is forgotten; `None` until that is known.
    pub expires: Option<Timestamp>,
}

/// What is kept, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Requests with and without answer.
    pub entries: u64,
    /// Octets of both.
    pub octets: u64,
    /// Of a shard: the number of the next request.
    pub next: u64,
}

/// The subtree of what an entity asked to have answered later.
pub fn home(entity: &Entity) -> SubtreeRoot {
    SubtreeRoot::Named {
        collection: COLLECTION,
        name: format!("later/{:032x}", xxh3_128(entity.0.as_bytes())),
    }
}

/// Where a request waits to be carried out, and then its answer for whoever fetches it.
pub fn place(entity: &Entity, correlation_id: &str) -> Path {
    home(entity).path().child(ACCEPTED).child(correlation_id)
}

/// The queue of the answer that is to be sent to the contact.
pub fn answers(place: &Path) -> Option<Path> {
    beside(place, ACCEPTED, ANSWERED)
}

/// Where a request of the same entity waits.
pub fn neighbour(place: &Path, correlation_id: &str) -> Path {
    place.subtree().path().child(ACCEPTED).child(correlation_id)
}

/// The place to which such a queue belongs.
pub fn answered(queue: &Path) -> Option<Path> {
    beside(queue, ANSWERED, ACCEPTED)
}

/// Whether a path is a [`place`].
pub fn is_place(path: &Path) -> bool {
    beside(path, ACCEPTED, ANSWERED).is_some()
}

/// The correlationID of a place.
pub fn correlation_id(place: &Path) -> &str {
    place.name().unwrap_or_default()
}

fn beside(path: &Path, of: &str, other: &str) -> Option<Path> {
    let [collection, root, kind, id] = path.segments() else { return None };
    let is_ours = collection == COLLECTION && root.contains('/') && kind == of;
    is_ours.then(|| Path::from_segments(vec![collection.clone(), root.clone(), other.to_owned(), id.clone()]))
}

/// Tells a repetition from another request under the same correlationID: by its method and its target.
pub fn digest(request: &RequestPrimitive) -> u64 {
    xxh3_64(format!("{:?} {}", request.method, request.target).as_bytes())
}

/// The id under which a request is carried out, the same whoever leads its shard.
pub fn request_id(shard: ShardId, deferred: &Deferred) -> RequestId {
    let mut session = Xxh3::new();
    session.update(b"deferred");
    session.update(&shard.0.to_be_bytes());
    session.update(&deferred.at.0.div_euclid(SESSION_MS).to_be_bytes());
    RequestId { session: session.digest().max(1), sequence: deferred.number, acked_below: 0 }
}

/// The correlationID under which a stored request goes on, the same whoever leads its shard and another one for each
/// acceptance: the next SCL knows a second attempt for the first one's by it.
pub fn onward_id(scl: &str, shard: ShardId, place: &Path, deferred: &Deferred) -> String {
    let mut id = Xxh3::new();
    for part in [scl, &deferred.entity, correlation_id(place)] {
        id.update(&(part.len() as u64).to_be_bytes());
        id.update(part.as_bytes());
    }
    for number in [shard.0, deferred.number, deferred.at.0.cast_unsigned()] {
        id.update(&number.to_be_bytes());
    }
    format!("{:032x}", id.digest128())
}

/// What is said of a request that is known already.
///
/// # Errors
/// It is another one's, or another one.
pub fn known(deferred: &Deferred, entity: &Entity, digest: u64) -> Result<Option<Bytes>, Refusal> {
    if deferred.entity != entity.0 || deferred.digest != digest {
        let info = "X-etsi-correlationID: another request has it, whose answer is still kept";
        return Err(Refusal::new(StatusCode::Conflict, info));
    }
    Ok(deferred.answer.clone())
}

/// 202, with nothing else.
pub fn accepted() -> ResponsePrimitive {
    ResponsePrimitive::status(StatusCode::Accepted)
}

/// What stands at a place.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn find<V: TreeView>(view: &V, place: &Path) -> Result<Option<Deferred>, V::Error> {
    let key = Key::deferred(place);
    match view.get(&key)? {
        Some(Record::Deferred(deferred)) => Ok(Some(deferred)),
        Some(_) => Err(view.corrupt(&key.bytes)),
        None => Ok(None),
    }
}

/// Which request goes first of those that wait in the same lane; `None`: none waits.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn first_in_lane<V: TreeView>(view: &V, place: &Path, target: &str) -> Result<Option<Path>, V::Error> {
    let (mut first, mut corrupt) = (None, None);
    view.scan(&Range::lane(place, target), false, &mut |key, _| {
        match Key::waiting_place(key, place) {
            Some(found) => first = Some(found),
            None => corrupt = Some(view.corrupt(key)),
        }
        ControlFlow::Break(())
    })?;
    corrupt.map_or(Ok(first), Err)
}

/// What waits of each category in this shard.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn stored<V: TreeView>(view: &V) -> Result<Vec<(Rcat, Kept)>, V::Error> {
    let each = Rcat::ALL.map(|rcat| Ok((rcat, kept(view, &Key::stored_of_shard(rcat))?.unwrap_or_default())));
    each.into_iter().collect()
}

/// Requests of one category that one entity has stored for one SCL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Requests.
    pub entries: u64,
    /// Their octets.
    pub octets: u64,
    /// When the oldest was accepted.
    pub oldest: Timestamp,
    /// When the first falls due.
    pub deadline: Timestamp,
}

impl Waiting {
    /// One of them; `None`: it is not for another SCL, or has its answer.
    pub fn of(request: &Deferred) -> Option<(WaitingKey, Waiting)> {
        let Deferred { entity, at, forwarding: Some(forwarding), octets, answer: None, .. } = request else {
            return None;
        };
        let Forwarding { target, rcat, deadline } = forwarding;
        let one = Waiting { entries: 1, octets: *octets, oldest: *at, deadline: *deadline };
        Some(((target.clone(), entity.clone(), *rcat), one))
    }

    /// Counts others in.
    pub fn add(&mut self, other: &Waiting) {
        self.entries += other.entries;
        self.octets = self.octets.saturating_add(other.octets);
        self.oldest = self.oldest.min(other.oldest);
        self.deadline = self.deadline.min(other.deadline);
    }
}

/// The SCL, the entity and the category of [`Waiting`].
pub type WaitingKey = (String, String, Rcat);

/// What is kept under a key of totals.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn kept<V: TreeView>(view: &V, key: &Key) -> Result<Option<Kept>, V::Error> {
    match view.get(key)? {
        Some(Record::Kept(kept)) => Ok(Some(kept)),
        Some(_) => Err(view.corrupt(&key.bytes)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    #[test]
    fn a_place_belongs_to_its_entity_and_no_resource_can_stand_there() {
        let (one, other) = (Entity("/m2m/applications/a".into()), Entity("/m2m/applications/b".into()));
        let place_of_one = place(&one, "9/../x");
        assert_eq!(place_of_one.subtree(), home(&one));
        assert_ne!(home(&one), home(&other));
        assert!(is_place(&place_of_one));
        let answers = answers(&place_of_one).unwrap();
        assert!(!is_place(&answers));
        assert_eq!(answered(&answers), Some(place_of_one.clone()));
        assert_eq!(correlation_id(&place_of_one), "9/../x");
        assert!(!is_place(&Path::parse("applications/a/accepted/x").unwrap()));
    }

    #[test]
    fn a_request_that_is_to_be_answered_later_belongs_to_who_asks() {
        let entity = Entity("http://gw.example.org/m2m".into());
        let target = Path::parse("containers/c").unwrap();
        let mut request = RequestPrimitive::new(Method::Delete, target.clone(), entity.clone());
        assert_eq!(request.subtree(), Some(target.subtree()));
        request.correlation = Some(crate::primitive::Correlation { id: "1".to_owned(), contact: None });
        assert_eq!(request.subtree(), Some(home(&entity)));
        let answer = crate::value::Struct { name: "ResponseNotify", fields: Vec::new() };
        request.body = crate::Body::Message(answer);
        assert_eq!(request.subtree(), Some(target.subtree()), "an answer asks for nothing");
    }
}
