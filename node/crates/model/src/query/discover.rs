//! Discovery in one shard (procedures.md 11): what the criteria select, a bounded part at a time.
//!
//! With a searchString the index is asked for the first of them, and what it names is looked at: the cost follows the
//! resources that have it. Without one the index of types is walked below the prefix. A step ends after a number of
//! entries, found or not, and says where the next one begins; what changes in between is found as it is then.
//!
//! Who may know of a candidate is decided by the caller, who can get the rights: every candidate says what governs it.

use super::listing;
use crate::{
    Path, Refusal, Representation, ResourceType, Scl, StatusCode, TreeView, Value,
    access::Governing,
    admit, conditions,
    filter::FilterCriteria,
    index::{self, Term},
    key::{Key, Range},
    record::{Instance, Record, Resource, instance_sequence},
    represent,
    tables::TYPES,
    tree::Tree,
};
use std::ops::ControlFlow;

/// What is searched, and where.
#[derive(Clone, PartialEq, Debug)]
pub struct Search {
    /// What selects. searchPrefix and maxSize in it are read already.
    pub criteria: FilterCriteria,
    /// What stands at or below it is selected.
    pub prefix: Path,
}

/// A resource that the criteria select.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// What is answered: its address, or the original's when this is an announcement (D-8).
    pub uri: String,
    /// Whose DISCOVER decides.
    pub governing: Governing,
}

/// Where a search goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// Which of the ways into the tree that the criteria lead to.
    pub stage: u32,
    /// The last key that was seen there.
    pub after: Vec<u8>,
    /// The next instance of the container which that key names; 0: none.
    pub instance: u64,
}

/// What one step found.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// In the order in which they were found; an announced resource may come more than once.
    pub candidates: Vec<Candidate>,
    /// `None`: that is all.
    pub next: Option<Cursor>,
}

impl Search {
    /// Reads the criteria of a request to `discovery`, whose searchPrefix is of this SCL.
    ///
    /// # Errors
    /// The refusal names the parameter.
    pub fn new(scl: &Scl, criteria: &FilterCriteria) -> Result<Search, Refusal> {
        if criteria.max_size.is_some_and(|most| most <= 0) {
            return Err(Refusal::attribute("maxSize", "must be above 0"));
        }
        let prefix = match criteria.search_prefix.as_deref().map(str::trim) {
            None | Some("") => Path::scl_base(),
            Some(uri) => scl.local_path(uri).ok_or_else(|| {
                Refusal::new(StatusCode::NotFound, "searchPrefix: is not below this sclBase")
            })?,
        };
        Ok(Search { criteria: criteria.clone(), prefix })
    }

    /// searchPrefix, where it is not of this SCL: whoever has it answers the whole request (procedures.md 11.6).
    pub fn elsewhere<'a>(scl: &Scl, criteria: &'a FilterCriteria) -> Option<&'a str> {
        let prefix = criteria.search_prefix.as_deref().map(str::trim).filter(|prefix| !prefix.is_empty())?;
        scl.local_path(prefix).is_none().then_some(prefix)
    }

    /// An instance is reported only when the criteria are about instances.
    fn wants_instances(&self) -> bool {
        let of_instances =
            |accessor: &str| ResourceType::ContentInstance.attribute(first_segment(accessor)).is_some();
        self.wants_only_instances()
            || self.criteria.meta_data_only
            || self.criteria.attribute_accessor.as_deref().is_some_and(of_instances)
    }

    fn wants_only_instances(&self) -> bool {
        self.criteria.size_from.is_some()
            || self.criteria.size_until.is_some()
            || !self.criteria.content_type.is_empty()
            || self.container().is_some()
    }

    /// The container, when the prefix is its contentInstances or stands in it.
    fn container(&self) -> Option<Path> {
        let segments = self.prefix.segments();
        let at = segments.iter().rposition(|segment| segment == "contentInstances")?;
        (at + 2 >= segments.len()).then(|| Path::from_segments(segments[..at].to_vec()))
    }

    fn stages(&self) -> Vec<Stage<'_>> {
        let mut stages = Vec::new();
        let resources = !self.wants_only_instances();
        if let Some(text) = self.criteria.search_string.first() {
            if resources {
                stages.push(Stage::Index(Term::SearchString(text)));
            }
            if self.wants_instances() {
                stages.push(Stage::Index(Term::InstanceSearchString(text)));
            }
            return stages;
        }
        if resources {
            let accessor = self.criteria.attribute_accessor.as_deref();
            let has = |of: &ResourceType| {
                accessor.is_none_or(|accessor| of.attribute(first_segment(accessor)).is_some())
            };
            let types =
                TYPES.iter().map(|def| def.resource_type).filter(|of| index::is_indexed(*of)).filter(has);
            stages.extend(types.map(|of| Stage::Index(Term::Type(of))));
        }
        match self.container() {
            Some(container) => stages.push(Stage::Instances(container)),
            None if self.wants_instances() => {
                let types = TYPES.iter().map(|def| def.resource_type).filter(|of| holds_instances(*of));
                stages.extend(types.map(Stage::InstancesOf));
            }
            None => {}
        }
        stages
    }
}

