//! Trust, and its end.
//!
//! After a failed write or sync nobody knows what the disk holds: the kernel may have dropped the pages and a second
//! fsync then succeeds over the hole. So the first failure is remembered, everything is refused from then on, and
//! the process is told to leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::Fatal;
use crate::engine::EngineError;

/// Shared by all parts of one store.
#[derive(Clone)]
pub(crate) struct Trust {
    ended: Arc<AtomicBool>,
    fatal: Arc<watch::Sender<Option<Fatal>>>,
}

impl Trust {
    pub(crate) fn new() -> Trust {
        Trust { ended: Arc::default(), fatal: Arc::new(watch::Sender::new(None)) }
    }

    /// Refuses if trust has ended. Cheap enough for every call.
    pub(crate) fn check(&self) -> Result<(), Fatal> {
        if !self.has_ended() {
            return Ok(());
        }
        Err(self.fatal.borrow().clone().unwrap_or_else(|| Fatal::new("go on", "trust has just ended")))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends trust; the first reason stays.
    pub(crate) fn end(&self, action: &'static str, source: EngineError) -> Fatal {
        let fatal = Fatal::new(action, source);
        let first = self.fatal.send_if_modified(|kept| match kept {
            Some(_) => false,
            None => {
                *kept = Some(fatal.clone());
                true
            }
        });
        self.ended.store(true, Ordering::Release);
        if first {
            tracing::error!(action, error = %fatal.source, "storage ended trust, the process must leave");
        }
        fatal
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Fatal>> {
        self.fatal.subscribe()
    }
}
