//! Announcements: the wish, what is sent for it, and what other SCLs that fail at random end up with.

use crate::support::{Shard, delete, path, representation, status};
use banyan_model::{
    Body, Operation, Path, Representation, ResourceType, ResponsePrimitive, StatusCode, Timestamp, TreeView,
    Value,
    announce::{self, Action, Done, Look, Step, Verdict},
    key::Range,
    outbox::Message,
    primitive::{Conditions, NotifyMedia},
    record::Record,
    value::Struct,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
};

const ORIGIN: &str = "http://nscl.example.org";

fn link(scl: &str) -> String {
    format!("http://{scl}.example.org/base")
}

/// `strings` are the searchStrings, `scls` the ids in sclList; `-` before them: activated=FALSE.
fn announceable(of: ResourceType, strings: &str, scls: &str, expires: Option<i64>) -> Representation {
    let mut whole = representation(of, &[("searchStrings", strings)]);
    let ids = scls.trim_start_matches('-').split_whitespace();
    let list = ids.map(|id| format!("/m2m/scls/{id}")).collect();
    let mut fields = vec![("sclList", Value::List(list))];
    if scls.starts_with('-') {
        fields.insert(0, ("activated", Value::Bool(false)));
    }
    whole.set("announceTo", Value::Struct(Struct { name: "AnnounceTo", fields }));
    if let Some(at) = expires {
        whole.set("expirationTime", Value::Datetime(Timestamp(at)));
    }
    whole
}

fn create(at: &str, of: ResourceType, strings: &str, scls: &str) -> Operation {
    let representation = announceable(of, strings, scls, None);
    Operation::Create { path: path(at), representation, notify_media: NotifyMedia::Xml }
}

fn update(at: &str, of: ResourceType, strings: &str, scls: &str) -> Operation {
    let representation = announceable(of, strings, scls, None);
    Operation::Update { path: path(at), representation, conditions: Conditions::default() }
}

/// sclBases elsewhere.
#[derive(Default)]
struct Others {
    /// Announcements by URI.
    stored: BTreeMap<String, Representation>,
    /// Every request, in words.
    log: Vec<String>,
    /// What the next requests meet; then all is well.
    trouble: VecDeque<Trouble>,
    is_random: bool,
    /// De-registered SCLs.
    gone: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Trouble {
    None,
    /// The request does not arrive.
    Lost,
    /// It is carried out, the answer does not arrive.
    AnswerLost,
    Refuses(StatusCode),
}

impl Others {
    fn call(&mut self, method: &str, uri: &str, body: Option<&Representation>) -> ResponsePrimitive {
        let trouble = self.trouble.pop_front().unwrap_or(Trouble::None);
        self.log.push(format!("{method} {uri}"));
        match trouble {
            Trouble::None => self.carry_out(method, uri, body),
            Trouble::Lost => ResponsePrimitive::status(StatusCode::ServiceUnavailable),
            Trouble::AnswerLost => {
                self.carry_out(method, uri, body);
                ResponsePrimitive::status(StatusCode::GatewayTimeout)
            }
            // A DELETE that is refused leaves its announcement behind, and there is no more to be done about it.
            Trouble::Refuses(_) if self.is_random && matches!(method, "DELETE" | "RETRIEVE") => {
                ResponsePrimitive::status(StatusCode::ServiceUnavailable)
            }
            Trouble::Refuses(status) => ResponsePrimitive::status(status),
        }
    }

