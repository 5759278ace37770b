//! Linearizability of registers: there is an order of all operations, the same for everybody, that agrees with what
//! each read gave and with every "ended before the other began".
//!
//! The search is the one of Wing and Gong with Lowe's memory: take an operation that may come next, go on, come back
//! when nothing fits, and never look twice at the same set of taken operations with the same value. Each register is
//! judged by itself, which is as good as judging all at once. It is ours because the crates that search like this
//! know no operation whose outcome is unknown and have no bound; with a register some steps need no search:
//!
//! - A read that gives the current value may be taken at once: it changes nothing, so it spoils no order.
//! - A write of unknown outcome whose value nobody read may be left out: an order with it is one without it, too.
//! - One whose value only it wrote must have happened before the first read of it ended.
//!
//! What failed for certain does not belong into the history.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

mod search;
#[cfg(test)]
mod tests;

/// What was asked of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This value from now on.
    Write(String),
    /// This was there; `None`: nothing.
    Read(Option<String>),
}

/// One operation on one register. Times count from any start that all operations have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which register.
    pub register: String,
    /// Who asked; only shown.
    pub client: u64,
    /// What was asked, and for a read what was answered.
    pub action: Action,
    /// When it was sent.
    pub sent: Duration,
    /// When it was answered. `None`: its outcome is unknown. Such a write may happen at any time after it was sent, or
    /// never; such a read says nothing.
    pub answered: Option<Duration>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
        let until = self.answered.map_or("?".to_owned(), seconds);
        write!(f, "{}..{until} client {} ", seconds(self.sent), self.client)?;
        match &self.action {
            Action::Write(value) => write!(f, "writes {value}"),
            Action::Read(Some(value)) => write!(f, "reads {value}"),
            Action::Read(None) => f.write_str("reads nothing"),
        }
    }
}

/// What the search took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Registers with operations.
    pub registers: usize,
    /// Operations in the order that was found; writes of unknown outcome that nobody saw are not.
    pub ordered: usize,
    /// Writes of unknown outcome that somebody saw.
    pub unknown_seen: usize,
    /// Operations that were tried at a place in the order.
    pub steps: u64,
}

/// Why a history is not known to be linearizable.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No order exists.
    #[error("{0}")]
    Violation(Violation),
    /// The bound on steps was reached. That is no pass.
    #[error("gave up on register {register} after {steps} steps")]
    GaveUp {
        /// Which register.
        register: String,
        /// Steps taken for it.
        steps: u64,
    },
}

/// Operations that cannot be ordered.
#[derive(Debug)]
pub struct Violation {
    /// Of which register.
    pub register: String,
    /// How many of its operations, by the time they ended, lie before the first that fits nowhere.
    pub prefix: usize,
    /// Of these, the ones that contradict each other: without any one read of them the rest can be ordered. In the
    /// order they were sent.
    pub operations: Vec<Operation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { register, prefix, operations } = self;
        write!(f, "register {register} is not linearizable: after {prefix} operations no order fits these:")?;
        for operation in operations {
            write!(f, "\n  {operation}")?;
        }
        Ok(())
    }
}

/// Looks for an order of each register's operations, in at most `steps_max` steps a register. Registers are empty at
/// first.
///
/// # Errors
/// The first register, by name, without an order or with none found in time.
pub fn check(history: &[Operation], steps_max: u64) -> Result<Figures, Failure> {
    let mut registers: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        registers.entry(&operation.register).or_default().push(operation);
    }
    let mut figures = Figures { registers: registers.len(), ..Figures::default() };
    for (register, operations) in registers {
        let spans = spans(&operations);
        let (found, steps) = search::order(&spans, steps_max);
        match found {
            search::Found::Order => {
                figures.ordered += spans.len();
                figures.unknown_seen +=
                    spans.iter().filter(|span| operations[span.operation].answered.is_none()).count();
                figures.steps += steps;
            }
            search::Found::GaveUp => return Err(Failure::GaveUp { register: register.to_owned(), steps }),
            search::Found::None => {
                return Err(Failure::Violation(smallest(register, &operations, steps_max)));
            }
        }
    }
    Ok(figures)
}

