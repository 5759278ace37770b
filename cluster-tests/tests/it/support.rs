//! What every test of this binary needs: the machine for itself, a time limit, and a few requests that must succeed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::binaries;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::{Device, Reply};
use parking_lot::Mutex;

static MACHINE: Mutex<()> = Mutex::new(());

/// Runs a test alone, on two threads, for at most `limit`: a hang of the product is a failure with logs, not a test run
/// that never ends.
pub(crate) fn alone<F: Future<Output = ()>>(limit: Duration, test: impl FnOnce() -> F) {
    let _machine = MACHINE.lock();
    // Outside of the limit, which is the product's and not the compiler's.
    binaries::build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // Dropping the test's future at the limit drops its cluster, which kills its processes.
        assert!(tokio::time::timeout(limit, test()).await.is_ok(), "the test took longer than {limit:?}");
    });
}

pub(crate) async fn cluster(config: Config) -> Cluster {
    Cluster::start(binaries::build(), config).await
}

/// The answer to a request that must have this status.
#[track_caller]
pub(crate) fn expect(what: &str, status: u16, reply: Result<Reply, cluster_tests::http::Error>) -> Reply {
    match reply {
        Ok(reply) if reply.status == status => reply,
        Ok(reply) => {
            panic!("{what}: expected {status}, got {} {}", reply.status, String::from_utf8_lossy(&reply.body))
        }
        Err(error) => panic!("{what}: expected {status}, got no answer: {error}"),
    }
}

/// An application with a container `data`; gives a device that acts as the application and the path of the
/// container's `contentInstances`.
pub(crate) async fn application(cluster: &Cluster, name: &str) -> (Device, String) {
    let path = format!("/m2m/applications/{name}");
    let mut device = cluster.device(&path);
    expect("register", 201, device.create("/m2m/applications", &body::application(name, None)).await);
    let containers = format!("{path}/containers");
    expect("container", 201, device.create(&containers, &body::container("data", None, None)).await);
    (device, format!("{containers}/data/contentInstances"))
}

/// Checks a representation against the official schema, where the sibling folder with the checker exists.
pub(crate) fn check_schema(what: &str, xml: &str) {
    let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/tools/xsd-check");
    let xmllint =
        Command::new("xmllint").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !checker.exists() || xmllint.is_err() {
        eprintln!("{what}: not checked against the schema: no ../shared/tools/xsd-check or no xmllint here");
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), xml).expect("the temporary file can be written");
    let output = Command::new(&checker).arg(file.path()).output().expect("the checker can be run");
    assert!(
        output.status.success(),
        "{what} is not valid:\n{}\n{xml}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// errorInfo/additionalInfo of a refusal, after a check of its status name and schema.
#[track_caller]
pub(crate) fn refusal(what: &str, status_code: &str, reply: &Reply) -> String {
    let text = reply.text();
    assert_eq!(body::element(text, "statusCode"), Some(status_code), "{what}: {text}");
    check_schema(what, text);
    body::element(text, "additionalInfo").unwrap_or_default().to_owned()
}