    fn carry_out(&mut self, method: &str, uri: &str, body: Option<&Representation>) -> ResponsePrimitive {
        let known = self.stored.contains_key(uri);
        match (method, body) {
            ("CREATE", Some(body)) => self.create(uri, body),
            ("UPDATE", Some(body)) if known => {
                let stored = self.stored.get_mut(uri).unwrap();
                for (name, value) in &body.attributes {
                    stored.set(name, value.clone());
                }
                ResponsePrimitive::status(StatusCode::Ok)
            }
            ("DELETE", _) if known => {
                let below = format!("{uri}/");
                self.stored.retain(|at, _| at != uri && !at.starts_with(&below));
                ResponsePrimitive::status(StatusCode::Ok)
            }
            ("RETRIEVE", _) if known => ResponsePrimitive {
                body: Body::Representation(self.stored[uri].clone()),
                ..ResponsePrimitive::status(StatusCode::Ok)
            },
            _ => ResponsePrimitive::status(StatusCode::NotFound),
        }
    }

    fn create(&mut self, collection: &str, body: &Representation) -> ResponsePrimitive {
        let id = body.resource_type.id_attribute().unwrap().field.name;
        let uri = format!("{collection}/{}", body.text(id).unwrap());
        // Below an application's announcement only if that is there.
        let (parent, _) = collection.rsplit_once('/').unwrap();
        if parent.ends_with("Annc") && !self.stored.contains_key(parent) {
            return ResponsePrimitive::status(StatusCode::NotFound);
        }
        if self.stored.contains_key(&uri) {
            return ResponsePrimitive::status(StatusCode::Conflict);
        }
        self.stored.insert(uri.clone(), body.clone());
        // As a path of its own: the sender makes it absolute.
        let local = uri.split_once("://").unwrap().1;
        let resource_uri = Some(local[local.find('/').unwrap()..].to_owned());
        ResponsePrimitive { resource_uri, ..ResponsePrimitive::status(StatusCode::Created) }
    }
}

/// A courier: what it does between reading and writing is one step, so that the tree can change in between.
impl Shard {
    /// Queues with an entry of an announcement, and its sequence.
    fn announcing(&self) -> Vec<(Path, u64)> {
        let mut found: Vec<(Path, u64)> = Vec::new();
        self.memory
            .scan(&Range::outboxes(), false, &mut |_, record| {
                let Record::Outbox(entry) = record else { panic!("an outbox entry") };
                if entry.message == Message::Announce {
                    assert!(found.iter().all(|(queue, _)| *queue != entry.queue), "one a resource");
                    found.push((entry.queue, entry.sequence));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    fn look(&self, original: &Path) -> Look {
        announce::look(&self.tree(), original, ORIGIN).unwrap()
    }

    /// Sends one step; what is to be told, unless it is to be tried again.
    fn send(&self, others: &mut Others, step: &Step) -> Option<Done> {
        if others.gone.contains(&step.scl) {
            return Some(step.unregistered());
        }
        let (scl, link) = (&self.scl, link(&step.scl));
        let uri = step.uri(scl, &link);
        let answer = match &step.action {
            Action::Create { body, .. } => {
                others.call("CREATE", &step.collection_uri(scl, &link), Some(body))
            }
            Action::Update { body, .. } => others.call("UPDATE", &uri, Some(body)),
            Action::Delete { .. } => others.call("DELETE", &uri, None),
            Action::Find => others.call("RETRIEVE", &uri, None),
            Action::Wait => return None,
        };
        let verdict = match announce::judge(step, scl, &link, &answer) {
            Verdict::Verify => announce::verify(step, scl, &link, &others.call("RETRIEVE", &uri, None)),
            verdict => verdict,
        };
        match verdict {
            Verdict::Done(done) => Some(done),
            _ => None,
        }
    }

    fn tell(&mut self, original: &Path, sequence: u64, scl: &str, done: Done) {
        let (path, scl) = (original.clone(), scl.to_owned());
        self.apply(Operation::AnnouncementDone { path, sequence, scl, done });
    }

    /// One round over one queue; `false`: it was done with.
    fn round(&mut self, others: &mut Others, original: &Path, sequence: u64) {
        let look = self.look(original);
        if look.steps.is_empty() {
            let queue = original.clone();
            self.apply(Operation::Acknowledge { queue, up_to: sequence });
        }
        for step in look.steps {
            if let Some(done) = self.send(others, &step) {
                self.tell(original, sequence, &step.scl, done);
            }
        }
    }

    /// Works until nothing waits.
    fn settle(&mut self, others: &mut Others) {
        for _ in 0..1_000 {
            let waiting = self.announcing();
            if waiting.is_empty() {
                return;
            }
            for (original, sequence) in waiting {
                self.round(others, &original, sequence);
            }
        }
        panic!("it does not end: {:?}", others.log);
    }

    /// The ids in sclList.
    fn listed(&self, at: &str) -> String {
        let resource = self.tree().resource(&path(at)).unwrap().expect("it exists");
        let Some(Value::Struct(to)) = resource.representation.get("announceTo") else { return String::new() };
        announce::scls(to).map(|uri| uri.rsplit('/').next().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn is_forgotten(&self, at: &str) -> bool {
        self.tree().announced(&path(at)).unwrap().is_none() && self.queue(&path(at)).is_empty()
    }
}

/// Applies, settles, and compares the requests that were sent.
#[track_caller]
fn check(shard: &mut Shard, others: &mut Others, operation: Operation, expected: &[&str]) {
    let outcome = shard.apply(operation);
    let refused = format!("{:?}: {}", status(&outcome), outcome.response.info);
    assert!(matches!(status(&outcome), StatusCode::Ok | StatusCode::Created), "{refused}");
    shard.settle(others);
    assert_eq!(std::mem::take(&mut others.log), expected);
}

const CONTAINER: ResourceType = ResourceType::Container;
const GW1: &str = "http://gw1.example.org/base/scls/nscl";

#[test]
fn an_announcement_is_made_kept_up_to_date_and_deleted() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    let created = format!("CREATE {GW1}/containers");
    check(&mut shard, &mut others, create("containers/c", CONTAINER, "x", "gw1"), &[&created]);
    let uri = format!("{GW1}/containers/cAnnc");
    let announcement = &others.stored[&uri];
    assert_eq!(announcement.resource_type, ResourceType::ContainerAnnc);
    assert_eq!(announcement.text("link"), Some("http://nscl.example.org/m2m/containers/c"));
    assert_eq!(announcement.get("searchStrings"), Some(&Value::List(vec!["x".into()])));
    assert_eq!(shard.listed("containers/c"), "gw1");

    let updated = format!("UPDATE {uri}");
    check(&mut shard, &mut others, update("containers/c", CONTAINER, "y", "gw1"), &[&updated]);
    assert_eq!(others.stored[&uri].get("searchStrings"), Some(&Value::List(vec!["y".into()])));
    assert_eq!(others.stored[&uri].text("link"), Some("http://nscl.example.org/m2m/containers/c"));
    check(&mut shard, &mut others, update("containers/c", CONTAINER, "y", "gw1"), &[]);

    let moved = [format!("DELETE {uri}"), "CREATE http://gw2.example.org/base/scls/nscl/containers".into()];
    let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
    check(&mut shard, &mut others, update("containers/c", CONTAINER, "y", "gw2"), &moved);
    let deleted = "DELETE http://gw2.example.org/base/scls/nscl/containers/cAnnc";
    check(&mut shard, &mut others, delete("containers/c"), &[deleted]);
    assert!(others.stored.is_empty() && shard.is_forgotten("containers/c"));
}

#[test]
fn what_is_created_with_activated_false_is_announced_nowhere() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    check(&mut shard, &mut others, create("containers/c", CONTAINER, "x", "-gw1"), &[]);
    assert_eq!(shard.listed("containers/c"), "gw1", "stored as it was sent");
    assert!(shard.is_forgotten("containers/c"));
}

#[test]
fn an_access_right_and_the_expiration_go_along() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    let mut representation = announceable(CONTAINER, "x", "gw1", Some(60_000));
    representation.set("accessRightID", Value::Text("/m2m/accessRights/r".into()));
    let at = path("containers/c");
    let operation = Operation::Create { path: at, representation, notify_media: NotifyMedia::Xml };
    check(&mut shard, &mut others, operation, &[&format!("CREATE {GW1}/containers")]);
    let announcement = &others.stored[&format!("{GW1}/containers/cAnnc")];
    assert_eq!(announcement.text("accessRightID"), Some("http://nscl.example.org/m2m/accessRights/r"));
    assert_eq!(announcement.datetime("expirationTime"), Some(Timestamp(60_000)));
}

#[test]
fn children_of_an_application_go_below_its_announcement_and_wait_for_it() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    shard.apply(create("applications/a", ResourceType::Application, "x", "gw1"));
    shard.apply(create("applications/a/containers/c", CONTAINER, "x", "gw1"));
    // The child is looked at first, as it may be on a node that is in a hurry.
    let child = path("applications/a/containers/c");
    assert!(matches!(shard.look(&child).steps[0].action, Action::Wait));
    shard.settle(&mut others);
    let application = format!("{GW1}/applications/aAnnc");
    let expected = [application.clone(), format!("{application}/containers/cAnnc")];
    assert_eq!(others.stored.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(others.stored[&application].text("id"), Some("aAnnc"));

    shard.apply(delete("applications/a"));
    shard.settle(&mut others);
    assert!(others.stored.is_empty(), "{:?}", others.stored);
    assert!(shard.is_forgotten("applications/a") && shard.is_forgotten("applications/a/containers/c"));
}

#[test]
fn a_child_whose_application_is_not_announced_there_leaves_the_list() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    shard.apply(create("applications/a", ResourceType::Application, "x", ""));
    let operation = create("applications/a/containers/c", CONTAINER, "x", "gw1 gw2");
    let tried =
        ["gw1", "gw2"].map(|scl| format!("CREATE {}/scls/nscl/applications/aAnnc/containers", link(scl)));
    let looked = ["gw1", "gw2"]
        .map(|scl| format!("RETRIEVE {}/scls/nscl/applications/aAnnc/containers/cAnnc", link(scl)));
    check(&mut shard, &mut others, operation, &[&tried[0], &tried[1], &looked[0], &looked[1]]);
    assert_eq!(shard.listed("applications/a/containers/c"), "");
    assert!(shard.is_forgotten("applications/a/containers/c"));
}

#[test]
fn an_original_that_expires_takes_announcements_of_the_same_time_along() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    let representation = announceable(CONTAINER, "x", "gw1", Some(5_000));
    let at = path("containers/c");
    let operation = Operation::Create { path: at, representation, notify_media: NotifyMedia::Xml };
    check(&mut shard, &mut others, operation, &[&format!("CREATE {GW1}/containers")]);
    shard.at = Timestamp(5_000);
    check(&mut shard, &mut others, Operation::Expire, &[]);
    assert!(shard.is_forgotten("containers/c"));
}

#[test]
fn an_scl_that_went_is_dropped_at_the_next_look() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    shard.apply(create("containers/c", CONTAINER, "x", "gw1 gw2"));
    shard.settle(&mut others);
    others.gone.push("gw1".to_owned());
    others.log.clear();
    let updated = format!("UPDATE {}/scls/nscl/containers/cAnnc", link("gw2"));
    check(&mut shard, &mut others, update("containers/c", CONTAINER, "y", "gw1 gw2"), &[&updated]);
    assert_eq!(shard.listed("containers/c"), "gw2");
}

#[test]
fn a_lost_answer_is_found_again_and_a_name_that_is_taken_is_a_refusal() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    others.trouble.push_back(Trouble::AnswerLost);
    let uri = format!("{GW1}/containers/cAnnc");
    let create_it = format!("CREATE {GW1}/containers");
    let found = [&create_it, &create_it, &format!("RETRIEVE {uri}"), &format!("UPDATE {uri}")];
    let found: Vec<&str> = found.iter().map(|line| line.as_str()).collect();
    check(&mut shard, &mut others, create("containers/c", CONTAINER, "x", "gw1"), &found);
    assert_eq!(shard.listed("containers/c"), "gw1");

