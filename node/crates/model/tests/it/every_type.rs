//! A resource of every type, made by requests where tree.csv has a place for it.
//!
//! `node/crates/codec/tests/it` uses this file too, to look at what is emitted for each type.

use crate::sample::{self, Extent};
use banyan_model::{
    Body, Entity, Method, Path, Representation, RequestId, RequestPrimitive, ResourceType, ResponsePrimitive,
    Scl, StatusCode, Timestamp, TreeView, Value,
    admit::{self, Target},
    apply, holds,
    memory::Memory,
    query,
    tables::{AttributeDef, Category, FieldKind, Mode, TYPES},
    validate::{self, Policy},
    value::Struct,
};
use std::collections::{HashSet, VecDeque};

/// One SCL in memory that takes requests of somebody who may do everything.
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) scl: Scl,
    pub(crate) policy: Policy,
    requests: u64,
}

impl World {
    pub(crate) fn new() -> World {
        let scl =
            Scl { id: "nscl".into(), base: "/m2m".into(), authorities: Vec::new(), founded_at: Timestamp(1) };
        let policy = Policy::default();
        World { memory: Memory::default(), scl, policy, requests: 0 }
    }

    /// Sends a request through every step but the authorisation.
    pub(crate) fn send(&mut self, method: Method, target: &Path, body: Body) -> ResponsePrimitive {
        self.requests += 1;
        let (response, changes) = self.answer(&self.memory, method, target, body);
        self.memory.write(changes);
        response
    }

    /// The answer over a view of the memory, and what it changes.
    pub(crate) fn answer<V: TreeView>(
        &self,
        view: &V,
        method: Method,
        target: &Path,
        body: Body,
    ) -> (ResponsePrimitive, Vec<apply::Change>) {
        let at = Timestamp(1_000 + i64::try_from(self.requests).expect("small"));
        let policy = Policy { name_seed: self.requests, ..self.policy.clone() };
        let issuer = Entity("/m2m/applications/tester".into());
        let request = RequestPrimitive { body, ..RequestPrimitive::new(method, target.clone(), issuer) };
        let admission = match admit::admit(view, &self.scl, &request).expect("memory reads") {
            Ok(admission) => admission,
            Err(refusal) => return (refusal.into(), Vec::new()),
        };
        if method == Method::Retrieve {
            let shown = query::retrieve(view, &self.scl, &request, &admission).expect("memory reads");
            return (shown, Vec::new());
        }
        let id = RequestId::default();
        let command = validate::command(view, &self.scl, &policy, at, id, request, &admission);
        match command.expect("memory reads") {
            Ok(command) => {
                let outcome = apply::apply(view, &self.scl, at, &command).expect("memory reads");
                (outcome.response, outcome.changes)
            }
            Err(refusal) => (refusal.into(), Vec::new()),
        }
    }

    /// What is addressed, or the methods that it has.
    pub(crate) fn admitted(&self, method: Method, target: &Path) -> Result<Target, banyan_model::Refusal> {
        let issuer = Entity("/m2m/applications/tester".into());
        let request = RequestPrimitive::new(method, target.clone(), issuer);
        let admission = admit::admit(&self.memory, &self.scl, &request).expect("memory reads");
        admission.map(|admission| admission.target)
    }

    /// The resource as a RETRIEVE shows it.
    pub(crate) fn shown(&mut self, target: &Path) -> Representation {
        let response = self.send(Method::Retrieve, target, Body::None);
        match response.body {
            Body::Representation(shown) => shown,
            other => panic!("{target}: {:?} {} {other:?}", response.status, response.info),
        }
    }

    /// Sends a CREATE and gives the new resource's path.
    pub(crate) fn create(
        &mut self,
        holder: &Path,
        representation: Representation,
    ) -> Result<Path, Box<ResponsePrimitive>> {
        let response = self.send(Method::Create, holder, Body::Representation(representation));
        match &response.resource_uri {
            Some(uri) if response.status == StatusCode::Created => Ok(self.path(uri)),
            _ => Err(Box::new(response)),
        }
    }

    fn path(&self, uri: &str) -> Path {
        self.scl.local_path(uri).expect("the answer names a resource of this SCL")
    }

    /// The path of a resource of this type, made with what is above it.
    pub(crate) fn make(&mut self, wanted: ResourceType) -> Path {
        let holder = self.holder(wanted);
        match wanted {
            ResourceType::SclBase | ResourceType::Discovery => holder,
            of if of.def().category == Category::Collection => holder,
            ResourceType::Latest | ResourceType::Oldest => {
                self.make_in(&holder, ResourceType::ContentInstance);
                holder.child(wanted.name())
            }
            _ => self.make_in(&holder, wanted),
        }
    }

