//! Documents whose lists are written piece by piece.

use banyan_codec::{Edition, Format, OpenDocument, Style, encode_body};
use banyan_model::{
    Body, Representation, ResourceType, Timestamp, Value,
    tables::{Shape, TYPES},
    value::NamedReference,
};

fn reference(name: &str) -> NamedReference {
    NamedReference { id: name.to_owned(), uri: format!("/m2m/<{name}>") }
}

fn styles() -> impl Iterator<Item = Style> {
    let formats = [Format::Xml, Format::Json].into_iter();
    formats.flat_map(|format| [Edition::V2, Edition::V1].map(|edition| Style { format, edition }))
}

/// The lists of a type with these entries each.
fn with_lists(of: ResourceType, entries: impl Fn(&str) -> Vec<NamedReference>) -> Representation {
    let mut whole = Representation::new(of);
    for attribute in of.def().attributes {
        let field = &attribute.field;
        match field.shape {
            Shape::NamedReferenceCollection => whole.set(field.name, Value::References(entries(field.name))),
            Shape::Datetime => whole.set(field.name, Value::Datetime(Timestamp(1_000))),
            _ => {}
        }
    }
    whole
}

/// What `pages` make of a body that has no entries yet, or those of the first page.
fn piecewise(style: Style, begun: &Body, pages: &[(&str, Vec<NamedReference>)]) -> String {
    let (mut document, first) = OpenDocument::begin(style, begun).expect("a collection with lists");
    let mut text = first.to_vec();
    for (list, entries) in pages {
        text.extend_from_slice(&document.entries(list, entries).expect("a list of it"));
    }
    text.extend_from_slice(&document.end());
    String::from_utf8(text).expect("text")
}

#[test]
fn a_collection_of_any_type_is_the_same_whether_written_whole_or_in_pieces() {
    for def in TYPES {
        let of = def.resource_type;
        let lists: Vec<&str> = with_lists(of, |_| Vec::new())
            .attributes
            .iter()
            .filter_map(|(name, value)| matches!(value, Value::References(_)).then_some(*name))
            .collect();
        if lists.is_empty() {
            continue;
        }
        let names = |list: &str| ["a", "b", "c"].map(|name| reference(&format!("{list}{name}"))).to_vec();
        let whole = Body::Representation(with_lists(of, names));
        let first_page = |list: &str| if list == lists[0] { names(list)[..1].to_vec() } else { Vec::new() };
        let begun = Body::Representation(with_lists(of, first_page));
        let mut pages = vec![(lists[0], names(lists[0])[1..].to_vec())];
        for list in &lists[1..] {
            // Pages may be empty, and a list may have several.
            pages.push((list, Vec::new()));
            pages.push((list, names(list)[..2].to_vec()));
            pages.push((list, names(list)[2..].to_vec()));
        }
        for style in styles() {
            let expected = encode_body(style, &whole).unwrap();
            let expected = std::str::from_utf8(&expected).unwrap();
            if style.edition == Edition::V2 || OpenDocument::begin(style, &begun).is_some() {
                assert_eq!(piecewise(style, &begun, &pages), expected, "{of:?} {style:?}");
            }
        }
    }
}

#[test]
fn one_list_alone_is_written_in_pieces_too() {
    let list = "applicationCollection";
    let of = |names: &[&str]| names.iter().copied().map(reference).collect::<Vec<_>>();
    let body = |names: &[&str]| Body::Attribute { name: list.into(), value: Value::References(of(names)) };
    for style in styles() {
        let expected = encode_body(style, &body(&["a", "b"])).unwrap();
        let pages = [(list, of(&["a"])), (list, of(&["b"]))];
        assert_eq!(piecewise(style, &body(&[]), &pages).as_bytes(), expected);
        assert_eq!(piecewise(style, &body(&["a"]), &pages[1..]).as_bytes(), expected);
    }
}

#[test]
fn a_list_that_has_ended_takes_nothing_more_and_what_has_no_lists_is_not_begun() {
    let body = Body::Representation(with_lists(ResourceType::Applications, |_| Vec::new()));
    let (mut document, _) = OpenDocument::begin(Format::Xml, &body).unwrap();
    assert!(document.entries("applicationAnncCollection", &[reference("x")]).is_some());
    assert!(document.entries("applicationCollection", &[reference("y")]).is_none());
    // Until its end nothing of it is a whole document.
    assert!(document.end().ends_with(b"</m2m:applications>"));
    let none = Body::Representation(Representation::new(ResourceType::Container));
    assert!(OpenDocument::begin(Format::Json, &none).is_none());
}
