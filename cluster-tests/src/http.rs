//! A tight HTTP/1.1 client: one connection, one request at a time, keep-alive.
//!
//! The load generator shares two cores with what it measures, so its client must cost almost nothing: requests are
//! bytes that the caller made beforehand, answers are parsed in place. The devices of the tests use it too.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers larger than this are refused: a test that needs more is wrong.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why a request got no answer. Whether the other side acted on it is unknown unless the connection never opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was sent.
    #[error("failed to connect to {to}")]
    Connect {
        /// Address and port.
        to: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke under the request.
    #[error("connection broke")]
    Broken(#[source] std::io::Error),
    /// The other side closed before a whole answer was there.
    #[error("connection closed before the answer was complete")]
    Closed,
    /// What came is not HTTP/1.1.
    #[error("answer is not HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// The head of an answer, as far as the client itself needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Octets of status line and headers, the empty line included.
    pub head_bytes: usize,
    body: BodyLength,
    close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Known(usize),
    Chunked,
    UntilClose,
}

/// An answer that still lies in the connection's buffer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Status code.
    pub status: u16,
    head: &'a [u8],
    /// The body, chunks already joined.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The first header of this name (any case), without surrounding blanks.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers(self.head).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        headers(self.head)
    }
}

/// One connection to one address.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
    joined: Vec<u8>,
    open: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Connect`] or, after `within`, [`Error::TimedOut`]: nothing was sent in either case.
    pub async fn open(to: &str, within: Duration) -> Result<Connection, Error> {
        let stream = tokio::time::timeout(within, TcpStream::connect(to))
            .await
            .map_err(|_| Error::TimedOut(within))?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| Error::Connect { to: to.to_owned(), source })?;
        Ok(Connection::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that stands already.
    pub fn over(stream: S) -> Connection<S> {
        Connection { stream, buffer: Vec::with_capacity(4096), joined: Vec::new(), open: true }
    }

    /// Whether another request can be sent: nothing broke and the other side did not ask to close.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Sends a whole request (head and body in one slice) and waits for the whole answer.
    ///
    /// # Errors
    /// The connection is useless after any error and after a drop of the future: [`Connection::is_open`] says so.
    pub async fn send(&mut self, request: &[u8], no_body: bool) -> Result<Answer<'_>, Error> {
        self.open = false;
        self.buffer.clear();
        self.stream.write_all(request).await.map_err(Error::Broken)?;
        let head = loop {
            if let Some(head) = parse_head(&self.buffer, no_body)? {
                // 1xx answers announce another one.
                if (100..200).contains(&head.status) {
                    self.buffer.drain(..head.head_bytes);
                    continue;
                }
                break head;
            }
            if self.more().await? == 0 {
                return Err(Error::Closed);
            }
        };
        let body = match head.body {
            BodyLength::Known(length) => {
                let end = head.head_bytes + length;
                while self.buffer.len() < end {
                    if self.more().await? == 0 {
                        return Err(Error::Closed);
                    }
                }
                &self.buffer[head.head_bytes..end]
            }
            BodyLength::Chunked => {
                self.joined.clear();
                let mut at = head.head_bytes;
                loop {
                    match parse_chunk(&self.buffer[at..])? {
                        Some(Chunk { start, length: 0, end }) => {
                            let _ = (start, end);
                            break;
                        }
                        Some(Chunk { start, length, end }) => {
                            self.joined.extend_from_slice(&self.buffer[at + start..at + start + length]);
                            at += end;
                        }
                        None => {
                            if self.more().await? == 0 {
                                return Err(Error::Closed);
                            }
                        }
                    }
                }
                &self.joined[..]
            }
            BodyLength::UntilClose => {
                while self.more().await? > 0 {}
                &self.buffer[head.head_bytes..]
            }
        };
        self.open = !head.close && head.body != BodyLength::UntilClose;
        Ok(Answer { status: head.status, head: &self.buffer[..head.head_bytes], body })
    }

    async fn more(&mut self) -> Result<usize, Error> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(Error::Malformed("answer is too large"));
        }
        self.stream.read_buf(&mut self.buffer).await.map_err(Error::Broken)
    }
}

fn headers(head: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    std::str::from_utf8(head)
        .unwrap_or("")
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
}

fn parse_head(buffer: &[u8], no_body: bool) -> Result<Option<Head>, Error> {
    let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let head_bytes = end + 4;
    let status = match buffer.get(..12) {
        Some(line) if line.starts_with(b"HTTP/1.1 ") => {
            let digits = std::str::from_utf8(&line[9..12]).map_err(|_| Error::Malformed("status code"))?;
            digits.parse().map_err(|_| Error::Malformed("status code"))?
        }
        _ => return Err(Error::Malformed("status line")),
    };
    let (mut body, mut close) = (BodyLength::UntilClose, false);
    for (name, value) in headers(&buffer[..head_bytes]) {
        if name.eq_ignore_ascii_case("content-length") {
            body = BodyLength::Known(value.parse().map_err(|_| Error::Malformed("content-length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = BodyLength::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.eq_ignore_ascii_case("close");
        }
    }
    if no_body || matches!(status, 100..200 | 204 | 304) {
        body = BodyLength::Known(0);
    }
    Ok(Some(Head { status, head_bytes, body, close }))
}

struct Chunk {
    start: usize,
    length: usize,
    end: usize,
}

/// The next chunk, or the last one (length 0) once its trailer is complete.
fn parse_chunk(buffer: &[u8]) -> Result<Option<Chunk>, Error> {
    let Some(line) = find(buffer, b"\r\n") else { return Ok(None) };
    let size = std::str::from_utf8(&buffer[..line]).map_err(|_| Error::Malformed("chunk size"))?;
    let size = size.split(';').next().unwrap_or_default().trim();
    let length = usize::from_str_radix(size, 16).map_err(|_| Error::Malformed("chunk size"))?;
    let start = line + 2;
    let end = if length == 0 {
        let trailer = &buffer[start..];
        if trailer.starts_with(b"\r\n") {
            start + 2
        } else {
            match find(trailer, b"\r\n\r\n") {
                Some(at) => start + at + 4,
                None => return Ok(None),
            }
        }
    } else {
        start + length + 2
    };
    Ok((buffer.len() >= end).then_some(Chunk { start, length, end }))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answer_with(bytes: &'static [u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await.unwrap();
            // In pieces, as a network may deliver it.
            for piece in bytes.chunks(7) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Connection::open(&to, Duration::from_secs(1)).await.unwrap()
    }

    #[tokio::test]
    async fn reads_a_body_of_known_length_and_stays_open() {
        let mut connection =
            answer_with(b"HTTP/1.1 201 Created\r\nlocation: /m2m/x\r\nContent-Length: 3\r\n\r\nabc").await;
        let answer = connection.send(b"POST / HTTP/1.1\r\n\r\n", false).await.unwrap();
        assert_eq!(
            (answer.status, answer.body, answer.header("Location")),
            (201, &b"abc"[..], Some("/m2m/x"))
        );
        assert!(connection.is_open());
    }

    #[tokio::test]
    async fn joins_chunks() {
        let mut connection = answer_with(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!(connection.send(b"GET / HTTP/1.1\r\n\r\n", false).await.unwrap().body, b"abcdefg");
        assert!(connection.is_open());
    }

    #[tokio::test]
    async fn half_an_answer_is_an_error() {
        let mut connection = answer_with(b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\nabc").await;
        assert!(matches!(connection.send(b"GET / HTTP/1.1\r\n\r\n", false).await, Err(Error::Closed)));
        assert!(!connection.is_open());
    }
}
