//! What breaks: signals to one process by its id.
//!
//! The workspace denies `unsafe`, and the standard library only knows how to kill, so the signals go through the
//! POSIX utility `kill`.

use std::process::Command;

/// A signal the tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends the process at once, nothing is written any more.
    Kill,
    /// Asks it to leave in order.
    Terminate,
    /// Freezes it: sockets stay open, nothing answers.
    Stop,
    /// Lets a frozen process go on.
    Continue,
    /// Ends it as a failed assertion in C would: with a core dump, where there may be one.
    Abort,
}

/// Sends a signal to a process that this program started.
///
/// # Errors
/// The process is gone, or `kill` cannot be run.
pub fn send(pid: u32, signal: Signal) -> std::io::Result<()> {
    let name = match signal {
        Signal::Kill => "-KILL",
        Signal::Terminate => "-TERM",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
        Signal::Abort => "-ABRT",
    };
    let status = Command::new("kill").arg(name).arg(pid.to_string()).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("kill {name} {pid}: {status}"))) }
}
