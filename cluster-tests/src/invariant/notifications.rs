//! Every stored change reaches the subscriber at least once, and the first time in the order in which it was stored.

use std::collections::HashSet;

use crate::subscriber::Notification;

/// Compares the notifies of one subscription, in order of arrival and taken (answered 2xx), with what was stored after
/// the subscription was made, in stored order. Gives how many contents came more than once.
///
/// # Errors
/// Every violation in words, one a line.
pub fn check(received: &[Notification], stored: &[String]) -> Result<usize, String> {
    let contents: Vec<String> = received
        .iter()
        .filter(|notification| (200..300).contains(&notification.answered))
        .flat_map(Notification::contents)
        .collect();
    check_contents(&contents, stored)
}

fn check_contents(received: &[String], stored: &[String]) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let firsts: Vec<&String> = received.iter().filter(|content| seen.insert(content.as_str())).collect();
    let wanted: HashSet<&str> = stored.iter().map(String::as_str).collect();
    let mut violations: Vec<String> = stored
        .iter()
        .filter(|content| !seen.contains(content.as_str()))
        .map(|content| format!("{content} was never notified"))
        .collect();
    let invented = firsts.iter().filter(|content| !wanted.contains(content.as_str()));
    violations.extend(invented.map(|content| format!("{content} was notified and is not stored")));
    let arrived = firsts.iter().filter(|content| wanted.contains(content.as_str()));
    let expected = stored.iter().filter(|content| seen.contains(content.as_str()));
    if let Some((arrived, expected)) =
        arrived.zip(expected).find(|(arrived, expected)| **arrived != *expected)
    {
        violations.push(format!("{arrived} was notified before {expected}"));
    }
    if violations.is_empty() { Ok(received.len() - firsts.len()) } else { Err(violations.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(received: &str, stored: &str) -> Result<usize, String> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        check_contents(&words(received), &words(stored))
    }

    #[test]
    fn each_violation_is_seen() {
        assert_eq!(check_text("a b b c", "a b c"), Ok(1));
        assert_eq!(check_text("a b a c", "a b c"), Ok(1), "a repetition may come late");
        assert_eq!(check_text("a c", "a b c"), Err("b was never notified".to_owned()));
        assert_eq!(check_text("b a", "a b"), Err("b was notified before a".to_owned()));
        assert_eq!(check_text("a z", "a"), Err("z was notified and is not stored".to_owned()));
    }
}
