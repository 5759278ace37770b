//! Nodes that only pretend: tonic servers in this process that answer as a script says and remember what they saw.

use banyan_client::{Client, Config};
use banyan_model::{
    Body, Entity, Method, Path, RequestPrimitive, ResponsePrimitive, StatusCode,
    placement::{NodeId, ShardMap},
};
use banyan_proto::{
    convert,
    v1::{self, answer, directory_server, submission, submit_server},
};
use futures_util::{Stream, StreamExt, stream};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// What a node does with a submission.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Carries it out and says so.
    Do,
    /// Names another leader; 0: knows none.
    NotLeader(u64),
    /// Has no room.
    Busy(u32),
    /// Never answers.
    Silence,
    /// Does not know what became of it.
    Unknown,
    /// Would never take it.
    Refuse,
    /// Breaks the stream.
    Break,
    /// Carries it out, then does the other thing.
    DoBut(Box<Act>),
    /// Answers something of a later release.
    Strange,
    /// Answers bytes that are no response.
    Garbage,
}

pub(crate) fn done_but(act: Act) -> Act {
    Act::DoBut(Box::new(act))
}

/// One submission as a node saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) node: u64,
    pub(crate) shard: u64,
    pub(crate) id: Option<(u64, u64)>,
    pub(crate) acked_below: u64,
    /// requestingEntity: the tests' name for a request.
    pub(crate) by: String,
    pub(crate) target: String,
    pub(crate) body: Body,
}

type Chooser = Box<dyn Fn(&Seen, usize) -> Act + Send>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) leader: u64,
    /// What each node does next; then: the leader does it, the others name the leader.
    pub(crate) script: HashMap<u64, VecDeque<Act>>,
    /// Decides instead of the script, by what was seen and how often.
    pub(crate) chooser: Option<Chooser>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) frames: usize,
    /// Whose request was carried out.
    pub(crate) done: BTreeSet<String>,
}

#[derive(Clone)]
pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
    map: watch::Sender<v1::DirectoryState>,
    pub(crate) addresses: Vec<String>,
}

#[derive(Clone)]
struct Node {
    number: u64,
    cluster: Cluster,
}

