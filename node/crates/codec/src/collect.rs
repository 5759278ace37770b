//! The fields of one element or object while they are read: duplicates, exclusive alternatives, bounds, order.

use crate::schema::{self, Fields};
use banyan_model::{
    Value,
    tables::{FieldDef, FieldKind, Shape},
    value::Element,
};
use std::borrow::Cow;

/// Why a value cannot be taken, without the name of its element.
pub(crate) type Why = Cow<'static, str>;

/// Values by their place in the tables.
pub(crate) struct Collector {
    fields: Fields,
    values: Vec<(usize, Value)>,
    /// Bit per field; the tables stay below 128 fields a type (a test says so).
    seen: u128,
    /// Where the last name was found: documents mostly follow the schema's order.
    hint: usize,
    /// How often the last pushed field came without another in between.
    run: usize,
}

impl Collector {
    pub(crate) fn new(fields: Fields) -> Collector {
        Collector { fields, values: Vec::new(), seen: 0, hint: 0, run: 0 }
    }

    /// The first field, from the last found one on and around, that `is_it` accepts.
    pub(crate) fn find(&mut self, is_it: impl Fn(&FieldDef) -> bool) -> Option<usize> {
        let len = self.fields.len();
        let found = (self.hint..len).chain(0..self.hint).find(|&index| is_it(self.fields.get(index)))?;
        self.hint = found;
        Some(found)
    }

    pub(crate) fn field(&self, index: usize) -> &'static FieldDef {
        self.fields.get(index)
    }

    /// The field of character content, if there is one.
    pub(crate) fn text_field(&self) -> Option<usize> {
        (0..self.fields.len()).find(|&index| self.fields.get(index).kind == FieldKind::Text)
    }

    /// Whether one more value of this field fits; said before the value is read, so that no work is spent on it.
    pub(crate) fn admit(&self, index: usize) -> Result<(), Why> {
        let field = self.fields.get(index);
        if self.seen & (1 << index) != 0 {
            match field.max {
                Some(1) => return Err("stands more than once".into()),
                Some(max) if self.values.iter().filter(|(at, _)| *at == index).count() >= max as usize => {
                    return Err(format!("stands more than {max} times").into());
                }
                _ => {}
            }
        } else if !field.choice.is_empty()
            && let Some((other, _)) =
                self.values.iter().find(|(at, _)| self.fields.get(*at).choice == field.choice)
        {
            return Err(format!("excludes {}", self.fields.get(*other).name).into());
        }
        Ok(())
    }

    /// Keeps a value that `admit` let in.
    pub(crate) fn push(&mut self, index: usize, value: Value) {
        self.run = self.ordinal(index);
        self.seen |= 1 << index;
        self.values.push((index, value));
    }

    /// Which one of its run the next value of this field is, from 1.
    pub(crate) fn ordinal(&self, index: usize) -> usize {
        if self.values.last().is_some_and(|(last, _)| *last == index) { self.run + 1 } else { 1 }
    }

    /// Keeps an element under a wildcard field: all of them stand in one `Value::Any`, as its children.
    pub(crate) fn push_foreign(&mut self, index: usize, element: Element) {
        let holder = self.values.iter_mut().find(|(at, _)| *at == index);
        if let Some((_, Value::Any(holder))) = holder {
            holder.children.push(element);
        } else {
            self.push(index, Value::Any(Element { children: vec![element], ..Element::default() }));
        }
    }

    /// How many elements stand under a wildcard field.
    pub(crate) fn admit_foreign(&self, index: usize) -> Result<(), Why> {
        let held = self.values.iter().find(|(at, _)| *at == index);
        match (held, self.fields.get(index).max) {
            (Some((_, Value::Any(holder))), Some(max)) if holder.children.len() >= max as usize => {
                Err(format!("one element too many (at most {max})").into())
            }
            _ => Ok(()),
        }
    }

    /// The values of a resource, in the order of the tables. Which must be there depends on the method: not said here.
    pub(crate) fn finish_resource(mut self) -> Vec<(&'static str, Value)> {
        if !self.values.is_sorted_by_key(|(index, _)| *index) {
            // Stable: a repeated field keeps its order.
            self.values.sort_by_key(|(index, _)| *index);
        }
        let fields = self.fields;
        self.values.into_iter().map(|(index, value)| (fields.get(index).name, value)).collect()
    }

    /// The values of a struct, in the order of the tables. A missing list is an empty one; what V1 does not have is
    /// made up (an id from `ordinal`); anything else that the schema requires is an error: (name, why).
    pub(crate) fn finish_struct(
        mut self,
        owner: &str,
        ordinal: usize,
    ) -> Result<Vec<(&'static str, Value)>, (&'static str, Why)> {
        for index in 0..self.fields.len() {
            let field = self.fields.get(index);
            if field.min == 0 || self.seen & (1 << index) != 0 || self.alternative_seen(field) {
                continue;
            }
            let value = match field.shape {
                Shape::UriList | Shape::StringList => Value::List(Vec::new()),
                _ if !schema::absent_in_v1(owner, field.name) => {
                    return Err((field.name, "is missing".into()));
                }
                Shape::Uri => Value::Text(String::new()),
                _ => Value::Text(ordinal.to_string()),
            };
            self.push(index, value);
        }
        Ok(self.finish_resource())
    }

    fn alternative_seen(&self, field: &FieldDef) -> bool {
        !field.choice.is_empty()
            && self.values.iter().any(|(at, _)| self.fields.get(*at).choice == field.choice)
    }
}

#[cfg(test)]
mod tests {
    use banyan_model::tables;

    #[test]
    fn every_type_and_struct_fits_the_bit_set() {
        assert!(tables::TYPES.iter().all(|t| t.attributes.len() <= 128));
        assert!(tables::STRUCTS.iter().all(|s| s.fields.len() <= 128));
    }
}
