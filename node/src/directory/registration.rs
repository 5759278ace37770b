//! Members come in, and keep their own entry true: a node whose address, zone or release changed says so.

use super::{Directory, DirectoryError, Neighbours, founding::propose};
use banyan_model::placement::NodeId;
use banyan_proto::v1;
use banyan_raft::Group;
use std::{convert::Infallible, time::Duration};
use v1::directory_command::Kind;

const PAUSE: Duration = Duration::from_secs(1);

impl Directory {
    /// Answers a node that asks to be let in, or says that its entry has changed. Only the leader of group 0 lets it
    /// in; every other member names the leader.
    pub async fn admit(&self, node: v1::NodeInfo) -> v1::JoinReply {
        let cluster = self.cluster();
        let refuse = |why: &str, leader_address| v1::JoinReply {
            accepted: false,
            why: why.to_owned(),
            leader_address,
            cluster,
        };
        let Some(group) = self.group() else { return refuse("not ready", String::new()) };
        if node.cluster != cluster {
            return refuse("another cluster", String::new());
        }
        let leadership = *group.leadership().borrow();
        if !leadership.ready {
            let leader = leadership.leader.filter(|leader| *leader != self.node().0);
            let address = leader.and_then(|leader| self.peers().borrow().get(&NodeId(leader)).cloned());
            return refuse("not the leader", address.unwrap_or_default());
        }
        let status = group.status();
        let member = status.voters.contains(&node.node) || status.learners.contains(&node.node);
        let id = node.node;
        if let Err(error) = propose(group, Kind::UpsertMember(node)).await {
            return refuse(&error.to_string(), String::new());
        }
        if !member && let Err(error) = group.add_learner(id).await {
            return refuse(&error.to_string(), String::new());
        }
        v1::JoinReply { accepted: true, why: String::new(), leader_address: String::new(), cluster }
    }

    /// Whenever the directory says something else of this node than what is so, asks the leader to put it right.
    pub(super) async fn keep_registered<N: Neighbours>(
        &self,
        group: &Group,
        neighbours: &N,
    ) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        loop {
            let known = views.borrow_and_update().as_ref().map(|view| self.is_known(&view.state));
            if known == Some(false) {
                self.register(group, neighbours).await;
                tokio::time::sleep(PAUSE).await;
            } else {
                views.changed().await.map_err(|_| DirectoryError::Stopped)?;
            }
        }
    }

    fn is_known(&self, state: &v1::DirectoryState) -> bool {
        let me = self.info();
        let same = |known: &v1::NodeInfo| {
            known.address == me.address && known.zone == me.zone && known.version == me.version
        };
        state.members.iter().find(|member| member.node == me.node).is_some_and(same)
    }

    async fn register<N: Neighbours>(&self, group: &Group, neighbours: &N) {
        let reply = match group.leader() {
            Some(leader) if leader == self.node().0 => self.admit(self.info()).await,
            Some(leader) => {
                let Some(address) = self.peers().borrow().get(&NodeId(leader)).cloned() else { return };
                match neighbours.join(&address, self.info()).await {
                    Ok(reply) => reply,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "not registered yet");
                        return;
                    }
                }
            }
            None => return,
        };
        if !reply.accepted {
            tracing::warn!(why = reply.why, "not registered yet");
        }
    }
}
