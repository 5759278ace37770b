use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A history as text: `write a 0-10`, `read a 12-14`, `read - 1-2` (nothing was there), `write b 5-?` (nobody knows), a
/// line each; a word before the action names another register than `r`.
fn history(text: &str) -> Vec<Operation> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .zip(0..)
        .map(|(line, client)| {
            let words: Vec<&str> = line.split(' ').collect();
            let (register, words) =
                if words.len() == 4 { (words[0], &words[1..]) } else { ("r", &words[..]) };
            let (sent, answered) = words[2].split_once('-').unwrap();
            let time = |text: &str| text.parse().ok().map(Duration::from_secs);
            let action = match (words[0], words[1]) {
                ("write", value) => Action::Write(value.to_owned()),
                ("read", "-") => Action::Read(None),
                ("read", value) => Action::Read(Some(value.to_owned())),
                (other, _) => panic!("{other}: neither write nor read"),
            };
            let (sent, answered) = (time(sent).unwrap(), time(answered));
            Operation { register: register.to_owned(), client, action, sent, answered }
        })
        .collect()
}

fn lines(operations: &[Operation]) -> Vec<String> {
    let second = |time: Duration| time.as_secs().to_string();
    operations
        .iter()
        .map(|operation| {
            let until = operation.answered.map_or("?".to_owned(), second);
            let what = match &operation.action {
                Action::Write(value) => format!("write {value}"),
                Action::Read(value) => format!("read {}", value.as_deref().unwrap_or("-")),
            };
            format!("{what} {}-{until}", second(operation.sent))
        })
        .collect()
}

#[track_caller]
fn good(text: &str) -> Figures {
    check(&history(text), 10_000).unwrap_or_else(|failure| panic!("{failure}"))
}

/// The history has no order, and these lines of it are the ones that contradict each other.
#[track_caller]
fn bad(text: &str, core: &str) {
    match check(&history(text), 10_000) {
        Err(Failure::Violation(violation)) => {
            let core: Vec<&str> = core.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            assert_eq!(lines(&violation.operations), core, "{violation}");
        }
        other => panic!("expected a violation, got {other:?}"),
    }
}

#[test]
fn an_empty_history_is_linearizable() {
    assert_eq!(good(""), Figures::default());
}

#[test]
fn reads_under_a_write_may_see_it_or_not() {
    good(
        "read - 0-1
          write a 2-10
          read - 3-4
          read a 5-6
          read a 11-12",
    );
}

#[test]
fn writes_that_overlap_take_the_order_that_the_reads_want() {
    good(
        "write a 0-10
          write b 0-10
          write c 0-10
          read c 11-12
          read c 13-14",
    );
    good(
        "write a 0-10
          write b 0-10
          read b 2-4
          read a 5-11",
    );
}

#[test]
fn an_operation_that_touches_another_overlaps_it() {
    good(
        "write a 0-1
          write b 2-5
          read a 5-6",
    );
}

#[test]
fn a_stale_read_is_found() {
    bad(
        "write a 0-1
         read a 2-3
         write b 4-5
         read b 6-7
         read a 8-9
         write c 10-11
         read c 12-13",
        "write a 0-1
         write b 4-5
         read a 8-9",
    );
}

#[test]
fn a_lost_write_is_found() {
    bad("write a 0-1\nread - 2-3", "write a 0-1\nread - 2-3");
    bad(
        "write a 0-1
         write b 2-3
         read a 4-5
         read a 6-7",
        "write a 0-1
         write b 2-3
         read a 4-5",
    );
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    bad("write a 0-1\nread z 2-3\nread a 4-5", "read z 2-3");
}

#[test]
fn a_read_of_what_was_not_yet_written_is_found() {
    bad("read a 0-1\nwrite a 2-3", "read a 0-1");
}

#[test]
fn a_write_that_comes_back_from_the_dead_is_found() {
    bad(
        "write a 0-?
         write b 1-2
         read a 3-4
         write c 5-6
         read c 7-8
         read a 9-10",
        "write a 0-?
         read a 3-4
         write c 5-6
         read a 9-10",
    );
}

#[test]
fn readers_that_see_contradicting_orders_are_found() {
    bad(
        "write a 0-20
         write b 0-20
         read a 1-2
         read b 3-4
         read b 11-12
         read a 13-14",
        "write a 0-?
         write b 0-?
         read a 1-2
         read b 11-12
         read a 13-14",
    );
}

#[test]
fn a_write_of_unknown_outcome_may_happen_late_or_never() {
    good("write a 0-1\nwrite b 2-?\nread a 3-4\nread a 50-51");
    let figures = good("write a 0-1\nwrite b 2-?\nread a 3-4\nread b 50-51\nread b 60-61");
    assert_eq!(figures, Figures { registers: 1, ordered: 5, unknown_seen: 1, steps: 5 });
}

#[test]
fn a_write_of_unknown_outcome_that_was_seen_is_not_unseen() {
    bad(
        "write a 0-1
         write b 2-?
         read b 3-4
         read a 5-6",
        "write a 0-1
         write b 2-?
         read b 3-4
         read a 5-6",
    );
}