    let mut others = Others::default();
    let mut taken = Representation::new(ResourceType::ContainerAnnc);
    taken.set("link", Value::Text("http://other.example.org/m2m/containers/d".into()));
    others.stored.insert(format!("{GW1}/containers/dAnnc"), taken.clone());
    let looked = format!("RETRIEVE {GW1}/containers/dAnnc");
    let looked = [create_it.as_str(), &looked, &looked];
    check(&mut shard, &mut others, create("containers/d", CONTAINER, "x", "gw1"), &looked);
    assert_eq!(shard.listed("containers/d"), "");
    assert_eq!(others.stored[&format!("{GW1}/containers/dAnnc")], taken);
}

#[test]
fn a_refused_delete_stays_listed_and_an_announcement_that_vanished_is_made_anew() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    shard.apply(create("containers/c", CONTAINER, "x", "gw1"));
    shard.settle(&mut others);
    others.log.clear();
    let uri = format!("{GW1}/containers/cAnnc");
    others.trouble.push_back(Trouble::Refuses(StatusCode::PermissionDenied));
    let denied = format!("DELETE {uri}");
    check(&mut shard, &mut others, update("containers/c", CONTAINER, "x", ""), &[&denied]);
    assert_eq!(shard.listed("containers/c"), "gw1");

    others.stored.clear();
    let anew = [format!("UPDATE {uri}"), format!("CREATE {GW1}/containers")];
    check(&mut shard, &mut others, update("containers/c", CONTAINER, "z", "gw1"), &[&anew[0], &anew[1]]);
    assert!(others.stored.contains_key(&uri));
}

