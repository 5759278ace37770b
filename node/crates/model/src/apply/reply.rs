//! The reply table (decision 3): a request is applied once and answered the same however often it comes.
//!
//! The session's record is one small put a write, and its `highest` saves the lookup of a reply that cannot be there. A
//! request that comes after later ones moves neither number and writes `last_used` only when that is a minute old: a
//! session is forgotten up to a minute later than it could be, never earlier.

use super::{Effect, writer::Writer};
use crate::{
    RequestId, Timestamp, TreeView,
    key::{Key, Range},
    record::Record,
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// How long a silent session is remembered, milliseconds.
const SILENCE_MS: i64 = 15 * 60_000;
/// How old a session's `last_used` may get before it is written again, milliseconds.
const STALE_MS: i64 = 60_000;
/// How many replies one command forgets. The recorded watermark goes only as far as was forgotten.
const FORGET_MAX: usize = 256;
/// Up to how many are taken to be there.
const UNSEEN_MAX: u64 = 4_096;

/// What is known of a request id.
pub(super) enum Recall {
    /// Never applied.
    First,
    /// Applied: the encoded answer.
    Recorded(Bytes),
    /// Applied, and the client said it has the answer.
    Forgotten,
}

/// Looks a request id up.
pub(super) fn recall<V: TreeView>(view: &V, id: RequestId) -> Result<Recall, V::Error> {
    if id.session == 0 {
        return Ok(Recall::First);
    }
    let acked_below = match session(view, id.session)? {
        Some(Known { highest, acked_below, .. }) if id.sequence <= highest => acked_below,
        // Most requests: nothing this high was ever applied.
        _ => return Ok(Recall::First),
    };
    let key = Key::reply(id.session, id.sequence);
    match view.get(&key)? {
        Some(Record::Reply(bytes)) => Ok(Recall::Recorded(bytes)),
        Some(_) => Err(view.corrupt(&key.bytes)),
        None if id.sequence < acked_below => Ok(Recall::Forgotten),
        None => Ok(Recall::First),
    }
}

/// The recorded answer of a request that was applied before, encoded.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn recorded<V: TreeView>(view: &V, id: RequestId) -> Result<Option<Bytes>, V::Error> {
    Ok(match recall(view, id)? {
        Recall::Recorded(bytes) => Some(bytes),
        Recall::First | Recall::Forgotten => None,
    })
}

/// Keeps the session alive and forgets what its client has seen; the key of the reply to record.
pub(super) fn remember<V: TreeView>(
    writer: &mut Writer<'_, V>,
    id: RequestId,
) -> Result<Option<Key>, V::Error> {
    if id.session == 0 {
        return Ok(None);
    }
    let known = session(&writer.staged, id.session)?;
    let Known { last_used, acked_below, highest } =
        known.unwrap_or(Known { last_used: writer.at, acked_below: 0, highest: 0 });
    // A client waits at least for this very request, whatever it says.
    let watermark = id.acked_below.min(id.sequence);
    let reached = if watermark > acked_below {
        forget(writer, id.session, acked_below, watermark)?
    } else {
        acked_below
    };
    let stale = writer.at.0.saturating_sub(last_used.0) >= STALE_MS;
    if known.is_none() || stale || reached != acked_below || id.sequence > highest {
        let highest = highest.max(id.sequence);
        let record = Record::Session { last_used: writer.at, acked_below: reached, highest };
        writer.staged.put(Key::session(id.session), record);
    }
    if known.is_none() {
        writer.effect(Effect::Due(forgotten_at(writer.at)));
    }
    Ok(Some(Key::reply(id.session, id.sequence)))
}

/// When a session last used then is forgotten.
pub(super) fn forgotten_at(last_used: Timestamp) -> Timestamp {
    Timestamp(last_used.0.saturating_add(SILENCE_MS + STALE_MS))
}

/// Deletes the replies `from <= sequence < to`, the oldest first, a bounded number; the sequence up to which none is left.
pub(super) fn forget<V: TreeView>(
    writer: &mut Writer<'_, V>,
    session: u64,
    from: u64,
    to: u64,
) -> Result<u64, V::Error> {
    // In steady load nearly all are there: deleted unseen, for a scan costs more than a delete of what is not there.
    if to - from <= UNSEEN_MAX {
        let reached = to.min(from + FORGET_MAX as u64);
        for sequence in from..reached {
            writer.staged.delete(Key::reply(session, sequence));
        }
        return Ok(reached);
    }
    let mut found = Vec::new();
    writer.staged.scan(&Range::replies(session, from, to), false, &mut |key, _| {
        found.extend(Key::number(key));
        if found.len() < FORGET_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let reached = match found.last() {
        Some(last) if found.len() == FORGET_MAX => last + 1,
        _ => to,
    };
    for sequence in found {
        writer.staged.delete(Key::reply(session, sequence));
    }
    Ok(reached)
}

/// A session as it is stored.
#[derive(Clone, Copy)]
struct Known {
    last_used: Timestamp,
    acked_below: u64,
    highest: u64,
}

fn session<V: TreeView>(view: &V, session: u64) -> Result<Option<Known>, V::Error> {
    let key = Key::session(session);
    match view.get(&key)? {
        Some(Record::Session { last_used, acked_below, highest }) => {
            Ok(Some(Known { last_used, acked_below, highest }))
        }
        Some(_) => Err(view.corrupt(&key.bytes)),
        None => Ok(None),
    }
}
