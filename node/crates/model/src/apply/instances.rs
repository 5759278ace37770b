//! The instances of one container: its limits, eviction, and the neighbours of what goes.

use super::writer::{Gone, INSTANCES, Writer};
use crate::{
    Path, Representation, Timestamp, TreeView, Value,
    key::{Key, Range},
    record::{Instance, InstancesState, Record, instance_sequence},
    time::XsdDuration,
};
use std::ops::ControlFlow;

/// What a container's attributes allow; zero, negative and absent mean no limit (procedures.md 5.2).
pub(super) struct Limits {
    count: Option<u64>,
    pub(super) bytes: Option<u64>,
    age: Option<XsdDuration>,
}

impl Limits {
    pub(super) fn of(container: &Representation) -> Limits {
        let positive = |name| container.long(name).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        let age = match container.get("maxInstanceAge") {
            Some(Value::Duration(age)) if !age.negative && (age.months > 0 || age.millis > 0) => Some(*age),
            _ => None,
        };
        Limits { count: positive("maxNrOfInstances"), bytes: positive("maxByteSize"), age }
    }

    /// When an instance created then is too old.
    fn due(&self, creation_time: Timestamp) -> Option<Timestamp> {
        self.age.and_then(|age| creation_time.checked_add(age))
    }

    fn exceeded_by(&self, state: &InstancesState) -> bool {
        self.count.is_some_and(|max| state.count > max) || self.bytes.is_some_and(|max| state.bytes > max)
    }
}

/// When the oldest instance falls due: the container's one entry in the expiry index.
pub(super) fn due<V: TreeView>(
    writer: &Writer<'_, V>,
    container: &Path,
    state: &InstancesState,
    limits: &Limits,
) -> Result<Option<Timestamp>, V::Error> {
    if limits.age.is_none() || state.count == 0 {
        return Ok(None);
    }
    let oldest = writer.tree().instance(container, state.oldest)?;
    Ok(oldest.and_then(|oldest| limits.due(oldest.creation_time)))
}

/// Moves that entry.
pub(super) fn rearm<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    before: Option<Timestamp>,
    after: Option<Timestamp>,
) {
    writer.rearm(&container.child(INSTANCES), before, after);
}

/// Takes the oldest instances out until the limits hold, at most `most`; how many went. Reads what it takes out and
/// the one after that, whatever the container holds.
pub(super) fn evict<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    state: &mut InstancesState,
    limits: &Limits,
    most: usize,
) -> Result<usize, V::Error> {
    if state.count == 0 || (limits.age.is_none() && !limits.exceeded_by(state)) {
        return Ok(0);
    }
    let at = writer.at;
    let (mut gone, mut kept, mut corrupt) = (Vec::new(), None, None);
    let all = Range::instances(container, state.oldest, state.next);
    writer.staged.scan(&all, false, &mut |key, record| {
        let Record::Instance(instance) = record else {
            corrupt = Some(writer.staged.corrupt(key));
            return ControlFlow::Break(());
        };
        let too_old = limits.due(instance.creation_time).is_some_and(|due| due <= at);
        if gone.len() >= most || !(too_old || limits.exceeded_by(state)) {
            kept = Some(instance.sequence);
            return ControlFlow::Break(());
        }
        release(state, &instance);
        gone.push(Gone::new(container, &instance));
        ControlFlow::Continue(())
    })?;
    if let Some(corrupt) = corrupt {
        return Err(corrupt);
    }
    state.oldest = kept.unwrap_or(0);
    if kept.is_none() {
        state.latest = 0;
    }
    for one in &gone {
        writer.delete_instance(container, one);
    }
    Ok(gone.len())
}

/// Takes one instance out, wherever it stands.
pub(super) fn take<V: TreeView>(
    writer: &mut Writer<'_, V>,
    container: &Path,
    state: &mut InstancesState,
    instance: &Instance,
) -> Result<(), V::Error> {
    release(state, instance);
    writer.delete_instance(container, &Gone::new(container, instance));
    if state.count == 0 {
        (state.oldest, state.latest) = (0, 0);
        return Ok(());
    }
    let first = |reverse| -> Result<u64, V::Error> {
        let (mut found, rest) = (0, Range::instances(container, state.oldest, state.next));
        writer.staged.scan(&rest, reverse, &mut |key, _| {
            found = Key::number(key).unwrap_or(0);
            ControlFlow::Break(())
        })?;
        Ok(found)
    };
    if instance.sequence == state.oldest {
        state.oldest = first(false)?;
    } else if instance.sequence == state.latest {
        state.latest = first(true)?;
    }
    Ok(())
}

/// The instance of this id.
pub(super) fn find<V: TreeView>(
    writer: &Writer<'_, V>,
    container: &Path,
    id: &str,
) -> Result<Option<Instance>, V::Error> {
    let sequence = match instance_sequence(id) {
        Some(sequence) => Some(sequence),
        None => writer.tree().pointer(&Key::instance_id(container, id))?,
    };
    match sequence {
        Some(sequence) => Ok(writer.tree().instance(container, sequence)?.filter(|found| found.id == id)),
        None => Ok(None),
    }
}

fn release(state: &mut InstancesState, instance: &Instance) {
    state.count -= 1;
    state.bytes -= instance.content_size;
}
