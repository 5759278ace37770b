//! The poller of the communicationChannel: what the NSCL asks of a gateway that nobody can call (procedures.md 14, 7).
//!
//! A requestNotify is carried out on the own tree, whose rights decide, and answered with a responseNotify. One poll is
//! open at a time; what it brought is carried out beside the next one, and no more than [`UNDER_WAY_MAX`] at once.
//!
//! What the NSCL has stored it sends again under the same correlationID until it has the answer: such a request is taken in
//! as one that is answered later, whose answer the own tree keeps, so that it is done once.

use super::{backoff::Backoff, nscl::Nscl};
use crate::request::Desk;
use banyan_binding::http::{self as binding, Asked, asked};
use banyan_codec::{Limits, Style, response_notify_body};
use banyan_model::{Body, Method, RequestPrimitive, ResponsePrimitive, StatusCode, value::Struct};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{sleep, sleep_until},
};

/// Longer than an edge holds a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a request may take, and its answer.
const TIMEOUT: Duration = Duration::from_secs(8);
const UNDER_WAY_MAX: usize = 32;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Pauses between two questions for an answer that the own tree still owes.
const ASK_MIN: Duration = Duration::from_millis(5);
const ASK_MAX: Duration = Duration::from_millis(500);

/// Polls whatever channel there is; never ends by itself. `doubts` hears of a channel that is gone.
pub(super) async fn run(nscl: Arc<Nscl>, doubts: Arc<Notify>) {
    let mut poll_at = nscl.poll_at();
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    // They end with this future.
    let mut under_way = JoinSet::new();
    loop {
        let Ok(uri) = poll_at.wait_for(Option::is_some).await.map(|uri| uri.clone().unwrap_or_default())
        else {
            return std::future::pending().await;
        };
        while under_way.try_join_next().is_some() {}
        let answer = nscl.send(Method::Retrieve, &uri, Body::None, None, POLL_TIMEOUT).await;
        match answer {
            Ok(ResponsePrimitive { status: StatusCode::Ok, body, .. }) => {
                backoff.succeeded();
                let Body::Message(message) = body else { continue };
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                let nscl = Arc::clone(&nscl);
                under_way.spawn(async move {
                    carry_out(&nscl, &message).await;
                    drop(place);
                });
            }
            // Nothing came.
            Ok(answer) if answer.status == StatusCode::RequestTimeout => backoff.succeeded(),
            Ok(answer) if answer.status == StatusCode::NotFound => {
                tracing::info!("the channel at the NSCL is gone");
                nscl.channel_is_gone();
                doubts.notify_one();
            }
            refused => {
                match refused {
                    Ok(answer) => {
                        tracing::debug!(status = ?answer.status, info = answer.info, "a poll was refused")
                    }
                    Err(failure) => tracing::debug!(%failure, "a poll was not answered"),
                }
                sleep(backoff.failed(rand::random())).await;
            }
        }
    }
}

/// Carries out what came, and answers it.
async fn carry_out(nscl: &Nscl, message: &Struct) {
    let Some(scl) = nscl.desk().scl() else { return };
    let known = (message.name == "RequestNotify").then(|| asked(&scl, message, &Limits::default())).flatten();
    let Some(Asked { request, format, contact, correlation_id }) = known else {
        tracing::debug!(message = message.name, "the channel brought what cannot be answered");
        return;
    };
    let answer = match request {
        Ok(mut request) => {
            let uri = scl.address(&request.target);
            if request.correlation.is_some() {
                // It was passed on: its answer is kept as long as it may come again, not longer.
                request.via.push(nscl.config().nscl_id.clone());
            }
            outcome(nscl.desk(), &uri, request).await
        }
        Err(refusal) => refusal.into(),
    };
    let written = binding::response_notify(Style::from(format), &nscl.config().public_uri, &answer);
    let body = Body::Message(response_notify_body(written));
    // Nobody but the NSCL is answered, whatever the message says.
    let contact = nscl.at_nscl(&contact);
    match nscl.send(Method::Notify, &contact, body, Some(correlation_id), TIMEOUT).await {
        Ok(taken) if taken.status == StatusCode::Ok => {}
        Ok(refused) => {
            tracing::debug!(status = ?refused.status, info = refused.info, "an answer came too late")
        }
        Err(failure) => tracing::debug!(%failure, "an answer was not delivered"),
    }
}

/// What comes of a request in the own tree: one that is answered later is asked for until it is.
async fn outcome(desk: &Desk, uri: &str, request: RequestPrimitive) -> ResponsePrimitive {
    let deadline = Instant::now() + TIMEOUT;
    let mut pause = ASK_MIN;
    loop {
        let answer = desk.call(uri, request.clone(), deadline).await;
        let again = Instant::now() + pause;
        if answer.status != StatusCode::Accepted || again >= deadline {
            return answer;
        }
        sleep_until(again.into()).await;
        pause = (pause * 2).min(ASK_MAX);
    }
}