/// One way into the tree.
enum Stage<'a> {
    Index(Term<'a>),
    Instances(Path),
    InstancesOf(ResourceType),
}

/// Looks at up to `visits` entries (at least one), from where the last step ended.
///
/// # Errors
/// This replica cannot read its own state.
pub fn discover<V: TreeView>(
    view: &V,
    scl: &Scl,
    search: &Search,
    from: Option<Cursor>,
    visits: usize,
) -> Result<Page, V::Error> {
    let mut step = Step { tree: Tree::new(view, scl), search, candidates: Vec::new(), left: visits.max(1) };
    let from = from.unwrap_or_default();
    let first = usize::try_from(from.stage).unwrap_or(usize::MAX);
    let mut place = Place { after: (!from.after.is_empty()).then_some(from.after), instance: from.instance };
    for (number, stage) in search.stages().into_iter().enumerate().skip(first) {
        let next = match stage {
            Stage::Index(term) => step.index(term, place.after)?,
            Stage::Instances(container) => {
                let next = step.instances(&container, place.instance)?;
                next.map(|instance| Place { after: None, instance })
            }
            Stage::InstancesOf(of) => step.containers(of, place)?,
        };
        if let Some(next) = next {
            let stage = u32::try_from(number).unwrap_or(u32::MAX);
            let next = Cursor { stage, after: next.after.unwrap_or_default(), instance: next.instance };
            return Ok(Page { candidates: step.candidates, next: Some(next) });
        }
        place = Place::default();
    }
    Ok(Page { candidates: step.candidates, next: None })
}

/// A key of the index, and what stands there.
type Entry = (Vec<u8>, Path);

/// Where a stage goes on.
#[derive(Default)]
struct Place {
    after: Option<Vec<u8>>,
    instance: u64,
}

struct Step<'a, V> {
    tree: Tree<'a, V>,
    search: &'a Search,
    candidates: Vec<Candidate>,
    left: usize,
}

