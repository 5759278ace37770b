//! What one member costs, by how many the collection has: it must not matter.

use crate::every_type::{World, minimal};
use banyan_model::{
    Body, Method, Path, ResourceType, StatusCode, TreeView, Value,
    key::{Key, Range},
    memory::Memory,
    record::Record,
};
use std::{cell::Cell, ops::ControlFlow};

/// Counts the records that are looked at.
struct Counted<'a> {
    memory: &'a Memory,
    records: Cell<usize>,
}

impl TreeView for Counted<'_> {
    type Error = String;

    fn get(&self, key: &Key) -> Result<Option<Record>, String> {
        self.records.set(self.records.get() + 1);
        self.memory.get(key)
    }

    fn scan(
        &self,
        range: &Range,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Record) -> ControlFlow<()>,
    ) -> Result<(), String> {
        self.memory.scan(range, reverse, &mut |key, record| {
            self.records.set(self.records.get() + 1);
            visit(key, record)
        })
    }

    fn corrupt(&self, key: &[u8]) -> String {
        self.memory.corrupt(key)
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn named(of: ResourceType, name: &str) -> Body {
    let mut whole = minimal(of, |attribute| attribute.create);
    let id = of.id_attribute().unwrap().field.name;
    whole.set(id, Value::Text(name.to_owned()));
    Body::Representation(whole)
}

/// A collection at `at` with so many members of a type, and somebody who is subscribed to it.
fn filled(at: &str, of: ResourceType, members: usize) -> World {
    let mut world = World::new();
    let mut make =
        |at: &str, body| assert_eq!(world.send(Method::Create, &path(at), body).status, StatusCode::Created);
    if at.starts_with("applications/app") {
        make("applications", named(ResourceType::Application, "app"));
    }
    for n in 0..members {
        make(at, named(of, &format!("m{n}")));
    }
    make(&format!("{at}/subscriptions"), named(ResourceType::Subscription, "watcher"));
    world
}

/// How many records each step looks at.
fn steps(at: &str, of: ResourceType, members: usize) -> Vec<(&'static str, usize)> {
    let mut world = filled(at, of, members);
    let member = format!("{at}/n");
    let updated = |of| Body::Representation(minimal(of, |attribute| attribute.update));
    let collection = path(at);
    let collection_type = ResourceType::from_name(collection.name().unwrap()).unwrap();
    let steps = [
        ("create", Method::Create, at.to_owned(), named(of, "n")),
        ("create it again", Method::Create, at.to_owned(), named(of, "n")),
        ("retrieve", Method::Retrieve, member.clone(), Body::None),
        ("update", Method::Update, member.clone(), updated(of)),
        ("delete", Method::Delete, member.clone(), Body::None),
        ("retrieve what is gone", Method::Retrieve, member, Body::None),
        ("update the collection", Method::Update, at.to_owned(), updated(collection_type)),
        ("one attribute of the collection", Method::Retrieve, format!("{at}/creationTime"), Body::None),
        (
            "watch the collection",
            Method::Create,
            format!("{at}/subscriptions"),
            named(ResourceType::Subscription, "w2"),
        ),
    ];
    let counted = steps.map(|(step, method, target, body)| {
        let view = Counted { memory: &world.memory, records: Cell::new(0) };
        let (response, changes) = world.answer(&view, method, &path(&target), body);
        let expected = match step {
            "create" | "watch the collection" => StatusCode::Created,
            "create it again" => StatusCode::Conflict,
            "retrieve what is gone" => StatusCode::NotFound,
            _ => StatusCode::Ok,
        };
        assert_eq!(response.status, expected, "{step} of {of:?} in {at}: {}", response.info);
        let records = view.records.get();
        world.memory.write(changes);
        (step, records)
    });
    counted.to_vec()
}

#[test]
fn a_member_costs_the_same_among_ten_and_among_ten_thousand() {
    for (at, of) in [
        ("applications", ResourceType::Application),
        ("containers", ResourceType::Container),
        ("applications/app/containers", ResourceType::Container),
        ("applications/app/groups", ResourceType::Group),
    ] {
        assert_eq!(steps(at, of, 10), steps(at, of, 10_000), "{at}");
    }
}
