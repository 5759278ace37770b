//! TLS peers that are not ours: `openssl s_client` and `gnutls-cli` as child processes, HTTP written to their input.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_tests::process::POLL;
use parking_lot::Mutex;

/// The longest a handshake or an answer may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(15);

/// Whether both programs are here; says so if not.
pub(super) fn are_here() -> bool {
    ["openssl", "gnutls-cli"].iter().all(|program| {
        let found = Command::new(program)
            .arg(if *program == "openssl" { "version" } else { "--version" })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
        if !found {
            eprintln!("skipped: there is no {program} here");
        }
        found
    })
}

/// A running client. Dropping it kills it.
pub(super) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Peer {
    /// Starts a client that connects at once.
    pub(super) fn start(program: &str, arguments: &[String]) -> Peer {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
        let said = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().expect("piped"), &said);
        keep(child.stderr.take().expect("piped"), &said);
        let input = child.stdin.take();
        Peer { child, input, said }
    }

    /// `openssl s_client`, which prints what it exports under `label`.
    pub(super) fn s_client(address: &str, label: &str, more: &[&str]) -> Peer {
        let own = ["s_client", "-connect", address, "-ign_eof", "-keymatexport", label];
        let length = ["-keymatexportlen", "32"];
        let all = own.iter().chain(&length).chain(more).map(|&argument| argument.to_owned());
        Peer::start("openssl", &all.collect::<Vec<_>>())
    }

    /// Everything it wrote so far, both outputs.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock()).into_owned()
    }

    /// Sends a request and waits for the whole answer: its status and its body.
    pub(super) fn ask(&mut self, head: &str, body: &str) -> Result<(u16, String), String> {
        let before = self.said.lock().len();
        let head = head.replace('\n', "\r\n");
        let request = format!("{head}\r\nHost: nscl\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let input = self.input.as_mut().expect("open until it is finished");
        // A client that was refused has gone; what it said tells why.
        if input.write_all(request.as_bytes()).and_then(|()| input.flush()).is_err() {
            self.wait_end(WITHIN);
            return Err(self.said());
        }
        let until = Instant::now() + WITHIN;
        loop {
            let ended = self.child.try_wait().expect("a child can be waited for").is_some();
            let said = self.said();
            if let Some(answer) = said.get(before..).and_then(answer) {
                return Ok(answer);
            }
            if ended || Instant::now() > until {
                return Err(self.end());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end, as the other side closes; how long that took.
    pub(super) fn wait_end(&mut self, within: Duration) -> Option<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if self.has_ended() {
                return Some(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Says nothing more to the other side and waits for the end: everything it said.
    pub(super) fn end(&mut self) -> String {
        if self.wait_end(Duration::from_millis(200)).is_none() {
            // It would wait for the other side for as long as that lets it.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // The readers end with the pipes; what is in them is read by then.
        let until = Instant::now() + Duration::from_secs(1);
        while Arc::strong_count(&self.said) > 1 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.said()
    }

    /// The 32 octets that s_client exported.
    pub(super) fn exported(&self) -> [u8; 32] {
        let said = self.said();
        let octets = exported(&said).unwrap_or_else(|| panic!("no keying material in\n{said}"));
        octets.try_into().unwrap_or_else(|octets: Vec<u8>| panic!("{} octets in\n{said}", octets.len()))
    }
}

/// What s_client exported, in what it said.
pub(super) fn exported(said: &str) -> Option<Vec<u8>> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("Keying material: "))?;
    unhex(line.trim())
}

/// Runs s_client for no more than a handshake: everything it said.
pub(super) fn probe(address: &str, more: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address]).args(more).stdin(Stdio::null());
    let output = command.output().expect("openssl can be run");
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

/// The number of the alert that ended a handshake, in what s_client said.
pub(super) fn alert(said: &str) -> Option<u8> {
    let (_, rest) = said.split_once("SSL alert number ")?;
    rest.lines().next()?.trim().parse().ok()
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let octet = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(octet).collect()
}

fn keep(mut from: impl Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut chunk = [0; 4_096];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            said.lock().extend_from_slice(&chunk[..length]);
        }
    });
}

/// A whole answer of HTTP/1.1 with a Content-Length, if it is there.
fn answer(said: &str) -> Option<(u16, String)> {
    let (_, answer) = said.split_once("HTTP/1.1 ")?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some((status, body.get(..length.unwrap_or(0))?.to_owned()))
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
