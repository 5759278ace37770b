//! Requests that leave the cluster: an edge carries each out and brings the answer.

use super::{Config, Edges};
use crate::request::{Exchange, Outside};
use banyan_model::{Refusal, RequestPrimitive, ResponsePrimitive, StatusCode};
use banyan_proto::{
    convert,
    v1::{DeliveryJob, DeliveryResult, delivery_job},
};
use std::time::{Duration, Instant};

/// What an edge may take beyond the time of the request.
const EDGE_SLACK: Duration = Duration::from_secs(1);

/// The way out of this node.
pub(super) struct EgressOutside {
    pub(super) edges: Edges,
    pub(super) config: Config,
}

impl Outside for EgressOutside {
    fn exchange(&self, uri: String, request: RequestPrimitive, deadline: Instant) -> Exchange {
        let left = deadline.saturating_duration_since(Instant::now()).min(self.config.timeout);
        let job = DeliveryJob {
            contact: uri,
            media: convert::media_to_wire(request.notify_media),
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            what: Some(delivery_job::What::Request(convert::request_to_bytes(&request))),
            ..DeliveryJob::default()
        };
        let edges = self.edges.clone();
        Box::pin(async move {
            if left.is_zero() {
                return Refusal::new(StatusCode::GatewayTimeout, "no time was left").into();
            }
            match tokio::time::timeout(left + EDGE_SLACK, edges.deliver(&job, left + EDGE_SLACK)).await {
                Ok(Some(result)) => answer(result),
                Ok(None) => Refusal::new(StatusCode::ServiceUnavailable, "no edge answered").into(),
                Err(_) => Refusal::new(StatusCode::GatewayTimeout, "no edge had room in time").into(),
            }
        })
    }
}

fn answer(result: DeliveryResult) -> ResponsePrimitive {
    match result.response.map(convert::response_from_bytes) {
        Some(Ok(response)) => response,
        Some(Err(error)) => Refusal::new(StatusCode::BadGateway, format!("the answer: {error}")).into(),
        None => Refusal::new(StatusCode::BadGateway, result.transport_error).into(),
    }
}
