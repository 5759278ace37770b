//! Polled channels: where their two doors are, and what waits behind them (procedures.md 14).
//!
//! A channel has two virtual children. Whoever was given `<channel>/contact` sends its notifies there; the owner polls
//! `<channel>/poll`. What came in at the one waits, in order, until it went out at the other and that was confirmed.
//! A communicationChannel carries requests, too: the SCL alone sends them (requestNotify), and the owner says at
//! `<channel>/answer` what came of each (responseNotify).
//!
//! Invariants: sequences of a channel's queue grow and are never reused, not even by a channel of the same path that is
//! created anew; the queue lives in the channel's subtree and goes with the channel.

use crate::{
    Path, ResourceType, TreeView, Value,
    key::{Key, Range},
    record::{ChannelState, QueuedMessage, Record},
    value::Struct,
};
use std::ops::ControlFlow;

/// Where others send to.
pub const CONTACT: &str = "contact";
/// Where the owner asks.
pub const POLL: &str = "poll";

/// Where the owner of a communicationChannel answers the requests that it got.
pub const ANSWER: &str = "answer";

/// Whether this is a channel.
pub fn is_channel(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::NotificationChannel | ResourceType::CommunicationChannel)
}

/// The channel whose longPollingURI this would be, by the shape of the path alone: whether there is one, its subtree
/// says.
pub fn polled_at(path: &Path) -> Option<Path> {
    below_channel(path, POLL)
}

/// The channel whose contactURI this would be, by the shape of the path alone.
pub fn contacted_at(path: &Path) -> Option<Path> {
    below_channel(path, CONTACT)
}

/// The communicationChannel whose owner would answer here, by the shape of the path alone.
pub fn answered_at(path: &Path) -> Option<Path> {
    below_channel(path, ANSWER).filter(carries_requests)
}

/// Whether a channel carries requests.
pub fn carries_requests(channel: &Path) -> bool {
    channel.parent().is_some_and(|collection| collection.name() == Some("communicationChannels"))
}

fn below_channel(path: &Path, door: &str) -> Option<Path> {
    let [.., collection, _channel, last] = path.segments() else { return None };
    let is_channels = matches!(collection.as_str(), "notificationChannels" | "communicationChannels");
    (is_channels && last == door).then(|| path.parent())?
}

/// The first message of a queue that `skip` does not pass over.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn first_queued<V: TreeView>(
    view: &V,
    channel: &Path,
    mut skip: impl FnMut(u64) -> bool,
) -> Result<Option<(u64, QueuedMessage)>, V::Error> {
    let (mut found, mut corrupt) = (None, None);
    view.scan(&Range::queued(channel), false, &mut |key, record| {
        match (Key::number(key), record) {
            (Some(sequence), Record::Queued(_)) if skip(sequence) => return ControlFlow::Continue(()),
            (Some(sequence), Record::Queued(message)) => found = Some((sequence, message)),
            _ => corrupt = Some(view.corrupt(key)),
        }
        ControlFlow::Break(())
    })?;
    corrupt.map_or(Ok(found), Err)
}

/// What waits in a channel's queue.
///
/// # Errors
/// This replica cannot read its own state and must stop.
pub fn state<V: TreeView>(view: &V, channel: &Path) -> Result<Option<ChannelState>, V::Error> {
    let key = Key::channel(channel);
    match view.get(&key)? {
        Some(Record::Channel(state)) => Ok(Some(state)),
        Some(_) => Err(view.corrupt(&key.bytes)),
        None => Ok(None),
    }
}

/// About how many octets a message takes.
pub fn octets(message: &Struct) -> u64 {
    message.fields.iter().map(|(name, value)| name.len() as u64 + value_octets(value)).sum()
}

fn value_octets(value: &Value) -> u64 {
    match value {
        Value::Text(text) => text.len() as u64,
        Value::Binary { bytes, .. } => bytes.len() as u64,
        Value::Struct(inner) => octets(inner),
        Value::List(items) => items.iter().map(|item| item.len() as u64).sum(),
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, polled: Option<&str>, contacted: Option<&str>) {
        let path = Path::parse(path).expect("a sound path");
        let text = |found: Option<Path>| found.map(|channel| channel.to_string());
        assert_eq!(text(polled_at(&path)).as_deref(), polled);
        assert_eq!(text(contacted_at(&path)).as_deref(), contacted);
    }

    #[test]
    fn a_channel_is_told_by_the_shape_of_its_doors() {
        let channel = Some("/applications/a/notificationChannels/nc");
        check("/applications/a/notificationChannels/nc/poll", channel, None);
        check("/applications/a/notificationChannels/nc/contact", None, channel);
        check("/scls/g/communicationChannels/cc/poll", Some("/scls/g/communicationChannels/cc"), None);
        check("/applications/a/notificationChannels/poll", None, None);
        let answer = |path: &str| answered_at(&Path::parse(path).expect("a sound path"));
        let channel = Path::parse("/scls/g/communicationChannels/cc").expect("a sound path");
        assert_eq!(answer("/scls/g/communicationChannels/cc/answer"), Some(channel));
        assert_eq!(answer("/scls/g/notificationChannels/nc/answer"), None, "it carries no requests");
        check("/applications/a/containers/c/poll", None, None);
    }
}
