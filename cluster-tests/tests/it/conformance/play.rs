//! Plays one case against a deployment, in one representation, and says what did not come as expected.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster_tests::device::{Device, Reply};
use tokio::task::JoinHandle;

use super::case::{Action, Body, Case, Expectation, Made, Request, Step};
use super::harvest::Harvest;
use super::node::{Form, Node};
use super::peer::{Peer, Received, Rule};

const POLL: Duration = Duration::from_millis(50);
/// Longer than any deadline of the edge, shorter than a case may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A poll that nobody answers ends the case.
const POLL_WITHIN: Duration = Duration::from_secs(25);

/// What a case needs to know of where it runs.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) name: &'static str,
    /// Requests go to them in turn.
    pub(crate) edges: Vec<String>,
    pub(crate) harvest: Harvest,
}

/// Plays it; `Err` says where it went wrong and what came.
pub(crate) async fn play(
    case: &Case,
    number: usize,
    form: Form,
    deployment: Arc<Deployment>,
) -> Result<(), String> {
    let mut player = Player::new(number, form, deployment);
    if !case.bare {
        player.make(Made::Application, "app", "").await.map_err(|why| format!("registering $app: {why}"))?;
    }
    for step in &case.steps {
        player.step(step).await.map_err(|why| format!("{}: {why}", step.at))?;
    }
    Ok(())
}

struct Player {
    form: Form,
    deployment: Arc<Deployment>,
    variables: BTreeMap<String, String>,
    /// One connection an edge.
    devices: Vec<Device>,
    turn: usize,
    peers: BTreeMap<String, Peer>,
    started: BTreeMap<String, JoinHandle<Result<Reply, String>>>,
}

impl Player {
    fn new(number: usize, form: Form, deployment: Arc<Deployment>) -> Player {
        let n = format!("{}{number}", if form == Form::Xml { "x" } else { "j" });
        let other = if form == Form::Xml { Form::Json } else { Form::Xml };
        let variables = BTreeMap::from([
            ("n".to_owned(), n),
            ("type".to_owned(), form.media_type().to_owned()),
            ("othertype".to_owned(), other.media_type().to_owned()),
            ("edge".to_owned(), deployment.edges[0].clone()),
            ("base".to_owned(), format!("http://{}/m2m", deployment.edges[0])),
        ]);
        let device = |edge: &String| Device::new([edge.clone()], "").with_timeout(ANSWER_WITHIN);
        let devices = deployment.edges.iter().map(device).collect();
        let (peers, started) = (BTreeMap::new(), BTreeMap::new());
        Player { form, deployment, variables, devices, turn: number, peers, started }
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Request { request, statuses, within } => {
                let until = within.map(|within| Instant::now() + within);
                loop {
                    let reply = self.send(request).await?;
                    let judged = self.judge(request, &reply, statuses, &step.expectations);
                    match (judged, until) {
                        (Err(_), Some(until)) if Instant::now() < until => tokio::time::sleep(POLL).await,
                        (judged, _) => return judged,
                    }
                }
            }
            Action::Start { name, request } => {
                let (bytes, edge) = (self.bytes(request)?, self.next_edge());
                let mut device = Device::new([edge], "").with_timeout(POLL_WITHIN);
                let task = tokio::spawn(async move {
                    device.raw(&bytes, false).await.map_err(|e| format!("no answer: {e}"))
                });
                self.started.insert(name.clone(), task);
                Ok(())
            }
            Action::Finish { name, statuses } => {
                let task = self.started.remove(name).ok_or("never started")?;
                let reply = task.await.map_err(|e| e.to_string())??;
                self.check_status(&reply, statuses)?;
                self.expect_all(&reply, &step.expectations)
            }
            Action::Make { what, name, rest } => self.make(*what, name, rest).await,
            Action::Peer { name } => {
                let peer = Peer::start().await;
                self.variables.insert(name.clone(), format!("http://{}", peer.authority));
                self.variables.insert(format!("{name}_host"), peer.authority.clone());
                self.peers.insert(name.clone(), peer);
                Ok(())
            }
            Action::Answers { peer, method, path, answer } => {
                let (media_type, body) = self.body(&answer.body)?;
                let mut headers = self.fill_headers(&answer.headers)?;
                headers.extend(media_type.map(|media_type| ("content-type".to_owned(), media_type)));
                let (method, path) = (method.clone(), self.fill(path)?);
                self.peer(peer)?.rule(Rule { method, path, status: answer.status, headers, body });
                Ok(())
            }
            Action::Gets { peer, method, path, within } => {
                let path = self.fill(path)?;
                let received = self.peer(peer)?.take(method, &path, *within).await.map_err(|others| {
                    format!("{peer} got no {method} {path} within {within:?}, but {}", show_received(&others))
                })?;
                self.deployment.harvest.received(&received);
                self.expect_all(&received.as_reply(), &step.expectations)
            }
            Action::GetsNothing { peer, within } => match self.peer(peer)?.rest(*within).await {
                others if others.is_empty() => Ok(()),
                others => Err(format!("{peer} got {}", show_received(&others))),
            },
            Action::Let { name, value } => {
                let value = self.fill(value)?;
                self.variables.insert(name.clone(), value);
                Ok(())
            }
            Action::Sleep(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
        }
    }

