//! XML and JSON bodies <-> model values, both driven by the tables of `model::tables`: no rule here knows a resource
//! type, so a new row of the tables is encoded and decoded without new code.
//!
//! Reading is liberal in what carries no meaning (prefixes, qualification, order, V1 spellings) and strict in what
//! does (unknown names, duplicates, both alternatives of a choice): such a body becomes `Body::Malformed` with a
//! refusal that names the element. Nothing read from a peer can make this crate panic or use more memory than
//! [`Limits`] allow; DOCTYPE, entities other than the five predefined ones and processing instructions are refused.
//! Writing follows the V2.1.1 schemas exactly: order, qualification, `xsi:type`.
//!
//! What is *not* checked here: modes (mandatory, not permitted), which depend on the method: `model::validate`.
//! Standard: TS 102 921, representations (bindings 5, 6 and 8b); names, order and types: the tables.

mod face;
mod listing;
mod message;

mod json;
mod xml;

mod collect;
mod lexical;
mod schema;

pub use face::{
    Edition, Expect, Format, Limits, Style, decode, decode_content, encode_attribute, encode_body,
    encode_message, encode_representation, entity_tag, is_of_other_format,
};
pub use lexical::{tolerated_delay, write_tolerated_delay};
pub use listing::OpenDocument;
pub use message::{
    Carried, ResponseNotify, error_info, notify, notify_body, response_notify, response_notify_body,
    status_name, status_of,
};
