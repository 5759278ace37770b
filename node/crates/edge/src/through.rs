//! Requests that travel by a communicationChannel: the cluster carries them to whoever polls it, and brings the answer.

use banyan_client::Client;
use banyan_model::{Body, Path, Refusal, StatusCode, value::Struct};
use std::time::Duration;
use tokio::time::Instant;

/// Sends a requestNotify and waits for the responseNotify.
pub(crate) async fn through(
    client: &Client,
    channel: &Path,
    message: &Struct,
    correlation_id: &str,
    limit: Duration,
) -> Result<Struct, Refusal> {
    let answer = client.through(channel, message, correlation_id, Instant::now() + limit).await;
    let answer = answer.unwrap_or_else(|failure| failure.response());
    match answer.body {
        Body::Message(message) if answer.status == StatusCode::Ok => Ok(message),
        _ => Err(Refusal::new(answer.status, answer.info)),
    }
}

/// A correlationID that no other request has.
pub(crate) fn correlation_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
