//! Requests that are answered later: accepted, answered, forgotten (procedures.md 17).

use super::{Answer, Effect, queue, writer::Writer};
use crate::{
    Entity, Path, ResponsePrimitive, StatusCode, Timestamp, TreeView,
    command::QueueLimits,
    deferred::{self, Deferral, Deferred, Kept},
    key::Key,
    outbox::Message,
    record::Record,
    saf::{Rcat, Storing},
};
use bytes::Bytes;

/// When an entity that has too much kept may come again, milliseconds.
const FULL_RETRY_AFTER_MS: u32 = 5_000;

/// Takes a request in: from now on it will be carried out. One that is there already is none of its own.
pub(super) fn defer<V: TreeView>(
    writer: &mut Writer<'_, V>,
    entity: &Entity,
    deferral: &Deferral,
) -> Answer<V> {
    let Deferral { place, request, digest, contact, media, lifetime_ms, keep_until, storing, limits } =
        deferral;
    if let Some(known) = deferred::find(&writer.staged, place)? {
        // Its answer, if there is one by now, comes with the next repetition: here it would be another encoding.
        return Ok(deferred::known(&known, entity, *digest).map(|_| deferred::accepted()));
    }
    let octets = request.len() as u64;
    let totals = Totals::read(writer, place)?;
    let crowd = [
        (&totals.of_entity, limits.entity, "of this entity"),
        (&totals.of_shard, limits.shard, "of entities whose requests lie together"),
    ];
    for (kept, limits, whose) in crowd {
        if let Some(full) = full(kept, octets, limits, whose) {
            return Ok(Ok(full));
        }
    }
    if let Some(Storing { forwarding, limits }) = storing {
        let key = Key::stored_of_entity(place, forwarding.rcat);
        let stored = deferred::kept(&writer.staged, &key)?.unwrap_or_default();
        let whose = format!("of this entity in category {}", forwarding.rcat.number());
        if let Some(full) = full(&stored, octets, *limits, &whose) {
            return Ok(Ok(full));
        }
    }
    let number = totals.of_shard.next;
    let accepted = Deferred {
        entity: entity.0.clone(),
        at: writer.at,
        number,
        digest: *digest,
        contact: contact.clone(),
        media: *media,
        lifetime_ms: *lifetime_ms,
        keep_until: *keep_until,
        forwarding: storing.as_ref().map(|storing| storing.forwarding.clone()),
        octets,
        answer: None,
        expires: None,
    };
    if let Some(forwarding) = &accepted.forwarding {
        let lane = Key::lane(place, &forwarding.target, forwarding.rcat, number);
        writer.staged.put_new(lane, Record::Pointer(octets));
        stored(writer, place, forwarding.rcat, (1, 0), (octets, 0))?;
    }
    writer.staged.put_new(Key::deferred(place), Record::Deferred(accepted));
    totals.moved(writer, place, (1, 0), (octets, 0), number + 1);
    queue::enqueue(writer, place, Message::CarryOut { request: request.clone() }, None)?;
    Ok(Ok(deferred::accepted()))
}

/// The answer takes the place of the request. What was answered before stays as it is.
pub(super) fn answered<V: TreeView>(
    writer: &mut Writer<'_, V>,
    place: &Path,
    sequence: u64,
    answer: &Bytes,
) -> Answer<V> {
    let done = Ok(Ok(ResponsePrimitive::status(StatusCode::Ok)));
    if writer.staged.get(&Key::outbox(place, sequence))?.is_none() {
        return done;
    }
    queue::drop_queue(writer, place)?;
    let Some(mut record) = deferred::find(&writer.staged, place)? else { return done };
    let (before, after) = (record.octets, answer.len() as u64);
    if let Some(forwarding) = &record.forwarding {
        writer.staged.delete(Key::lane(place, &forwarding.target, forwarding.rcat, record.number));
        stored(writer, place, forwarding.rcat, (0, 1), (0, before))?;
        if let Some(next) = deferred::first_in_lane(&writer.staged, place, &forwarding.target)? {
            writer.effect(Effect::Deliver { queue: next, by: None });
        }
    }
    let totals = Totals::read(writer, place)?;
    let next = totals.of_shard.next;
    totals.moved(writer, place, (0, 0), (after, before), next);
    record.octets = after;
    record.answer = Some(answer.clone());
    match deferred::answers(place).filter(|_| record.contact.is_some()) {
        Some(queue) => {
            writer.staged.put(Key::deferred(place), Record::Deferred(record));
            queue::enqueue(writer, &queue, Message::Answer, None)?;
        }
        None => keep(writer, place, record),
    }
    done
}

