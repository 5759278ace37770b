//! The documentation keeps its word: links lead somewhere, files that are named are there, and every line of level
//! ERROR that a program can log has its entry in docs/errors.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node stands in the workspace").to_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Files with this extension below a folder, build results and hidden folders left out.
fn files(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, extension, into);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            into.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    files(&root().join("docs"), "md", &mut pages);
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    pages
}

/// Text outside of fenced code.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The anchor of a heading, as the usual renderers make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> Vec<String> {
    let prose = prose(page);
    prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in prose(&text).split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.starts_with("http") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a page stands in a folder").join(file),
            };
            let found = target.exists()
                && (fragment.is_empty() || anchors(&read(&target)).iter().any(|anchor| anchor == fragment));
            if !found {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_are_named_are_there() {
    let tops = ["node/", "docs/", "proto/", "cluster-tests/", ".ci/"];
    let mut wrong = Vec::new();
    for page in pages() {
        for code in prose(&read(&page)).split('`').skip(1).step_by(2) {
            let named = tops.iter().any(|top| code.starts_with(top)) && !code.contains([' ', '<', '*']);
            if named && !root().join(code).exists() {
                wrong.push(format!("{}: {code}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The messages of `error!(...)` in a source, the last string literal of each.
fn error_messages(source: &str) -> Vec<String> {
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = production.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    code.match_indices("error!(")
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .map(|(at, _)| {
            let call = &code[at..];
            let call = &call[..end_of_call(call)];
            call.rsplit('"').nth(1).unwrap_or_default().to_owned()
        })
        .collect()
}

/// Where the parenthesis of a macro call closes, strings skipped.
fn end_of_call(call: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in call.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    call.len()
}

#[test]
fn every_error_line_has_its_entry() {
    let entries: String = read(&root().join("docs/errors/README.md"))
        .lines()
        .filter(|line| line.starts_with("###"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut sources = Vec::new();
    files(&root().join("node/src"), "rs", &mut sources);
    for entry in fs::read_dir(root().join("node/crates")).expect("node/crates is there") {
        files(&entry.expect("readable").path().join("src"), "rs", &mut sources);
    }
    let mut messages = 0;
    let mut wrong = Vec::new();
    for source in sources {
        for message in error_messages(&read(&source)) {
            messages += 1;
            if !entries.contains(&format!("`{message}`")) {
                wrong
                    .push(format!("{}: {message:?} has no entry in docs/errors/README.md", source.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(messages > 5, "the sources were not found, or are written in another way");
}

#[test]
fn messages_are_found_in_calls_of_every_form() {
    let source = r#"
        tracing::error!(shard = x(1), %panic, "one (of them) failed");
        // error!("not code");
        error!("two");
        my_error!("not a log line");
        error!(
            error = &e as &dyn Error,
            "three"
        );
        #[cfg(test)]
        error!("a test");
    "#;
    assert_eq!(error_messages(source), ["one (of them) failed", "two", "three"]);
}