    /// Where a resource of this type can be made: the collection or resource that takes it. For what is never made, the
    /// thing itself.
    pub(crate) fn holder(&mut self, wanted: ResourceType) -> Path {
        let mut path = Path::scl_base();
        let mut hops = chain(wanted);
        let itself = matches!(wanted, ResourceType::SclBase | ResourceType::Discovery)
            || wanted.def().category == Category::Collection;
        if !itself {
            hops.pop();
        }
        for hop in hops {
            path = match hop {
                Hop::Fixed(of) => path.child(of.name()),
                Hop::Member(of) => self.make_in(&path, of),
            };
        }
        path
    }

    fn make_in(&mut self, holder: &Path, of: ResourceType) -> Path {
        if of == ResourceType::ExecInstance {
            let command = holder.parent().expect("execInstances stands below a mgmtCmd");
            let response = self.send(Method::Execute, &command, Body::None);
            assert_eq!(response.status, StatusCode::Accepted, "{}", response.info);
            return self.path(&response.resource_uri.expect("an execInstance was made"));
        }
        let mut minimal = minimal(of, |attribute| attribute.create);
        if let Some(id) = of.id_attribute() {
            let name = match minimal.get(id.field.name) {
                // A fixed name is for the SCL to give.
                None => None,
                Some(_) => Some(format!("n{}", self.requests)),
            };
            name.into_iter().for_each(|name| minimal.set(id.field.name, Value::Text(name)));
        }
        self.create(holder, minimal).unwrap_or_else(|refused| {
            panic!("{} in {holder}: {:?} {}", of.name(), refused.status, refused.info)
        })
    }
}

/// One step down from sclBase.
#[derive(Clone, Copy)]
enum Hop {
    Fixed(ResourceType),
    Member(ResourceType),
}

/// The shortest way to a resource of this type that tree.csv knows.
fn chain(wanted: ResourceType) -> Vec<Hop> {
    let mut ways = VecDeque::from([(None, ResourceType::SclBase, Vec::new())]);
    let mut seen = HashSet::new();
    while let Some((above, here, way)) = ways.pop_front() {
        if here == wanted {
            return way;
        }
        if !seen.insert((above, here)) {
            continue;
        }
        let mut go = |to: ResourceType, hop| {
            let further = way.iter().copied().chain([hop]).collect::<Vec<Hop>>();
            ways.push_back((Some(here), to, further));
        };
        for child in here.def().children {
            match ResourceType::from_name(child.segment) {
                Some(fixed) if child.implicit => go(fixed, Hop::Fixed(fixed)),
                Some(action) if child.holds.is_empty() => go(action, Hop::Member(action)),
                _ => {}
            }
        }
        for member in TYPES.iter().map(|def| def.resource_type) {
            let place = holds::Place { above, holder: here, segment: here.name() };
            if here.def().child("{id}").is_some() && holds::holds(place, member).is_ok() {
                go(member, Hop::Member(member));
            }
        }
    }
    panic!("tree.csv has no place for {}", wanted.name())
}

/// The mandatory attributes.
pub(crate) fn minimal(of: ResourceType, mode: fn(&AttributeDef) -> Mode) -> Representation {
    let mut minimal = Representation::new(of);
    for attribute in of.def().attributes.iter().filter(|attribute| mode(attribute) == Mode::Mandatory) {
        minimal.set(attribute.field.name, value(attribute));
    }
    minimal
}

/// A value that the schema and the rules of this attribute allow, and that no policy changes.
pub(crate) fn value(attribute: &'static AttributeDef) -> Value {
    let field = &attribute.field;
    match field.name {
        _ if field.kind == FieldKind::XmlAttribute => Value::Text("chosen".into()),
        "announceTo" => Value::Struct(Struct {
            name: "AnnounceTo",
            fields: vec![("activated", Value::Bool(true)), ("sclList", Value::List(Vec::new()))],
        }),
        // Those that any subscription may have.
        "filterCriteria" => match sample::value(field, Extent::Full) {
            Value::Struct(mut criteria) => {
                let of_instances = ["sizeFrom", "sizeUntil", "contentType", "metaDataOnly"];
                criteria.fields.retain(|(name, _)| !of_instances.contains(name));
                Value::Struct(criteria)
            }
            other => other,
        },
        // A path may stand once.
        "aPoCPaths" => match sample::value(field, Extent::Full) {
            Value::Struct(mut paths) => {
                paths.fields.truncate(1);
                Value::Struct(paths)
            }
            other => other,
        },
        _ => sample::value(field, Extent::Full),
    }
}
