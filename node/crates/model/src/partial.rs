//! Partial addressing below an attribute (10.39, procedures.md 6): what an accessor selects, and how it is edited.
//!
//! An accessor goes on from an attribute by the names of fields (`announceTo/sclList`) and by the entries of lists: an
//! entry of simple values is named by its value (`members/%2Fm2m%2Fx`), another one by its id, an aPoCPath by its path
//! (`permissions/p1/permissionFlags/READ`). The tables say which of both a segment is, so an accessor can be checked
//! without a value. A field that stands more than once beside others cannot be addressed: nothing names its entries.

use crate::{
    Refusal, StatusCode, Value,
    tables::{AttributeDef, FieldDef, FieldKind, Mode, Shape, struct_def},
    value::Struct,
};

/// What an accessor selects.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Part<'a> {
    /// An element that stands alone.
    Element {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: &'a Value,
    },
    /// A simple value in a list: it is there, which is all there is to say.
    Member,
}

/// A change of one attribute at an accessor.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    /// Adds an entry to the list there.
    Add(Value),
    /// Replaces what is there, or the field that may be there.
    Put(Value),
    /// Removes the entry, the optional field, or the whole attribute.
    Remove,
}

/// What the segments below an attribute select; `None`: nothing.
pub fn select<'a>(field: &'static FieldDef, value: &'a Value, at: &[String]) -> Option<Part<'a>> {
    let Some((first, rest)) = at.split_first() else {
        return Some(Part::Element { name: field.name, value });
    };
    let below = child(field, first)?;
    match value {
        Value::List(entries) => (rest.is_empty() && entries.contains(first)).then_some(Part::Member),
        Value::Struct(fields) => match &fields.fields.get(find(fields, field, first)?)?.1 {
            Value::Text(_) if entry(field).is_some() => rest.is_empty().then_some(Part::Member),
            found => select(below, found, rest),
        },
        _ => None,
    }
}

