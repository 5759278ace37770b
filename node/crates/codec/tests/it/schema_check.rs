//! The official schemas, where they are at hand: `../shared/tools/xsd-check` beside the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `shared/` beside the repository, or the reason to skip, which is printed.
pub(crate) fn shared(wanted: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let path = root.join("../shared").join(wanted);
    if !path.exists() {
        println!("skipped: {} is not there; it stands beside a checkout of the project only", path.display());
        return None;
    }
    Some(path)
}

/// Validates documents, (name, text), by V2.1.1. Panics with the validator's words; prints why when it cannot check.
pub(crate) fn validate<'t>(documents: impl IntoIterator<Item = (String, &'t [u8])>) {
    validate_in("v211", documents);
}

/// The same, by an edition.
pub(crate) fn validate_in<'t>(edition: &str, documents: impl IntoIterator<Item = (String, &'t [u8])>) {
    let Some(checker) = shared("tools/xsd-check") else { return };
    let folder = std::env::temp_dir().join(format!(
        "banyan-codec-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::create_dir_all(&folder).expect("a folder below the temporary one");
    let mut files = Vec::new();
    for (name, text) in documents {
        let file = folder.join(format!("{name}.xml"));
        fs::write(&file, text).expect("the folder was just made");
        files.push(file);
    }
    assert!(!files.is_empty(), "nothing to validate");
    let output = Command::new(checker)
        .args(["--edition", edition])
        .args(&files)
        .output()
        .expect("the checker is executable");
    fs::remove_dir_all(&folder).expect("the folder is ours");
    let words = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => println!("{} documents are valid", files.len()),
        Some(2) => println!("skipped: {}", String::from_utf8_lossy(&output.stderr)),
        _ => panic!("{}", words.lines().filter(|l| !l.ends_with("> valid")).collect::<Vec<_>>().join("\n")),
    }
}