#[test]
fn a_value_written_twice_may_come_back() {
    good(
        "write a 0-?
          write b 1-2
          write a 0-?
          read a 3-4
          write b 5-6
          read b 7-8
          read a 9-10",
    );
}

#[test]
fn a_read_without_an_answer_says_nothing() {
    good("write a 0-1\nread z 2-?");
}

#[test]
fn registers_are_judged_by_themselves_and_named() {
    good("x write a 0-1\ny write b 0-1\nx read a 2-3\ny read b 2-3");
    let failure = check(&history("x write a 0-1\ny write b 0-1\nx read a 2-3\ny read a 2-3"), 100);
    let text = failure.unwrap_err().to_string();
    assert!(text.starts_with("register y is not linearizable: after 2 operations"), "{text}");
    assert!(text.ends_with("2.000000..3.000000 client 3 reads a"), "{text}");
}

#[test]
fn a_search_that_takes_too_long_is_no_pass() {
    let text = "write a 0-1\nwrite b 2-3\nwrite c 4-5";
    assert!(matches!(check(&history(text), 2), Err(Failure::GaveUp { steps: 2, .. })));
    good(text);
}

#[test]
fn a_long_history_with_many_writes_at_once_costs_a_few_steps_an_operation() {
    // Six clients that always overlap, every sixth write of unknown outcome, each value read by two.
    let mut text = String::new();
    for round in 0..500 {
        let at = round * 100;
        for client in 0..6 {
            let end = if client == 0 { "?".to_owned() } else { (at + 60).to_string() };
            text.push_str(&format!("write {round}x{client} {}-{end}\n", at + client));
        }
        let last = (round * 7) % 6;
        text.push_str(&format!("read {round}x{last} {}-{}\n", at + 61, at + 70));
        text.push_str(&format!("read {round}x{last} {}-{}\n", at + 65, at + 90));
    }
    let figures = check(&history(&text), 1_000_000).unwrap();
    assert!(figures.steps < 100_000, "{figures:?}");
}

/// Tries every order of the operations, and of the unknown writes every choice.
fn has_an_order(left: &[&Operation], value: Option<&str>) -> bool {
    if left.iter().all(|operation| operation.answered.is_none()) {
        return true;
    }
    (0..left.len()).any(|index| {
        let operation = left[index];
        let overtakes = left.iter().any(|other| other.answered.is_some_and(|ended| ended < operation.sent));
        let mut rest = left.to_vec();
        rest.remove(index);
        !overtakes
            && match &operation.action {
                Action::Write(new) => has_an_order(&rest, Some(new)),
                Action::Read(_) if operation.answered.is_none() => has_an_order(&rest, value),
                Action::Read(seen) => seen.as_deref() == value && has_an_order(&rest, value),
            }
    })
}

fn random_history(rng: &mut StdRng) -> Vec<Operation> {
    let values = ["a", "b", "c"];
    let mut fresh = 0;
    // Half of the histories write every value once only, as the cluster tests do.
    let unique = rng.random_bool(0.5);
    (0..rng.random_range(1..=7))
        .map(|client| {
            let sent = rng.random_range(0..12);
            let ends = sent + rng.random_range(0..6);
            let action = if rng.random_bool(0.45) {
                fresh += 1;
                let value =
                    if unique { format!("v{fresh}") } else { values[rng.random_range(0..3)].to_owned() };
                Action::Write(value)
            } else if rng.random_bool(0.15) {
                Action::Read(None)
            } else if unique {
                Action::Read(Some(format!("v{}", rng.random_range(1..=3))))
            } else {
                Action::Read(Some(values[rng.random_range(0..3)].to_owned()))
            };
            Operation {
                register: "r".to_owned(),
                client,
                action,
                sent: Duration::from_secs(sent),
                answered: rng.random_bool(0.8).then_some(Duration::from_secs(ends)),
            }
        })
        .collect()
}

/// Not with proptest: a violation names the smallest part by itself, and a seed repeats the history.
#[test]
fn the_search_agrees_with_trying_every_order() {
    let (mut orders, mut violations) = (0, 0);
    for seed in 0..20_000 {
        let history = random_history(&mut StdRng::seed_from_u64(seed));
        let expected = has_an_order(&history.iter().collect::<Vec<_>>(), None);
        match check(&history, 10_000) {
            Ok(_) => {
                assert!(expected, "seed {seed}: no order, but one was found: {:#?}", lines(&history));
                orders += 1;
            }
            Err(Failure::Violation(violation)) => {
                assert!(!expected, "seed {seed}: {violation}\nin {:#?}", lines(&history));
                let core: Vec<&Operation> = violation.operations.iter().collect();
                assert!(!has_an_order(&core, None), "seed {seed}: {violation}");
                for index in 0..core.len() {
                    let mut rest = core.clone();
                    if matches!(rest.remove(index).action, Action::Read(_)) {
                        assert!(has_an_order(&rest, None), "seed {seed}: not the smallest: {violation}");
                    }
                }
                violations += 1;
            }
            Err(Failure::GaveUp { .. }) => panic!("seed {seed}: gave up on {:#?}", lines(&history)),
        }
    }
    assert!(orders > 2_000 && violations > 2_000, "{orders} with an order, {violations} without");
}
