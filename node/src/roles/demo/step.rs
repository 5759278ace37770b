//! One step: a request, what is expected of its answer, and both on paper.

use super::{DemoError, listener::Listener, print::Printer};
use banyan_binding::http::{Client, ClientConfig};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri, header};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

pub(super) const XML: &str = "application/xml";
pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain";

/// The longest an answer may take; the edge gives up earlier.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two askings of the same.
const PAUSE: Duration = Duration::from_millis(100);

/// A request of one of the parties.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The requestingEntity.
    pub(super) from: String,
    pub(super) path: String,
    /// Media type of the body; without one the answer is asked for as XML.
    pub(super) content_type: Option<&'static str>,
    pub(super) body: String,
}

impl Request {
    /// CREATE.
    pub(super) fn post(from: &str, path: &str, content_type: &'static str, body: String) -> Request {
        let (from, path) = (from.to_owned(), path.to_owned());
        Request { method: Method::POST, from, path, content_type: Some(content_type), body }
    }

    /// UPDATE.
    pub(super) fn put(from: &str, path: &str, content_type: &'static str, body: String) -> Request {
        Request { method: Method::PUT, ..Request::post(from, path, content_type, body) }
    }

    /// RETRIEVE.
    pub(super) fn get(from: &str, path: &str) -> Request {
        let (from, path) = (from.to_owned(), path.to_owned());
        Request { method: Method::GET, from, path, content_type: None, body: String::new() }
    }

    /// DELETE.
    pub(super) fn delete(from: &str, path: &str) -> Request {
        Request { method: Method::DELETE, ..Request::get(from, path) }
    }
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends the requests of all parties to one SCL and shows them.
pub(super) struct Player {
    client: Client,
    /// `http://host:port`.
    origin: String,
    /// `/m2m`.
    base: String,
    printer: Printer,
    /// The step that is played.
    step: String,
}

impl Player {
    pub(super) fn new(base_url: &str, printer: Printer) -> Result<Player, DemoError> {
        let wrong = || DemoError::Address { given: base_url.to_owned() };
        let uri: Uri = base_url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        if uri.path() == "/" || uri.query().is_some() {
            return Err(wrong());
        }
        let (origin, base) = (format!("http://{authority}"), uri.path().to_owned());
        let client = Client::new(ClientConfig::default());
        Ok(Player { client, origin, base, printer, step: String::new() })
    }

    /// The path of sclBase.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// `http://host:port` of the SCL that is asked.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// From now on another SCL is asked.
    pub(super) fn visit(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
    }

    /// Starts a step.
    pub(super) fn begin(&mut self, step: &str, why: &str) -> Result<(), DemoError> {
        step.clone_into(&mut self.step);
        Ok(self.printer.step(step, why)?)
    }

    /// A line of text.
    pub(super) fn say(&mut self, text: &str) -> Result<(), DemoError> {
        Ok(self.printer.note(text)?)
    }

    /// Sends a request whose answer must have one of these statuses.
    pub(super) async fn expect(&mut self, statuses: &[u16], request: Request) -> Result<Answer, DemoError> {
        self.printer.request(&request)?;
        let answer = self.send(&request).await?;
        let right = statuses.contains(&answer.status);
        self.printer.answer(&answer, right)?;
        if right { Ok(answer) } else { Err(self.unexpected(statuses, &answer)) }
    }

    /// Sends a request again until its answer has this status; only the last answer is shown.
    pub(super) async fn until(
        &mut self,
        status: u16,
        request: Request,
        within: Duration,
    ) -> Result<Answer, DemoError> {
        self.printer.request(&request)?;
        let began = Instant::now();
        let mut asked = 1;
        let answer = loop {
            let answer = self.send(&request).await?;
            if answer.status == status || began.elapsed() >= within {
                break answer;
            }
            asked += 1;
            sleep(PAUSE).await;
        };
        let right = answer.status == status;
        self.printer.answer(&answer, right)?;
        if !right {
            return Err(self.unexpected(&[status], &answer));
        }
        if asked > 1 {
            self.say(&format!("Asked {asked} times in {} ms.", began.elapsed().as_millis()))?;
        }
        Ok(answer)
    }

    /// The body of an answer must be this text.
    pub(super) fn compare(&mut self, answer: &Answer, text: &str) -> Result<(), DemoError> {
        if answer.body == text.as_bytes() {
            return Ok(());
        }
        let (step, answer) = (self.step.clone(), describe(answer));
        Err(DemoError::Unexpected { step, expected: format!("the content {text:?}"), answer })
    }

    /// Shows notifications until they have told of all `contents`, in this order. One that comes again is no error:
    /// delivery is at least once.
    pub(super) async fn heard(
        &mut self,
        listener: &mut Listener,
        contents: &[&str],
        within: Duration,
    ) -> Result<(), DemoError> {
        let until = Instant::now() + within;
        let mut heard: Vec<String> = Vec::new();
        loop {
            let Ok(Some(notification)) = timeout_at(until, listener.next()).await else {
                return Err(DemoError::NotNotified {
                    step: self.step.clone(),
                    expected: format!("{contents:?}"),
                    heard: format!("{heard:?}"),
                    waited: within,
                });
            };
            self.printer.notification(&notification)?;
            for content in notification.contents {
                if !heard.contains(&content) {
                    heard.push(content);
                }
            }
            if heard == contents {
                return Ok(());
            }
        }
    }

    async fn send(&self, request: &Request) -> Result<Answer, DemoError> {
        let uri = format!("{}{}", self.origin, request.path);
        let mut made = http::Request::builder()
            .method(request.method.clone())
            .uri(&uri)
            .header(header::FROM, &request.from)
            .header(header::USER_AGENT, "banyan-demo");
        made = match request.content_type {
            Some(media_type) => made.header(header::CONTENT_TYPE, media_type),
            // What devices send is passed on as it came: text, where the content alone is asked for.
            None => made.header(header::ACCEPT, "application/xml, */*;q=0.5"),
        };
        let made = made
            .body(Bytes::from(request.body.clone()))
            .map_err(|_| DemoError::Address { given: uri.clone() })?;
        let answer: Response<Bytes> = self
            .client
            .send(made, ANSWER_TIMEOUT)
            .await
            .map_err(|source| DemoError::NoAnswer { step: self.step.clone(), source })?;
        let (head, body) = answer.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn unexpected(&self, statuses: &[u16], answer: &Answer) -> DemoError {
        let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
        DemoError::Unexpected {
            step: self.step.clone(),
            expected: statuses.join(" or "),
            answer: describe(answer),
        }
    }
}

fn describe(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.text()).trim_end().to_owned()
}
