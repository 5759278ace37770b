//! What the courier reads: which queues may have something, and their heads.

use super::{
    ShardError, ShardHandle,
    signals::{Due, Told},
    view::View,
    view::ViewError,
};
use banyan_model::{
    Path, ResourceType, TreeView,
    announce::{self, Look},
    index::Term,
    key::{Key, Range},
    outbox::{Message, Notification, OutboxEntry},
    query,
    record::Record,
    tree::Tree,
};
use std::{mem, ops::ControlFlow};
use tokio::sync::{broadcast, watch};

impl ShardHandle {
    /// Changes when a queue of the outbox may have something; changes at the same time are one.
    pub fn deliveries(&self) -> watch::Receiver<u64> {
        self.inner.signals.deliveries()
    }

    /// Queues that may have undelivered entries, as far as they were told since the last call; after a new leadership
    /// all that have some. None where this node does not lead.
    pub fn take_queues(&self) -> Vec<(Path, Due)> {
        match self.inner.signals.take_queues() {
            Told::Some(queues) => queues,
            Told::All => match self.inner.read(queues) {
                Ok(queues) => queues.into_iter().map(|queue| (queue, Due { soon: true, by: None })).collect(),
                Err(error) => {
                    tracing::debug!(
                        shard = self.id().0,
                        error = &error as &dyn std::error::Error,
                        "queues are not readable now"
                    );
                    self.inner.signals.tell_all_later();
                    Vec::new()
                }
            },
        }
    }

    /// Tells accessRights of this node that changed.
    pub fn right_changes(&self) -> broadcast::Receiver<Path> {
        self.inner.rights.changes()
    }

    /// Subscriptions of this shard, at most `max`, on what this right governs or all, and where the next ones begin if
    /// these are not the last.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn subscriptions(
        &self,
        right: Option<&Path>,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<(Vec<Path>, Option<Vec<u8>>), ShardError> {
        let right = right.map(Path::to_string);
        let term = right.as_deref().map_or(Term::Type(ResourceType::Subscription), Term::Governs);
        self.inner.read(|view| {
            let (mut found, mut last, mut next, mut corrupt) = (Vec::new(), Vec::new(), None, None);
            view.scan(&Range::index(term, &Path::scl_base(), after), false, &mut |key, _| {
                if found.len() >= max {
                    next = Some(mem::take(&mut last));
                    return ControlFlow::Break(());
                }
                match Key::indexed_path(key) {
                    Some(path) => found.push(path),
                    None => {
                        corrupt = Some(view.corrupt(key));
                        return ControlFlow::Break(());
                    }
                }
                last = key.to_vec();
                ControlFlow::Continue(())
            })?;
            corrupt.map_or(Ok((found, next)), Err)
        })
    }

    /// How the announcements of a resource differ from what it wishes; see [`announce::look`].
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn announcements(&self, original: &Path, origin: &str) -> Result<Look, ShardError> {
        let scl = self.inner.scl.clone();
        self.inner.read(|view| announce::look(&Tree::new(view, &scl), original, origin))
    }

    /// The head of a queue, what the first entry refers to as it stands now: at most `max` entries, and not much more
    /// than `Config::outbox_bytes_max`, but at least one.
    ///
    /// # Errors
    /// [`ShardError`]; only the leader answers.
    pub fn outbox(&self, queue: &Path, max: usize) -> Result<Vec<OutboxEntry>, ShardError> {
        let bytes_max = self.inner.config.outbox_bytes_max;
        self.inner.read(|view| {
            let (mut entries, mut total, mut corrupt) = (Vec::new(), 0, None);
            view.scan_sized(&Range::outbox(queue), false, &mut |key, record, bytes| {
                let Record::Outbox(entry) = record else {
                    corrupt = Some(view.corrupt(key));
                    return ControlFlow::Break(());
                };
                total += bytes;
                entries.push(entry);
                if entries.len() >= max || total >= bytes_max {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            if let Some(corrupt) = corrupt {
                return Err(corrupt);
            }
            if let Some(OutboxEntry { message: Message::Notify { notification, .. }, .. }) =
                entries.first_mut()
            {
                let promised = mem::replace(notification, Notification::Bare);
                *notification = query::told(view, &self.inner.scl, queue, promised)?;
            }
            Ok(entries)
        })
    }
}

/// Every queue with entries: one look at each, however long it is.
pub(super) fn queues(view: &View<'_>) -> Result<Vec<Path>, ViewError> {
    let mut queues = Vec::new();
    let mut range = Range::outboxes();
    loop {
        let mut found = None;
        view.scan(&range, false, &mut |key, record| {
            found = Some(match record {
                Record::Outbox(entry) => Ok(entry.queue),
                _ => Err(view.corrupt(key)),
            });
            ControlFlow::Break(())
        })?;
        let Some(queue) = found else { return Ok(queues) };
        let queue = queue?;
        range.from = Range::outbox(&queue).to;
        queues.push(queue);
    }
}
