//! The reply table (decision 3): a request is applied once and answered the same however often it comes.
//!
//! The session's record is written when its watermark moves or when it is a minute old, so it costs a write at most one
//! small put; a session is therefore forgotten a minute later than it could be, never earlier.

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
    let key = Key::reply(id.session, id.sequence);
    match view.get(&key)? {
        Some(Record::Reply(bytes)) => return Ok(Recall::Recorded(bytes)),
        Some(_) => return Err(view.corrupt(&key.bytes)),
        None => {}
    }
    Ok(match session(view, id.session)? {
        Some((_, acked_below)) if id.sequence < acked_below => Recall::Forgotten,
        _ => Recall::First,
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
    let (last_used, acked_below) = known.unwrap_or((writer.at, 0));
    // A client waits at least for this very request, whatever it says.
    let watermark = id.acked_below.min(id.sequence);
    let reached = if watermark > acked_below {
        forget(writer, id.session, acked_below, watermark)?
    } else {
        acked_below
    };
    let stale = writer.at.0.saturating_sub(last_used.0) >= STALE_MS;
    if known.is_none() || stale || reached != acked_below {
        let record = Record::Session { last_used: writer.at, acked_below: reached };
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

fn session<V: TreeView>(view: &V, session: u64) -> Result<Option<(Timestamp, u64)>, V::Error> {
    let key = Key::session(session);
    match view.get(&key)? {
        Some(Record::Session { last_used, acked_below }) => Ok(Some((last_used, acked_below))),
        Some(_) => Err(view.corrupt(&key.bytes)),
        None => Ok(None),
    }
}