    fn peer(&self, name: &str) -> Result<&Peer, String> {
        self.peers.get(name).ok_or_else(|| format!("no peer {name}"))
    }

    /// Creates what most cases need and keeps its path under its name.
    async fn make(&mut self, what: Made, name: &str, rest: &str) -> Result<(), String> {
        let n = self.variables["n"].clone();
        let more = match rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(more) => format!(", {more}"),
            None => String::new(),
        };
        let id = if name == "app" { n.clone() } else { format!("{n}-{name}") };
        let (collection, from, body) = match what {
            Made::Application => {
                let body = format!("application(appId={id}{more})");
                ("/m2m/applications".to_owned(), format!("/m2m/applications/{id}"), body)
            }
            Made::Container => {
                let body = format!("container(id={name}{more})");
                (format!("{}/containers", self.variables["app"]), self.variables["app"].clone(), body)
            }
            Made::Scl => {
                let link = match rest.strip_prefix("at ") {
                    Some(peer) => format!("{}/m2m", self.fill(&format!("${peer}"))?),
                    None => format!("http://{id}.example.net/m2m"),
                };
                self.variables.insert(format!("{name}_link"), link.clone());
                let body =
                    format!("scl(sclId={id}, link={link}, mgmtProtocolType=OMA_DM, sclType=GSCL{more})");
                ("/m2m/scls".to_owned(), format!("/m2m/scls/{id}"), body)
            }
            Made::Right => {
                let app = self.variables["app"].clone();
                let (flags, holders) = rest.split_once(':').ok_or("flags : holders")?;
                let flags: Vec<&str> = flags.split_whitespace().collect();
                let holders = match holders.trim() {
                    "all" => "all".to_owned(),
                    uris => format!("holderRefs[{}]", uris.split_whitespace().collect::<Vec<_>>().join(", ")),
                };
                let all = "READ, WRITE, DISCOVER, DELETE, CREATE";
                let own = format!(
                    "permission(id=own, permissionFlags[{all}], permissionHolders(holderRefs[{app}]))"
                );
                let given = format!(
                    "permission(id=given, permissionFlags[{}], permissionHolders({holders}))",
                    flags.join(", ")
                );
                let body =
                    format!("accessRight(id={name}, permissions[{own}, {given}], selfPermissions[{own}])");
                (format!("{app}/accessRights"), app, body)
            }
        };
        let request = Request {
            method: "POST".to_owned(),
            path: collection.clone(),
            from: Some(from.clone()),
            headers: Vec::new(),
            body: Body::Abstract(body),
        };
        let reply = self.send(&request).await?;
        self.judge(&request, &reply, &[201], &[])?;
        let path = match what {
            Made::Application | Made::Scl => from,
            Made::Container | Made::Right => format!("{collection}/{name}"),
        };
        if what == Made::Container {
            self.variables.insert(format!("{name}_i"), format!("{path}/contentInstances"));
        }
        self.variables.insert(name.to_owned(), path.clone());
        if let (Made::Scl, Some(peer)) = (what, rest.strip_prefix("at ")) {
            let contact = self.fill(&format!("${peer}"))?;
            let body = format!("m2mPoc(id=poc, contactInfo(contactURI={contact}), onlineStatus=ONLINE)");
            let request = Request {
                method: "POST".to_owned(),
                path: format!("{path}/m2mPocs"),
                from: Some(path),
                headers: Vec::new(),
                body: Body::Abstract(body),
            };
            let reply = self.send(&request).await?;
            self.judge(&request, &reply, &[201], &[])?;
        }
        Ok(())
    }

    fn next_edge(&mut self) -> String {
        self.turn += 1;
        let edge = self.deployment.edges[self.turn % self.deployment.edges.len()].clone();
        self.variables.insert("edge".to_owned(), edge.clone());
        edge
    }

    async fn send(&mut self, request: &Request) -> Result<Reply, String> {
        self.next_edge();
        let bytes = self.bytes(request)?;
        let index = self.turn % self.devices.len();
        let reply = self.devices[index].raw(&bytes, request.method == "HEAD").await;
        reply.map_err(|e| format!("{} {}: no answer: {e}", request.method, request.path))
    }

    fn bytes(&self, request: &Request) -> Result<Vec<u8>, String> {
        let (media_type, body) = self.body(&request.body)?;
        let headers = self.fill_headers(&request.headers)?;
        let has = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, self.fill(&request.path)?);
        let mut add = |name: &str, value: &str| {
            if !has(name) {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        };
        add("Host", &self.variables["edge"]);
        match &request.from {
            Some(from) if from == "nobody" => {}
            Some(from) => add("From", &self.fill(from)?),
            None => add("From", self.variables.get("app").map_or("/m2m/applications/none", String::as_str)),
        }
        add("Accept", self.form.media_type());
        if let Some(media_type) = &media_type {
            add("Content-Type", media_type);
        }
        if !body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT") {
            add("Content-Length", &body.len().to_string());
        }
        // An empty value leaves the header out.
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        Ok([head.into_bytes(), body].concat())
    }

    fn body(&self, body: &Body) -> Result<(Option<String>, Vec<u8>), String> {
        match body {
            Body::None => Ok((None, Vec::new())),
            Body::Abstract(text) => {
                let node = Node::parse(&self.fill(text)?)?;
                Ok((Some(self.form.media_type().to_owned()), self.form.write(&node).into_bytes()))
            }
            Body::Raw { media_type, text } => Ok((media_type.clone(), self.fill(text)?.into_bytes())),
        }
    }

    fn fill_headers(&self, headers: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        headers.iter().map(|(name, value)| Ok((name.clone(), self.fill(value)?))).collect()
    }

    /// `$name` and `${name}`; `$in{60}` and `$ago{60}` are times that many seconds from now, `$(x*60)` repeats, `\n` in a
    /// raw body is none: what a case says is sent.
    fn fill(&self, text: &str) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('(') {
                let (what, after) = after.split_once(')').ok_or("$( without )")?;
                let (what, times) = what.rsplit_once('*').ok_or("$( without *")?;
                filled.push_str(&what.repeat(times.parse().map_err(|_| "$( without a number")?));
                rest = after;
                continue;
            }
            if let Some((sign, after)) =
                rest.strip_prefix("in{").map(|r| (1, r)).or(rest.strip_prefix("ago{").map(|r| (-1, r)))
            {
                let (seconds, after) = after.split_once('}').ok_or("$in{ without }")?;
                let seconds: i64 = seconds.parse().map_err(|_| "$in{ without a number")?;
                filled.push_str(&date_time(sign * seconds));
                rest = after;
                continue;
            }
            let braced = rest.strip_prefix('{').and_then(|after| after.split_once('}'));
            let (name, after) = braced.unwrap_or_else(|| {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                rest.split_at(end)
            });
            match self.variables.get(name) {
                Some(value) => filled.push_str(value),
                // JSON's own member for text.
                None if name == "t" => filled.push_str("$t"),
                None => return Err(format!("${name} is not known")),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn check_status(&self, reply: &Reply, statuses: &[u16]) -> Result<(), String> {
        match statuses.contains(&reply.status) {
            true => Ok(()),
            false => Err(format!("expected {statuses:?}, got {}", show(reply))),
        }
    }

    /// What holds for every answer, then what the step expects.
    fn judge(
        &mut self,
        request: &Request,
        reply: &Reply,
        statuses: &[u16],
        expectations: &[Expectation],
    ) -> Result<(), String> {
        self.check_status(reply, statuses)?;
        let wrong = |why: &str| Err(format!("{} {}: {why}: {}", request.method, request.path, show(reply)));
        match reply.status {
            204 | 304 if !reply.body.is_empty() => return wrong("has a body"),
            405 if reply.header("allow").is_none() => return wrong("405 without Allow"),
            201 if reply.header("location").is_none() => return wrong("201 without Location"),
            201 if !reply.header("location").is_some_and(|to| to.starts_with("http://")) => {
                return wrong("Location is not absolute");
            }
            _ => {}
        }
        let chosen = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept"));
        let media_type = reply.header("content-type").unwrap_or_default();
        if !reply.body.is_empty() && !chosen && Form::of(media_type) != Some(self.form) {
            return wrong("not in the accepted representation");
        }
        if let Some(form) = Form::of(media_type).filter(|_| !reply.body.is_empty()) {
            let node = match form.read(&String::from_utf8_lossy(&reply.body)) {
                Ok(node) => node,
                // Raw content may be anything.
                Err(_) if reply.status == 200 && chosen => return self.expect_all(reply, expectations),
                Err(why) => return wrong(&why),
            };
            if let Some(expected) = status_name(reply.status) {
                let found = node.find("statusCode");
                if node.name != "errorInfo" || found.len() != 1 || found[0].text() != expected {
                    return wrong(&format!("no errorInfo with {expected}"));
                }
            }
            self.deployment.harvest.answered(form, &reply.body);
            self.harvest_inner(&node);
        } else if status_name(reply.status).is_some() && reply.body.is_empty() {
            return wrong("no errorInfo");
        }
        self.expect_all(reply, expectations)
    }

    /// Bodies in bodies are representations as well.
    fn harvest_inner(&self, node: &Node) {
        for inner in node.find("status/resultBody") {
            if let Ok((Some(form), text)) = decoded(inner) {
                self.deployment.harvest.answered(form, text.as_bytes());
            }
        }
    }

    fn expect_all(&mut self, reply: &Reply, expectations: &[Expectation]) -> Result<(), String> {
        if expectations.is_empty() {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        let form = reply.header("content-type").and_then(Form::of);
        let node = match form {
            Some(form) => form.read(&body),
            None => Err("has no representation".to_owned()),
        };
        for expectation in expectations {
            self.expect(reply, &body, node.as_ref(), expectation)
                .map_err(|why| format!("{expectation:?}: {why}: {}", show(reply)))?;
        }
        Ok(())
    }

    fn expect(
        &mut self,
        reply: &Reply,
        body: &str,
        node: Result<&Node, &String>,
        expectation: &Expectation,
    ) -> Result<(), String> {
        let texts = |path: &str| node.map_err(Clone::clone).and_then(|node| texts(node, path));
        let fail = |found: &dyn std::fmt::Debug| Err(format!("found {found:?}"));
        match expectation {
            Expectation::Header(name, None) => match reply.header(name) {
                None => Ok(()),
                found => fail(&found),
            },
            Expectation::Header(name, Some(pattern)) => {
                let pattern = self.fill(pattern)?;
                match reply.header(name) {
                    Some(value) if name == "allow" && set(value) == set(&pattern) => Ok(()),
                    Some(value) if name != "allow" && matches(&pattern, value) => Ok(()),
                    found => fail(&found),
                }
            }
            Expectation::Body(pattern) => match matches(&self.fill(pattern)?, body) {
                true => Ok(()),
                false => fail(&body),
            },
            Expectation::Root(name) => match node {
                Ok(node) if *node.name == *name => Ok(()),
                other => fail(&other.map(|node| &node.name)),
            },
            Expectation::Is(path, values) => {
                let found = texts(path)?;
                let values = values.iter().map(|value| self.fill(value)).collect::<Result<Vec<_>, _>>()?;
                let same =
                    found.len() == values.len() && found.iter().zip(&values).all(|(f, v)| matches(v, f));
                if same { Ok(()) } else { fail(&found) }
            }
            Expectation::Has(path, value) => {
                let (found, value) = (texts(path)?, self.fill(value)?);
                if found.iter().any(|text| matches(&value, text)) { Ok(()) } else { fail(&found) }
            }
            Expectation::HasNot(path, value) => {
                let (found, value) = (texts(path)?, self.fill(value)?);
                if found.iter().any(|text| matches(&value, text)) { fail(&found) } else { Ok(()) }
            }
            Expectation::Count(path, count) => match texts(path)? {
                found if found.len() == *count => Ok(()),
                found => fail(&found),
            },
            Expectation::Present(path) => match texts(path)? {
                found if found.is_empty() => fail(&found),
                _ => Ok(()),
            },
            Expectation::Absent(path) => match texts(path)? {
                found if found.is_empty() => Ok(()),
                found => fail(&found),
            },
            Expectation::Names(word) => {
                let found = texts("additionalInfo")?;
                if found.iter().any(|text| text.contains(word)) { Ok(()) } else { fail(&found) }
            }
            Expectation::Keep(name, path) => {
                let value = match path.strip_suffix(':') {
                    Some(header) => reply.header(header).map(str::to_owned),
                    None => texts(path)?.into_iter().next(),
                };
                let value = value.ok_or("not there")?;
                self.variables.insert(name.clone(), value);
                Ok(())
            }
        }
    }
}

/// The texts at a path. `a>b/c` decodes what stands at `a` and goes on below its root `b`; `a>` alone is the decoded text;
/// `@` is the id of what it stands behind.
fn texts(node: &Node, path: &str) -> Result<Vec<String>, String> {
    let Some((outer, inner)) = path.split_once('>') else {
        return Ok(node.find(path).into_iter().map(|node| node.text().to_owned()).collect());
    };
    let mut all = Vec::new();
    for holder in node.find(outer) {
        let (form, text) = decoded(holder)?;
        if inner.is_empty() {
            all.push(text);
            continue;
        }
        let root = form.ok_or_else(|| format!("{outer} holds {text}"))?.read(&text)?;
        let (name, rest) = inner.split_once('/').unwrap_or((inner, ""));
        if root.name != name && name != "*" {
            return Err(format!("{outer} holds a {}: {text}", root.name));
        }
        // `..//..` cannot be: an inner path may go on with `>`.
        all.extend(texts(&root, rest)?);
    }
    Ok(all)
}

/// Base64 with a content type: which form it is in, if it is in one of ours, and the text.
fn decoded(holder: &Node) -> Result<(Option<Form>, String), String> {
    let packed: String = holder.text().split_whitespace().collect();
    let bytes = STANDARD.decode(&packed).map_err(|e| format!("{} is not base64: {e}", holder.name))?;
    let media_type = holder.find("contentType");
    let form = media_type.first().and_then(|media_type| Form::of(media_type.text()));
    Ok((form, String::from_utf8_lossy(&bytes).into_owned()))
}

fn set(list: &str) -> Vec<String> {
    let mut items: Vec<String> = list.split(',').map(|item| item.trim().to_owned()).collect();
    items.sort();
    items
}

/// `*` is any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pattern.rsplit_once('*').map(|(_, last)| last) else { return rest.is_empty() };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len() - 1] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The status that errorInfo must name; none where the standard has no name (412) or HTTP answers by itself (413, 431).
fn status_name(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "STATUS_BAD_REQUEST",
        401 | 402 => "STATUS_PERMISSION_DENIED",
        403 => "STATUS_FORBIDDEN",
        404 => "STATUS_NOT_FOUND",
        405 => "STATUS_METHOD_NOT_ALLOWED",
        406 => "STATUS_NOT_ACCEPTABLE",
        408 => "STATUS_REQUEST_TIMEOUT",
        409 => "STATUS_CONFLICT",
        415 => "STATUS_UNSUPPORTED_MEDIA_TYPE",
        500 => "STATUS_INTERNAL_SERVER_ERROR",
        501 => "STATUS_NOT_IMPLEMENTED",
        502 => "STATUS_BAD_GATEWAY",
        503 => "STATUS_SERVICE_UNAVAILABLE",
        504 => "STATUS_GATEWAY_TIMEOUT",
        _ => return None,
    })
}

/// xsd:dateTime so many seconds from now.
fn date_time(offset: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seconds = i64::try_from(now.as_secs()).expect("a time of this age") + offset;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's civil_from_days.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn show(reply: &Reply) -> String {
    let headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| name != "date" && name != "content-length")
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let body: String = String::from_utf8_lossy(&reply.body).chars().take(1_200).collect();
    format!("{} [{}] {body}", reply.status, headers.join("; "))
}

fn show_received(all: &[Received]) -> String {
    let each = |received: &Received| {
        let body: String = String::from_utf8_lossy(&received.body).chars().take(600).collect();
        format!("{} {} {body}", received.method, received.uri)
    };
    if all.is_empty() { "nothing".to_owned() } else { all.iter().map(each).collect::<Vec<_>>().join(" | ") }
}

#[test]
fn patterns_match_as_they_say() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("*/c1", "http://h/c1", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("a*", "b", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
    assert!(matches("2*-*-*T*:*:*Z", &date_time(0)), "{}", date_time(0));
}
