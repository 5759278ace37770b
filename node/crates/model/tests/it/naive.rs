//! A tree as one would write it without caring what anything costs: the rules once more, to compare with.

use banyan_model::StatusCode;
use std::collections::BTreeMap;

/// What commands the random sequences are made of.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create { path: &'static str, expires_in: Option<i64>, limits: Limits },
    Instance { container: &'static str, id: Option<&'static str>, size: usize },
    Update { path: &'static str, expires_in: Option<i64>, limits: Limits },
    Delete { path: &'static str },
    DeleteInstance { container: &'static str, id: Option<&'static str>, sequence: u64 },
    Expire,
    Acknowledge { queue: &'static str, entries: usize },
    End { path: &'static str, told: bool },
    Wait { ms: i64 },
}

/// Of a container; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    pub(crate) age: i64,
}

/// What kind of resource stands at a path, by its collection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Application,
    Container,
    AccessRight,
    Subscription,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) expires: Option<i64>,
    pub(crate) limits: Limits,
    pub(crate) kept: Vec<Kept>,
    pub(crate) next: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) size: usize,
    pub(crate) created: i64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) at: i64,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) queues: BTreeMap<String, Vec<String>>,
}

pub(crate) fn kind_of(path: &str) -> Kind {
    match path.rsplit('/').nth(1).unwrap() {
        "applications" => Kind::Application,
        "containers" | "subcontainers" => Kind::Container,
        "accessRights" => Kind::AccessRight,
        "subscriptions" => Kind::Subscription,
        other => panic!("{other}"),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_root(path: &str) -> bool {
    path.split('/').count() == 2
}

impl Naive {
    pub(crate) fn run(&mut self, step: &Step) -> StatusCode {
        match step {
            Step::Create { path, expires_in, limits } => self.create(path, *expires_in, *limits),
            Step::Instance { container, id, size } => self.instance(container, *id, *size),
            Step::Update { path, expires_in, limits } => self.update(path, *expires_in, *limits),
            Step::Delete { path } => self.delete(path),
            Step::DeleteInstance { container, id, sequence } => {
                self.delete_instance(container, *id, *sequence)
            }
            Step::Expire => self.expire(),
            Step::Acknowledge { queue, entries } => {
                if let Some(waiting) = self.queues.get_mut(*queue) {
                    waiting.drain(..(*entries).min(waiting.len()));
                }
                StatusCode::Ok
            }
            Step::End { path, told } => {
                if self.nodes.contains_key(*path) {
                    self.end(path, told.then_some("final PermissionDenied"));
                }
                StatusCode::Ok
            }
            Step::Wait { ms } => {
                self.at += ms;
                StatusCode::Ok
            }
        }
    }

    fn create(&mut self, path: &str, expires_in: Option<i64>, limits: Limits) -> StatusCode {
        if !is_root(path) && !self.collection_exists(parent(path)) {
            return StatusCode::NotFound;
        }
        if self.nodes.contains_key(path) {
            return StatusCode::Conflict;
        }
        let kind = kind_of(path);
        let node =
            Node { kind, expires: expires_in.map(|ms| self.at + ms), limits, kept: Vec::new(), next: 1 };
        self.nodes.insert(path.to_owned(), node);
        if kind == Kind::Subscription {
            let watched = parent(parent(path));
            let present = watched.strip_suffix("/contentInstances").and_then(|container| {
                let latest = self.nodes.get(container)?.kept.last()?;
                Some(format!("present up to {}", latest.sequence))
            });
            self.say(path, present.unwrap_or_else(|| self.word(watched)));
        } else {
            self.member_changed(path);
        }
        StatusCode::Created
    }

    fn instance(&mut self, container: &str, id: Option<&str>, size: usize) -> StatusCode {
        let at = self.at;
        let Some(node) = self.nodes.get_mut(container) else { return StatusCode::NotFound };
        if let Some(id) = id
            && node.kept.iter().any(|kept| kept.id == id)
        {
            return StatusCode::Conflict;
        }
        if node.limits.bytes > 0 && size > node.limits.bytes {
            return StatusCode::BadRequest;
        }
        let sequence = node.next;
        let id = id.map_or_else(|| format!("ci-{sequence:016x}"), str::to_owned);
        node.next += 1;
        node.kept.push(Kept { id: id.clone(), sequence, size, created: at });
        node.evict(at);
        self.notify(&format!("{container}/contentInstances"), &format!("instance {id}"));
        StatusCode::Created
    }

    fn update(&mut self, path: &str, expires_in: Option<i64>, limits: Limits) -> StatusCode {
        let at = self.at;
        let Some(node) = self.nodes.get_mut(path) else { return StatusCode::NotFound };
        node.expires = expires_in.map(|ms| at + ms);
        node.limits = limits;
        if node.evict(at) {
            self.notify(&format!("{path}/contentInstances"), "contentInstances");
        }
        let word = self.word(path);
        self.notify(path, &word);
        StatusCode::Ok
    }

    fn delete(&mut self, path: &str) -> StatusCode {
        if !self.nodes.contains_key(path) {
            return StatusCode::NotFound;
        }
        if kind_of(path) == Kind::Subscription {
            self.end(path, None);
        } else {
            self.remove(path);
        }
        StatusCode::Ok
    }

    fn delete_instance(&mut self, container: &str, id: Option<&str>, sequence: u64) -> StatusCode {
        let id = id.map_or_else(|| format!("ci-{sequence:016x}"), str::to_owned);
        let Some(node) = self.nodes.get_mut(container) else { return StatusCode::NotFound };
        let before = node.kept.len();
        node.kept.retain(|kept| kept.id != id);
        if node.kept.len() == before {
            return StatusCode::NotFound;
        }
        self.notify(&format!("{container}/contentInstances"), "contentInstances");
        StatusCode::Ok
    }

    fn expire(&mut self) -> StatusCode {
        let order = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<String>>();
        let mut due: Vec<(i64, Vec<String>, String)> = Vec::new();
        for (path, node) in &self.nodes {
            due.extend(node.expires.map(|at| (at, order(path), path.clone())));
            let instances = format!("{path}/contentInstances");
            due.extend(node.due().map(|at| (at, order(&instances), instances.clone())));
        }
        due.retain(|(at, _, _)| *at <= self.at);
        due.sort();
        for (_, _, path) in due {
            if let Some(container) = path.strip_suffix("/contentInstances") {
                let at = self.at;
                if self.nodes.get_mut(container).is_some_and(|node| node.evict(at)) {
                    self.notify(&path, "contentInstances");
                }
            } else if self.nodes.contains_key(&path) {
                if kind_of(&path) == Kind::Subscription {
                    self.end(&path, Some("final Expired"));
                } else {
                    self.remove(&path);
                }
            }
        }
        StatusCode::Ok
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        let gone: Vec<String> =
            self.nodes.keys().filter(|key| *key == path || key.starts_with(&below)).cloned().collect();
        for key in gone {
            if kind_of(&key) == Kind::Subscription {
                self.say(&key, "final Deleted".to_owned());
            }
            self.nodes.remove(&key);
        }
        self.member_changed(path);
    }

    fn end(&mut self, path: &str, told: Option<&str>) {
        self.nodes.remove(path);
        match told {
            Some(word) => self.say(path, word.to_owned()),
            None => drop(self.queues.remove(path)),
        }
    }

    fn member_changed(&mut self, path: &str) {
        let collection = parent(path);
        if is_root(path) {
            self.say(collection, "changed".to_owned());
        } else {
            self.notify(collection, collection.rsplit('/').next().unwrap());
        }
    }

    fn notify(&mut self, watched: &str, word: &str) {
        for path in self.subscriptions(watched) {
            self.say(&path, word.to_owned());
        }
    }

    fn say(&mut self, queue: &str, word: String) {
        self.queues.entry(queue.to_owned()).or_default().push(word);
    }

    pub(crate) fn subscriptions(&self, watched: &str) -> Vec<String> {
        let prefix = format!("{watched}/subscriptions/");
        let direct = |path: &&String| path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
        self.nodes.keys().filter(direct).cloned().collect()
    }

    fn word(&self, watched: &str) -> String {
        match self.nodes.get(watched).map(|node| node.kind) {
            Some(Kind::Application) => "application",
            Some(Kind::Container) => "container",
            Some(Kind::AccessRight) => "accessRight",
            Some(Kind::Subscription) => "subscription",
            None => watched.rsplit('/').next().unwrap(),
        }
        .to_owned()
    }

    /// A collection exists with the resource it stands below, or is sclBase's.
    fn collection_exists(&self, collection: &str) -> bool {
        let mut above = collection;
        while !above.is_empty() {
            if self.nodes.contains_key(above) {
                return true;
            }
            if matches!(above, "applications" | "containers" | "accessRights") {
                return matches!(collection.strip_prefix(above), Some("" | "/subscriptions"));
            }
            // Only collections may stand between; a name there is a resource that is gone.
            if !matches!(
                above.rsplit('/').next().unwrap(),
                "applications"
                    | "containers"
                    | "subcontainers"
                    | "accessRights"
                    | "subscriptions"
                    | "contentInstances"
            ) {
                return false;
            }
            above = parent(above);
        }
        false
    }
}

impl Node {
    /// The time at which the oldest instance is too old.
    pub(crate) fn due(&self) -> Option<i64> {
        self.kept.first().filter(|_| self.limits.age > 0).map(|oldest| oldest.created + self.limits.age)
    }

    fn evict(&mut self, at: i64) -> bool {
        let before = self.kept.len();
        let over = |node: &Node| {
            (node.limits.count > 0 && node.kept.len() > node.limits.count)
                || (node.limits.bytes > 0
                    && node.kept.iter().map(|kept| kept.size).sum::<usize>() > node.limits.bytes)
                || node.due().is_some_and(|due| due <= at)
        };
        while over(self) {
            self.kept.remove(0);
        }
        self.kept.len() != before
    }
}
