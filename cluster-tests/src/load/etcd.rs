//! etcd as the yardstick: three members on loopback, puts of random values over its v3 API.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tonic::transport::{Channel, Endpoint};

use crate::cluster::free_ports;
use crate::load::pace::Worker;
use crate::process::Process;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod api {
    tonic::include_proto!("etcdserverpb");
}

use api::PutRequest;
use api::kv_client::KvClient;

/// Three etcd processes.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Process>,
    endpoints: Vec<String>,
}

impl EtcdCluster {
    /// Starts three members with their data in `folder`, and waits until puts succeed.
    ///
    /// # Errors
    /// Debian's `etcd-server` is not installed, or no put succeeded within 20 s.
    pub async fn start(folder: &Path) -> std::io::Result<EtcdCluster> {
        let ports = free_ports(6);
        let peer = |i: usize| format!("http://127.0.0.1:{}", ports[i]);
        let client = |i: usize| format!("http://127.0.0.1:{}", ports[3 + i]);
        let all = (0..3).map(|i| format!("e{i}={}", peer(i))).collect::<Vec<_>>().join(",");
        let mut members = Vec::new();
        for i in 0..3 {
            let mut command = Command::new("etcd");
            command
                .args(["--name", &format!("e{i}")])
                .arg("--data-dir")
                .arg(folder.join(format!("e{i}")))
                .args(["--listen-peer-urls", &peer(i), "--initial-advertise-peer-urls", &peer(i)])
                .args(["--listen-client-urls", &client(i), "--advertise-client-urls", &client(i)])
                .args(["--initial-cluster", &all, "--initial-cluster-state", "new", "--log-level", "error"]);
            members.push(Process::start(&format!("etcd-{i}"), command, folder)?);
        }
        let cluster = EtcdCluster { members, endpoints: (0..3).map(client).collect() };
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let mut workers = cluster.workers(3, 3, 16, 0)?;
            let mut answered = 0;
            for worker in &mut workers {
                answered += usize::from(worker.step().await.is_ok());
            }
            if answered == workers.len() {
                return Ok(cluster);
            }
            if Instant::now() > until {
                let logs: String = cluster.members.iter().map(Process::log).collect();
                return Err(std::io::Error::other(format!("etcd took no put within 20 s\n{logs}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Process ids of the members.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Process::id).collect()
    }

    /// `count` workers with one put in flight each, over `connections` connections that spread over the members.
    ///
    /// # Errors
    /// Never with the addresses that [`EtcdCluster::start`] made.
    pub fn workers(
        &self,
        count: usize,
        connections: usize,
        value_bytes: usize,
        seed: u64,
    ) -> std::io::Result<Vec<EtcdWorker>> {
        workers(&self.endpoints, count, connections, value_bytes, seed)
    }
}

/// Workers against any etcd: `http://address:port` each.
///
/// # Errors
/// An endpoint is no URI.
pub fn workers(
    endpoints: &[String],
    count: usize,
    connections: usize,
    value_bytes: usize,
    seed: u64,
) -> std::io::Result<Vec<EtcdWorker>> {
    let channels = (0..connections.clamp(1, count.max(1)))
        .map(|i| {
            let endpoint = Endpoint::from_shared(endpoints[i % endpoints.len()].clone())
                .map_err(std::io::Error::other)?
                .connect_timeout(Duration::from_secs(2))
                .tcp_nodelay(true);
            Ok(endpoint.connect_lazy())
        })
        .collect::<std::io::Result<Vec<Channel>>>()?;
    Ok((0..count)
        .map(|index| EtcdWorker {
            client: KvClient::new(channels[index % channels.len()].clone()),
            rng: SmallRng::seed_from_u64(seed.wrapping_add(index as u64)),
            value_bytes,
        })
        .collect())
}

/// One put in flight.
#[derive(Debug)]
pub struct EtcdWorker {
    client: KvClient<Channel>,
    rng: SmallRng,
    value_bytes: usize,
}

impl Worker for EtcdWorker {
    /// Puts a new key with a random value: like a create of a contentInstance, nothing is overwritten.
    async fn step(&mut self) -> Result<(), String> {
        let mut value = vec![0; self.value_bytes];
        self.rng.fill_bytes(&mut value);
        let key = format!("load/{:016x}", self.rng.next_u64());
        let request = PutRequest { key: Bytes::from(key), value: Bytes::from(value) };
        self.client.put(request).await.map(drop).map_err(|status| format!("grpc {}", status.code()))
    }
}
