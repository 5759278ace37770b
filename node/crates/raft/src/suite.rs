//! openraft's own test suite over our log store and state machine.

use std::sync::Arc;
use std::time::Duration;

use banyan_storage::{Batch, Store};
use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

use crate::log::Log;
use crate::machine::Machine;
use crate::shared::Shared;
use crate::snapshot::Source;
use crate::types::Types;
use crate::{Config, Replica, Stop};

const GROUP: u64 = 3;

struct Nothing;

impl Replica for Nothing {
    fn apply(&self, commands: &[Bytes], _: &mut Batch) -> Result<Vec<Bytes>, Stop> {
        Ok(vec![Bytes::new(); commands.len()])
    }

    fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }
}

struct Builder;

impl StoreBuilder<Types, Log, Machine, (TempDir, Store)> for Builder {
    async fn build(&self) -> Result<((TempDir, Store), Log, Machine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data"), banyan_storage::Config::default()).unwrap();
        std::fs::create_dir_all(store.snapshot_dir()).unwrap();
        let permits = Arc::new(Semaphore::new(1));
        let shared =
            Shared::new((0, GROUP), &Config::default(), store.snapshot_dir(), permits, Duration::ZERO, 0);
        let (held, _) = mpsc::channel(1);
        let log = Log::open(store.log(GROUP), held.clone()).unwrap();
        let source =
            Source { group: GROUP, state: store.state(GROUP), replica: Arc::new(Nothing), _held: held };
        let machine = Machine::open(source, Arc::new(shared)).await.unwrap();
        Ok(((dir, store), log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_store_suite_of_openraft_passes() {
    Suite::test_all(Builder).await.unwrap();
}