impl<V: TreeView> Step<'_, V> {
    /// What has a term.
    fn index(&mut self, term: Term<'_>, after: Option<Vec<u8>>) -> Result<Option<Place>, V::Error> {
        let (entries, is_all) = self.entries(term, after.as_deref(), self.left)?;
        self.left -= entries.len();
        let last = entries.last().map(|(key, _)| key.clone());
        for (_, path) in entries {
            match term {
                Term::InstanceSearchString(_) => self.look_at_instance(&path)?,
                Term::SearchString(_)
                | Term::Link(_)
                | Term::Within(_)
                | Term::Address(_)
                | Term::Type(_)
                | Term::Governs(_) => self.look_at(&path)?,
            }
        }
        Ok((!is_all).then_some(Place { after: last, instance: 0 }))
    }

    /// The instances of all containers of a type.
    fn containers(&mut self, of: ResourceType, place: Place) -> Result<Option<Place>, V::Error> {
        let Place { mut after, instance } = place;
        if let Some(container) = after.as_deref().and_then(Key::indexed_path)
            && instance > 0
            && let Some(instance) = self.instances(&container, instance)?
        {
            return Ok(Some(Place { after, instance }));
        }
        while self.left > 0 {
            let (entries, _) = self.entries(Term::Type(of), after.as_deref(), 1)?;
            let Some((key, container)) = entries.into_iter().next() else { return Ok(None) };
            self.left -= 1;
            after = Some(key);
            if container.is_below_or_at(&self.search.prefix)
                && let Some(instance) = self.instances(&container, 1)?
            {
                return Ok(Some(Place { after, instance }));
            }
        }
        Ok(Some(Place { after, instance: 0 }))
    }

    /// The instances of a container from a sequence on; with which to go on.
    fn instances(&mut self, container: &Path, from: u64) -> Result<Option<u64>, V::Error> {
        let Some(state) = self.tree.instances(container)?.filter(|state| state.count > 0) else {
            return Ok(None);
        };
        let criteria = &self.search.criteria;
        let (mut from, mut to) = (from.max(state.oldest), state.next);
        if let Some(bound) = criteria.created_after {
            from = listing::first_not(&self.tree, container, (from, to), |created| created <= bound)?;
        }
        if let Some(bound) = criteria.created_before {
            to = listing::first_not(&self.tree, container, (from, to), |created| created < bound)?;
        }
        if self.left == 0 {
            return Ok((from < to).then_some(from));
        }
        let (mut selected, mut next, mut corrupt, mut left) = (Vec::new(), None, None, self.left);
        self.tree.view.scan(&Range::instances(container, from, to), false, &mut |key, record| {
            let Record::Instance(instance) = record else {
                corrupt = Some(self.tree.view.corrupt(key));
                return ControlFlow::Break(());
            };
            if left == 0 {
                next = Some(instance.sequence);
                return ControlFlow::Break(());
            }
            left -= 1;
            if selects_instance(criteria, &instance) {
                selected.push(instance.id);
            }
            ControlFlow::Continue(())
        })?;
        if let Some(corrupt) = corrupt {
            return Err(corrupt);
        }
        self.left = left;
        for id in selected {
            self.report_instance(container, &id)?;
        }
        Ok(next)
    }

    /// At most `most` index entries, and whether they are the last.
    fn entries(
        &self,
        term: Term<'_>,
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<(Vec<Entry>, bool), V::Error> {
        let (mut entries, mut is_all, mut corrupt) = (Vec::new(), true, None);
        let range = Range::index(term, &self.search.prefix, after);
        self.tree.view.scan(&range, false, &mut |key, _| {
            if entries.len() >= most {
                is_all = false;
                return ControlFlow::Break(());
            }
            match Key::indexed_path(key) {
                Some(path) => entries.push((key.to_vec(), path)),
                None => corrupt = Some(self.tree.view.corrupt(key)),
            }
            if corrupt.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        corrupt.map_or(Ok((entries, is_all)), Err)
    }

    fn look_at(&mut self, path: &Path) -> Result<(), V::Error> {
        // sclBase's collections share their range with all others of the shard.
        if !path.is_below_or_at(&self.search.prefix) {
            return Ok(());
        }
        let Some(resource) = self.tree.resource(path)? else {
            // What is indexed exists: both are written by the same command.
            return Err(self.tree.view.corrupt(&Key::resource(path).bytes));
        };
        if selects(&self.search.criteria, &resource) {
            let governing = admit::governing(&self.tree, path)?;
            self.candidates.push(Candidate { uri: reported(self.tree.scl, &resource), governing });
        }
        Ok(())
    }

    fn look_at_instance(&mut self, path: &Path) -> Result<(), V::Error> {
        let container = path.parent().and_then(|collection| collection.parent());
        let (Some(container), Some(id)) = (container, path.name()) else { return Ok(()) };
        if !path.is_below_or_at(&self.search.prefix) {
            return Ok(());
        }
        let sequence = match instance_sequence(id) {
            Some(sequence) => Some(sequence),
            None => self.tree.pointer(&Key::instance_id(&container, id))?,
        };
        let Some(sequence) = sequence else { return Ok(()) };
        match self.tree.instance(&container, sequence)? {
            Some(instance) if selects_instance(&self.search.criteria, &instance) => {
                self.report_instance(&container, id)
            }
            _ => Ok(()),
        }
    }

    fn report_instance(&mut self, container: &Path, id: &str) -> Result<(), V::Error> {
        let path = container.child("contentInstances").child(id);
        if path.is_below_or_at(&self.search.prefix) {
            let governing = admit::governing(&self.tree, container)?;
            self.candidates.push(Candidate { uri: self.tree.scl.address(&path), governing });
        }
        Ok(())
    }
}

/// An announcement is reported by what it announces.
fn reported(scl: &Scl, resource: &Resource) -> String {
    let representation = &resource.representation;
    let announced = representation.resource_type.name().ends_with("Annc");
    match representation.text("link").filter(|_| announced) {
        Some(link) => link.to_owned(),
        None => scl.address(&resource.path),
    }
}

/// Dates compare strictly; what a resource does not have matches no criterion about it.
fn selects(criteria: &FilterCriteria, resource: &Resource) -> bool {
    let representation = &resource.representation;
    let created = representation.datetime("creationTime");
    let modified = representation.datetime("lastModifiedTime");
    let strings = index::search_strings(representation);
    criteria.search_string.iter().all(|wanted| strings.contains(wanted))
        && criteria.created_after.is_none_or(|bound| created.is_some_and(|created| created > bound))
        && criteria.created_before.is_none_or(|bound| created.is_some_and(|created| created < bound))
        && criteria.if_modified_since.is_none_or(|bound| modified.is_some_and(|modified| modified > bound))
        && criteria.if_unmodified_since.is_none_or(|bound| modified.is_some_and(|modified| modified < bound))
        && is_none_of(&criteria.if_none_match, &represent::etag(resource))
        && criteria.attribute_accessor.as_deref().is_none_or(|accessor| has(representation, accessor))
}

fn selects_instance(criteria: &FilterCriteria, instance: &Instance) -> bool {
    let modified = instance.last_modified_time;
    criteria.selects(instance)
        && criteria.if_modified_since.is_none_or(|bound| modified > bound)
        && criteria.if_unmodified_since.is_none_or(|bound| modified < bound)
        && is_none_of(&criteria.if_none_match, &represent::instance_etag(instance))
        && criteria.attribute_accessor.as_deref().is_none_or(|accessor| match first_segment(accessor) {
            "delayTolerance" => instance.delay_tolerance.is_some(),
            "contentTypes" => !instance.content_types.is_empty(),
            name => ResourceType::ContentInstance.attribute(name).is_some(),
        })
}

fn is_none_of(known: &[String], etag: &str) -> bool {
    known.iter().all(|known| conditions::resource_tag(known) != etag)
}

/// Whether an accessor names something of a resource.
fn has(representation: &Representation, accessor: &str) -> bool {
    let mut segments = accessor.split('/').filter(|segment| !segment.is_empty());
    let Some(name) = segments.next() else { return true };
    let Some(mut value) = representation.get(name) else {
        return segments.next().is_none() && represent::is_made(representation.resource_type, name);
    };
    for segment in segments {
        value = match value {
            Value::List(entries) if entries.iter().any(|entry| entry == segment) => &Value::Empty,
            Value::Struct(fields) => match fields.get(segment) {
                Some(field) => field,
                None => return false,
            },
            _ => return false,
        };
    }
    true
}

fn first_segment(accessor: &str) -> &str {
    accessor.split('/').find(|segment| !segment.is_empty()).unwrap_or_default()
}

fn holds_instances(of: ResourceType) -> bool {
    of.def().children.iter().any(|child| child.segment == "contentInstances")
}

#[cfg(test)]
mod tests;