/// The contact has the answer, or never will: from now on it is kept for whoever repeats the request.
pub(super) fn sent<V: TreeView>(writer: &mut Writer<'_, V>, place: &Path) -> Result<(), V::Error> {
    if let Some(record) = deferred::find(&writer.staged, place)?.filter(|record| record.expires.is_none()) {
        keep(writer, place, record);
    }
    Ok(())
}

fn keep<V: TreeView>(writer: &mut Writer<'_, V>, place: &Path, mut record: Deferred) {
    let lifetime = i64::try_from(record.lifetime_ms).unwrap_or(i64::MAX);
    let expires = Timestamp(writer.at.0.saturating_add(lifetime));
    let expires = expires.max(record.keep_until.unwrap_or(expires));
    record.expires = Some(expires);
    writer.staged.put(Key::deferred(place), Record::Deferred(record));
    writer.rearm(place, None, Some(expires));
}

/// The time of an answer is over.
pub(super) fn forget<V: TreeView>(
    writer: &mut Writer<'_, V>,
    at: Timestamp,
    place: &Path,
) -> Result<(), V::Error> {
    writer.staged.delete(Key::due(at, place));
    let Some(record) = deferred::find(&writer.staged, place)?.filter(|record| record.expires == Some(at))
    else {
        return Ok(());
    };
    writer.staged.delete(Key::deferred(place));
    let totals = Totals::read(writer, place)?;
    let next = totals.of_shard.next;
    totals.moved(writer, place, (0, 1), (0, record.octets), next);
    Ok(())
}

/// `None`: there is room. An entity that has nothing kept may send a request of any size.
fn full(kept: &Kept, octets: u64, limits: QueueLimits, whose: &str) -> Option<ResponsePrimitive> {
    let Kept { entries, octets: taken, .. } = kept;
    let more = taken.saturating_add(octets);
    let info = if *entries >= limits.entries_max {
        format!("X-etsi-correlationID: {entries} asynchronous requests {whose} are kept, no more may be")
    } else if *entries > 0 && more > limits.octets_max {
        let most = limits.octets_max;
        format!(
            "X-etsi-correlationID: asynchronous requests {whose} would take {more} octets, {most} are allowed"
        )
    } else {
        return None;
    };
    Some(ResponsePrimitive {
        info,
        retry_after_ms: Some(FULL_RETRY_AFTER_MS),
        ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
    })
}

/// Counts what came into a category (the first of each pair) and what left it.
fn stored<V: TreeView>(
    writer: &mut Writer<'_, V>,
    place: &Path,
    rcat: Rcat,
    entries: (u64, u64),
    octets: (u64, u64),
) -> Result<(), V::Error> {
    for key in [Key::stored_of_entity(place, rcat), Key::stored_of_shard(rcat)] {
        let kept = deferred::kept(&writer.staged, &key)?.unwrap_or_default();
        let kept = moved(kept, entries, octets);
        match kept.entries {
            0 => writer.staged.delete(key),
            _ => writer.staged.put(key, Record::Kept(kept)),
        }
    }
    Ok(())
}

fn moved(kept: Kept, entries: (u64, u64), octets: (u64, u64)) -> Kept {
    Kept {
        entries: (kept.entries + entries.0).saturating_sub(entries.1),
        octets: (kept.octets + octets.0).saturating_sub(octets.1),
        next: kept.next,
    }
}

struct Totals {
    of_entity: Kept,
    of_shard: Kept,
}

impl Totals {
    fn read<V: TreeView>(writer: &Writer<'_, V>, place: &Path) -> Result<Totals, V::Error> {
        let first = Kept { next: queue::first_sequence(writer.at), ..Kept::default() };
        Ok(Totals {
            of_entity: deferred::kept(&writer.staged, &Key::kept_of_entity(place))?.unwrap_or_default(),
            of_shard: deferred::kept(&writer.staged, &Key::kept_of_shard())?.unwrap_or(first),
        })
    }

    /// Writes the totals after so many entries and octets came (the first of each pair) and went.
    fn moved<V: TreeView>(
        self,
        writer: &mut Writer<'_, V>,
        place: &Path,
        entries: (u64, u64),
        octets: (u64, u64),
        next: u64,
    ) {
        let moved = |kept, next| Kept { next, ..moved(kept, entries, octets) };
        let of_entity = moved(self.of_entity, 0);
        match of_entity.entries {
            0 => writer.staged.delete(Key::kept_of_entity(place)),
            _ => writer.staged.put(Key::kept_of_entity(place), Record::Kept(of_entity)),
        }
        writer.staged.put(Key::kept_of_shard(), Record::Kept(moved(self.of_shard, next)));
    }
}