#[test]
fn a_refusal_does_not_undo_a_newer_wish() {
    let (mut shard, mut others) = (Shard::default(), Others::default());
    shard.apply(create("containers/c", CONTAINER, "x", "gw1"));
    let (original, sequence) = shard.announcing().remove(0);
    shard.apply(update("containers/c", CONTAINER, "y", "gw1"));
    shard.tell(&original, sequence, "gw1", Done::Refused);
    assert_eq!(shard.listed("containers/c"), "gw1");
    // Neither does an acknowledgement of what was seen before.
    shard.apply(Operation::Acknowledge { queue: original.clone(), up_to: sequence });
    assert_eq!(shard.announcing().len(), 1);
    shard.settle(&mut others);
    assert!(others.stored.contains_key(&format!("{GW1}/containers/cAnnc")));
}

#[derive(Clone, Debug)]
enum Event {
    Write {
        at: usize,
        strings: usize,
        scls: usize,
    },
    Delete {
        at: usize,
    },
    /// A courier reads; then the tree changes; then it sends and tells. `forgets`: another node leads by then, and what
    /// was sent is told by nobody.
    Work {
        trouble: Vec<Trouble>,
        meanwhile: Option<(usize, usize)>,
        forgets: bool,
    },
}

const ORIGINALS: [(&str, ResourceType); 3] = [
    ("applications/a", ResourceType::Application),
    ("applications/a/containers/c", ResourceType::Container),
    ("groups/g", ResourceType::Group),
];
const STRINGS: [&str; 3] = ["x", "y", "x,y"];
const SCLS: [&str; 4] = ["", "gw1", "gw2", "gw1 gw2"];

