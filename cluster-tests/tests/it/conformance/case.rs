//! Cases as data: the notation of the files in `cases/`, which `docs/testing.md` describes.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an effect that follows an answer may take until it is seen.
const SOON: Duration = Duration::from_secs(5);

/// One case: a clause, a sentence, and what is sent and expected.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `<file>/<sentence>`.
    pub(crate) name: String,
    pub(crate) clause: String,
    /// It carries its own bodies: running it in a second representation would be the same again.
    pub(crate) once: bool,
    /// It registers nothing beforehand.
    pub(crate) bare: bool,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// File and line.
    pub(crate) at: String,
    pub(crate) action: Action,
    pub(crate) expectations: Vec<Expectation>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Request {
        request: Request,
        statuses: Vec<u16>,
        within: Option<Duration>,
    },
    /// A request that is answered later, under a name.
    Start {
        name: String,
        request: Request,
    },
    Finish {
        name: String,
        statuses: Vec<u16>,
    },
    /// Something every other case needs as well: application, container, scl, accessRight.
    Make {
        what: Made,
        name: String,
        rest: String,
    },
    Peer {
        name: String,
    },
    Answers {
        peer: String,
        method: String,
        path: String,
        answer: Answer,
    },
    Gets {
        peer: String,
        method: String,
        path: String,
        within: Duration,
    },
    GetsNothing {
        peer: String,
        within: Duration,
    },
    Let {
        name: String,
        value: String,
    },
    Sleep(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Application,
    Container,
    Scl,
    Right,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) from: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    /// In the notation of [`super::node`], with variables.
    Abstract(String),
    Raw {
        media_type: Option<String>,
        text: String,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Expectation {
    /// Header and pattern; `None`: it must not be there.
    Header(String, Option<String>),
    /// The whole body.
    Body(String),
    /// All texts at this path, in order.
    Is(String, Vec<String>),
    /// One of the texts at this path.
    Has(String, String),
    HasNot(String, String),
    Count(String, usize),
    Present(String),
    Absent(String),
    /// Type of the representation.
    Root(String),
    /// additionalInfo holds this word.
    Names(String),
    /// Keeps what stands at a path, or in a header (`name:`), under a variable.
    Keep(String, String),
}

/// All cases of all files, or of those whose name contains `only`.
///
/// # Panics
/// A file cannot be read or understood: no case of it would mean anything.
pub(crate) fn all(only: Option<&str>) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the cases stand beside the tests")
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let stem = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a case file can be read");
        cases.extend(parse(&stem, &text));
    }
    let mut names = std::collections::BTreeSet::new();
    for case in &cases {
        assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        assert!(!case.steps.is_empty(), "{} does nothing", case.name);
    }
    cases.retain(|case| only.is_none_or(|only| case.name.contains(only)));
    cases
}

fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut clause = String::new();
    for (number, line) in text.lines().enumerate() {
        let at = format!("{file}.txt:{}", number + 1);
        let (indented, line) = (line.starts_with(' '), line.trim());
        if line.is_empty() || line.starts_with("# ") || line == "#" {
            continue;
        }
        let wrong = |why: &str| -> ! { panic!("{at}: {why}: {line}") };
        if let Some(value) = line.strip_prefix("clause ") {
            clause = value.to_owned();
        } else if let Some(sentence) = line.strip_prefix("case ") {
            let name = format!("{file}/{sentence}");
            cases.push(Case { name, clause: clause.clone(), once: false, bare: false, steps: Vec::new() });
        } else {
            let Some(case) = cases.last_mut() else { wrong("no case") };
            match (indented, line) {
                (false, "once") => case.once = true,
                (false, "bare") => case.bare = true,
                (false, _) => {
                    let action = action(line).unwrap_or_else(|why| wrong(&why));
                    case.steps.push(Step { at, action, expectations: Vec::new() });
                }
                (true, _) => {
                    let Some(step) = case.steps.last_mut() else { wrong("no step") };
                    step.expectations.push(expectation(line).unwrap_or_else(|why| wrong(&why)));
                }
            }
        }
    }
    cases
}

fn action(line: &str) -> Result<Action, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let named = |text: &str| {
        text.split_once(' ')
            .map_or((text.to_owned(), String::new()), |(n, r)| (n.to_owned(), r.trim().to_owned()))
    };
    let make = |what| {
        let (name, rest) = named(rest);
        Ok(Action::Make { what, name, rest })
    };
    match word {
        "application" => make(Made::Application),
        "container" => make(Made::Container),
        "scl" => make(Made::Scl),
        "right" => make(Made::Right),
        "peer" => Ok(Action::Peer { name: rest.to_owned() }),
        "sleep" => Ok(Action::Sleep(duration(rest)?)),
        "let" => {
            let (name, value) = rest.split_once(" = ").ok_or("no value")?;
            Ok(Action::Let { name: name.trim_start_matches('$').to_owned(), value: value.to_owned() })
        }
        "start" => {
            let (name, rest) = rest.split_once(": ").ok_or("no name")?;
            Ok(Action::Start { name: name.to_owned(), request: request(rest)? })
        }
        "finish" => {
            let (name, answer) = rest.split_once(" -> ").ok_or("no answer")?;
            Ok(Action::Finish { name: name.to_owned(), statuses: statuses(answer)? })
        }
        _ if word.chars().all(|c| c.is_ascii_uppercase()) => {
            let (sent, answer) = line.rsplit_once(" -> ").ok_or("no answer")?;
            let (codes, within) = match answer.split_once(" within ") {
                Some((codes, within)) => (codes, Some(duration(within)?)),
                None => (answer, None),
            };
            Ok(Action::Request { request: request(sent)?, statuses: statuses(codes)?, within })
        }
        peer => peer_action(peer, rest),
    }
}