/// What the search sees of an operation.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Its place among the operations of the register.
    operation: usize,
    write: bool,
    /// A number for each value; 0 is "nothing".
    value: u32,
    sent: Duration,
    /// `Duration::MAX`: at any time.
    ends: Duration,
}

/// The operations that must have a place in the order, by the time they were sent, with the time by which they must
/// have happened.
fn spans(operations: &[&Operation]) -> Vec<Span> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut writes_of: HashMap<u32, usize> = HashMap::new();
    let mut first_read: HashMap<u32, Duration> = HashMap::new();
    let mut all = Vec::with_capacity(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        let (write, value) = match &operation.action {
            Action::Write(value) => (true, Some(value)),
            Action::Read(value) => (false, value.as_ref()),
        };
        let new = u32::try_from(numbers.len() + 1).expect("fewer operations than u32 has numbers");
        let value = value.map_or(0, |value| *numbers.entry(value).or_insert(new));
        if write {
            *writes_of.entry(value).or_default() += 1;
        } else if let Some(answered) = operation.answered {
            first_read.entry(value).and_modify(|first| *first = answered.min(*first)).or_insert(answered);
        }
        let ends = operation.answered.unwrap_or(Duration::MAX);
        all.push(Span { operation: index, write, value, sent: operation.sent, ends });
    }
    all.retain(|span| span.ends != Duration::MAX || (span.write && first_read.contains_key(&span.value)));
    for span in all.iter_mut().filter(|span| span.ends == Duration::MAX && writes_of[&span.value] == 1) {
        // A read that ended before the write was sent is a violation; the write must still not end before it begins.
        span.ends = first_read[&span.value].max(span.sent);
    }
    all.sort_by_key(|span| (span.sent, span.ends));
    all
}

/// The smallest part of operations without an order that has none either.
fn smallest(register: &str, operations: &[&Operation], steps_max: u64) -> Violation {
    let broken = |part: &[&Operation]| search::order(&spans(part), steps_max).0 == search::Found::None;
    // As things stood at a moment: what had ended, and writes under way, whose outcome was unknown then. What has no
    // order at one moment has none later, so the first such moment can be searched for by halves.
    let at = |moment: Duration| -> Vec<Operation> {
        let sent = operations.iter().filter(|operation| operation.sent <= moment);
        sent.map(|&operation| Operation {
            answered: operation.answered.filter(|&answered| answered <= moment),
            ..operation.clone()
        })
        .filter(|operation| operation.answered.is_some() || matches!(operation.action, Action::Write(_)))
        .collect()
    };
    let mut moments: Vec<Duration> = operations.iter().filter_map(|operation| operation.answered).collect();
    moments.sort_unstable();
    let first = moments.partition_point(|&moment| !broken(&at(moment).iter().collect::<Vec<_>>()));
    let prefix = at(moments[first.min(moments.len() - 1)]);

    // Reads may go one by one, and so may writes that no read is left of: whoever orders the whole orders the rest.
    let mut kept: Vec<&Operation> = prefix.iter().collect();
    for reads in [true, false] {
        let mut chunk = kept.len().next_power_of_two();
        while chunk > 0 {
            let mut from = 0;
            while from < kept.len() {
                let seen: HashSet<&str> = kept
                    .iter()
                    .filter_map(|operation| match &operation.action {
                        Action::Read(value) => value.as_deref(),
                        Action::Write(_) => None,
                    })
                    .collect();
                let may_go = |operation: &Operation| match &operation.action {
                    Action::Read(_) => reads,
                    Action::Write(value) => !reads && !seen.contains(value.as_str()),
                };
                let to = (from + chunk).min(kept.len());
                let rest: Vec<&Operation> = kept
                    .iter()
                    .enumerate()
                    .filter(|&(index, operation)| !(from..to).contains(&index) || !may_go(operation))
                    .map(|(_, &operation)| operation)
                    .collect();
                if rest.len() < kept.len() && broken(&rest) {
                    kept = rest;
                } else {
                    from = to;
                }
            }
            chunk /= 2;
        }
    }
    let mut violation: Vec<Operation> = kept.into_iter().cloned().collect();
    violation.sort_by_key(|operation| operation.sent);
    Violation { register: register.to_owned(), prefix: prefix.len(), operations: violation }
}
