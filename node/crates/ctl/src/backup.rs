//! `banyan ctl backup` and `banyan ctl verify`: the state of every shard and of the keys' group in a folder, while the
//! cluster serves.
//!
//! Each group is copied by its leader, one after the other, at an entry of its own: a backup is exact for each shard, and
//! its shards are as far apart as the backup took. Whatever was acknowledged before it began is in it. The directory itself
//! is not copied: the manifest has what a new cluster takes of it.

use crate::{CtlError, NodeArguments, TIMEOUT, table};
use banyan_backup::{About, Backup, Draft, Part, PartFile, Settings, Slots};
use banyan_model::Timestamp;
use banyan_proto::v1::{
    CopyRequest, CopyStart, DirectoryState, NodeStatus, ShardInfo, admin_client::AdminClient,
    copy_piece::Kind,
};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Status, Streaming, transport::Channel};

/// How long a group may have no leader, or one that is busy with another copy, before the backup is given up.
const LEADER_WITHIN: Duration = Duration::from_secs(60);
/// Before the members are asked again who leads.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a copy that broke off is begun again.
const TRIES: u32 = 3;

/// Makes a backup.
pub(crate) async fn run(folder: &Path, node: &NodeArguments) -> Result<(), CtlError> {
    let mut draft = Draft::begin(folder)?;
    let begun = now();
    let mut members = Members::find(node).await?;
    let directory = members.directory().ok_or_else(|| CtlError::NotFounded(node.node.clone()))?;
    let settings = directory.settings.clone().unwrap_or_default();
    let settings = Settings {
        scl_id: settings.scl_id,
        scl_base: settings.scl_base,
        authorities: settings.authorities,
        replication_factor: settings.replication_factor,
        founded_at_ms: settings.founded_at_ms,
    };
    for shard in &directory.shards {
        let slots = Slots { first_slot: shard.first_slot, last_slot: shard.last_slot };
        let file = format!("shard-{}.snapshot", shard.shard);
        group(&mut draft, &mut members, directory.cluster, (shard, Some(slots)), file).await?;
    }
    if let Some(keys) = &directory.keys {
        group(&mut draft, &mut members, directory.cluster, (keys, None), "keys.snapshot".to_owned()).await?;
    }
    // What a shard owns is told by the map, what is in its file by the shard: they must have meant the same all the time.
    members.ask().await;
    let after = members.directory().ok_or_else(|| CtlError::Timeout(node.node.clone()))?;
    if slots(&after) != slots(&directory) || after.cluster != directory.cluster {
        return Err(CtlError::ShardsChanged);
    }
    let about = About::new(directory.cluster, env!("CARGO_PKG_VERSION"), begun, settings);
    print!("{}", table::backup(&draft.finish(about, now())?));
    Ok(())
}

