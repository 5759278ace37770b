//! Reading the state: the overlay's generations over the state's file.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::ControlFlow;

use bytes::Bytes;
use parking_lot::RwLockReadGuard;

use super::overlay::{Changes, Generations, Overlay, Value};
use crate::Fatal;
use crate::engine::{StateEngine, Visit};
use crate::trust::Trust;

/// The state of one group at one moment. It holds the group's read gate: it is not `Send`, on purpose.
pub struct ReadView<'a> {
    // Dropped in this order: the later one was taken first.
    generations: RwLockReadGuard<'a, Generations>,
    _no_import: RwLockReadGuard<'a, ()>,
    engine: &'a dyn StateEngine,
    trust: &'a Trust,
}

impl<'a> ReadView<'a> {
    pub(crate) fn new(overlay: &'a Overlay, engine: &'a dyn StateEngine, trust: &'a Trust) -> ReadView<'a> {
        let (_no_import, generations) = overlay.read();
        ReadView { generations, _no_import, engine, trust }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        match self.generations.get(key) {
            Some(known) => Ok(known.value.clone()),
            None => self.engine.get(key).map_err(|error| self.trust.end("read the state", error)),
        }
    }

    /// Visits the keys from `from`, included, to `to`, excluded, in order, or from the last to the first with
    /// `reverse`, until `visit` breaks.
    ///
    /// # Errors
    /// [`Fatal`].
    pub fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: Visit<'_>) -> Result<(), Fatal> {
        if from >= to {
            return Ok(());
        }
        let [active, frozen] = self.generations.layers();
        let mut overlaid =
            Merge { newer: rows(active, from, to, reverse), older: rows(frozen, from, to, reverse), reverse };
        let mut broken = false;
        let scanned = self.engine.scan(from, to, reverse, &mut |key, value| {
            // What the overlay has before this key, then this key as the overlay has it, if it does.
            while let Some(order) = overlaid.order(key).filter(|order| *order != Ordering::Greater) {
                let Some((known, Value { value, .. })) = overlaid.next() else {
                    break;
                };
                if value.as_ref().is_some_and(|value| visit(known, value).is_break()) {
                    broken = true;
                    return ControlFlow::Break(());
                }
                if order == Ordering::Equal {
                    return ControlFlow::Continue(());
                }
            }
            let flow = visit(key, value);
            broken = flow.is_break();
            flow
        });
        scanned.map_err(|error| self.trust.end("read the state", error))?;
        if broken {
            return Ok(());
        }
        for (key, Value { value, .. }) in overlaid {
            if value.as_ref().is_some_and(|value| visit(key, value).is_break()) {
                break;
            }
        }
        Ok(())
    }
}

type Rows<'a> = Peekable<Box<dyn Iterator<Item = (&'a [u8], &'a Value)> + 'a>>;

fn rows<'a>(layer: Option<&'a Changes>, from: &'a [u8], to: &'a [u8], reverse: bool) -> Rows<'a> {
    let rows = layer.into_iter().flat_map(|changes| changes.range(from, to));
    let rows: Box<dyn Iterator<Item = _>> = if reverse { Box::new(rows.rev()) } else { Box::new(rows) };
    rows.peekable()
}

/// Two generations as one; the newer one wins.
struct Merge<'a> {
    newer: Rows<'a>,
    older: Rows<'a>,
    reverse: bool,
}

impl<'a> Merge<'a> {
    fn compare(&self, left: &[u8], right: &[u8]) -> Ordering {
        if self.reverse { right.cmp(left) } else { left.cmp(right) }
    }

    /// Which of the two comes next: `Less` the newer, `Greater` the older, `Equal` both.
    fn side(&mut self) -> Option<Ordering> {
        match (self.newer.peek().map(|row| row.0), self.older.peek().map(|row| row.0)) {
            (Some(newer), Some(older)) => Some(self.compare(newer, older)),
            (Some(_), None) => Some(Ordering::Less),
            (None, Some(_)) => Some(Ordering::Greater),
            (None, None) => None,
        }
    }

    /// How the next row stands to `key` in the order of the scan.
    fn order(&mut self, key: &[u8]) -> Option<Ordering> {
        let next = match self.side()? {
            Ordering::Greater => self.older.peek()?.0,
            _ => self.newer.peek()?.0,
        };
        Some(self.compare(next, key))
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = (&'a [u8], &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        match self.side()? {
            Ordering::Less => self.newer.next(),
            Ordering::Greater => self.older.next(),
            Ordering::Equal => {
                self.older.next();
                self.newer.next()
            }
        }
    }
}