/// The field that an accessor names by the tables, whatever the value is.
pub fn field_at(field: &'static FieldDef, at: &[String]) -> Option<&'static FieldDef> {
    at.iter().try_fold(field, |field, segment| child(field, segment))
}

/// What a list repeats: `searchString` in searchStrings, `permission` in permissions. `None`: this is no list.
pub fn entry(field: &'static FieldDef) -> Option<&'static FieldDef> {
    let fields = match field.shape {
        Shape::UriList | Shape::StringList => struct_def(field.xsd_type.strip_prefix("m2m:")?)?.fields,
        Shape::Struct(name) => struct_def(name)?.fields,
        _ => return None,
    };
    match fields {
        [only] if only.max != Some(1) => Some(only),
        _ => None,
    }
}

/// The name of an entry; `None`: an entry that has none, which cannot be addressed.
pub fn entry_name(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Struct(fields) => match fields.get("id").or_else(|| fields.get("path"))? {
            // An aPoCPath may be written with or without its first slash.
            Value::Text(text) => Some(text.strip_prefix('/').unwrap_or(text)),
            _ => None,
        },
        _ => None,
    }
}

/// The attribute after an edit; `None`: it is gone. The same on every replica, so edits of different entries that were
/// made at the same time all survive.
///
/// # Errors
/// NOT_FOUND where nothing is selected, CONFLICT for an entry that is there already, BAD_REQUEST for what must stay.
pub fn edited(
    attribute: &'static AttributeDef,
    current: Option<&Value>,
    at: &[String],
    edit: &Edit,
) -> Result<Option<Value>, Refusal> {
    let field = &attribute.field;
    let must_stay = attribute.create == Mode::Mandatory || attribute.update == Mode::Mandatory;
    let stays = || Refusal::attribute(field.name, "is mandatory and cannot be removed");
    let mut value = match (current, edit) {
        (Some(_), Edit::Remove) if at.is_empty() => {
            return if must_stay { Err(stays()) } else { Ok(None) };
        }
        (Some(current), _) => current.clone(),
        (None, Edit::Add(_)) if at.is_empty() => empty(field)?,
        (None, _) => return Err(Refusal::not_found()),
    };
    apply(field, &mut value, at, edit)?;
    if must_stay && *edit == Edit::Remove && is_empty(&value) {
        return Err(stays());
    }
    Ok(Some(value))
}

fn apply(field: &'static FieldDef, value: &mut Value, at: &[String], edit: &Edit) -> Result<(), Refusal> {
    let Some((first, rest)) = at.split_first() else {
        return match edit {
            Edit::Add(added) => add(field, value, added),
            Edit::Put(put) => {
                *value = put.clone();
                Ok(())
            }
            // Whoever holds the value removes it.
            Edit::Remove => Err(Refusal::attribute(field.name, "cannot be removed")),
        };
    };
    let below = child(field, first).ok_or_else(Refusal::not_found)?;
    let is_entry = entry(field).is_some();
    match value {
        Value::List(entries) => {
            let found = entries.iter().position(|entry| entry == first).ok_or_else(Refusal::not_found)?;
            only_removed(below, rest, edit)?;
            entries.remove(found);
            Ok(())
        }
        Value::Struct(fields) => {
            let found = find(fields, field, first);
            match (found, rest, edit) {
                (Some(found), _, _) if is_entry && matches!(fields.fields[found].1, Value::Text(_)) => {
                    only_removed(below, rest, edit)?;
                    fields.fields.remove(found);
                    Ok(())
                }
                (Some(found), [], Edit::Remove) => {
                    if !is_entry && below.min > 0 {
                        let why = format_args!("{} is mandatory in it", below.name);
                        return Err(Refusal::attribute(field.name, why));
                    }
                    fields.fields.remove(found);
                    Ok(())
                }
                (Some(found), ..) => apply(below, &mut fields.fields[found].1, rest, edit),
                (None, [], Edit::Put(put)) if !is_entry => {
                    insert(fields, below, put.clone());
                    Ok(())
                }
                (None, ..) => Err(Refusal::not_found()),
            }
        }
        _ => Err(Refusal::not_found()),
    }
}

fn add(field: &'static FieldDef, value: &mut Value, added: &Value) -> Result<(), Refusal> {
    let name = entry_name(added);
    let taken = |is_there: bool| match is_there {
        true => Err(Refusal::new(
            StatusCode::Conflict,
            format!("{}: {} is there already", field.name, name.unwrap_or_default()),
        )),
        false => Ok(()),
    };
    match (value, added, entry(field)) {
        (Value::List(entries), Value::Text(text), Some(_)) => {
            taken(entries.contains(text))?;
            entries.push(text.clone());
            Ok(())
        }
        (Value::Struct(fields), added, Some(entry)) => {
            taken(name.is_some() && fields.fields.iter().any(|(_, known)| entry_name(known) == name))?;
            fields.fields.push((entry.name, added.clone()));
            Ok(())
        }
        _ => Err(Refusal::attribute(field.name, "is no list that an entry could be added to")),
    }
}

/// A simple entry is its own name: there is nothing else about it to write.
fn only_removed(entry: &FieldDef, rest: &[String], edit: &Edit) -> Result<(), Refusal> {
    match (rest, edit) {
        ([], Edit::Remove) => Ok(()),
        ([], _) => {
            let why = "an entry is its value: remove it and add another one";
            Err(Refusal::attribute(entry.name, why))
        }
        _ => Err(Refusal::not_found()),
    }
}

/// The field one segment below, by the tables.
fn child(field: &'static FieldDef, segment: &str) -> Option<&'static FieldDef> {
    if let Some(entry) = entry(field) {
        return Some(entry);
    }
    let Shape::Struct(name) = field.shape else { return None };
    let fields = struct_def(name)?.fields.iter();
    fields.into_iter().find(|f| f.name == segment && f.max == Some(1) && f.kind == FieldKind::Element)
}

/// Where in a struct a segment points.
fn find(fields: &Struct, of: &'static FieldDef, segment: &str) -> Option<usize> {
    let is_entry = entry(of).is_some();
    let named = segment.strip_prefix('/').unwrap_or(segment);
    fields.fields.iter().position(|(name, value)| match (is_entry, value) {
        (true, Value::Text(text)) => text == segment,
        (true, value) => entry_name(value) == Some(named),
        (false, _) => *name == segment,
    })
}

/// Puts a field where the tables have it.
fn insert(fields: &mut Struct, field: &'static FieldDef, value: Value) {
    let order = struct_def(fields.name).map_or(&[][..], |def| def.fields);
    let rank = |name: &str| order.iter().position(|field| field.name == name).unwrap_or(usize::MAX);
    let at = fields.fields.iter().position(|(name, _)| rank(name) > rank(field.name));
    fields.fields.insert(at.unwrap_or(fields.fields.len()), (field.name, value));
}

fn empty(field: &'static FieldDef) -> Result<Value, Refusal> {
    match (field.shape, entry(field)) {
        (Shape::UriList | Shape::StringList, _) => Ok(Value::List(Vec::new())),
        (Shape::Struct(name), Some(_)) => Ok(Value::Struct(Struct { name, fields: Vec::new() })),
        _ => Err(Refusal::not_found()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::List(entries) => entries.is_empty(),
        Value::Struct(fields) => fields.fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
