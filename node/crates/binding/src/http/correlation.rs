//! What a request says of an answer that may come later: X-etsi-correlationID and X-etsi-contactURI, and the category
//! and delay of store and forward.
//!
//! A request that is for another SCL and may be answered later becomes a primitive of ours, whose body stays as it came.

use super::names::{CONTACT_URI, CORRELATION_ID, RCAT, TRPDT, spelled};
use banyan_codec::tolerated_delay;
use banyan_model::{
    Refusal, Scl, StatusCode,
    primitive::Correlation,
    saf::{Rcat, Trpdt},
};
use http::{HeaderMap, HeaderName, Uri};

/// A correlationID may have this many octets: it is kept as long as its answer is.
const CORRELATION_ID_OCTETS_MAX: usize = 128;

/// What the headers say.
#[derive(Default)]
pub(super) struct Later {
    /// `None`: the answer is wanted at once.
    pub(super) correlation: Option<Correlation>,
    pub(super) rcat: Option<Rcat>,
    pub(super) trpdt: Option<Trpdt>,
}

/// Reads the headers.
pub(super) fn read(scl: &Scl, headers: &HeaderMap) -> Result<Later, Refusal> {
    let category = |text: &str| match text.as_bytes() {
        [digit @ b'0'..=b'7'] => Rcat::new(digit - b'0'),
        _ => None,
    };
    let rcat = match one(headers, &RCAT)? {
        Some(text) => Some(category(text).ok_or_else(|| bad(&RCAT, "not a category from 0 to 7"))?),
        None => None,
    };
    let trpdt = match one(headers, &TRPDT)? {
        Some(text) => {
            Some(tolerated_delay(text).ok_or_else(|| bad(&TRPDT, "neither a duration nor a time"))?)
        }
        None => None,
    };
    Ok(Later { correlation: correlation(scl, headers)?, rcat, trpdt })
}

fn correlation(scl: &Scl, headers: &HeaderMap) -> Result<Option<Correlation>, Refusal> {
    let contact = one(headers, &CONTACT_URI)?;
    if contact.is_some_and(|contact| !is_http(contact) && !is_local(scl, contact)) {
        return Err(bad(&CONTACT_URI, "neither an absolute http or https URI nor a path of this SCL"));
    }
    match (one(headers, &CORRELATION_ID)?, contact) {
        (Some(id), _) if id.len() > CORRELATION_ID_OCTETS_MAX => {
            Err(bad(&CORRELATION_ID, "longer than 128 octets"))
        }
        (Some(id), contact) => {
            Ok(Some(Correlation { id: id.to_owned(), contact: contact.map(str::to_owned) }))
        }
        (None, Some(_)) => Err(bad(&CORRELATION_ID, "missing beside X-etsi-contactURI")),
        (None, None) => Ok(None),
    }
}

/// The value of a header that may stand once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(name, "given twice"));
    }
    let text =
        value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    text.map(Some).ok_or_else(|| bad(name, "empty, or not visible ASCII"))
}

fn is_http(uri: &str) -> bool {
    uri.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn is_local(scl: &Scl, uri: &str) -> bool {
    uri.starts_with('/') && scl.local_path(uri).is_some()
}

fn bad(name: &HeaderName, why: &str) -> Refusal {
    Refusal::new(StatusCode::BadRequest, format!("{}: {why}", spelled(name)))
}
