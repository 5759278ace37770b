//! Every acknowledged instance is there exactly once and in its writer's order, and none is there that nobody sent or
//! that was refused. A write without an answer may be there once, anywhere, or not.

use std::collections::HashMap;

use crate::oracle::{Answer, Write};

/// What was found when all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Acknowledged writes, all there.
    pub acknowledged: usize,
    /// Writes without an answer that are there.
    pub unknown_there: usize,
    /// Writes without an answer that are not.
    pub unknown_absent: usize,
}

/// Compares what the writers know with the stored contents in their order.
///
/// # Errors
/// Every violation in words, one a line.
pub fn check(histories: &[Vec<Write>], stored: &[String]) -> Result<Summary, String> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, content) in stored.iter().enumerate() {
        places.entry(content).or_default().push(place);
    }
    let mut violations = Vec::new();
    let mut summary = Summary::default();
    for history in histories {
        let mut last_place = None;
        for write in history {
            let found = places.remove(write.content.as_str()).unwrap_or_default();
            if found.len() > 1 {
                violations.push(format!("{} is there {} times", write.content, found.len()));
            }
            match (&write.answer, found.first()) {
                (Answer::Acknowledged, None) => violations.push(format!("{} is lost", write.content)),
                (Answer::Acknowledged, Some(&place)) => {
                    summary.acknowledged += 1;
                    if last_place.is_some_and(|last| place < last) {
                        violations
                            .push(format!("{} stands before an earlier one of its writer", write.content));
                    }
                    last_place = Some(place);
                }
                (Answer::Refused(status), Some(_)) => {
                    violations.push(format!("{} was refused with {status} and is there", write.content));
                }
                (Answer::Refused(_), None) => {}
                (Answer::Unknown(_), Some(_)) => summary.unknown_there += 1,
                (Answer::Unknown(_), None) => summary.unknown_absent += 1,
            }
        }
    }
    let mut invented: Vec<&str> = places.into_keys().collect();
    invented.sort_unstable();
    violations.extend(invented.iter().map(|content| format!("{content:?} is there and nobody sent it")));
    if violations.is_empty() { Ok(summary) } else { Err(violations.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn write(content: &str, answer: Answer) -> Write {
        Write {
            sequence: 0,
            content: content.to_owned(),
            sent: Instant::now(),
            answered: Instant::now(),
            answer,
        }
    }

    /// `sent`: writers divided by `|`, writes by blanks; `a?` had no answer, `a!` was refused.
    fn check_text(sent: &str, stored: &str) -> Result<Summary, String> {
        let histories: Vec<Vec<Write>> = sent
            .split('|')
            .map(|writer| {
                writer
                    .split_whitespace()
                    .map(|word| match (word.strip_suffix('?'), word.strip_suffix('!')) {
                        (Some(name), _) => write(name, Answer::Unknown("no answer".to_owned())),
                        (_, Some(name)) => write(name, Answer::Refused(400)),
                        _ => write(word, Answer::Acknowledged),
                    })
                    .collect()
            })
            .collect();
        let stored: Vec<String> = stored.split_whitespace().map(str::to_owned).collect();
        check(&histories, &stored)
    }

    #[test]
    fn each_violation_is_seen() {
        assert_eq!(
            check_text("a b? c | x y!", "x a c b"),
            Ok(Summary { acknowledged: 3, unknown_there: 1, unknown_absent: 0 })
        );
        assert_eq!(check_text("a b", "a"), Err("b is lost".to_owned()));
        assert_eq!(check_text("a b", "a b a"), Err("a is there 2 times".to_owned()));
        assert_eq!(check_text("a? b", "a a b"), Err("a is there 2 times".to_owned()));
        assert_eq!(check_text("a b", "b a"), Err("b stands before an earlier one of its writer".to_owned()));
        assert_eq!(check_text("a", "a z"), Err("\"z\" is there and nobody sent it".to_owned()));
        assert_eq!(check_text("a b!", "a b"), Err("b was refused with 400 and is there".to_owned()));
    }
}
