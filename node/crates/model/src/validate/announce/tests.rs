use super::*;
use crate::{
    Entity, Path, Timestamp, admit,
    fixture::{self, put, representation, text},
    memory::Memory,
    tree::Tree,
    value::NamedReference,
};
use std::convert::Infallible;

/// `TRUE http://x,/m2m/scls/s global`: activated, the list, and whether it is a default.
fn announce_to(words: &str) -> Value {
    let mut fields = Vec::new();
    for word in words.split_whitespace() {
        fields.push(match word {
            "TRUE" | "FALSE" => ("activated", Value::Bool(word == "TRUE")),
            "global" => ("global", Value::Bool(true)),
            list => {
                let list = list.trim_matches(['[', ']']).split(',').filter(|uri| !uri.is_empty());
                ("sclList", Value::List(list.map(str::to_owned).collect()))
            }
        });
    }
    Value::Struct(Struct { name: "AnnounceTo", fields })
}

fn words(value: &Value) -> String {
    let Value::Struct(to) = value else { panic!("no announceTo: {value:?}") };
    let word = |(name, value): &(&str, Value)| match (*name, value) {
        ("activated", Value::Bool(true)) => "TRUE".to_owned(),
        ("activated", Value::Bool(false)) => "FALSE".to_owned(),
        ("global", _) => "global".to_owned(),
        (_, Value::List(list)) => format!("[{}]", list.join(",")),
        other => panic!("{other:?}"),
    };
    to.fields.iter().map(word).collect::<Vec<_>>().join(" ")
}

struct Scene {
    memory: Memory,
    announce_all: bool,
}

impl Default for Scene {
    /// The tree of the fixture, with two SCLs.
    fn default() -> Scene {
        let mut memory = fixture::tree();
        put(&mut memory, "scls/t", ResourceType::Scl, &[("link", text("http://gw2.example.org/m2m"))]);
        Scene { memory, announce_all: false }
    }
}

impl Scene {
    /// With an application `a` that announces like this.
    fn by_default(words: &str) -> Scene {
        let mut scene = Scene::default();
        let to = [(ANNOUNCE_TO, announce_to(words))];
        put(&mut scene.memory, "applications/a", ResourceType::Application, &to);
        scene
    }

    fn send(&self, request: RequestPrimitive) -> Result<Option<String>, Refusal> {
        let (request, _) = self.settle(request)?;
        Ok(match &request.body {
            Body::Representation(body) => body.get(ANNOUNCE_TO).map(words),
            Body::Attribute { value, .. } => Some(words(value)),
            _ => None,
        })
    }

    fn settle(&self, mut request: RequestPrimitive) -> Result<(RequestPrimitive, Admission), Refusal> {
        let scl = fixture::scl();
        let mut admission = admit::admit(&self.memory, &scl, &request).expect("memory reads")?;
        let policy = Policy { announce_all: self.announce_all, ..super::super::tests::policy() };
        let settled = announcement(&scl, &policy, &mut request, &mut admission, |sought| {
            Ok::<_, Infallible>(self.lookup(&scl, sought))
        });
        settled.expect("nothing is missing")?;
        Ok((request, admission))
    }

    /// What becomes of announceTo of the container, which was `stored`, by an edit below it.
    fn edit(
        &self,
        stored: &str,
        method: Method,
        at: &str,
        sent: Option<(&str, Value)>,
    ) -> Result<String, StatusCode> {
        let mut scene = Scene { memory: self.memory.clone(), announce_all: self.announce_all };
        let to = [(ANNOUNCE_TO, announce_to(stored))];
        put(&mut scene.memory, "applications/a/containers/c", ResourceType::Container, &to);
        let body = sent.map_or(Body::None, |(name, value)| Body::Attribute { name: name.to_owned(), value });
        let request = fixture::request(method, &format!("applications/a/containers/c/announceTo{at}"), body);
        let edited = scene.settle(request).and_then(|(request, admission)| {
            let policy = super::super::tests::policy();
            let id = crate::RequestId::default();
            let made = super::super::command(
                &scene.memory,
                &fixture::scl(),
                &policy,
                Timestamp(2_000_000),
                id,
                request,
                &admission,
            );
            let command = made.expect("memory reads")?;
            let outcome = crate::apply::apply(&scene.memory, &fixture::scl(), command.at, &command);
            let outcome = outcome.expect("memory reads");
            match outcome.response.status {
                StatusCode::Ok | StatusCode::Created => Ok(outcome.changes),
                status => Err(Refusal::new(status, outcome.response.info)),
            }
        });
        scene.memory.write(edited.map_err(|refusal| refusal.status)?);
        let at = fixture::path("applications/a/containers/c");
        let found = Tree::new(&scene.memory, &fixture::scl()).resource(&at).expect("memory reads");
        Ok(words(found.expect("it is there").representation.get(ANNOUNCE_TO).expect("it has one")))
    }