impl Cluster {
    /// Nodes 1 to 3, one shard on all of them, node 2 leads.
    pub(crate) async fn of_three() -> Cluster {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let address = |listener: &TcpListener| listener.local_addr().expect("bound").to_string();
        let addresses: Vec<String> = listeners.iter().map(address).collect();
        let state = State { leader: 2, ..State::default() };
        let cluster = Cluster {
            state: Arc::new(Mutex::new(state)),
            map: watch::Sender::new(map(1, 7, &addresses, 1)),
            addresses,
        };
        for (number, listener) in (1..).zip(listeners) {
            let node = Node { number, cluster: cluster.clone() };
            let serving = tonic::transport::Server::builder()
                .add_service(submit_server::SubmitServer::new(node.clone()))
                .add_service(directory_server::DirectoryServer::new(node))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::spawn(serving);
        }
        cluster
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    pub(crate) fn script(&self, node: u64, acts: impl IntoIterator<Item = Act>) {
        self.state().script.insert(node, acts.into_iter().collect());
    }

    pub(crate) fn publish(&self, state: v1::DirectoryState) {
        self.map.send_replace(state);
    }

    pub(crate) fn config(&self) -> Config {
        Config { nodes: self.addresses.clone(), ..Config::default() }
    }

    /// A client that has a stream to every node, so that what it does next is the script's doing.
    pub(crate) async fn client(&self) -> Client {
        self.client_with(self.config()).await
    }

    pub(crate) async fn client_with(&self, config: Config) -> Client {
        let client = Client::new(config).expect("a sound configuration");
        // Everybody is asked in turn until the leader is found, so a request finds out who is up.
        until(|| client.ready()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        client
    }
}

/// A directory's state with `count` shards on all nodes.
pub(crate) fn map(epoch: u64, cluster: u64, addresses: &[String], count: u64) -> v1::DirectoryState {
    let nodes: Vec<NodeId> = (1..).map(NodeId).take(addresses.len()).collect();
    let member = |(node, address): (&NodeId, &String)| v1::NodeInfo {
        node: node.0,
        address: address.clone(),
        cluster,
        ..Default::default()
    };
    v1::DirectoryState {
        cluster,
        epoch,
        members: nodes.iter().zip(addresses).map(member).collect(),
        shards: ShardMap::found(count, &nodes, nodes.len()).shards.iter().map(Into::into).collect(),
        settings: Some(v1::Settings { scl_base: "/m2m".to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("the condition never held");
}

pub(crate) fn request(by: &str, method: Method) -> RequestPrimitive {
    let target = Path::parse("containers/c/contentInstances").expect("a path");
    RequestPrimitive::new(method, target, Entity(by.to_owned()))
}

pub(crate) fn write(by: &str) -> RequestPrimitive {
    request(by, Method::Create)
}

pub(crate) fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::AnswerFrame, Status>> + Send>>;

#[tonic::async_trait]
impl submit_server::Submit for Node {
    type StreamStream = Answers;

    async fn stream(
        &self,
        request: Request<Streaming<v1::SubmitFrame>>,
    ) -> Result<Response<Answers>, Status> {
        let (answers, outgoing) = mpsc::channel(1_024);
        let node = self.clone();
        tokio::spawn(node.serve(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

impl Node {
    /// Ends when the script breaks the stream, or the client does.
    async fn serve(
        self,
        mut frames: Streaming<v1::SubmitFrame>,
        answers: mpsc::Sender<Result<v1::AnswerFrame, Status>>,
    ) {
        // Silence is no end of the stream.
        while let Ok(Some(frame)) = frames.message().await {
            self.cluster.state().frames += 1;
            for submission in frame.submissions {
                let correlation = submission.correlation;
                let (act, name) = self.see(submission);
                let Some(what) = self.act(act, &name) else { return };
                let Some(what) = what else { continue };
                let answers_of_one = vec![v1::Answer { correlation, what: what.0 }];
                if answers.send(Ok(v1::AnswerFrame { answers: answers_of_one })).await.is_err() {
                    return;
                }
            }
        }
    }

    fn see(&self, submission: v1::Submission) -> (Act, String) {
        let Some(submission::What::Request(bytes)) = submission.what else { panic!("an internal request") };
        let request = convert::request_from_bytes(bytes).expect("a request");
        let seen = Seen {
            node: self.number,
            shard: submission.shard,
            id: submission.id.map(|id| (id.session, id.sequence)),
            acked_below: submission.id.map_or(0, |id| id.acked_below),
            by: request.requesting_entity.0.clone(),
            target: request.target.to_string(),
            body: request.body,
        };
        let mut state = self.cluster.state();
        let times = state.seen.iter().filter(|earlier| earlier.by == seen.by).count();
        let usual = match state.leader {
            leader if leader == self.number => Act::Do,
            leader => Act::NotLeader(leader),
        };
        let act = match &state.chooser {
            Some(choose) => choose(&seen, times),
            None => state.script.get_mut(&self.number).and_then(VecDeque::pop_front).unwrap_or(usual),
        };
        let name = seen.by.clone();
        state.seen.push(seen);
        (act, name)
    }

    /// `None`: the stream breaks; `Some(None)`: silence.
    #[allow(clippy::option_option)]
    fn act(&self, act: Act, name: &str) -> Option<Option<(Option<answer::What>,)>> {
        let what = match act {
            Act::DoBut(act) => {
                self.cluster.state().done.insert(name.to_owned());
                return self.act(*act, name);
            }
            Act::Break => return None,
            Act::Silence => return Some(None),
            Act::Do => {
                self.cluster.state().done.insert(name.to_owned());
                let response = ResponsePrimitive {
                    info: format!("by node {}", self.number),
                    ..ResponsePrimitive::status(StatusCode::Created)
                };
                answer::What::Response(convert::response_to_bytes(&response))
            }
            Act::NotLeader(leader) => {
                answer::What::NotLeader(v1::NotLeader { shard: 1, leader, map_epoch: 1 })
            }
            Act::Busy(retry_after_ms) => {
                answer::What::Busy(v1::Busy { retry_after_ms, why: "full".to_owned() })
            }
            Act::Unknown => answer::What::OutcomeUnknown("lost the lead".to_owned()),
            Act::Refuse => answer::What::Refused("not yours to ask".to_owned()),
            Act::Garbage => answer::What::Response(vec![0xff; 9].into()),
            Act::Strange => return Some(Some((None,))),
        };
        Some(Some((Some(what),)))
    }
}

#[tonic::async_trait]
impl directory_server::Directory for Node {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::DirectoryState, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let after = request.into_inner().after_epoch;
        let mut first = self.cluster.map.subscribe();
        first.mark_changed();
        let states = stream::unfold(first, |mut states| async move {
            states.changed().await.ok()?;
            let state = states.borrow_and_update().clone();
            Some((state, states))
        });
        let newer = states.filter(move |state| std::future::ready(state.epoch > after)).map(Ok);
        Ok(Response::new(Box::pin(newer)))
    }

    async fn identify(&self, _: Request<v1::IdentifyRequest>) -> Result<Response<v1::NodeInfo>, Status> {
        Err(Status::unimplemented("not asked by clients"))
    }

    async fn join(&self, _: Request<v1::NodeInfo>) -> Result<Response<v1::JoinReply>, Status> {
        Err(Status::unimplemented("not asked by clients"))
    }

    async fn replicas(&self, _: Request<v1::ReplicasRequest>) -> Result<Response<v1::ReplicasReply>, Status> {
        Err(Status::unimplemented("not asked by clients"))
    }
}
