//! The steps of a registration, carried out: requests to the NSCL over the uplink, and to the own tree.

use super::{
    Config, Reach,
    registration::{Outcome, Step},
};
use crate::request::Desk;
use banyan_binding::http::{Caller, Client, ClientConfig, SendError, UPLINK_TIMEOUT, Uplink, response};
use banyan_codec::{Format, Limits};
use banyan_model::{
    Body, Entity, Method, Path, Representation, RequestPrimitive, ResourceType, ResponsePrimitive,
    StatusCode, Timestamp, Value, entity::normal, primitive::Correlation, value::Struct,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the goodbye may take: whoever stops the process waits for it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// The names of what this SCL makes below its scl at the NSCL.
const POC: &str = "mid";
const CHANNEL: &str = "mid";

/// An NSCL and this SCL's own tree.
pub(super) struct Nscl {
    config: Arc<Config>,
    client: Client,
    caller: Caller,
    desk: Desk,
    /// Where the channel is polled, once there is one.
    poll_at: watch::Sender<Option<String>>,
}

/// A failure that was logged where it happened.
struct Unanswered;

impl Nscl {
    pub(super) fn new(config: Arc<Config>, uplink: Arc<dyn Uplink>, desk: Desk) -> Nscl {
        let connect_timeout = UPLINK_TIMEOUT;
        let client =
            Client::new(ClientConfig { uplink: Some(uplink), connect_timeout, ..ClientConfig::default() });
        let caller = Caller { scl_id: config.scl_id.clone(), public_uri: config.public_uri.clone() };
        Nscl { config, client, caller, desk, poll_at: watch::Sender::new(None) }
    }

    /// Whether the own tree is there.
    pub(super) fn is_ready(&self) -> bool {
        self.desk.scl().is_some()
    }

    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Where the channel is polled; `None`: nowhere.
    pub(super) fn poll_at(&self) -> watch::Receiver<Option<String>> {
        self.poll_at.subscribe()
    }

    pub(super) fn channel_is_gone(&self) {
        self.poll_at.send_replace(None);
    }

    /// Carries a step out. `expires`: the expirationTime to ask for.
    pub(super) async fn perform(&self, step: Step, expires: Timestamp) -> Outcome {
        let done = match step {
            Step::Register => self.register(expires).await,
            Step::Adopt => self.adopt(expires).await,
            Step::Refresh => self.refresh(expires).await,
            Step::Mirror(granted) => self.mirror(granted).await,
            Step::Copy => self.copy().await,
            Step::Reach => self.reach(expires).await,
            Step::Forget => self.forget().await,
        };
        done.unwrap_or(Outcome::Failed)
    }

    /// The goodbye (procedures.md 2.4).
    pub(super) async fn leave(&self) {
        let leave = async {
            let left = self.ask(Method::Delete, &self.own_scl(), Body::None).await;
            if let Ok(answer) = left
                && !is_done(&answer)
            {
                tracing::warn!(status = ?answer.status, info = answer.info, "the NSCL did not take the goodbye");
            }
            self.forget().await
        };
        if tokio::time::timeout(LEAVE_TIMEOUT, leave).await.is_err() {
            tracing::warn!(
                "the NSCL did not answer the goodbye; the registration ends with its expirationTime"
            );
        }
    }

    async fn register(&self, expires: Timestamp) -> Result<Outcome, Unanswered> {
        let config = &self.config;
        let mut scl = self.refreshed(expires);
        scl.set("sclId", text(&config.scl_id));
        scl.set("link", text(&format!("{}{}", config.public_uri, config.scl_base)));
        scl.set("sclType", text("GSCL"));
        let scls = format!("{}/scls", config.nscl_base);
        let answer = self.ask(Method::Create, &scls, Body::Representation(scl)).await?;
        Ok(self.granted(answer).await)
    }

    async fn adopt(&self, expires: Timestamp) -> Result<Outcome, Unanswered> {
        let answer = self.ask(Method::Retrieve, &self.own_scl(), Body::None).await?;
        let ours = format!("{}{}", self.config.public_uri, self.config.scl_base);
        let link = match &answer.body {
            Body::Representation(scl) => scl.text("link"),
            _ => None,
        };
        if is_done(&answer) && link.is_none_or(|link| normal(link) != normal(&ours)) {
            tracing::warn!(scl_id = self.config.scl_id, ?link, "the sclId is another SCL's at the NSCL");
            return Ok(Outcome::Failed);
        }
        match is_done(&answer) {
            true => self.refresh(expires).await,
            false => Ok(outcome(&answer)),
        }
    }

    async fn refresh(&self, expires: Timestamp) -> Result<Outcome, Unanswered> {
        let scl = self.refreshed(expires);
        let answer = self.ask(Method::Update, &self.own_scl(), Body::Representation(scl)).await?;
        Ok(self.granted(answer).await)
    }

    /// What an UPDATE of the own scl says.
    fn refreshed(&self, expires: Timestamp) -> Representation {
        let mut scl = Representation::new(ResourceType::Scl);
        scl.set("mgmtProtocolType", text(MGMT_PROTOCOL));
        scl.set("expirationTime", Value::Datetime(expires));
        if !self.config.search_strings.is_empty() {
            scl.set("searchStrings", Value::List(self.config.search_strings.clone()));
        }
        scl
    }

    /// Takes over what the NSCL says of aPocHandling, else SHALLOW (procedures.md 2.2, 4).
    async fn granted(&self, answer: ResponsePrimitive) -> Outcome {
        if !is_done(&answer) {
            return outcome(&answer);
        }
        let Body::Representation(scl) = &answer.body else { return Outcome::Done(None) };
        let handling = text(scl.text("aPocHandling").unwrap_or("SHALLOW"));
        let body = Body::Attribute { name: "aPocHandling".to_owned(), value: handling };
        let at = Path::scl_base().child("aPocHandling");
        let taken = self.here(Method::Update, at, body).await;
        if !is_done(&taken) {
            tracing::warn!(status = ?taken.status, info = taken.info, "aPocHandling was not taken over");
        }
        Outcome::Done(scl.datetime("expirationTime"))
    }

    /// The reverse resource (procedures.md 2.2, 1).
    async fn mirror(&self, granted: Option<Timestamp>) -> Result<Outcome, Unanswered> {
        let known = self.here(Method::Retrieve, self.local_scl(), Body::None).await;
        let link = match &known.body {
            Body::Representation(scl) => scl.text("link").map(normal),
            _ => None,
        };
        if let Body::Representation(scl) = &known.body
            && link == Some(normal(&self.config.nscl_base))
        {
            let mut revised = kept(scl);
            revised.remove("expirationTime");
            if let Some(granted) = granted {
                revised.set("expirationTime", Value::Datetime(granted));
            }
            let answer = self.here(Method::Update, self.local_scl(), Body::Representation(revised)).await;
            return Ok(outcome(&answer));
        }
        if is_done(&known) {
            // The NSCL has another name now.
            let gone = self.here(Method::Delete, self.local_scl(), Body::None).await;
            if !is_done(&gone) {
                return Ok(outcome(&gone));
            }
        }
        let mut scl = Representation::new(ResourceType::Scl);
        scl.set("sclId", text(&self.config.nscl_id));
        scl.set("link", text(&self.config.nscl_base));
        scl.set("mgmtProtocolType", text(MGMT_PROTOCOL));
        scl.set("sclType", text("NSCL"));
        if let Some(granted) = granted {
            scl.set("expirationTime", Value::Datetime(granted));
        }
        let scls = Path::scl_base().child("scls");
        let answer = self.here(Method::Create, scls, Body::Representation(scl)).await;
        Ok(outcome(&answer))
    }

    /// searchStrings and accessRightID of the NSCL (procedures.md 2.2, 2 and 3).
    async fn copy(&self) -> Result<Outcome, Unanswered> {
        let answer = self.ask(Method::Retrieve, &self.config.nscl_base, Body::None).await?;
        let Body::Representation(theirs) = &answer.body else { return Ok(outcome(&answer)) };
        let known = self.here(Method::Retrieve, self.local_scl(), Body::None).await;
        let Body::Representation(scl) = &known.body else { return Ok(outcome(&known)) };
        let before = kept(scl);
        let mut revised = before.clone();
        if let Some(strings) = theirs.get("searchStrings") {
            revised.set("searchStrings", strings.clone());
        }
        revised.remove("accessRightID");
        if let Some(right) = theirs.text("accessRightID") {
            revised.set("accessRightID", text(&self.at_nscl(right)));
        }
        if revised == before {
            return Ok(Outcome::Done(None));
        }
        let answer = self.here(Method::Update, self.local_scl(), Body::Representation(revised)).await;
        Ok(outcome(&answer))
    }

    /// Where the NSCL reaches this SCL (procedures.md 2.2, 5).
    async fn reach(&self, expires: Timestamp) -> Result<Outcome, Unanswered> {
        let contact = match &self.config.reach {
            Reach::Poc(address) => address.clone(),
            Reach::Polling => match self.channel().await? {
                Ok(contact) => contact,
                Err(outcome) => return Ok(outcome),
            },
        };
        let mut poc = Representation::new(ResourceType::M2mPoc);
        let contact = Struct { name: "ContactInfo", fields: vec![("contactURI", text(&contact))] };
        poc.set("contactInfo", Value::Struct(contact));
        poc.set("onlineStatus", text("ONLINE"));
        poc.set("expirationTime", Value::Datetime(expires));
        let pocs = format!("{}/m2mPocs", self.own_scl());
        let known = format!("{pocs}/{POC}");
        let answer = self.ask(Method::Update, &known, Body::Representation(poc.clone())).await?;
        if answer.status != StatusCode::NotFound {
            return Ok(outcome(&answer));
        }
        poc.set("id", text(POC));
        let answer = self.ask(Method::Create, &pocs, Body::Representation(poc)).await?;
        Ok(outcome(&answer))
    }

    /// The contactURI of the channel, made if it is not there.
    async fn channel(&self) -> Result<Result<String, Outcome>, Unanswered> {
        let channels = format!("{}/communicationChannels", self.own_scl());
        let mut answer = self.ask(Method::Retrieve, &format!("{channels}/{CHANNEL}"), Body::None).await?;
        if answer.status == StatusCode::NotFound {
            let mut channel = Representation::new(ResourceType::CommunicationChannel);
            channel.set("id", text(CHANNEL));
            channel.set("channelType", text("LONG_POLLING"));
            answer = self.ask(Method::Create, &channels, Body::Representation(channel)).await?;
        }
        let Body::Representation(channel) = &answer.body else { return Ok(Err(outcome(&answer))) };
        let poll = match channel.get("channelData") {
            Some(Value::Struct(data)) => data.text("longPollingURI"),
            _ => None,
        };
        let (Some(contact), Some(poll)) = (channel.text("contactURI"), poll) else {
            tracing::warn!("the NSCL made a channel that cannot be polled");
            return Ok(Err(Outcome::Failed));
        };
        let poll = self.at_nscl(poll);
        self.poll_at.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&poll);
            *known = Some(poll);
            is_new
        });
        Ok(Ok(contact.to_owned()))
    }

    async fn forget(&self) -> Result<Outcome, Unanswered> {
        self.channel_is_gone();
        Ok(outcome(&self.here(Method::Delete, self.local_scl(), Body::None).await))
    }

    /// The URI of this SCL's scl at the NSCL: who asks there.
    fn own_scl(&self) -> String {
        format!("{}/scls/{}", self.config.nscl_base, self.config.scl_id)
    }

    /// The local scl that stands for the NSCL.
    fn local_scl(&self) -> Path {
        Path::scl_base().child("scls").child(self.config.nscl_id.as_str())
    }

    /// An address that the NSCL told of itself, by the name that leads over the uplink: an edge may call itself otherwise.
    pub(super) fn at_nscl(&self, address: &str) -> String {
        let path = address
            .split_once("://")
            .map_or(address, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let base = &self.config.nscl_base;
        let origin = base.split_once("://").and_then(|(scheme, rest)| {
            let authority = rest.split('/').next()?;
            Some(format!("{scheme}://{authority}"))
        });
        format!("{}{path}", origin.unwrap_or_default())
    }

    /// A request of this SCL's to the NSCL; a failure to get an answer is logged here.
    async fn ask(&self, method: Method, uri: &str, body: Body) -> Result<ResponsePrimitive, Unanswered> {
        self.send(method, uri, body, None, TIMEOUT).await.map_err(|failure| {
            tracing::warn!(uri, %failure, "the NSCL did not answer");
            Unanswered
        })
    }

    /// The same, with all that may be said about it.
    pub(super) async fn send(
        &self,
        method: Method,
        uri: &str,
        body: Body,
        answers: Option<String>,
        limit: Duration,
    ) -> Result<ResponsePrimitive, SendError> {
        let entity = Entity(self.own_scl());
        let correlation = answers.map(|id| Correlation { id, contact: None });
        let request =
            RequestPrimitive { body, correlation, ..RequestPrimitive::new(method, Path::scl_base(), entity) };
        let request = match self.caller.request(&request, uri, Format::Xml) {
            Ok(request) => request,
            Err(refusal) => return Ok(refusal.into()),
        };
        Ok(response(self.client.send(request, limit).await?, &Limits::default()))
    }

    /// A request of this SCL's to its own tree.
    async fn here(&self, method: Method, target: Path, body: Body) -> ResponsePrimitive {
        let base = &self.config.scl_base;
        let uri = format!("{base}{target}");
        let request =
            RequestPrimitive { body, ..RequestPrimitive::new(method, target, Entity(base.clone())) };
        self.desk.call(&uri, request, Instant::now() + TIMEOUT).await
    }
}

/// A gateway that is not managed has to name one all the same.
const MGMT_PROTOCOL: &str = "OMA_DM";

/// What an UPDATE of a local scl has to say for everything to stay as it is.
fn kept(scl: &Representation) -> Representation {
    let mut kept = Representation::new(ResourceType::Scl);
    for name in ["mgmtProtocolType", "expirationTime", "searchStrings", "accessRightID"] {
        if let Some(value) = scl.get(name) {
            kept.set(name, value.clone());
        }
    }
    kept
}

fn is_done(answer: &ResponsePrimitive) -> bool {
    matches!(answer.status, StatusCode::Ok | StatusCode::Created)
}

fn outcome(answer: &ResponsePrimitive) -> Outcome {
    match answer.status {
        StatusCode::Ok | StatusCode::Created => Outcome::Done(None),
        StatusCode::Conflict => Outcome::Conflict,
        StatusCode::NotFound => Outcome::Gone,
        status => {
            tracing::warn!(?status, info = answer.info, "a request of the registration was refused");
            Outcome::Failed
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
