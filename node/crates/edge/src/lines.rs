//! Log lines that stay lines: what a peer sent may end up in one, but it cannot begin another.
//!
//! The subscriber hands over one event at a time, which ends with its only line feed. Control characters before that are
//! written as they are in Rust, ESC among them: a log has no colours, and a peer paints none on an operator's terminal.

use std::io::{self, Write};

/// Writes events as one line each.
#[derive(Debug)]
pub struct Lines<W>(pub W);

/// Events as lines on stderr.
pub fn stderr() -> Lines<io::Stderr> {
    Lines(io::stderr())
}

fn is_plain(octet: u8) -> bool {
    !octet.is_ascii_control() || octet == b'\t'
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = match event.split_last() {
            Some((b'\n', line)) => (line, &b"\n"[..]),
            _ => (event, &b""[..]),
        };
        if line.iter().all(|&octet| is_plain(octet)) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut escaped = Vec::with_capacity(event.len() + 16);
        for &octet in line {
            match is_plain(octet) {
                true => escaped.push(octet),
                false => escaped.extend(octet.escape_ascii()),
            }
        }
        escaped.extend_from_slice(end);
        self.0.write_all(&escaped)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_peer_sent_begins_no_line() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines(writer.clone())).finish();
        tracing::subscriber::with_default(log, || {
            let sent = "a\r\n2026-01-01T00:00:00Z ERROR banyan: all is lost\u{1b}[2J\0é";
            tracing::warn!(name = %sent, also = sent, "refused");
            tracing::warn!("plain é");
        });
        let text = String::from_utf8(kept.0.lock().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text:?}");
        assert!(lines[0].contains("name=a\\r\\n2026"), "{text:?}");
        assert!(!text.contains(['\r', '\0', '\u{1b}']), "{text:?}");
        assert!(lines[1].contains("plain é"), "{text:?}");
    }
}
