//! Every row of attributes.csv and methods.csv, asked of a tree through requests.
//!
//! The rows are read from the files here, apart from what the build made of them. That the test would notice a row that
//! says otherwise is tested too, row by row.

use crate::every_type::{World, minimal, value};
use banyan_model::{
    Body, Method, Path, Representation, ResourceType, StatusCode, Value,
    holds::fixed_name,
    tables::{AttributeDef, TYPES},
};
use std::collections::BTreeMap;

type Row = BTreeMap<String, String>;

/// Rows whose word the SCL does not take literally: (type, attribute, why).
const LENIENT: [(&str, &str, &str); 2] = [
    ("scl", "sclType", "V1 has none: its absence means GSCL (D-1)"),
    ("mgmtCmd", "execEnable", "the SCL puts the address in, which only it can know"),
];

/// Neither stored nor created: the fan-out of groups and the query of the whole cluster answer for these.
const VIRTUAL: [ResourceType; 1] = [ResourceType::MembersContent];

fn rows(file: &str) -> Vec<Row> {
    let path = format!("{}/tables/{file}.csv", env!("CARGO_MANIFEST_DIR"));
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows = reader.deserialize().map(|row| row.unwrap());
    rows.filter(|row: &Row| row["edition"] != "v1").collect()
}

fn of(row: &Row) -> ResourceType {
    ResourceType::from_name(&row["type"]).unwrap()
}

fn types() -> impl Iterator<Item = ResourceType> {
    TYPES.iter().map(|def| def.resource_type).filter(|of| !VIRTUAL.contains(of))
}

fn is_lenient(row: &Row) -> bool {
    LENIENT.iter().any(|(of, name, _)| row["type"] == *of && row["name"] == *name)
}

fn attribute(row: &Row) -> &'static AttributeDef {
    of(row).attribute(&row["name"]).unwrap()
}

/// What one walk works on: a place for resources of a type, and one that stands.
struct Ground {
    world: World,
    of: ResourceType,
    holder: Path,
    standing: Path,
}

impl Ground {
    fn of(of: ResourceType) -> Ground {
        let mut world = World::new();
        let standing = world.make(of);
        let holder = standing.parent().unwrap_or_default();
        Ground { world, of, holder, standing }
    }

    /// A fixed name can stand once, so what stands has to make room.
    fn clear(&mut self, path: &Path) {
        self.world.send(Method::Delete, path, Body::None);
    }

    /// Whether a CREATE keeps the word of a row.
    fn create(&mut self, row: &Row, mode: &str) -> Result<(), String> {
        let (attribute, name) = (attribute(row), attribute(row).field.name);
        let holder_type = match self.world.admitted(Method::Retrieve, &self.holder) {
            Ok(banyan_model::admit::Target::Resource { resource_type, .. }) => resource_type,
            other => return Err(format!("{}: {other:?}", self.holder)),
        };
        let fixed = fixed_name(holder_type, self.of);
        let mut sent = minimal(self.of, |attribute| attribute.create);
        if fixed.is_some() || self.of.id_attribute().is_some_and(|id| sent.get(id.field.name).is_some()) {
            let standing = self.standing.clone();
            self.clear(&standing);
        }
        let wanted = match fixed {
            Some(fixed) if self.of.id_attribute().is_some_and(|id| id.field.name == name) => {
                Value::Text(fixed.to_owned())
            }
            _ => value(attribute),
        };
        if mode == "O" {
            // Accepted without it as well.
            sent.remove(name);
            let bare = self.accepted(sent.clone(), name)?;
            self.clear(&bare);
        }
        sent.set(name, wanted.clone());
        match mode {
            "M" => {
                let made = self.accepted(sent.clone(), name)?;
                self.round_trip(&made, name, &wanted, is_lenient(row))?;
                self.clear(&made);
                sent.remove(name);
                if is_lenient(row) { Ok(()) } else { self.refused(Method::Create, sent, name) }
            }
            "O" => {
                let made = self.accepted(sent, name)?;
                self.round_trip(&made, name, &wanted, false)?;
                self.clear(&made);
                Ok(())
            }
            _ => self.refused(Method::Create, sent, name),
        }
    }

    /// Whether an UPDATE keeps the word of a row.
    fn update(&mut self, row: &Row, mode: &str) -> Result<(), String> {
        let (attribute, name) = (attribute(row), attribute(row).field.name);
        let wanted = value(attribute);
        let mut sent = minimal(self.of, |attribute| attribute.update);
        let standing = self.standing.clone();
        if mode == "O" {
            sent.remove(name);
            self.updated(sent.clone(), name)?;
        }
        sent.set(name, wanted.clone());
        match mode {
            "M" => {
                self.updated(sent.clone(), name)?;
                self.round_trip(&standing, name, &wanted, false)?;
                sent.remove(name);
                self.refused(Method::Update, sent, name)
            }
            "O" => {
                self.updated(sent, name)?;
                self.round_trip(&standing, name, &wanted, false)
            }
            _ => self.refused(Method::Update, sent, name),
        }
    }

    fn accepted(&mut self, sent: Representation, name: &str) -> Result<Path, String> {
        let holder = self.holder.clone();
        self.world
            .create(&holder, sent)
            .map_err(|response| format!("CREATE with {name}: {:?} {}", response.status, response.info))
    }

    fn updated(&mut self, sent: Representation, name: &str) -> Result<(), String> {
        let response = self.world.send(Method::Update, &self.standing, Body::Representation(sent));
        match response.status {
            StatusCode::Ok => Ok(()),
            status => Err(format!("UPDATE with {name}: {status:?} {}", response.info)),
        }
    }

