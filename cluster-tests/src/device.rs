//! An ETSI M2M application or SCL as seen from outside: HTTP requests over one kept connection, as bindings.md maps
//! the primitives.

use std::time::Duration;

use crate::http::{Connection, Error};

/// A whole answer, copied out of the connection.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// All headers in order, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    /// It is not UTF-8, which no representation of ours may be.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a representation is UTF-8")
    }
}

/// One device. Its requests go to the first of its edges that takes a connection.
#[derive(Debug)]
pub struct Device {
    edges: Vec<String>,
    current: usize,
    from: String,
    connection: Option<Connection>,
    timeout: Duration,
}

impl Device {
    /// A device that calls itself `from` (a path or URI of this SCL) and may use any of `edges` (address and port).
    ///
    /// # Panics
    /// `edges` is empty.
    pub fn new(edges: impl IntoIterator<Item = impl Into<String>>, from: &str) -> Device {
        let edges: Vec<String> = edges.into_iter().map(Into::into).collect();
        assert!(!edges.is_empty(), "a device needs an edge");
        Device {
            edges,
            current: 0,
            from: from.to_owned(),
            connection: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// Waits this long for an answer. Default 30 s: longer than any deadline of the edge, so that "no answer" in a test
    /// is a hang of the product.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Device {
        self.timeout = timeout;
        self
    }

    /// Who it says it is.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Goes to the next edge from now on.
    pub fn switch_edge(&mut self) {
        self.current = (self.current + 1) % self.edges.len();
        self.connection = None;
    }

    /// CREATE: posts an XML representation.
    ///
    /// # Errors
    /// No answer; whether it was carried out is unknown.
    pub async fn create(&mut self, path: &str, xml: &str) -> Result<Reply, Error> {
        self.request("POST", path, &[("content-type", "application/xml")], xml.as_bytes()).await
    }

    /// RETRIEVE as XML.
    ///
    /// # Errors
    /// No answer.
    pub async fn retrieve(&mut self, path: &str) -> Result<Reply, Error> {
        self.request("GET", path, &[("accept", "application/xml")], b"").await
    }

    /// UPDATE with an XML representation.
    ///
    /// # Errors
    /// No answer; whether it was carried out is unknown.
    pub async fn update(&mut self, path: &str, xml: &str) -> Result<Reply, Error> {
        self.request("PUT", path, &[("content-type", "application/xml")], xml.as_bytes()).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// No answer; whether it was carried out is unknown.
    pub async fn delete(&mut self, path: &str) -> Result<Reply, Error> {
        self.request("DELETE", path, &[], b"").await
    }

    /// Any request. `From` is added unless `headers` carry one, `Content-Length` always.
    ///
    /// # Errors
    /// No answer; whether it was carried out is unknown unless it is [`Error::Connect`].
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, Error> {
        let edge = self.edges[self.current].clone();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {edge}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("from")) && !self.from.is_empty() {
            head.push_str(&format!("from: {}\r\n", self.from));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let request = [head.as_bytes(), body].concat();
        self.raw(&request, method == "HEAD").await
    }

    /// Sends these bytes as a request, whatever they say.
    ///
    /// # Errors
    /// No answer.
    pub async fn raw(&mut self, request: &[u8], no_body: bool) -> Result<Reply, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_open() => connection,
            _ => Connection::open(&self.edges[self.current], Duration::from_secs(2)).await?,
        };
        let reply = {
            let answer = tokio::time::timeout(self.timeout, connection.send(request, no_body))
                .await
                .map_err(|_| Error::TimedOut(self.timeout))??;
            Reply {
                status: answer.status,
                headers: answer.headers().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
                body: answer.body.to_vec(),
            }
        };
        self.connection = Some(connection);
        Ok(reply)
    }
}
