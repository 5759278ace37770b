//! `banyan ctl shard` and `banyan ctl node`: where replicas are, who leads, and how a member is taken away.
//!
//! The directory's leader writes a wish down, and the nodes carry it out; a command that waits looks on until it is so.
//! To be interrupted meanwhile changes nothing: asked again, it goes on to look.

use crate::{CtlError, NodeArguments, TIMEOUT};
use banyan_proto::v1::{
    DirectoryState, DrainMember, MoveReplica, NodeInfo, PlaceQuestion, RemoveMember, ReplicaOf, ShardInfo,
    place_question::Kind,
};
use clap::{Args, Subcommand};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// The member asked first names the directory's leader, which may be another one by then.
const ASKED_MAX: usize = 50;

/// Shards of the cluster.
#[derive(Subcommand, Debug)]
pub(crate) enum ShardCommand {
    /// Has a replica of a shard lead it, now and whenever it is up, until `release`.
    ///
    /// Example: banyan ctl shard transfer 3 node-1:7000
    Transfer {
        /// The shard's number, as `banyan ctl status` shows it.
        shard: u64,
        /// The member: its number or its host:port.
        to: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Leaves it to the cluster again who leads a shard, after a transfer.
    Release {
        /// The shard's number.
        shard: u64,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Moves a replica of a shard from one member to another.
    ///
    /// Example: banyan ctl shard move 3 --from node-1:7000 --to node-4:7000
    Move {
        /// The shard's number, as `banyan ctl status` shows it.
        shard: u64,
        /// The member that has the replica: its number or its host:port.
        #[arg(long)]
        from: String,
        /// The member that shall have it.
        #[arg(long)]
        to: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        node: NodeArguments,
    },
}

/// Members of the cluster.
#[derive(Subcommand, Debug)]
pub(crate) enum NodeCommand {
    /// Empties a member: first it leads nothing any more, then its replicas go elsewhere.
    ///
    /// Example: banyan ctl node drain node-4:7000
    Drain {
        /// The member: its number or its host:port.
        member: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Lets a member that is being emptied, or is empty, get replicas again.
    Undrain {
        /// The member: its number or its host:port.
        member: String,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Empties a member, dead or alive, and takes it off the list for good: it may come back only as a new one.
    ///
    /// Example: banyan ctl node remove 0123456789abcdef
    Remove {
        /// The member: its number or its host:port.
        member: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        node: NodeArguments,
    },
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// How long to look on until it is done, in seconds; it goes on all the same. 0: not at all.
    #[arg(long, default_value_t = 600)]
    wait_s: u64,
}

pub(crate) async fn shard(command: ShardCommand) -> Result<(), CtlError> {
    match command {
        ShardCommand::Transfer { shard, to, wait, node } => {
            let to = member(&directory(&node).await?, &to)?;
            place(&node, Kind::Prefer(ReplicaOf { shard, node: to.node })).await?;
            let there = NodeArguments { node: to.address.clone(), ..node };
            wait.until("the replica does not lead yet", async || {
                let groups = there.ask(TIMEOUT, None).await?.groups;
                let leads = groups.iter().any(|group| group.group == shard && group.role == "Leader");
                Ok(if leads { Progress::Done } else { Progress::Left(String::new()) })
            })
            .await?;
            println!("shard {shard} is led by {:016x} at {}", to.node, to.address);
        }
        ShardCommand::Release { shard, node } => {
            place(&node, Kind::Release(shard)).await?;
            println!("shard {shard} is led by whom the cluster chooses");
        }
        ShardCommand::Move { shard, from, to, wait, node } => {
            let state = directory(&node).await?;
            let (from, to) = (member(&state, &from)?, member(&state, &to)?);
            place(&node, Kind::Move(MoveReplica { shard, from: from.node, to: to.node })).await?;
            wait.until("the replica has not arrived yet", async || {
                let state = directory(&node).await?;
                let moving = shards(&state).any(|one| one.shard == shard && one.moving);
                Ok(if moving { Progress::Left(String::new()) } else { Progress::Done })
            })
            .await?;
            println!("shard {shard} has a replica at {}", to.address);
        }
    }
    Ok(())
}

pub(crate) async fn node(command: NodeCommand) -> Result<(), CtlError> {
    match command {
        NodeCommand::Drain { member, wait, node } => {
            let member = self::member(&directory(&node).await?, &member)?;
            drain(&node, &member, wait).await?;
            println!("{:016x} at {} has no replica", member.node, member.address);
        }
        NodeCommand::Undrain { member, node } => {
            let member = self::member(&directory(&node).await?, &member)?;
            place(&node, Kind::Drain(DrainMember { node: member.node, draining: false })).await?;
            println!("{:016x} at {} may get replicas", member.node, member.address);
        }
        NodeCommand::Remove { member, wait, node } => {
            let member = self::member(&directory(&node).await?, &member)?;
            drain(&node, &member, wait).await?;
            place(&node, Kind::Remove(RemoveMember { node: member.node })).await?;
            println!("{:016x} at {} is no member any more", member.node, member.address);
        }
    }
    Ok(())
}

async fn drain(node: &NodeArguments, member: &NodeInfo, wait: Wait) -> Result<(), CtlError> {
    place(node, Kind::Drain(DrainMember { node: member.node, draining: true })).await?;
    let mut shown = usize::MAX;
    wait.until("replicas are left", async || {
        let state = directory(node).await?;
        let is_on = |shard: &&ShardInfo| {
            shard.replicas.contains(&member.node) || shard.leaving.contains(&member.node)
        };
        let left = shards(&state).filter(is_on).count();
        if left != shown {
            eprintln!("{left} replicas left at {}", member.address);
            shown = left;
        }
        Ok(if left == 0 { Progress::Done } else { Progress::Left(format!("{left} ")) })
    })
    .await
}

enum Progress {
    Done,
    Left(String),
}

impl Wait {
    /// Looks again and again. A node that does not answer for a moment is asked again.
    async fn until(
        self,
        what: &'static str,
        mut look: impl AsyncFnMut() -> Result<Progress, CtlError>,
    ) -> Result<(), CtlError> {
        let until = Instant::now() + Duration::from_secs(self.wait_s);
        if self.wait_s == 0 {
            return Ok(());
        }
        loop {
            let seen = look().await;
            if matches!(seen, Ok(Progress::Done)) {
                return Ok(());
            }
            if Instant::now() >= until {
                let left =
                    seen.map(|seen| if let Progress::Left(left) = seen { left } else { String::new() })?;
                return Err(CtlError::NotDone(format!("{left}{what}")));
            }
            sleep(LOOK).await;
        }
    }
}

/// Has the directory's leader write it down, whoever that is.
async fn place(node: &NodeArguments, kind: Kind) -> Result<(), CtlError> {
    let mut at = node.clone();
    for _ in 0..ASKED_MAX {
        let question = PlaceQuestion { kind: Some(kind) };
        let answer = at.within(TIMEOUT, async |mut admin| admin.place(question).await).await?;
        if !answer.refused.is_empty() {
            return Err(CtlError::NotPlaced(answer.refused));
        }
        if !answer.not_leader {
            return Ok(());
        }
        if answer.leader_address.is_empty() {
            // An election takes a second or two.
            sleep(LOOK).await;
        } else {
            at.node = answer.leader_address;
        }
    }
    Err(CtlError::NotPlaced("nobody leads the directory: a majority of its voters is needed".to_owned()))
}

async fn directory(node: &NodeArguments) -> Result<DirectoryState, CtlError> {
    let status = node.ask(TIMEOUT, None).await?;
    status.directory.ok_or_else(|| CtlError::NotFounded(node.node.clone()))
}

fn shards(state: &DirectoryState) -> impl Iterator<Item = &ShardInfo> {
    state.shards.iter().chain(&state.keys)
}

/// A member by its number or address.
fn member(state: &DirectoryState, name: &str) -> Result<NodeInfo, CtlError> {
    let number = u64::from_str_radix(name, 16).ok();
    let is_it = |member: &&NodeInfo| member.address == name || Some(member.node) == number;
    state.members.iter().find(is_it).cloned().ok_or_else(|| CtlError::NoSuchMember(name.to_owned()))
}