    fn round_trip(&mut self, at: &Path, name: &str, wanted: &Value, assigned: bool) -> Result<(), String> {
        match self.world.shown(at).get(name) {
            Some(found) if assigned || found == wanted => Ok(()),
            found => Err(format!("{name}: sent {wanted:?}, found {found:?}")),
        }
    }

    fn refused(&mut self, method: Method, sent: Representation, name: &str) -> Result<(), String> {
        let target = if method == Method::Create { &self.holder } else { &self.standing };
        let response = self.world.send(method, target, Body::Representation(sent));
        let named = response.info.starts_with(&format!("{name}: "));
        match response.status {
            StatusCode::BadRequest if named => Ok(()),
            status => Err(format!("{method:?} is not refused for {name}: {status:?} {}", response.info)),
        }
    }
}

/// The words of a row that a request can ask about.
fn asked(row: &Row) -> impl Iterator<Item = (&'static str, String)> + '_ {
    let request = ["create", "update"].into_iter().map(|request| (request, row[request].clone()));
    request.filter(|(_, mode)| mode != "NA")
}

fn ask(ground: &mut Ground, row: &Row, request: &str, mode: &str) -> Result<(), String> {
    // What a walk cleared away stands again for the next one.
    if matches!(ground.world.admitted(Method::Retrieve, &ground.standing), Err(refusal) if refusal.status == StatusCode::NotFound)
    {
        *ground = Ground::of(ground.of);
    }
    match request {
        "create" => ground.create(row, mode),
        _ => ground.update(row, mode),
    }
}

#[test]
fn every_attribute_keeps_its_modes() {
    let (rows, mut wrong, mut walked) = (rows("attributes"), Vec::new(), 0);
    for of_type in types() {
        let mut ground = Ground::of(of_type);
        for row in rows.iter().filter(|row| of(row) == of_type) {
            for (request, mode) in asked(row) {
                walked += 1;
                let kept = ask(&mut ground, row, request, &mode);
                wrong.extend(kept.err().map(|why| format!("{} {request} {mode}: {why}", of_type.name())));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {walked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(walked > 1_000, "the tables have more rows, {walked} were walked");
}

#[test]
fn a_row_that_said_otherwise_would_be_noticed() {
    let (rows, mut missed) = (rows("attributes"), Vec::new());
    for of_type in types() {
        let mut ground = Ground::of(of_type);
        for row in rows.iter().filter(|row| of(row) == of_type && !is_lenient(row)) {
            for (request, mode) in asked(row) {
                let otherwise = match mode.as_str() {
                    "M" => &["O", "NP"][..],
                    "O" => &["M", "NP"],
                    _ => &["O", "M"],
                };
                for other in otherwise {
                    if ask(&mut ground, row, request, other).is_ok() {
                        missed.push(format!(
                            "{} {} {request}: {mode} as {other}",
                            of_type.name(),
                            row["name"]
                        ));
                    }
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} are missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_mandatory_attribute_is_shown() {
    let (rows, mut wrong) = (rows("attributes"), Vec::new());
    for of_type in types().filter(|of| !matches!(of, ResourceType::Discovery)) {
        let mut world = World::new();
        let at = world.make(of_type);
        let response = world.send(Method::Retrieve, &at, Body::None);
        let Body::Representation(shown) = response.body else { panic!("{at}: {:?}", response.status) };
        let own = rows.iter().filter(|row| of(row) == shown.resource_type);
        let absent = own.filter(|row| row["response"] == "M" && shown.get(&row["name"]).is_none());
        wrong.extend(absent.map(|row| format!("{}: {}", of_type.name(), row["name"])));
    }
    assert!(wrong.is_empty(), "not shown:\n{}", wrong.join("\n"));
}

const METHODS: [(Method, &str); 5] = [
    (Method::Create, "create_in"),
    (Method::Retrieve, "retrieve"),
    (Method::Update, "update"),
    (Method::Delete, "delete"),
    (Method::Execute, "execute"),
];

/// What methods.csv allows on a resource itself. `special` in EXECUTE speaks of what stands below.
fn allowed(row: &Row) -> Vec<Method> {
    let has = |(method, column): &(Method, &str)| match row[*column].as_str() {
        "allowed" => true,
        "special" => *method != Method::Execute,
        _ => false,
    };
    let mut methods: Vec<Method> = METHODS.iter().filter(|one| has(one)).map(|(method, _)| *method).collect();
    if row["note"].contains("a NOTIFY may also be addressed to it") {
        methods.push(Method::Notify);
    }
    methods
}

/// Methods that do not do what the row says.
fn methods_wrong(world: &World, at: &Path, row: &Row) -> Vec<String> {
    let allowed = allowed(row);
    let mut wrong = Vec::new();
    for method in METHODS.map(|(method, _)| method).into_iter().chain([Method::Notify]) {
        match world.admitted(method, at) {
            Ok(_) if allowed.contains(&method) => {}
            Err(refusal)
                if !allowed.contains(&method)
                    && refusal.status == StatusCode::MethodNotAllowed
                    && refusal.allow == allowed => {}
            other => wrong.push(format!("{} {method:?} at {at}: {other:?}", row["type"])),
        }
    }
    wrong
}

#[test]
fn every_type_has_the_methods_of_the_table_and_allow_names_them() {
    let rows = rows("methods");
    let mut wrong = Vec::new();
    for of_type in types() {
        let mut world = World::new();
        let at = world.make(of_type);
        let row = rows.iter().find(|row| of(row) == of_type).unwrap();
        wrong.extend(methods_wrong(&world, &at, row));
        for (method, column) in METHODS {
            let mut other = row.clone();
            let now = allowed(row).contains(&method);
            other.insert(column.to_owned(), if now { "not" } else { "allowed" }.to_owned());
            assert!(
                !methods_wrong(&world, &at, &other).is_empty(),
                "{} {column} is not noticed",
                row["type"]
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
