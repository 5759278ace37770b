//! The way to another SCL's resource, as the cluster knows it.

use banyan_binding::http::Hop;
use banyan_client::Client;
use banyan_model::{Refusal, StatusCode};
use banyan_proto::v1::Routed;
use std::time::Duration;
use tokio::time::Instant;

/// Where a request for `uri` goes: an absolute URI without a query, or a path that begins with the id of an SCL. `Ok(None)`: no
/// registered SCL has it.
pub(crate) async fn hop(client: &Client, uri: &str, limit: Duration) -> Result<Option<Hop>, Refusal> {
    match client.route(uri, Instant::now() + limit).await {
        Ok(Some(Routed { uri: Some(uri), host, channel, .. })) => {
            Ok(Some(Hop { uri, host: Some(host), channel: channel.map(Into::into) }))
        }
        Ok(Some(_)) => {
            Err(Refusal::new(StatusCode::ServiceUnavailable, "no point of contact of the SCL is online"))
        }
        Ok(None) => Ok(None),
        Err(failure) => {
            let answer = failure.response();
            Err(Refusal::new(answer.status, answer.info))
        }
    }
}
