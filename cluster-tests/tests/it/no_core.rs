//! A process that dies of a signal leaves no core dump, which would hold the keys it had in memory.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::fault::Signal;
use cluster_tests::process::{POLL, Process};

use crate::support::alone;

const WITHIN: Duration = Duration::from_secs(30);
const ABORTED: i32 = 6;

/// Soft and hard limit of core dumps, as the system has them for a process.
fn limits_of_core(pid: u32) -> Option<(String, String)> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let mut words =
        limits.lines().find_map(|line| line.strip_prefix("Max core file size"))?.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

#[test]
fn an_aborted_process_leaves_no_core() {
    alone(Duration::from_secs(120), || async {
        let binaries = binaries::build();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let edge = ["--listen", "127.0.0.1:0", "--node", "127.0.0.1:1", "--plaintext", "--open"];
        let programs = [
            ("edge", &binaries.edge, edge.as_slice()),
            // Of one `main` with node and gateway.
            ("dev", &binaries.node, &["dev", "--listen", "127.0.0.1:0"]),
        ];
        for (name, program, arguments) in programs {
            // As a system that would let it write one.
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).arg(program).args(arguments);
            command.current_dir(folder.path());
            let mut process = Process::start(name, command, folder.path()).expect("it can be started");
            let until = Instant::now() + WITHIN;
            while !process.log().contains("edge started") {
                assert!(Instant::now() < until, "{name} does not start:\n{}", process.log());
                tokio::time::sleep(POLL).await;
            }
            assert!(!process.log().contains("ulimit"), "nothing is tested:\n{}", process.log());
            let limits = limits_of_core(process.id()).expect("a running process has limits");
            assert_eq!(limits, ("0".to_owned(), "0".to_owned()), "{name}");

            process.signal(Signal::Abort).expect("a running child takes a signal");
            let status = process.wait(WITHIN).expect("an aborted process ends");
            assert_eq!((status.signal(), status.core_dumped()), (Some(ABORTED), false), "{name}: {status}");
            println!("{name}: {status}, no core");
        }
    });
}