    fn lookup(&self, scl: &Scl, sought: Sought<'_>) -> Option<Arc<Representation>> {
        let tree = Tree::new(&self.memory, scl);
        let at = |path: &Path| tree.resource(path).expect("memory reads").map(|found| found.representation);
        let all = ["s", "t"].into_iter().filter_map(|id| {
            let uri = at(&announce::scl_path(id))?.text("link")?.to_owned();
            Some(NamedReference { id: id.to_owned(), uri })
        });
        let found = match sought {
            Sought::At(path) => at(path)?,
            Sought::Linked(link) => announce::registered(all.filter(|known| known.uri == link).collect()),
            Sought::Overlapping(_) => unreachable!("announcements ask for links"),
            Sought::Registered => announce::registered(all.collect()),
        };
        Some(Arc::new(found))
    }

    /// CREATE of a container, without announceTo if `sent` is empty.
    fn create(&self, sent: &str) -> Result<Option<String>, Refusal> {
        self.send(fixture::request(Method::Create, "applications/a/containers", body(sent)))
    }

    fn update(&self, sent: &str) -> Result<Option<String>, Refusal> {
        self.send(fixture::request(Method::Update, "applications/a/containers/c", body(sent)))
    }
}

fn body(sent: &str) -> Body {
    let to = (!sent.is_empty()).then(|| (ANNOUNCE_TO, announce_to(sent)));
    Body::Representation(representation(ResourceType::Container, to.as_slice()))
}

fn some(text: &str) -> Result<Option<String>, Refusal> {
    Ok(Some(text.to_owned()))
}

#[test]
fn only_registered_scls_stay_each_once_by_its_address() {
    let scene = Scene::default();
    assert_eq!(scene.create("TRUE [/m2m/scls/s]"), some("TRUE [/m2m/scls/s]"));
    assert_eq!(scene.create("[/m2m/scls/nobody,/m2m/scls/s]"), some("[/m2m/scls/s]"));
    assert_eq!(scene.create("[http://nscl.example.net/m2m/scls/s,/m2m/scls/s]"), some("[/m2m/scls/s]"));
    assert_eq!(scene.create("[http://gw2.example.org/m2m/]"), some("[/m2m/scls/t]"));
    assert_eq!(scene.create("[http://other.example.org/m2m,/m2m/applications/a]"), some("[]"));
    assert_eq!(scene.update("[/m2m/scls/nobody,/m2m/scls/t]"), some("[/m2m/scls/t]"));
}

