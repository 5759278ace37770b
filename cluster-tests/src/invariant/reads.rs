//! No stale read: a read sees every write that was acknowledged before the read began, and none that had not been
//! sent when it ended.

use std::time::Instant;

use crate::oracle::{Answer, Write};

/// A read of `latest` that was answered 200.
#[derive(Clone, Debug)]
pub struct Read {
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered.
    pub answered: Instant,
    /// The content it gave.
    pub content: String,
}

/// Checks reads of `latest` of a container with one writer, whose writes are therefore in order.
///
/// # Errors
/// Every violation in words, one a line.
pub fn check(history: &[Write], reads: &[Read]) -> Result<(), String> {
    let mut violations = Vec::new();
    for read in reads {
        let Some(seen) = history.iter().position(|write| write.content == read.content) else {
            violations.push(format!("a read gave {:?}, which nobody wrote", read.content));
            continue;
        };
        if history[seen].sent > read.answered {
            violations.push(format!("a read gave {} before it was written", read.content));
        }
        let newest = history
            .iter()
            .rposition(|write| write.answer == Answer::Acknowledged && write.answered < read.sent);
        if let Some(newest) = newest.filter(|&newest| newest > seen) {
            // A write without an answer may have been carried out late, after a newer one.
            if history[seen].answer == Answer::Acknowledged {
                violations.push(format!(
                    "a read gave {} although {} was acknowledged {:?} before it began",
                    read.content,
                    history[newest].content,
                    read.sent - history[newest].answered
                ));
            }
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(violations.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_violation_is_seen() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let write = |content: &str, sent, answered| Write {
            sequence: 0,
            content: content.to_owned(),
            sent: at(sent),
            answered: at(answered),
            answer: Answer::Acknowledged,
        };
        let history = [write("a", 0, 10), write("b", 10, 20)];
        let read = |content: &str, sent, answered| {
            check(&history, &[Read { sent: at(sent), answered: at(answered), content: content.to_owned() }])
        };
        assert_eq!(read("a", 15, 30), Ok(()), "b was under way");
        assert_eq!(read("b", 15, 30), Ok(()));
        assert!(read("a", 25, 30).unwrap_err().contains("a read gave a although b was acknowledged"));
        assert!(read("b", 2, 5).unwrap_err().contains("before it was written"));
        assert!(read("z", 2, 5).unwrap_err().contains("nobody wrote"));
    }
}
