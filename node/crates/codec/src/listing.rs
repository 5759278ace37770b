//! Documents whose lists are written piece by piece: what a long collection is, without its ever standing in memory.
//!
//! The writers of both formats write the document as any other, and say where its lists end; what stands behind is held
//! back until the entries that belong between have come. So a piecewise document is octet for octet the whole one
//! (but for a list that stays empty, which XML writes as an open and a close tag).

use crate::{Format, Style, json, schema, xml};
use banyan_model::{Body, Representation, Value, tables::FieldDef, value::NamedReference};
use bytes::Bytes;

/// What has lists.
#[derive(Clone, Copy)]
pub(crate) enum Listed<'a> {
    Representation(&'a Representation),
    /// One of them alone.
    Attribute(&'static FieldDef, &'a Value),
}

/// Where a list of a written document ends, before its end tag or bracket.
pub(crate) struct Gap {
    pub(crate) list: &'static str,
    pub(crate) at: usize,
    /// Whether it has entries.
    pub(crate) any: bool,
}

/// A document that was begun. Its lists come in the order in which it names them, which both editions share.
#[derive(Debug)]
pub struct OpenDocument {
    style: Style,
    /// Each list, whether it has entries so far, and what stands between it and the next one.
    lists: Vec<(&'static str, bool, Bytes)>,
    /// The list that is open.
    at: usize,
}

impl OpenDocument {
    /// Begins a document with the entries that `body` has in its first list, and gives what can be sent of it. `None`:
    /// the body is no document with lists.
    pub fn begin(style: impl Into<Style>, body: &Body) -> Option<(OpenDocument, Bytes)> {
        let style = style.into();
        let listed = match body {
            Body::Representation(whole) => Listed::Representation(whole),
            Body::Attribute { name, value } => Listed::Attribute(schema::attribute(name)?, value),
            _ => return None,
        };
        let (text, gaps) = match style.format {
            Format::Xml => xml::encode::open(style.edition, listed),
            Format::Json => json::encode::open(style.edition, listed),
        };
        let text = Bytes::from(text);
        let ends = gaps.iter().skip(1).map(|gap| gap.at).chain([text.len()]);
        let lists = gaps.iter().zip(ends).map(|(gap, end)| (gap.list, gap.any, text.slice(gap.at..end)));
        let first = gaps.first()?.at;
        Some((OpenDocument { style, lists: lists.collect(), at: 0 }, text.slice(..first)))
    }

    /// Further entries of a list: what is sent for them. A list that the document does not have (the edition may not
    /// know it) is nothing. `None`: the list has ended already.
    pub fn entries(&mut self, list: &str, entries: &[NamedReference]) -> Option<Bytes> {
        let Some(at) = self.lists.iter().position(|(known, ..)| *known == list) else {
            return Some(Bytes::new());
        };
        let between = self.lists.get(self.at..at)?;
        let mut text: Vec<u8> = between.iter().flat_map(|(_, _, after)| after.iter().copied()).collect();
        self.at = at;
        let (_, any, _) = &mut self.lists[at];
        let first = !*any;
        *any |= !entries.is_empty();
        let written = match self.style.format {
            Format::Xml => xml::encode::entries(self.style.edition, entries),
            Format::Json => json::encode::entries(self.style.edition, entries, first),
        };
        text.extend_from_slice(written.as_bytes());
        Some(text.into())
    }

    /// The end of the document.
    pub fn end(self) -> Bytes {
        self.lists.iter().skip(self.at).flat_map(|(_, _, after)| after.iter().copied()).collect()
    }
}
