//! What a contentInstance costs the core, by how many the container holds: it must not matter.
#![allow(clippy::unwrap_used, missing_docs)]

use banyan_model::{
    Command, Content, Entity, Operation, Path, Representation, RequestId, ResourceType, Scl, Timestamp,
    Value,
    apply::{Change, apply},
    key::Key,
    memory::Memory,
    record::{Instance, InstancesState, Record, Resource, instance_id},
    value::ContentForm,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const CONTENT: &[u8] = &[b'x'; 256];

fn content() -> Content {
    Content { content_type: Some("text/plain".into()), bytes: CONTENT.into(), form: ContentForm::Text }
}

/// A container that holds `count` instances, with room for as many when `is_full`.
fn filled(container: &Path, count: u64, is_full: bool) -> Memory {
    let mut memory = Memory::default();
    let mut put = |key, record| memory.write(vec![Change::Put { key, record, new: true }]);
    let mut representation = Representation::new(ResourceType::Container);
    if is_full {
        representation.set("maxNrOfInstances", Value::Long(i64::try_from(count).unwrap()));
    }
    let resource = Resource {
        path: container.clone(),
        representation,
        creator: "/m2m".into(),
        version: 1,
        subscriptions: 0,
        notify_media: Default::default(),
    };
    put(Key::resource(container), Record::Resource(resource));
    for sequence in 1..=count {
        let instance = Instance {
            id: instance_id(sequence),
            sequence,
            creation_time: Timestamp(1),
            last_modified_time: Timestamp(1),
            delay_tolerance: None,
            search_strings: Vec::new(),
            content_types: vec!["text/plain".into()],
            content_size: 256,
            content: content(),
        };
        put(Key::instance(container, sequence), Record::Instance(instance));
    }
    let state = InstancesState {
        count,
        bytes: count * 256,
        next: count + 1,
        oldest: 1,
        latest: count,
        ..InstancesState::default()
    };
    put(Key::instances(container), Record::Instances(state));
    memory
}

fn create_instance(c: &mut Criterion) {
    let scl =
        Scl { id: "nscl".into(), base: "/m2m".into(), authorities: Vec::new(), founded_at: Timestamp(1) };
    let container = Path::parse("applications/a/containers/c").unwrap();
    let mut representation = Representation::new(ResourceType::ContentInstance);
    representation.set("content", Value::Content(content()));
    let mut group = c.benchmark_group("create_instance");
    for (name, is_full) in [("unlimited", false), ("full", true)] {
        for count in [10_u64, 10_000, 1_000_000] {
            let memory = filled(&container, count, is_full);
            let command = Command {
                id: RequestId { session: 1, sequence: 1, acked_below: 1 },
                at: Timestamp(2),
                entity: Entity("/m2m/applications/a".into()),
                operation: Operation::CreateInstance {
                    container: container.clone(),
                    id: None,
                    representation: representation.clone(),
                },
                hops: 0,
            };
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| apply(black_box(&memory), &scl, Timestamp(2), black_box(&command)).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, create_instance);
criterion_main!(benches);
