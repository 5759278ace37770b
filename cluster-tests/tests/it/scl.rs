//! One SCL in one process, for tests that need several of them.

use std::process::Command;
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::cluster::free_ports;
use cluster_tests::device::Device;
use cluster_tests::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// `banyan dev` without any setting but its SCL-ID and port.
pub(crate) struct Scl {
    pub(crate) address: String,
    pub(crate) process: Process,
    _folder: tempfile::TempDir,
}

impl Scl {
    pub(crate) fn start(id: &str) -> Scl {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        let mut command = Command::new(&binaries::build().node);
        command.args(["dev", "--listen", &address, "--scl-id", id]);
        command.env("RUST_LOG", "warn,banyan::delivery=debug");
        let process = Process::start(id, command, folder.path()).expect("the program starts");
        Scl { address, process, _folder: folder }
    }

    pub(crate) async fn wait_ready(&mut self) {
        let mut device = self.device("/m2m");
        let until = Instant::now() + READY_WITHIN;
        while !device.retrieve("/m2m").await.is_ok_and(|reply| reply.status == 200) {
            let ended = self.process.ended().expect("a child can be waited for");
            assert!(ended.is_none() && Instant::now() < until, "not ready:\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}/m2m", self.address)
    }

    pub(crate) fn device(&self, from: &str) -> Device {
        Device::new([self.address.clone()], from)
    }
}
