//! One shard in memory and short ways to say what is sent to it.

use banyan_model::{
    Command, Content, Entity, Operation, Path, Representation, RequestId, ResourceType, Scl, StatusCode,
    Timestamp, TreeView, Value,
    apply::{self, Change, Outcome},
    key::{Key, Range},
    memory::Memory,
    outbox::{Message, Notification, OutboxEntry},
    primitive::{Conditions, NotifyMedia},
    record::{Instance, InstancesState, Record},
    tables::{FieldDef, Shape, struct_def},
    time::XsdDuration,
    tree::Tree,
    value::{ContentForm, Struct},
};
use std::ops::ControlFlow;

/// A shard that applies commands.
#[derive(Clone)]
pub(crate) struct Shard {
    pub(crate) memory: Memory,
    pub(crate) scl: Scl,
    pub(crate) at: Timestamp,
}

pub(crate) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

impl Default for Shard {
    fn default() -> Shard {
        let scl =
            Scl { id: "nscl".into(), base: "/m2m".into(), authorities: Vec::new(), founded_at: Timestamp(1) };
        Shard { memory: Memory::default(), scl, at: Timestamp(1_000) }
    }
}

impl Shard {
    /// Applies without a session.
    pub(crate) fn apply(&mut self, operation: Operation) -> Outcome {
        self.apply_as(RequestId::default(), operation)
    }

    /// Applies under an id and writes the reply as a replica does; its bytes name the status.
    pub(crate) fn apply_as(&mut self, id: RequestId, operation: Operation) -> Outcome {
        let command = Command { id, at: self.at, entity: issuer(), operation, hops: 0 };
        let outcome = apply::apply(&self.memory, &self.scl, self.at, &command).unwrap();
        let keys: Vec<&Key> = outcome
            .changes
            .iter()
            .map(|change| match change {
                Change::Put { key, new, .. } => {
                    assert!(!(*new && self.memory.records.contains_key(key)), "{key:?} is not new");
                    key
                }
                Change::Delete(key) => key,
            })
            .collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "one change a key, in key order");
        self.memory.write(outcome.changes.clone());
        if let Some(key) = outcome.reply.clone() {
            let record = Record::Reply(format!("{:?}", outcome.response.status).into());
            self.memory.write(vec![Change::Put { key, record, new: true }]);
        }
        outcome
    }

    pub(crate) fn tree(&self) -> Tree<'_, Memory> {
        Tree::new(&self.memory, &self.scl)
    }

    pub(crate) fn instances(&self, container: &Path) -> Option<InstancesState> {
        self.tree().instances(container).unwrap()
    }

    /// The instances in order.
    pub(crate) fn kept(&self, container: &Path) -> Vec<Instance> {
        let mut kept = Vec::new();
        let all = Range::instances(container, 0, u64::MAX);
        self.memory
            .scan(&all, false, &mut |_, record| {
                let Record::Instance(instance) = record else { panic!("an instance") };
                kept.push(instance);
                ControlFlow::Continue(())
            })
            .unwrap();
        kept
    }

    /// What waits in a queue.
    pub(crate) fn queue(&self, queue: &Path) -> Vec<OutboxEntry> {
        let mut entries = Vec::new();
        self.memory
            .scan(&Range::outbox(queue), false, &mut |_, record| {
                let Record::Outbox(entry) = record else { panic!("an outbox entry") };
                entries.push(entry);
                ControlFlow::Continue(())
            })
            .unwrap();
        entries
    }

    /// The same in words.
    pub(crate) fn said(&self, queue: &Path) -> Vec<String> {
        let word = |entry: OutboxEntry| match entry.message {
            Message::CollectionChanged { .. } => "changed".to_owned(),
            Message::Announce => "announce".to_owned(),
            Message::CarryOut { .. } => "carry out".to_owned(),
            Message::Answer => "answer".to_owned(),
            Message::Notify { notification, .. } => match notification {
                Notification::Representation(whole) => whole.resource_type.name().to_owned(),
                Notification::Attribute { name, .. } => format!("attribute {name}"),
                Notification::Instance(instance) => format!("instance {}", instance.id),
                Notification::MetaData(instance) => format!("meta data of {}", instance.id),
                Notification::Stored { sequences, .. } => format!("stored {sequences:?}"),
                Notification::Present { up_to } => format!("present up to {up_to}"),
                Notification::Collection => {
                    let collection = entry.queue.parent().unwrap().parent().unwrap();
                    collection.name().unwrap().to_owned()
                }
                Notification::Member { notify, .. } => match notify.get("subscriptionReference") {
                    Some(Value::Text(member)) => format!("member {member}"),
                    other => panic!("{other:?}"),
                },
                Notification::Bare => "bare".to_owned(),
                Notification::Final(status) => format!("final {status:?}"),
                Notification::TimedOut(reason) => format!("timed out: {reason}"),
            },
        };
        self.queue(queue).into_iter().map(word).collect()
    }
}

pub(crate) fn issuer() -> Entity {
    Entity("/m2m/applications/a".into())
}

pub(crate) fn create(at: &str, of: ResourceType, attributes: &[(&str, &str)]) -> Operation {
    Operation::Create {
        path: path(at),
        representation: representation(of, attributes),
        notify_media: NotifyMedia::Xml,
    }
}

pub(crate) fn instance(container: &str, id: Option<&str>, text: &str) -> Operation {
    let mut representation = Representation::new(ResourceType::ContentInstance);
    representation.set(
        "content",
        Value::Content(Content {
            content_type: Some("text/plain".into()),
            bytes: text.to_owned().into(),
            form: ContentForm::Text,
        }),
    );
    Operation::CreateInstance { container: path(container), id: id.map(str::to_owned), representation }
}

pub(crate) fn delete(at: &str) -> Operation {
    Operation::Delete { path: path(at), conditions: Conditions::default() }
}

pub(crate) fn representation(of: ResourceType, attributes: &[(&str, &str)]) -> Representation {
    let mut whole = Representation::new(of);
    let mut criteria = Vec::new();
    for (name, text) in attributes {
        if let Some(name) = name.strip_prefix("filter.") {
            let def = struct_def("ContentInstancesFilterCriteriaType").unwrap();
            let field = def.fields.iter().find(|field| field.name == name).unwrap();
            criteria.push((field.name, value(field, text)));
        } else {
            let def = of.attribute(name).unwrap_or_else(|| panic!("{of:?} has no {name}"));
            whole.set(def.field.name, value(&def.field, text));
        }
    }
    if !criteria.is_empty() {
        let criteria = Struct { name: "ContentInstancesFilterCriteriaType", fields: criteria };
        whole.set("filterCriteria", Value::Struct(criteria));
    }
    if of == ResourceType::Subscription {
        whole.set("contact", Value::Text("http://contact".into()));
    }
    whole
}

/// Times and spans are milliseconds.
pub(crate) fn value(field: &FieldDef, text: &str) -> Value {
    match field.shape {
        Shape::Datetime => Value::Datetime(Timestamp(text.parse().unwrap())),
        Shape::Duration => {
            Value::Duration(XsdDuration { negative: false, months: 0, millis: text.parse().unwrap() })
        }
        Shape::Long => Value::Long(text.parse().unwrap()),
        Shape::Bool => Value::Bool(text == "true"),
        Shape::StringList => Value::List(text.split(',').map(str::to_owned).collect()),
        _ => Value::Text(text.to_owned()),
    }
}

pub(crate) fn status(outcome: &Outcome) -> StatusCode {
    outcome.response.status
}
