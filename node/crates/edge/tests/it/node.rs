//! A node that only pretends: it creates whatever it is asked to, lists what it is told to, and hands out deliveries.

use banyan_model::{
    Body, Method, Representation, ResourceType, ResponsePrimitive, StatusCode, Value,
    placement::{NodeId, ShardMap},
    primitive::{ListPlace, Listing, ReferencePoint},
    value::{NamedReference, Struct},
};
use banyan_proto::{
    convert,
    v1::{
        self, answer, directory_server, edge_to_node, egress_server, internal, keys_answer, keys_question,
        submission, submit_server,
    },
};
use futures_util::{Stream, StreamExt, stream};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex as AsyncMutex, mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) address: String,
    map: watch::Sender<v1::DirectoryState>,
    seen: Arc<Mutex<Vec<String>>>,
    /// What the next poll gets.
    message: Arc<Mutex<Option<v1::Polled>>>,
    /// Tokens by their digest.
    tokens: Arc<Mutex<HashMap<Vec<u8>, String>>>,
    /// Digests of revoked tokens, in order.
    revoked: watch::Sender<Vec<Vec<u8>>>,
    keys_fail: Arc<AtomicBool>,
    /// Somebody asked what was closed.
    followed: Arc<AtomicBool>,
    /// What a collection lists, and how many answers it has before it is gone.
    members: Arc<Mutex<(usize, usize)>>,
    /// The keys' group.
    pub(crate) keys: Arc<Mutex<Keys>>,
    jobs: mpsc::Sender<v1::DeliveryJob>,
    waiting_jobs: Arc<AsyncMutex<mpsc::Receiver<v1::DeliveryJob>>>,
    results: mpsc::Sender<v1::DeliveryResult>,
    arrived: Arc<AsyncMutex<mpsc::Receiver<v1::DeliveryResult>>>,
}

/// What a keys' group that only pretends was asked, and what it says.
#[derive(Default)]
pub(crate) struct Keys {
    /// By PSK identity.
    pub(crate) known: HashMap<Vec<u8>, v1::ResolvedKey>,
    /// Who showed the identities that were looked up.
    pub(crate) sources: Vec<String>,
    /// It refuses everything that makes a key.
    pub(crate) refuses: bool,
    pub(crate) bootstraps: Vec<v1::Bootstrap>,
    pub(crate) connections: Vec<v1::OpenConnection>,
    pub(crate) closed: Vec<v1::Closed>,
    pub(crate) audited: Vec<v1::AuditEvent>,
}

pub(crate) const FOREVER_MS: i64 = 4_000_000_000_000;

