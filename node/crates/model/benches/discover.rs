//! What a discovery costs the core, by what it finds and by how much there is: only the former may matter.
#![allow(clippy::unwrap_used, missing_docs)]

use banyan_model::{
    Command, Entity, Operation, Path, Representation, RequestId, ResourceType, Scl, Timestamp, Value,
    apply::apply,
    filter::FilterCriteria,
    memory::Memory,
    query::{Search, discover},
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn scl() -> Scl {
    Scl { id: "nscl".into(), base: "/m2m".into(), authorities: Vec::new(), founded_at: Timestamp(1) }
}

/// A shard with `count` containers, spread evenly over them 100 with the searchString `hundred` and 10 with `ten`.
fn shard(count: usize) -> Memory {
    let mut memory = Memory::default();
    for n in 0..count {
        let mut strings = vec!["all".to_owned(), format!("kind{}", n % 7)];
        for (text, carriers) in [("hundred", 100), ("ten", 10)] {
            if n % (count / carriers) == 0 {
                strings.push(text.to_owned());
            }
        }
        let mut representation = Representation::new(ResourceType::Container);
        representation.set("searchStrings", Value::List(strings));
        let path = Path::scl_base().child("containers").child(format!("c{n}"));
        let operation = Operation::Create { path, representation, notify_media: Default::default() };
        let (id, at, entity) = (RequestId::default(), Timestamp(1), Entity("/m2m".into()));
        let command = Command { id, at, entity, operation, hops: 0 };
        memory.write(apply(&memory, &scl(), at, &command).unwrap().changes);
    }
    memory
}

fn discoveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("discover");
    for count in [20_000, 200_000] {
        let memory = shard(count);
        for (string, hits) in [("hundred", 100), ("ten", 10)] {
            let criteria =
                FilterCriteria { search_string: vec![string.to_owned()], ..FilterCriteria::default() };
            let search = Search::new(&scl(), &criteria).unwrap();
            let id = BenchmarkId::new(format!("{hits} found"), count);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let page = discover(black_box(&memory), &scl(), &search, None, 1_000).unwrap();
                    assert_eq!(page.candidates.len(), hits);
                });
            });
        }
    }
}

criterion_group!(benches, discoveries);
criterion_main!(benches);
