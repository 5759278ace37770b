//! The search for an order: a list of calls and returns in time, from which an operation is lifted when it is given its
//! place, and into which it goes back when that leads nowhere.

use std::collections::HashSet;

use super::Span;

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Order,
    None,
    GaveUp,
}

/// A partial order that was looked at: which operations had their place, and the value after them.
type Seen = (usize, Vec<u64>, u32);

/// An operation that has its place.
struct Placed {
    span: usize,
    value_before: u32,
    /// It could be taken without a choice, so there is nothing else to try in its place.
    forced: bool,
}

/// Searches; gives the number of steps, too. The spans are in the order they were sent.
pub(super) fn order(spans: &[Span], steps_max: u64) -> (Found, u64) {
    let mut events = Events::new(spans);
    let mut taken = Taken::new(spans.len());
    let mut seen: HashSet<Seen> = HashSet::new();
    let mut placed: Vec<Placed> = Vec::new();
    let mut value = 0;
    let mut steps = 0;
    let mut at = events.first();
    let mut fresh = true;
    loop {
        if fresh {
            // Reads of the current value first, all of them.
            let mut look = at;
            while let Some(span) = events.call(look) {
                let before = events.previous(look);
                if !spans[span].write && spans[span].value == value {
                    steps += 1;
                    events.lift(span);
                    taken.insert(span);
                    placed.push(Placed { span, value_before: value, forced: true });
                    look = before;
                }
                look = events.next(look);
            }
            at = events.first();
            fresh = false;
            if placed.len() == spans.len() {
                return (Found::Order, steps);
            }
        }
        if steps >= steps_max {
            return (Found::GaveUp, steps);
        }
        if let Some(span) = events.call(at) {
            if spans[span].write {
                steps += 1;
                taken.insert(span);
                if seen.insert(taken.key(spans[span].value)) {
                    placed.push(Placed { span, value_before: value, forced: false });
                    value = spans[span].value;
                    events.lift(span);
                    at = events.first();
                    fresh = true;
                    continue;
                }
                taken.remove(span);
            }
            at = events.next(at);
            continue;
        }
        // Something must have happened by now and has no place: what was chosen last was wrong.
        loop {
            let Some(last) = placed.pop() else { return (Found::None, steps) };
            events.put_back(last.span);
            taken.remove(last.span);
            value = last.value_before;
            if !last.forced {
                at = events.next(events.call_of(last.span));
                break;
            }
        }
    }
}

/// Calls and returns in time, doubly linked; 0 is the ring's end.
struct Events {
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Of each event the operation it begins, if it begins one.
    begins: Vec<Option<usize>>,
    /// Of each operation its call and its return.
    of: Vec<(usize, usize)>,
}

impl Events {
    fn new(spans: &[Span]) -> Events {
        // At one moment calls come first: operations that touch are taken for ones that overlap.
        let mut moments: Vec<_> = (0..spans.len())
            .flat_map(|span| [(spans[span].sent, false, span), (spans[span].ends, true, span)])
            .collect();
        moments.sort_unstable();
        let count = moments.len() + 1;
        let mut of = vec![(0, 0); spans.len()];
        let mut begins = vec![None; count];
        for (index, &(_, ends, span)) in moments.iter().enumerate() {
            if ends {
                of[span].1 = index + 1;
            } else {
                of[span].0 = index + 1;
                begins[index + 1] = Some(span);
            }
        }
        let next = (0..count).map(|event| (event + 1) % count).collect();
        let previous = (0..count).map(|event| (event + count - 1) % count).collect();
        Events { next, previous, begins, of }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn next(&self, event: usize) -> usize {
        self.next[event]
    }

    fn previous(&self, event: usize) -> usize {
        self.previous[event]
    }

    /// The operation that begins here; `None` at a return and at the end.
    fn call(&self, event: usize) -> Option<usize> {
        self.begins[event]
    }

    fn call_of(&self, span: usize) -> usize {
        self.of[span].0
    }

    /// Takes both events out; they remember their places.
    fn lift(&mut self, span: usize) {
        let (call, end) = self.of[span];
        for event in [call, end] {
            let (previous, next) = (self.previous[event], self.next[event]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
    }

    /// Undoes [`Events::lift`]; what was lifted last must come back first.
    fn put_back(&mut self, span: usize) {
        let (call, end) = self.of[span];
        for event in [end, call] {
            let (previous, next) = (self.previous[event], self.next[event]);
            self.next[previous] = event;
            self.previous[next] = event;
        }
    }
}

/// Which operations have their place, a bit each.
struct Taken {
    words: Vec<u64>,
}

impl Taken {
    fn new(count: usize) -> Taken {
        Taken { words: vec![0; count.div_ceil(64)] }
    }

    fn insert(&mut self, span: usize) {
        self.words[span / 64] |= 1 << (span % 64);
    }

    fn remove(&mut self, span: usize) {
        self.words[span / 64] &= !(1 << (span % 64));
    }

    /// Without the full words at the front and the empty ones behind: what is taken is nearly all of what was sent
    /// before some moment, so a history of any length is remembered in a few words a step.
    fn key(&self, value: u32) -> Seen {
        let full = self.words.iter().take_while(|&&word| word == u64::MAX).count();
        let used = self.words.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        (full, self.words[full..used.max(full)].to_vec(), value)
    }
}