impl Keys {
    fn answer(&mut self, kind: Option<keys_question::Kind>) -> Option<keys_answer::Kind> {
        use keys_answer::Kind;
        match kind.expect("a question") {
            keys_question::Kind::ResolveKey(asked) => {
                self.sources.push(asked.source);
                self.known.get(asked.identity.as_ref()).cloned().map(Kind::Resolved)
            }
            keys_question::Kind::Bootstrap(_) | keys_question::Kind::OpenConnection(_) if self.refuses => {
                Some(Kind::Refused(v1::KeysRefused { why: "barred".to_owned() }))
            }
            keys_question::Kind::Bootstrap(made) => {
                self.bootstraps.push(made);
                Some(Kind::Bootstrapped(v1::Bootstrapped {
                    index: u32::try_from(self.bootstraps.len()).expect("few"),
                    expires_ms: FOREVER_MS,
                    mas_fqdn: "mas.example.com".to_owned(),
                    scl_id: Some("gw".to_owned()),
                }))
            }
            keys_question::Kind::OpenConnection(opened) => {
                self.connections.push(opened);
                Some(Kind::Opened(v1::OpenedConnection {
                    connection: 0xFFFF_0000_0000_0001,
                    index: 1,
                    expires_ms: FOREVER_MS,
                    scl_id: "gw".to_owned(),
                    wrapped_kmc: vec![0xA5; 40].into(),
                    nscl_fqdn: "nscl.example.com".to_owned(),
                }))
            }
            keys_question::Kind::Audit(event) => {
                self.audited.push(event);
                None
            }
            other => panic!("no edge asks this: {other:?}"),
        }
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Node {
    pub(crate) async fn unfounded() -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (jobs, waiting_jobs) = mpsc::channel(8);
        let (results, arrived) = mpsc::channel(8);
        let node = Node {
            address: listener.local_addr().expect("bound").to_string(),
            map: watch::Sender::new(v1::DirectoryState::default()),
            seen: Arc::default(),
            message: Arc::default(),
            members: Arc::default(),
            tokens: Arc::default(),
            revoked: watch::Sender::new(Vec::new()),
            keys_fail: Arc::default(),
            followed: Arc::default(),
            keys: Arc::default(),
            jobs,
            waiting_jobs: Arc::new(AsyncMutex::new(waiting_jobs)),
            results,
            arrived: Arc::new(AsyncMutex::new(arrived)),
        };
        let serving = tonic::transport::Server::builder()
            .add_service(submit_server::SubmitServer::new(node.clone()))
            .add_service(directory_server::DirectoryServer::new(node.clone()))
            .add_service(egress_server::EgressServer::new(node.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        node
    }

    /// From now on there is a map: one shard, here.
    pub(crate) fn found(&self) {
        self.map.send_replace(v1::DirectoryState {
            cluster: 7,
            epoch: 1,
            members: vec![v1::NodeInfo { node: 1, address: self.address.clone(), ..Default::default() }],
            shards: ShardMap::found(1, &[NodeId(1)], 1).shards.iter().map(Into::into).collect(),
            keys: ShardMap::found(1, &[NodeId(1)], 1).shards.first().map(Into::into),
            settings: Some(v1::Settings {
                scl_base: "/m2m".to_owned(),
                authorities: vec!["h".to_owned()],
                ..Default::default()
            }),
            ..Default::default()
        });
    }

    /// From now on there is this token.
    pub(crate) fn token(&self, token: &str, entity: &str) {
        self.tokens.lock().expect("no panic").insert(sha256(token), entity.to_owned());
    }

    pub(crate) fn revoke_token(&self, token: &str) {
        self.tokens.lock().expect("no panic").remove(&sha256(token));
        self.revoked.send_modify(|revoked| revoked.push(sha256(token)));
    }

    /// Whether questions about tokens are refused.
    pub(crate) fn keys_fail(&self, fail: bool) {
        self.keys_fail.store(fail, Ordering::Relaxed);
    }

    async fn keys(&self, question: Option<keys_question::Kind>) -> answer::What {
        let log = |what: &str| self.seen.lock().expect("no panic").push(what.to_owned());
        let kind = match question {
            Some(keys_question::Kind::ResolveToken(question)) => {
                // Long enough that others with the same token come meanwhile.
                tokio::time::sleep(Duration::from_millis(50)).await;
                log("token");
                let tokens = self.tokens.lock().expect("no panic");
                match tokens.get(question.digest.as_ref()) {
                    _ if self.keys_fail.load(Ordering::Relaxed) => {
                        Some(keys_answer::Kind::Refused(v1::KeysRefused { why: "a test".to_owned() }))
                    }
                    Some(entity) => {
                        let token = v1::Token { entity: entity.clone(), expires_ms: 0 };
                        Some(keys_answer::Kind::Token(token))
                    }
                    None => None,
                }
            }
            Some(keys_question::Kind::AwaitClosures(question)) => {
                self.followed.store(true, Ordering::Relaxed);
                let hold = Duration::from_millis(question.hold_ms.into());
                Some(keys_answer::Kind::Closures(self.closures(question.after, hold).await))
            }
            other => self.keys.lock().expect("no panic").answer(other),
        };
        answer::What::Keys(v1::KeysAnswer { kind }.into())
    }

    /// Whether an edge follows what is closed.
    pub(crate) fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// What was closed after `after`: sessions first, then tokens.
    async fn closures(&self, after: u64, hold: Duration) -> v1::Closures {
        let until = tokio::time::Instant::now() + hold;
        loop {
            let mut closed = self.keys.lock().expect("no panic").closed.clone();
            let tokens = self.revoked.borrow().clone();
            closed.extend(
                tokens.into_iter().map(|token| v1::Closed { token: token.into(), ..Default::default() }),
            );
            let number = closed.len() as u64 + 1;
            if after == 0 || number > after || tokio::time::Instant::now() >= until {
                let seen = usize::try_from(after).expect("small").checked_sub(1);
                let closed = seen.map_or(Vec::new(), |seen| closed[seen..].to_vec());
                return v1::Closures { number, closed, everything: false };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The next poll gets a notify of this subscription, under this number.
    pub(crate) fn offer(&self, sequence: u64, subscription: &str) {
        let reference = ("subscriptionReference", Value::Text(subscription.to_owned()));
        let status = ("statusCode", Value::Text("STATUS_OK".to_owned()));
        let body = Body::Message(Struct { name: "Notify", fields: vec![status, reference] });
        let response = ResponsePrimitive { body, ..ResponsePrimitive::status(StatusCode::Ok) };
        let response = convert::response_to_bytes(&response);
        *self.message.lock().expect("no panic") = Some(v1::Polled { response, sequence });
    }

    /// From now on every collection has so many members, 10 a page, and is gone after so many answers.
    pub(crate) fn list(&self, members: usize, answers: usize) {
        *self.members.lock().expect("no panic") = (members, answers);
    }

    fn listed(&self, listing: &Listing) -> ResponsePrimitive {
        let (members, answers) = &mut *self.members.lock().expect("no panic");
        let Some(left) = answers.checked_sub(1) else {
            return ResponsePrimitive::status(StatusCode::NotFound);
        };
        *answers = left;
        let from = match listing {
            Listing::Whole => panic!("an edge asks for pages"),
            Listing::First => 0,
            Listing::From(place) => {
                let after = place.after.as_deref().and_then(|after| after.strip_prefix('c'));
                after.and_then(|number| number.parse::<usize>().ok()).expect("a name that was told") + 1
            }
        };
        let to = (from + 10).min(*members);
        let entry = |n: usize| NamedReference { id: format!("c{n}"), uri: format!("/m2m/containers/c{n}") };
        let (list, entries) = ("containerCollection", Value::References((from..to).map(entry).collect()));
        let body = if from == 0 {
            let mut whole = Representation::new(ResourceType::Containers);
            whole.set(list, entries);
            Body::Representation(whole)
        } else {
            Body::Attribute { name: list.to_owned(), value: entries }
        };
        let next = ListPlace { list: list.to_owned(), after: Some(format!("c{}", to.saturating_sub(1))) };
        let next = (to < *members).then_some(next);
        ResponsePrimitive { body, next, ..ResponsePrimitive::status(StatusCode::Ok) }
    }

    fn internal(&self, kind: Option<internal::Kind>) -> answer::What {
        let status =
            |status| answer::What::Response(convert::response_to_bytes(&ResponsePrimitive::status(status)));
        match kind {
            Some(internal::Kind::Poll(poll)) => {
                let request = convert::request_from_bytes(poll.request).expect("a request");
                let line = format!("poll {} by {}", request.target, request.requesting_entity.0);
                self.seen.lock().expect("no panic").push(line);
                match self.message.lock().expect("no panic").take() {
                    Some(message) => answer::What::Polled(message),
                    None => status(StatusCode::RequestTimeout),
                }
            }
            Some(internal::Kind::Taken(taken)) => {
                let channel = banyan_model::Path::from(taken.channel.expect("a channel"));
                self.seen.lock().expect("no panic").push(format!("taken {} of {channel}", taken.sequence));
                status(StatusCode::Ok)
            }
            other => panic!("no edge asks this: {other:?}"),
        }
    }

    /// Hands a delivery to the first edge that has a stream.
    pub(crate) async fn deliver(&self, job: u64, contact: &str) {
        let job = v1::DeliveryJob {
            job,
            contact: contact.to_owned(),
            media: v1::NotifyMedia::Xml.into(),
            correlation: String::new(),
            subscription: "/m2m/containers/c/subscriptions/s".to_owned(),
            status: convert::number(StatusCode::Ok),
            what: Some(v1::delivery_job::What::Bare(true)),
            timeout_ms: 10_000,
        };
        self.jobs.send(job).await.expect("the node lives");
    }

    /// The number and HTTP status of the next result.
    pub(crate) async fn result(&self) -> (u64, u32) {
        let mut arrived = self.arrived.lock().await;
        let result = timeout(Duration::from_secs(10), arrived.recv()).await.expect("a result in time");
        let result = result.expect("the node lives");
        (result.job, result.http_status)
    }

    async fn answer(&self, submission: v1::Submission) -> v1::Answer {
        let bytes = match submission.what {
            Some(submission::What::Request(bytes)) => bytes,
            Some(submission::What::Internal(question)) => {
                let what = Some(match question.kind {
                    Some(internal::Kind::Keys(question)) => self.keys(question.kind).await,
                    kind => self.internal(kind),
                });
                return v1::Answer { correlation: submission.correlation, what };
            }
            None => panic!("nothing is asked"),
        };
        let request = convert::request_from_bytes(bytes).expect("a request");
        let mut line = format!("{:?} {} by {}", request.method, request.target, request.requesting_entity.0);
        if request.reference_point == ReferencePoint::Mid {
            line.push_str(" over Mid");
        }
        self.seen.lock().expect("no panic").push(line);
        if let Body::Malformed(refusal) = request.body {
            let what = Some(answer::What::Response(convert::response_to_bytes(&refusal.into())));
            return v1::Answer { correlation: submission.correlation, what };
        }
        if let (Method::Retrieve, [collection, id]) = (request.method, request.target.segments())
            && collection == "scls"
        {
            let mut scl = Representation::new(ResourceType::Scl);
            scl.set("sclId", Value::Text(id.clone()));
            scl.set("link", Value::Text(format!("http://{id}.example.org/m2m")));
            let response = ResponsePrimitive {
                body: Body::Representation(scl),
                ..ResponsePrimitive::status(StatusCode::Ok)
            };
            let what = Some(answer::What::Response(convert::response_to_bytes(&response)));
            return v1::Answer { correlation: submission.correlation, what };
        }
        if request.method == Method::Retrieve {
            let listed = convert::response_to_bytes(&self.listed(&request.listing));
            return v1::Answer {
                correlation: submission.correlation,
                what: Some(answer::What::Response(listed)),
            };
        }
        let response = ResponsePrimitive {
            resource_uri: Some(format!("/m2m{}/ci-1", request.target)),
            ..ResponsePrimitive::status(StatusCode::Created)
        };
        let what = Some(answer::What::Response(convert::response_to_bytes(&response)));
        v1::Answer { correlation: submission.correlation, what }
    }
}

fn sha256(token: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

#[tonic::async_trait]
impl submit_server::Submit for Node {
    type StreamStream = Streamed<v1::AnswerFrame>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::SubmitFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let node = self.clone();
        let submissions = request
            .into_inner()
            .flat_map(|frame| stream::iter(frame.map(|frame| frame.submissions).unwrap_or_default()));
        let answers = submissions.map(move |one| {
            let node = node.clone();
            async move { Ok(v1::AnswerFrame { answers: vec![node.answer(one).await] }) }
        });
        let answers = answers.buffer_unordered(64);
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl directory_server::Directory for Node {
    type WatchStream = Streamed<v1::DirectoryState>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut first = self.map.subscribe();
        first.mark_changed();
        let states = stream::unfold(first, |mut states| async move {
            let state = states.wait_for(|state| state.epoch > 0).await.ok()?.clone();
            states.mark_unchanged();
            Some((Ok(state), states))
        });
        // One is all there ever is.
        Ok(Response::new(Box::pin(states.take(1).chain(stream::pending()))))
    }

    async fn identify(&self, _: Request<v1::IdentifyRequest>) -> Result<Response<v1::NodeInfo>, Status> {
        Err(Status::unimplemented("not asked by edges"))
    }

    async fn join(&self, _: Request<v1::NodeInfo>) -> Result<Response<v1::JoinReply>, Status> {
        Err(Status::unimplemented("not asked by edges"))
    }
}

#[tonic::async_trait]
impl egress_server::Egress for Node {
    type StreamStream = Streamed<v1::NodeToEdge>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::EdgeToNode>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut frames = request.into_inner();
        let (outgoing, jobs) = mpsc::channel(1);
        let node = self.clone();
        tokio::spawn(async move {
            let mut waiting = node.waiting_jobs.lock().await;
            loop {
                tokio::select! {
                    Some(job) = waiting.recv() => {
                        let frame = Ok(v1::NodeToEdge { job: Some(job) });
                        outgoing.send(frame).await.expect("an edge");
                    }
                    frame = frames.message() => match frame {
                        Ok(Some(v1::EdgeToNode { what: Some(edge_to_node::What::Result(result)) })) => {
                            node.results.send(result).await.expect("the node lives");
                        }
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => return,
                    },
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(jobs))))
    }
}