fn event() -> impl Strategy<Value = Event> {
    let trouble = prop_oneof![
        3 => Just(Trouble::None),
        1 => Just(Trouble::Lost),
        1 => Just(Trouble::AnswerLost),
        1 => Just(Trouble::Refuses(StatusCode::PermissionDenied)),
    ];
    let meanwhile = prop::option::of((0..ORIGINALS.len(), 0..SCLS.len()));
    prop_oneof![
        3 => (0..ORIGINALS.len(), 0..STRINGS.len(), 0..SCLS.len())
            .prop_map(|(at, strings, scls)| Event::Write { at, strings, scls }),
        1 => (0..ORIGINALS.len()).prop_map(|at| Event::Delete { at }),
        4 => (prop::collection::vec(trouble, 0..4), meanwhile, any::<bool>())
            .prop_map(|(trouble, meanwhile, forgets)| Event::Work { trouble, meanwhile, forgets }),
    ]
}

fn write(shard: &mut Shard, at: usize, strings: usize, scls: usize) {
    let (at, of) = ORIGINALS[at];
    let operation = match shard.tree().resource(&path(at)).unwrap() {
        Some(_) => update(at, of, STRINGS[strings], SCLS[scls]),
        None => create(at, of, STRINGS[strings], SCLS[scls]),
    };
    shard.apply(operation);
}

