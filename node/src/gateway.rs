//! What a GSCL adds to an SCL: the way to its NSCL, and its registration there (procedures.md 2, 13, 14).
//!
//! In reading order: [`registration`] decides what is to be done next, `nscl` does it, `poller` brings in what comes by
//! the communicationChannel where nobody can call this SCL; [`uplink`] is the way of all requests to the NSCL, by the
//! first of its [`edges`] that takes it; [`connection`] makes that way secure with the keys of TS 102 690 clause 8, of which [`bootstrap`]
//! gets the first and [`root_key`] keeps it.
//!
//! Invariants: nothing of the registration is kept on disk, for every step can be repeated; the local scl of the NSCL ends
//! when the registration does.

pub mod backoff;
pub mod bootstrap;
pub mod bootstrapped;
pub mod connection;
pub mod edges;
pub mod registration;
pub mod root_key;
pub mod uplink;

mod nscl;
mod poller;

use crate::{clock, request::Desk};
use backoff::Backoff;
use banyan_binding::http::Uplink;
use banyan_model::Timestamp;
use nscl::Nscl;
use registration::{Next, Outcome, Registration};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

/// How the NSCL reaches this SCL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It calls this address (an m2mPoc).
    Poc(String),
    /// This SCL polls a communicationChannel there: nobody can call it.
    Polling,
}

/// What a gateway is told by its operator, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// SCL-ID.
    pub scl_id: String,
    /// Scheme and authority of this SCL, as others write them.
    pub public_uri: String,
    /// Path of sclBase.
    pub scl_base: String,
    /// sclBase of the NSCL, absolute.
    pub nscl_base: String,
    /// SCL-ID of the NSCL: the name of the local scl that stands for it.
    pub nscl_id: String,
    /// What is asked for as registration lifetime.
    pub lifetime: Duration,
    /// How the NSCL reaches this SCL.
    pub reach: Reach,
    /// searchStrings of the scl at the NSCL.
    pub search_strings: Vec<String>,
    /// Whether the registration ends when the gateway is stopped.
    pub deregister_on_stop: bool,
}

/// Pauses after failures.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is asked whether the own tree is there, when it starts.
const START_PAUSE: Duration = Duration::from_millis(50);

/// What can be said of a gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Status(watch::Receiver<Option<Timestamp>>);

impl Status {
    /// Whether the NSCL knows this SCL and the way to it.
    pub fn is_registered(&self) -> bool {
        self.0.borrow().is_some_and(|until| clock::now() < until)
    }
}

/// The registration of this SCL at its NSCL.
pub struct Gateway {
    nscl: Arc<Nscl>,
    config: Arc<Config>,
    registered: watch::Sender<Option<Timestamp>>,
    doubts: Arc<Notify>,
}

impl Gateway {
    /// A gateway over its own tree; nothing happens before [`Gateway::run`].
    pub fn new(config: Config, uplink: Arc<dyn Uplink>, desk: Desk) -> Gateway {
        let config = Arc::new(config);
        let nscl = Arc::new(Nscl::new(Arc::clone(&config), uplink, desk));
        Gateway { nscl, config, registered: watch::Sender::new(None), doubts: Arc::new(Notify::new()) }
    }

    /// What can be said of it.
    pub fn status(&self) -> Status {
        Status(self.registered.subscribe())
    }

    /// Registers and stays registered until `stop` resolves, then leaves the NSCL, if it is to.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let polling = poller::run(Arc::clone(&self.nscl), Arc::clone(&self.doubts));
        tokio::select! {
            () = stop => {}
            () = self.stay_registered() => {}
            () = polling => {}
        }
        self.registered.send_replace(None);
        if self.config.deregister_on_stop {
            self.nscl.leave().await;
        }
    }

    async fn stay_registered(&self) {
        while !self.nscl.is_ready() {
            sleep(START_PAUSE).await;
        }
        let mut registration = Registration::new(self.config.lifetime, Backoff::new(PAUSE_MIN, PAUSE_MAX));
        loop {
            match registration.next(clock::now()) {
                Next::Wait(until) => {
                    let pause = u64::try_from(until.0 - clock::now().0).unwrap_or_default();
                    tokio::select! {
                        () = sleep(Duration::from_millis(pause)) => {}
                        () = self.doubts.notified() => registration.doubted(),
                    }
                }
                Next::Do(step) => {
                    let outcome = self.nscl.perform(step, registration.expires(clock::now())).await;
                    match &outcome {
                        Outcome::Failed => tracing::warn!(?step, "a step of the registration failed"),
                        outcome => tracing::debug!(?step, ?outcome, "a step of the registration"),
                    }
                    let was_whole = registration.is_whole(clock::now());
                    registration.did(&outcome, clock::now(), rand::random());
                    let is_whole = registration.is_whole(clock::now());
                    if is_whole != was_whole {
                        let nscl = &self.config.nscl_base;
                        tracing::info!(nscl, registered = is_whole, "the registration at the NSCL changed");
                    }
                    self.registered.send_replace(registration.until());
                }
            }
        }
    }
}
