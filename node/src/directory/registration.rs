//! Members come in, and keep their own entry true: a node whose address, zone or release changed says so.

use super::{Directory, DirectoryError, FoundingError, Neighbours, founding::propose};
use banyan_model::placement::NodeId;
use banyan_proto::v1;
use banyan_raft::Group;
use std::{
    convert::Infallible,
    time::{Duration, Instant},
};
use v1::directory_command::Kind;

const PAUSE: Duration = Duration::from_secs(1);
/// A directory that has no leader for so long may have one that does not talk to us.
const LEADERLESS: Duration = Duration::from_secs(5);

impl Directory {
    /// The address of a leader that is not this node.
    pub(super) fn address_of_other(&self, leader: Option<u64>) -> Option<String> {
        let other = NodeId(leader.filter(|leader| *leader != self.node().0)?);
        self.peers().borrow().get(&other).cloned()
    }

    /// Answers a node that asks to be let in, or says that its entry has changed. Only the leader of group 0 lets it
    /// in; every other member names the leader.
    pub async fn admit(&self, node: v1::NodeInfo) -> v1::JoinReply {
        let cluster = self.cluster();
        let refuse = |why: &str, leader_address| v1::JoinReply {
            accepted: false,
            why: why.to_owned(),
            leader_address,
            cluster,
            r#final: false,
        };
        let Some(group) = self.group() else { return refuse("not ready", String::new()) };
        if node.cluster != cluster {
            return refuse("another cluster", String::new());
        }
        if self.is_removed(NodeId(node.node)) {
            let why = "the node was removed from the cluster; with an empty folder it may join as a new one";
            return v1::JoinReply { r#final: true, ..refuse(why, String::new()) };
        }
        let leadership = *group.leadership().borrow();
        if !leadership.ready {
            let address = self.address_of_other(leadership.leader);
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
        v1::JoinReply { accepted: true, cluster, ..Default::default() }
    }

    /// Whenever the directory says something else of this node than what is so, asks the leader to put it right.
    pub(super) async fn keep_registered<N: Neighbours>(
        &self,
        group: &Group,
        neighbours: &N,
    ) -> Result<Infallible, DirectoryError> {
        let mut views = self.views();
        let mut leaderless = None;
        loop {
            // The last leader that a removed node has heard of stays its leader for ever.
            let is_reachable = |leader: u64| leader == self.node().0 || self.inner.groups.is_up(leader);
            if group.leader().is_some_and(is_reachable) {
                leaderless = None;
            } else if leaderless.get_or_insert_with(Instant::now).elapsed() >= LEADERLESS {
                self.check_membership(neighbours).await?;
                leaderless = Some(Instant::now());
            }
            let known = views.borrow_and_update().as_ref().map(|view| self.is_known(&view.state));
            if known == Some(false) {
                self.register(group, neighbours).await?;
                tokio::time::sleep(PAUSE).await;
            } else {
                tokio::select! {
                    changed = views.changed() => changed.map_err(|_| DirectoryError::Stopped)?,
                    () = tokio::time::sleep(LEADERLESS) => {}
                }
            }
        }
    }

    /// A node that was removed while it was away hears nothing any more, not even that. So it asks.
    async fn check_membership<N: Neighbours>(&self, neighbours: &N) -> Result<(), DirectoryError> {
        let peers = self.peers().borrow().clone();
        for address in peers.into_values() {
            match neighbours.join(&address, self.info()).await {
                Ok(reply) if reply.r#final => {
                    return Err(FoundingError::Refused { address, why: reply.why }.into());
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a member does not answer");
                }
            }
        }
        Ok(())
    }

    fn is_known(&self, state: &v1::DirectoryState) -> bool {
        let me = self.info();
        let same = |known: &v1::NodeInfo| {
            known.address == me.address && known.zone == me.zone && known.version == me.version
        };
        state.members.iter().find(|member| member.node == me.node).is_some_and(same)
    }

    async fn register<N: Neighbours>(&self, group: &Group, neighbours: &N) -> Result<(), DirectoryError> {
        let (reply, address) = match group.leader() {
            Some(leader) if leader == self.node().0 => (self.admit(self.info()).await, self.info().address),
            Some(leader) => {
                let Some(address) = self.peers().borrow().get(&NodeId(leader)).cloned() else {
                    return Ok(());
                };
                match neighbours.join(&address, self.info()).await {
                    Ok(reply) => (reply, address),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "not registered yet");
                        return Ok(());
                    }
                }
            }
            None => return Ok(()),
        };
        if reply.r#final {
            return Err(FoundingError::Refused { address, why: reply.why }.into());
        }
        if !reply.accepted {
            tracing::warn!(why = reply.why, "not registered yet");
        }
        Ok(())
    }
}