#[test]
fn a_list_that_is_none_is_refused() {
    let scene = Scene::default();
    for sent in ["[gw1]", "[/elsewhere/scls/s]", "TRUE"] {
        let refusal = scene.create(sent).expect_err(sent);
        assert_eq!(refusal.status, StatusCode::BadRequest, "{sent}");
        assert!(refusal.info.starts_with("announceTo: "), "{}", refusal.info);
    }
    let many = (0..=SCLS_MAX).map(|n| format!("/m2m/scls/{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(scene.create(&format!("[{many}]")).expect_err("too many").status, StatusCode::BadRequest);
}

#[test]
fn activated_false_is_for_a_create_and_stays_as_it_was_sent() {
    let scene = Scene::default();
    assert_eq!(scene.create("FALSE [/m2m/scls/nobody]"), some("FALSE [/m2m/scls/nobody]"));
    assert_eq!(scene.update("FALSE [/m2m/scls/s]").expect_err("an UPDATE").status, StatusCode::Forbidden);
    let value = announce_to("FALSE []");
    let attribute = Body::Attribute { name: ANNOUNCE_TO.to_owned(), value };
    let request = fixture::request(Method::Update, "applications/a/containers/c/announceTo", attribute);
    assert_eq!(scene.send(request).expect_err("an UPDATE").status, StatusCode::Forbidden);
}

#[test]
fn one_attribute_is_settled_like_the_whole() {
    let value = announce_to("[/m2m/scls/nobody,/m2m/scls/s]");
    let attribute = Body::Attribute { name: ANNOUNCE_TO.to_owned(), value };
    let request = fixture::request(Method::Update, "applications/a/containers/c/announceTo", attribute);
    assert_eq!(Scene::default().send(request), some("[/m2m/scls/s]"));
}

#[test]
fn what_was_read_may_be_sent_back_though_nothing_is_announced() {
    let mut scene = Scene::default();
    let to = [(ANNOUNCE_TO, announce_to("FALSE [/m2m/scls/s]"))];
    put(&mut scene.memory, "applications/a/containers/c", ResourceType::Container, &to);
    let same = "FALSE [http://nscl.example.net/m2m/scls/s]";
    assert_eq!(scene.update("FALSE [/m2m/scls/s]"), some("FALSE [/m2m/scls/s]"));
    assert_eq!(scene.update(same), some(same));
    for other in ["FALSE []", "FALSE [/m2m/scls/t]", "FALSE [/m2m/scls/s] global"] {
        assert_eq!(scene.update(other).expect_err(other).status, StatusCode::Forbidden);
    }
}

#[test]
fn an_entry_is_edited_by_the_rules_of_the_whole() {
    use Method::{Create, Delete, Update};
    let of = |name: &'static str, value: Value| Some((name, value));
    let reference = |uri: &str| of("reference", text(uri));
    let gone = "/sclList/%2Fm2m%2Fscls%2Fs";
    let by_link = "/sclList/http:%2F%2Fgw2.example.org%2Fm2m";
    let list = |uris: &[&str]| of("sclList", Value::List(uris.iter().map(|uri| (*uri).to_owned()).collect()));
    let ok = |words: &str| Ok(words.to_owned());
    let (bad, forbidden) = (Err(StatusCode::BadRequest), Err(StatusCode::Forbidden));
    for (stored, method, at, sent, expected) in [
        ("[]", Create, "/sclList", reference("http://gw2.example.org/m2m/"), ok("[/m2m/scls/t]")),
        (
            "[/m2m/scls/t]",
            Create,
            "/sclList",
            reference("http://gw2.example.org/m2m"),
            Err(StatusCode::Conflict),
        ),
        ("[]", Create, "/sclList", reference("http://other.example.org/m2m"), bad.clone()),
        ("[]", Create, "/sclList", reference("/m2m/scls/nobody"), bad.clone()),
        ("[]", Create, "/sclList", reference("gw2"), bad.clone()),
        ("FALSE []", Create, "/sclList", reference("/m2m/scls/s"), forbidden.clone()),
        ("[/m2m/scls/s,/m2m/scls/t]", Delete, gone, None, ok("[/m2m/scls/t]")),
        ("[/m2m/scls/s,/m2m/scls/t]", Delete, by_link, None, ok("[/m2m/scls/s]")),
        ("[/m2m/scls/s]", Delete, by_link, None, Err(StatusCode::NotFound)),
        (
            "TRUE [/m2m/scls/t]",
            Update,
            "/sclList",
            list(&["/m2m/scls/nobody", "/m2m/scls/s"]),
            ok("TRUE [/m2m/scls/s]"),
        ),
        ("TRUE [/m2m/scls/t]", Update, "/sclList", list(&["rubbish"]), bad),
        ("TRUE [/m2m/scls/t]", Update, "/activated", of("activated", Value::Bool(false)), forbidden),
        ("FALSE []", Update, "/activated", of("activated", Value::Bool(false)), ok("FALSE []")),
        // What was stored as it came is settled when it begins to count.
        (
            "FALSE [http://gw2.example.org/m2m,/m2m/scls/nobody]",
            Update,
            "/activated",
            of("activated", Value::Bool(true)),
            ok("TRUE [/m2m/scls/t]"),
        ),
        ("FALSE [http://gw2.example.org/m2m]", Delete, "/activated", None, ok("[/m2m/scls/t]")),
        ("TRUE [/m2m/scls/s]", Delete, "/activated", None, ok("[/m2m/scls/s]")),
        ("TRUE [/m2m/scls/s]", Delete, "", None, ok("FALSE []")),
    ] {
        let shown = format!("{stored}: {method:?} {at} {sent:?}");
        assert_eq!(Scene::default().edit(stored, method, at, sent), expected, "{shown}");
    }
    let by_default = Scene::by_default("[/m2m/scls/s] global");
    assert_eq!(by_default.edit("TRUE [/m2m/scls/t]", Delete, "", None), ok("[/m2m/scls/s]"));
}

#[test]
fn where_nothing_is_said_the_application_of_the_issuer_says_it() {
    assert_eq!(Scene::default().create(""), Ok(None));
    assert_eq!(Scene::by_default("TRUE [/m2m/scls/s]").create(""), Ok(None), "not global");
    assert_eq!(Scene::by_default("[/m2m/scls/s,/m2m/scls/gone] global").create(""), some("[/m2m/scls/s]"));
    assert_eq!(Scene::by_default("[] global").create(""), some("[]"));
    assert_eq!(Scene::by_default("FALSE [] global").create(""), some("FALSE []"));
    assert_eq!(Scene::by_default("[/m2m/scls/s] global").update(""), some("[/m2m/scls/s]"));
    let own = Scene::by_default("[/m2m/scls/s] global").create("[]");
    assert_eq!(own, some("[]"), "what is said counts");
}

#[test]
fn the_operator_may_announce_what_applications_make_and_nothing_else() {
    let all = |scene: Scene| Scene { announce_all: true, ..scene };
    assert_eq!(all(Scene::default()).create(""), some("TRUE [/m2m/scls/s,/m2m/scls/t]"));
    assert_eq!(all(Scene::by_default("[] global")).create(""), some("[]"), "the application comes first");
    let mut foreign = fixture::request(Method::Create, "applications/a/containers", body(""));
    foreign.requesting_entity = Entity("/m2m/scls/s".to_owned());
    assert_eq!(all(Scene::default()).send(foreign), Ok(None));
    let mut application = representation(ResourceType::Application, &[]);
    application.set("appId", text("new"));
    let mut registration =
        fixture::request(Method::Create, "applications", Body::Representation(application));
    registration.requesting_entity = Entity("/m2m/applications/new".to_owned());
    assert_eq!(all(Scene::default()).send(registration), some("TRUE [/m2m/scls/s,/m2m/scls/t]"));
}

#[test]
fn what_cannot_be_announced_is_left_alone() {
    let scene = Scene { announce_all: true, ..Scene::by_default("[/m2m/scls/s] global") };
    let instance = Body::Representation(representation(ResourceType::ContentInstance, &[]));
    let request = fixture::request(Method::Create, "applications/a/containers/c/contentInstances", instance);
    assert_eq!(scene.send(request), Ok(None));
    assert_eq!(scene.send(fixture::request(Method::Delete, "applications/a", Body::None)), Ok(None));
}

#[test]
fn an_announcement_must_link_to_an_absolute_uri() {
    for (link, sound) in [("http://gw.example.org/m2m/containers/c", true), ("/m2m/containers/c", false)] {
        let body = representation(ResourceType::ContainerAnnc, &[("link", text(link))]);
        let checked = rules::check(&fixture::scl(), &super::super::tests::policy(), &body);
        assert_eq!(checked.is_ok(), sound, "{checked:?}");
    }
}
