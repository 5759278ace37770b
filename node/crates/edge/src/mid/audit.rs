//! Refusals on mId, told to the keys' group for its audit log.
//!
//! Nobody waits for it, as nothing depends on it: operations on keys are audited by the group itself. What finds the
//! queue full is counted, so that a peer that is refused all the time cannot cost more than one event at a time.

use super::KEYS_TIMEOUT;
use crate::metrics::Metrics;
use banyan_binding::identity::Peer;
use banyan_client::Client;
use banyan_proto::v1::{self, AuditEvent};
use std::sync::Arc;
use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

const WAITING_MAX: usize = 256;
/// Octets of what is told of a peer's own words.
const DETAIL_MAX: usize = 256;

/// Tells the audit log.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    events: mpsc::Sender<AuditEvent>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Begins to tell; ends when nobody tells any more.
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Audit {
        let (events, mut waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(event) = waiting.recv().await {
                if let Err(failure) = client.audit(event, Instant::now() + KEYS_TIMEOUT).await {
                    warn!(%failure, "a refusal on mId is not in the audit log");
                }
            }
        });
        Audit { events, metrics }
    }

    pub(crate) fn refused(&self, what: &str, peer: &Peer, detail: &str) {
        let session = peer.session.as_deref();
        let mut detail = detail.escape_default().to_string();
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX));
        let event = AuditEvent {
            what: what.to_owned(),
            node: session.map(|session| session.node.0.to_vec().into()).unwrap_or_default(),
            key: session.map(|session| v1::KeyRef::from(&session.key)),
            source: peer.address.to_string(),
            result: "refused".to_owned(),
            detail,
        };
        if self.events.try_send(event).is_err() {
            self.metrics.audit_lost();
        }
    }
}