fn peer_action(peer: &str, rest: &str) -> Result<Action, String> {
    let peer = peer.to_owned();
    if let Some(within) = rest.strip_prefix("gets nothing within ") {
        return Ok(Action::GetsNothing { peer, within: duration(within)? });
    }
    if let Some(what) = rest.strip_prefix("gets ") {
        let (what, within) = match what.split_once(" within ") {
            Some((what, within)) => (what, duration(within)?),
            None => (what, SOON),
        };
        let (method, path) = what.split_once(' ').ok_or("no path")?;
        return Ok(Action::Gets { peer, method: method.to_owned(), path: path.to_owned(), within });
    }
    if let Some(what) = rest.strip_prefix("answers ") {
        let (what, answer) = what.split_once(" -> ").ok_or("no answer")?;
        let (method, path) = what.split_once(' ').ok_or("no path")?;
        let (status, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        let (headers, rest) = headers(rest)?;
        let answer = Answer { status: code(status)?, headers, body: body(rest)? };
        return Ok(Action::Answers { peer, method: method.to_owned(), path: path.to_owned(), answer });
    }
    Err("neither a step nor what a peer does".to_owned())
}

fn request(text: &str) -> Result<Request, String> {
    let (method, rest) = text.split_once(' ').ok_or("no path")?;
    let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (mut all, mut rest) = headers(rest)?;
    let mut from = None;
    if let Some(after) = rest.strip_prefix("as ") {
        let (who, after) = after.split_once(' ').unwrap_or((after, ""));
        from = Some(who.to_owned());
        let (more, after) = headers(after)?;
        all.extend(more);
        rest = after;
    }
    Ok(Request { method: method.to_owned(), path: path.to_owned(), from, headers: all, body: body(rest)? })
}

type Headers = Vec<(String, String)>;

/// `[Name: value] [Name: value] rest`.
fn headers(text: &str) -> Result<(Headers, &str), String> {
    let (mut headers, mut rest) = (Vec::new(), text.trim());
    while let Some(after) = rest.strip_prefix('[') {
        let (header, after) = after.split_once(']').ok_or("a header does not end")?;
        let (name, value) = header.split_once(':').ok_or("a header without a colon")?;
        headers.push((name.to_owned(), value.trim().to_owned()));
        rest = after.trim();
    }
    Ok((headers, rest))
}

fn body(text: &str) -> Result<Body, String> {
    if text.is_empty() {
        return Ok(Body::None);
    }
    let Some(raw) = text.strip_prefix("raw ") else { return Ok(Body::Abstract(text.to_owned())) };
    let (media_type, text) = raw.split_once(" '").ok_or("a raw body stands in quotes")?;
    let text = text.strip_suffix('\'').ok_or("a raw body ends with a quote")?;
    let media_type = (media_type != "-").then(|| media_type.to_owned());
    Ok(Body::Raw { media_type, text: text.to_owned() })
}

fn expectation(line: &str) -> Result<Expectation, String> {
    if let Some((name, path)) = line.split_once(" := ") {
        return Ok(Expectation::Keep(name.trim_start_matches('$').to_owned(), path.to_owned()));
    }
    if let Some(word) = line.strip_prefix("names ") {
        return Ok(Expectation::Names(word.to_owned()));
    }
    let binary = |sign: &str| line.split_once(sign).map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()));
    if let Some((path, value)) = binary(" !~ ") {
        return Ok(Expectation::HasNot(path, value));
    }
    if let Some((path, value)) = binary(" ~ ") {
        return Ok(Expectation::Has(path, value));
    }
    if let Some((path, values)) =
        line.split_once(" =").filter(|(_, values)| values.is_empty() || values.starts_with(' '))
    {
        let values = values.trim();
        return Ok(match path {
            "body" => Expectation::Body(values.to_owned()),
            "/" => Expectation::Root(values.to_owned()),
            _ => Expectation::Is(path.to_owned(), values.split(", ").map(str::to_owned).collect()),
        });
    }
    if let Some((path, count)) = binary(" # ") {
        return Ok(Expectation::Count(path, count.parse().map_err(|_| "not a number")?));
    }
    if let Some(path) = line.strip_suffix(" ?") {
        return Ok(Expectation::Present(path.to_owned()));
    }
    if let Some(path) = line.strip_suffix(" !") {
        return Ok(match path.strip_suffix(':') {
            Some(header) => Expectation::Header(header.to_owned(), None),
            None => Expectation::Absent(path.to_owned()),
        });
    }
    match line.split_once(": ") {
        Some((name, value)) => Ok(Expectation::Header(name.to_owned(), Some(value.to_owned()))),
        None => Err("not an expectation".to_owned()),
    }
}

fn statuses(text: &str) -> Result<Vec<u16>, String> {
    text.trim().split('|').map(code).collect()
}

fn code(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| format!("{text} is no status"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| format!("{text} is no duration"));
    match text.strip_suffix("ms") {
        Some(digits) => Ok(Duration::from_millis(number(digits)?)),
        None => Ok(Duration::from_secs(number(text.strip_suffix('s').ok_or("no unit")?)?)),
    }
}

#[test]
fn the_cases_can_be_read_and_are_enough() {
    let cases = all(None);
    assert!(cases.len() >= 250, "{} cases", cases.len());
    let known = super::ledger::not_yet();
    for name in known.keys() {
        assert!(
            cases.iter().any(|case| case.name == *name),
            "not_yet.txt speaks of {name}, which is no case"
        );
    }
}
