//! One child process: started with its log in a file, killed when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::fault::{self, Signal};

/// How often a condition is looked at while waiting.
pub const POLL: Duration = Duration::from_millis(10);

/// A running child. Dropping it kills it with SIGKILL and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, both outputs appended to `<logs>/<name>.log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program cannot be started.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> std::io::Result<Process> {
        let log = logs.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        Ok(Process { name: name.to_owned(), child, log })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything it wrote so far, over all starts under this name.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|e| format!("(no log {}: {e})", self.log.display()))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        fault::send(self.id(), signal)
    }

    /// Kills it with SIGKILL and waits until the system has let go of it.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> std::io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// The exit status if it has ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It runs on after `within`.
    pub fn wait(&mut self, within: Duration) -> std::io::Result<ExitStatus> {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err(std::io::Error::other(format!("{} still runs after {within:?}", self.name)));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time that a process has used so far, all its threads, user and system.
///
/// # Errors
/// The process is gone.
pub fn cpu_time(pid: u32) -> std::io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in brackets and may hold blanks; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks = |field: Option<&str>| field.and_then(|f| f.parse::<u64>().ok());
    match (ticks(fields.next()), ticks(fields.next())) {
        // USER_HZ is 100 on every Linux that Rust supports.
        (Some(user), Some(system)) => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(std::io::Error::other("unreadable /proc/<pid>/stat")),
    }
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// The process is gone.
pub fn resident_bytes(pid: u32) -> std::io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| std::io::Error::other("unreadable /proc/<pid>/status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_frozen_continued_and_killed_when_dropped() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; while :; do :; done"]);
        let process = Process::start("spinner", command, logs.path()).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while cpu_time(process.id()).unwrap() == Duration::ZERO {
            assert!(Instant::now() < until, "a spinning process uses CPU");
            std::thread::sleep(POLL);
        }
        assert_eq!(process.log(), "ready\n");
        assert!(resident_bytes(process.id()).unwrap() > 0);
        process.signal(Signal::Stop).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        while !state().contains(") T ") {
            assert!(Instant::now() < until, "stopped: {}", state());
            std::thread::sleep(POLL);
        }
        process.signal(Signal::Continue).unwrap();
        let pid = process.id();
        drop(process);
        assert!(cpu_time(pid).is_err(), "nothing is left behind");
    }
}
