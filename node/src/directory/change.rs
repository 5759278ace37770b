//! What an operator wants placed otherwise: checked against what is, then proposed by the directory's leader.

use super::{Directory, View, founding::propose};
use banyan_model::placement::{NodeId, Shard};
use banyan_proto::v1::{self, directory_command::Kind, place_question};
use banyan_raft::ProposeError;

/// Why a placement is not changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeRefused {
    /// The directory's leader must be asked.
    #[error("this node does not lead the directory")]
    NotLeader {
        /// Its address, if it is known.
        leader: Option<String>,
    },
    /// It cannot be, and what to do instead.
    #[error("{0}")]
    Refused(String),
    /// It may or may not have been written down: ask again.
    #[error("the directory's log did not take it: {0}")]
    Unknown(ProposeError),
}

impl Directory {
    /// Writes down what an operator wants; it is carried out afterwards. Asking again for what is so already is no
    /// error.
    ///
    /// # Errors
    /// [`ChangeRefused`]; then nothing is done.
    pub async fn change(&self, question: v1::PlaceQuestion) -> Result<(), ChangeRefused> {
        let nobody = ChangeRefused::NotLeader { leader: None };
        let Some(group) = self.group() else { return Err(nobody) };
        let leadership = *group.leadership().borrow();
        if !leadership.ready {
            return Err(ChangeRefused::NotLeader { leader: self.address_of_other(leadership.leader) });
        }
        let views = self.views();
        let Some(view) = views.borrow().clone() else { return Err(nobody) };
        if !view.is_of_one_release() {
            return Err(refused("members run different releases: finish the upgrade first"));
        }
        let Some(command) = command(&view, question)? else { return Ok(()) };
        propose(group, command).await.map_err(ChangeRefused::Unknown)?;
        let now = views.borrow().clone();
        match now.filter(|now| now.state.epoch == view.state.epoch) {
            Some(_) => Err(refused("the directory changed at the same time: ask again")),
            None => Ok(()),
        }
    }
}

/// The command that does it; `None`: it is so already.
fn command(view: &View, question: v1::PlaceQuestion) -> Result<Option<Kind>, ChangeRefused> {
    match question.kind.ok_or_else(|| refused("nothing is asked"))? {
        place_question::Kind::Prefer(v1::ReplicaOf { shard, node }) => prefer(view, shard, NodeId(node)),
        place_question::Kind::Release(shard) => release(view, shard),
        place_question::Kind::Move(v1::MoveReplica { shard, from, to }) => {
            move_replica(view, shard, NodeId(from), NodeId(to))
        }
        place_question::Kind::Drain(drain) => self::drain(view, drain),
        place_question::Kind::Remove(remove) => self::remove(view, remove),
    }
}

fn prefer(view: &View, shard: u64, node: NodeId) -> Result<Option<Kind>, ChangeRefused> {
    let shard = find(view, shard)?;
    known(view, node)?;
    if !shard.replicas.contains(&node) {
        return Err(refused(format!(
            "node {:016x} has no replica of shard {}: move one there first",
            node.0, shard.id.0
        )));
    }
    stays(view, node)?;
    let led = Shard { pinned: true, ..shard.led_by(node) };
    Ok((led != *shard).then(|| place(shard, &led)))
}

fn release(view: &View, shard: u64) -> Result<Option<Kind>, ChangeRefused> {
    let shard = find(view, shard)?;
    Ok(shard.pinned.then(|| place(shard, &Shard { pinned: false, ..shard.clone() })))
}

fn move_replica(view: &View, shard: u64, from: NodeId, to: NodeId) -> Result<Option<Kind>, ChangeRefused> {
    let shard = find(view, shard)?;
    known(view, to)?;
    let (has_from, has_to) = (shard.replicas.contains(&from), shard.replicas.contains(&to));
    match (has_from, has_to) {
        (false, true) => return Ok(None),
        (false, false) => {
            return Err(refused(format!("node {:016x} has no replica of shard {}", from.0, shard.id.0)));
        }
        (true, true) => {
            return Err(refused(format!("node {:016x} has a replica of shard {} already", to.0, shard.id.0)));
        }
        (true, false) => {}
    }
    if shard.moving {
        return Err(refused(format!("shard {} is moving: wait until it has arrived", shard.id.0)));
    }
    stays(view, to)?;
    if shard.former.contains(&to) {
        return Err(refused(format!(
            "node {:016x} had a replica of shard {} a moment ago: wait until it is removed",
            to.0, shard.id.0
        )));
    }
    let replicas = shard.replicas.iter().map(|node| if *node == from { to } else { *node }).collect();
    Ok(Some(place(shard, &shard.placed(replicas))))
}

fn drain(view: &View, drain: v1::DrainMember) -> Result<Option<Kind>, ChangeRefused> {
    known(view, NodeId(drain.node))?;
    if view.state.draining.contains(&drain.node) == drain.draining {
        return Ok(None);
    }
    let left =
        view.map.members.keys().filter(|node| node.0 != drain.node && !view.state.draining.contains(&node.0));
    let (left, needed) = (left.count(), most_replicas(view));
    if drain.draining && left < needed {
        return Err(refused(format!(
            "{left} nodes would be left for {needed} replicas of each shard: add a node first"
        )));
    }
    Ok(Some(Kind::Drain(drain)))
}

fn remove(view: &View, remove: v1::RemoveMember) -> Result<Option<Kind>, ChangeRefused> {
    if view.state.removed.contains(&remove.node) {
        return Ok(None);
    }
    let node = NodeId(remove.node);
    known(view, node)?;
    let left = view.placed().filter(|shard| shard.is_on(node)).count();
    if left > 0 {
        return Err(refused(format!("node {:016x} has {left} replicas: drain it first", node.0)));
    }
    if !view.state.draining.contains(&node.0) {
        return Err(refused(format!("node {:016x} may get replicas at any time: drain it first", node.0)));
    }
    Ok(Some(Kind::Remove(remove)))
}

fn most_replicas(view: &View) -> usize {
    view.placed().map(|shard| shard.replicas.len()).max().unwrap_or_default()
}

fn find(view: &View, id: u64) -> Result<&Shard, ChangeRefused> {
    view.placed().find(|shard| shard.id.0 == id).ok_or_else(|| refused(format!("there is no shard {id}")))
}

fn known(view: &View, node: NodeId) -> Result<(), ChangeRefused> {
    match view.map.members.contains_key(&node) {
        true => Ok(()),
        false => Err(refused(format!("there is no node {:016x} in this cluster", node.0))),
    }
}

fn stays(view: &View, node: NodeId) -> Result<(), ChangeRefused> {
    match view.state.draining.contains(&node.0) {
        true => Err(refused(format!("node {:016x} is being drained", node.0))),
        false => Ok(()),
    }
}

fn place(from: &Shard, to: &Shard) -> Kind {
    Kind::Place(v1::PlaceShard { from: Some(from.into()), to: Some(to.into()) })
}

fn refused(why: impl Into<String>) -> ChangeRefused {
    ChangeRefused::Refused(why.into())
}
