//! All XML that a case receives, one of each structure, for the official schemas in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use parking_lot::Mutex;

use super::node::{Form, Node};
use super::peer::Received;

/// Documents that are kept; far more structures than the schemas have.
const DOCUMENTS_MAX: usize = 5_000;
/// Of one structure, for values have a form as well.
const OF_EACH_MAX: usize = 2;
/// Bodies that the SCL itself writes when it is the client. What it forwards was written by the case.
const OWN_BODIES: &[&str] = &["notify", "notifyCollection", "requestNotify", "responseNotify"];

/// Attributes of a resource's element that partial addressing shows alone (10.39): the schemas declare no element for
/// them, so none could call such a document valid.
const NO_ELEMENTS: &[&str] = &["id"];

/// What was collected, by structure.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    documents: Mutex<BTreeMap<String, Vec<Vec<u8>>>>,
}

impl Harvest {
    /// An answer's body.
    pub(crate) fn answered(&self, form: Form, body: &[u8]) {
        if form == Form::Xml
            && let Ok(node) = Form::Xml.read(&String::from_utf8_lossy(body))
            && !NO_ELEMENTS.contains(&node.name.as_str())
        {
            self.keep(&node, body);
        }
    }

    /// What a peer got, and the representation in it.
    pub(crate) fn received(&self, received: &Received) {
        let header = received.headers.iter().find(|(name, _)| name == "content-type");
        if header.is_none_or(|(_, value)| Form::of(value) != Some(Form::Xml)) {
            return;
        }
        let Ok(node) = Form::Xml.read(&String::from_utf8_lossy(&received.body)) else { return };
        if OWN_BODIES.contains(&node.name.as_str()) {
            self.keep(&node, &received.body);
        }
        for inner in node.find("representation").into_iter().chain(node.find("notify/representation")) {
            let xml =
                inner.find("contentType").first().is_some_and(|t| Form::of(t.text()) == Some(Form::Xml));
            let packed: String = inner.text().split_whitespace().collect();
            if xml
                && node.name != "requestNotify"
                && let Ok(bytes) = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, packed)
            {
                self.answered(Form::Xml, &bytes);
            }
        }
    }

    fn keep(&self, node: &Node, body: &[u8]) {
        let mut documents = self.documents.lock();
        if documents.len() < DOCUMENTS_MAX {
            let of_this = documents.entry(structure(node)).or_default();
            if of_this.len() < OF_EACH_MAX {
                of_this.push(body.to_vec());
            }
        }
    }

    /// Validates everything: how many documents, and the validator's words about each that is not valid. `Err`: why it was not
    /// checked.
    pub(crate) fn check(&self) -> Result<(usize, Vec<String>), String> {
        let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/tools/xsd-check");
        if !checker.exists() {
            return Err(format!("{} is not there", checker.display()));
        }
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut files = Vec::new();
        for body in self.documents.lock().values().flatten() {
            let file = folder.path().join(format!("{:04}.xml", files.len()));
            std::fs::write(&file, body).map_err(|e| e.to_string())?;
            files.push(file);
        }
        let output = Command::new(&checker).args(&files).output().map_err(|e| e.to_string())?;
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(0) => Ok((files.len(), Vec::new())),
            Some(1) => {
                let mut invalid: Vec<String> = Vec::new();
                for line in words.lines().filter(|line| !line.ends_with("> valid")) {
                    match invalid.last_mut() {
                        Some(last) if line.starts_with(' ') => last.push_str(&format!("\n{line}")),
                        _ => {
                            let file = line.split(':').next().unwrap_or_default();
                            let text = std::fs::read_to_string(file).unwrap_or_default();
                            invalid.push(format!("{line}\n  {text}"));
                        }
                    }
                }
                Ok((files.len(), invalid))
            }
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// Names without values; what repeats counts once.
fn structure(node: &Node) -> String {
    let mut children: Vec<String> = node.children.iter().map(structure).collect();
    children.dedup();
    format!("{}({})", node.name, children.join(","))
}