/// What stands elsewhere is what the tree says, no more and no less.
fn compare(shard: &Shard, others: &Others) {
    let mut wished = BTreeMap::new();
    for (at, _) in ORIGINALS {
        let original = shard.tree().resource(&path(at)).unwrap();
        let Some(original) = original else {
            assert!(shard.is_forgotten(at), "{at} is gone");
            continue;
        };
        let known = shard.tree().announced(&path(at)).unwrap();
        let mut known: Vec<String> =
            known.iter().flat_map(|known| &known.at).map(|known| known.scl.clone()).collect();
        let mut listed = announce::wish(&shard.scl, &original.representation);
        known.sort();
        listed.sort();
        assert_eq!(known, listed, "{at}");
        for scl in listed {
            let below = match at {
                "applications/a" => "applications/aAnnc",
                "groups/g" => "groups/gAnnc",
                _ => "applications/aAnnc/containers/cAnnc",
            };
            let strings = original.representation.get("searchStrings").cloned();
            wished.insert(format!("{}/scls/nscl/{below}", link(&scl)), strings);
        }
    }
    let stored = others.stored.iter().map(|(uri, body)| (uri.clone(), body.get("searchStrings").cloned()));
    assert_eq!(stored.collect::<BTreeMap<_, _>>(), wished);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_it_ends_in_the_wished_state(events in prop::collection::vec(event(), 1..25)) {
        let (mut shard, mut others) = (Shard::default(), Others { is_random: true, ..Others::default() });
        for event in events {
            shard.at = Timestamp(shard.at.0 + 1);
            match event {
                Event::Write { at, strings, scls } => write(&mut shard, at, strings, scls),
                Event::Delete { at } => drop(shard.apply(delete(ORIGINALS[at].0))),
                Event::Work { trouble, meanwhile, forgets } => {
                    others.trouble = trouble.into();
                    for (original, sequence) in shard.announcing() {
                        let steps = shard.look(&original).steps;
                        if let Some((at, scls)) = meanwhile {
                            write(&mut shard, at, 0, scls);
                        }
                        for step in steps {
                            let done = shard.send(&mut others, &step);
                            if let (Some(done), false) = (done, forgets) {
                                shard.tell(&original, sequence, &step.scl, done);
                            }
                        }
                    }
                }
            }
        }
        others.trouble.clear();
        shard.settle(&mut others);
        // A last look at everything: what a refusal left aside, and what vanished with an application elsewhere.
        for (at, (path, of)) in ORIGINALS.into_iter().enumerate() {
            if let Some(original) = shard.tree().resource(&self::path(path)).unwrap() {
                let ids = announce::wish(&shard.scl, &original.representation).join(" ");
                let other = if at % 2 == 0 { "last" } else { "look" };
                shard.apply(update(path, of, other, &ids));
                shard.settle(&mut others);
            }
        }
        compare(&shard, &others);
    }
}