/// Checks a backup; says what is wrong with each file.
pub(crate) fn verify(folder: &Path) -> Result<(), CtlError> {
    let backup = Backup::open(folder)?;
    let faults = backup.faults();
    if faults.is_empty() {
        print!("{}", table::backup(backup.manifest()));
        return Ok(());
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    Err(CtlError::Faults(faults.len()))
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn slots(directory: &DirectoryState) -> Vec<(u64, u64, u64)> {
    directory.shards.iter().map(|shard| (shard.shard, shard.first_slot, shard.last_slot)).collect()
}

/// The members of the cluster, and what each said last.
struct Members<'a> {
    node: &'a NodeArguments,
    addresses: BTreeSet<String>,
    said: Vec<NodeStatus>,
}

impl<'a> Members<'a> {
    /// All that the node knows, asked.
    async fn find(node: &'a NodeArguments) -> Result<Members<'a>, CtlError> {
        let first = node.ask(TIMEOUT, None).await?;
        let known = first.directory.map(|directory| directory.members).unwrap_or_default();
        let mut addresses: BTreeSet<String> = known.into_iter().map(|member| member.address).collect();
        if addresses.is_empty() {
            addresses.insert(node.node.clone());
        }
        let mut members = Members { node, addresses, said: Vec::new() };
        members.ask().await;
        Ok(members)
    }

    fn at(&self, address: &str) -> NodeArguments {
        NodeArguments { node: address.to_owned(), ..self.node.clone() }
    }

    /// Asks all of them at once. Who does not answer leads nothing now.
    async fn ask(&mut self) {
        let mut asked = JoinSet::new();
        for address in &self.addresses {
            let member = self.at(address);
            asked.spawn(async move { member.ask(TIMEOUT, None).await });
        }
        self.said.clear();
        while let Some(answer) = asked.join_next().await {
            self.said.extend(answer.ok().and_then(Result::ok));
        }
    }

    /// The directory as the member has it that knows most.
    fn directory(&self) -> Option<DirectoryState> {
        let known = self.said.iter().filter_map(|member| member.directory.as_ref());
        known.max_by_key(|directory| directory.epoch).cloned()
    }

    /// The member that says it leads a group, in the newest term.
    fn leader(&self, group: u64) -> Option<NodeArguments> {
        let leads = |member: &NodeStatus| {
            let led = member.groups.iter().find(|one| one.group == group && one.role == "Leader")?;
            Some((led.term, member.node.as_ref()?.address.clone()))
        };
        self.said.iter().filter_map(leads).max().map(|(_, address)| self.at(&address))
    }
}

/// Copies one group into a file, from whoever leads it.
async fn group(
    draft: &mut Draft,
    members: &mut Members<'_>,
    cluster: u64,
    (group, slots): (&ShardInfo, Option<Slots>),
    file: String,
) -> Result<(), CtlError> {
    let group = group.shard;
    let (mut refused, mut broken) = (None, 0);
    loop {
        // From its beginning each time: another leader's copy is another one.
        let mut out = draft.file(&file)?;
        let copied = match members.leader(group) {
            Some(leader) => copy(&leader, group, &mut out).await,
            None => Err(CtlError::NoLeader(group)),
        };
        match copied {
            Ok(start) if start.cluster == cluster => {
                let (term, index) = (start.term, start.index);
                let part = Part { group, slots, term, index, file, bytes: 0, sha256: String::new() };
                return Ok(draft.add(out, part)?);
            }
            Ok(_) => return Err(CtlError::ShardsChanged),
            Err(error) if is_for_now(&error) => {
                let since = *refused.get_or_insert_with(Instant::now);
                if since.elapsed() > LEADER_WITHIN {
                    return Err(error);
                }
            }
            Err(error @ CtlError::Broken { .. }) if broken < TRIES => {
                eprintln!("{error}; it is begun again");
                (refused, broken) = (None, broken + 1);
            }
            Err(error) => return Err(error),
        }
        sleep(PAUSE).await;
        members.ask().await;
    }
}

/// Another member may lead in a moment, or the same one have time.
fn is_for_now(error: &CtlError) -> bool {
    match error {
        CtlError::NoLeader(_) | CtlError::Transport { .. } => true,
        CtlError::Refused { status, .. } => {
            matches!(status.code(), Code::FailedPrecondition | Code::Unavailable)
        }
        _ => false,
    }
}

async fn copy(from: &NodeArguments, group: u64, out: &mut PartFile) -> Result<CopyStart, CtlError> {
    // Without an end: a large shard is copied for minutes before its first octet comes. That the node is there is what the
    // connection's own signs of life tell.
    let mut admin = AdminClient::new(from.connect().await?);
    let mut pieces = asked(&mut admin, group).await.map_err(|status| from.refused(status))?;
    let broken = |why: String| CtlError::Broken { group, node: from.node.clone(), why };
    let next = async |pieces: &mut Streaming<_>| match pieces.message().await {
        Ok(piece) => Ok(piece),
        Err(status) => Err(broken(status.message().to_owned())),
    };
    let mut start = None;
    while let Some(piece) = next(&mut pieces).await? {
        match (piece.kind, &start) {
            (Some(Kind::Start(this)), None) => start = Some(this),
            (Some(Kind::Data(data)), Some(_)) => out.write(&data)?,
            _ => return Err(from.unexpected()),
        }
    }
    let start = start.ok_or_else(|| broken("nothing came".to_owned()))?;
    let written = out.written();
    if (written.bytes, written.crc32()) != (start.bytes, start.crc32) {
        return Err(broken(format!("{} of {} bytes came", written.bytes, start.bytes)));
    }
    Ok(start)
}

async fn asked(
    admin: &mut AdminClient<Channel>,
    group: u64,
) -> Result<Streaming<banyan_proto::v1::CopyPiece>, Status> {
    Ok(admin.copy(CopyRequest { group }).await?.into_inner())
}
