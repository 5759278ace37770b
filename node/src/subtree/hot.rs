//! Resources that requests ask for again and again, decoded: the container of every create, its accessRight, and that
//! there is nothing at a path. Everything else is read where it is.
//!
//! A view finds here what its own state says, never an older or newer one: what a batch changes is shut out from before
//! the commit until after it ([`Hot::shut`], [`Hot::open`]), and only a view that lives fills it, while which nothing is
//! committed.

use banyan_model::record::Resource;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// How many are kept; a full one starts afresh.
const RESOURCES_MAX: usize = 8_192;

/// By physical key.
#[derive(Default)]
pub(super) struct Hot {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<Vec<u8>, Option<Arc<Resource>>>,
    shut: HashSet<Vec<u8>>,
}

impl Hot {
    /// The resource under a key, `Some(None)` if there is none; `None` if that is not known here.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Arc<Resource>>> {
        self.state.lock().known.get(key).cloned()
    }

    /// What a living view has found under a key.
    pub(super) fn learn(&self, key: Vec<u8>, resource: Option<Arc<Resource>>) {
        let mut state = self.state.lock();
        if state.shut.contains(&key) {
            return;
        }
        if state.known.len() >= RESOURCES_MAX {
            state.known.clear();
        }
        state.known.insert(key, resource);
    }

    /// These keys are about to change.
    pub(super) fn shut(&self, keys: impl IntoIterator<Item = Vec<u8>>) {
        let mut state = self.state.lock();
        for key in keys {
            state.known.remove(&key);
            state.shut.insert(key);
        }
    }

    /// What was about to change has changed.
    pub(super) fn open(&self) {
        self.state.lock().shut.clear();
    }

    /// The whole state was replaced.
    pub(super) fn clear(&self) {
        *self.state.lock() = State::default();
    }
}
