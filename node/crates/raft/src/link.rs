//! The links to the other nodes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use banyan_proto::v1;
use futures_util::Stream;

/// All links of a node to its peers.
#[derive(Debug)]
pub struct Links {}

impl Links {
    /// No links yet. `queue_bytes_max` bounds what may wait for one peer (see [`crate::Config::link_queue_bytes_max`]).
    pub fn new(queue_bytes_max: usize) -> Arc<Links> {
        let _ = queue_bytes_max;
        todo!()
    }

    /// A connection to `peer` is up. A newer link to the same peer replaces the older one, whose `outgoing` ends.
    pub fn attach(self: &Arc<Self>, peer: u64) -> Link {
        let _ = peer;
        todo!()
    }

    /// Whether a link to `peer` is attached.
    pub fn is_up(&self, peer: u64) -> bool {
        let _ = peer;
        todo!()
    }
}

/// Both halves of one link. When either half is dropped the link is down and whatever waited for an answer fails.
#[derive(Debug)]
pub struct Link {
    /// The frames to send, in order. The transport takes the next one when it can send it.
    pub outgoing: Outgoing,
    /// Where received frames go.
    pub incoming: Incoming,
}

/// The frames to send; a stream that ends when the link is replaced or closed.
#[derive(Debug)]
pub struct Outgoing {}

impl Stream for Outgoing {
    type Item = v1::RaftFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<v1::RaftFrame>> {
        let _ = cx;
        todo!()
    }
}

/// Where received frames go.
#[derive(Debug)]
pub struct Incoming {}

impl Incoming {
    /// Hands in a frame. Does not block. `false`: this link was replaced or closed, stop reading.
    pub fn received(&self, frame: v1::RaftFrame) -> bool {
        let _ = frame;
        todo!()
    }
}
