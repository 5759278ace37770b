//! What the leader does unasked: makes the data key, wraps it anew under a newer key-encryption key, removes what has
//! expired.

use super::{Inner, KeysError, audit::Event, ledger::SWEEP_MAX, place};
use crate::clock;
use banyan_proto::v1::{self, keys_command::Kind, keys_outcome};
use banyan_raft::Leadership;
use std::{sync::Weak, time::Duration};
use tokio::{sync::watch, time::sleep};

/// Between two looks at what has expired.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Before a failed step is tried again.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(keys: Weak<Inner>, mut leadership: watch::Receiver<Leadership>) {
    let mut told = false;
    loop {
        if leadership.wait_for(|now| now.ready).await.is_err() {
            return;
        }
        let pause = {
            let Some(inner) = keys.upgrade() else { return };
            if inner.config.kek.is_none() && !std::mem::replace(&mut told, true) {
                tracing::info!("keys.kek is not set: this cluster keeps no keys of M2M nodes");
            }
            match inner.tend().await {
                Ok(()) => SWEEP_EVERY,
                Err(KeysError::NotLeader { .. }) => AGAIN,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "keys are not tended");
                    AGAIN
                }
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Inner {
    async fn tend(&self) -> Result<(), KeysError> {
        self.leading()?;
        if let Some(kek) = &self.config.kek {
            let stored: Option<v1::DataKey> = self.find(&place::data_key())?;
            let wrap = |key: &[u8; 32]| {
                let wrapped = kek.wrap(key).map_err(KeysError::Refused)?;
                Ok::<_, KeysError>(v1::DataKey {
                    wrapped: wrapped.into(),
                    kek: kek.id().into(),
                    made_ms: clock::now().0,
                })
            };
            match stored {
                None => {
                    let made = wrap(&super::Secret::new(rand::random()))?;
                    let event = Event { what: "data key".to_owned(), ..Event::default() };
                    let put = async { self.propose(Kind::PutDataKey(made)).await.map(drop) };
                    self.audited(event, put).await?;
                }
                Some(stored) if stored.kek != kek.id() => {
                    let to = Some(wrap(&*self.data_key()?)?);
                    let event = Event { what: "data key wrapped anew".to_owned(), ..Event::default() };
                    let rewrap = v1::RewrapDataKey { from_kek: stored.kek, to };
                    let put = async { self.propose(Kind::RewrapDataKey(rewrap)).await.map(drop) };
                    self.audited(event, put).await?;
                    tracing::info!("the data key is wrapped with the newest key-encryption key");
                }
                Some(_) => {}
            }
        }
        while self.has_due()? {
            match self.propose(Kind::Sweep(v1::Sweep {})).await? {
                keys_outcome::Kind::Done(swept) if swept as usize >= SWEEP_MAX => {}
                _ => break,
            }
        }
        Ok(())
    }

    fn has_due(&self) -> Result<bool, KeysError> {
        let (from, to) = place::due_by(clock::now().0);
        Ok(!super::replica::scan(&self.state.view(), &from, &to, 1)?.is_empty())
    }
}
