//! Request and response primitives, the same whatever protocol carried them.

use crate::{
    Entity, Path, Refusal, Representation, StatusCode, SubtreeRoot, Timestamp, deferred,
    filter::FilterCriteria,
    saf::{Rcat, Trpdt},
    tables::Mode,
    value::Struct,
};
use bytes::Bytes;

/// The methods of the standard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Method {
    Create,
    Retrieve,
    Update,
    Delete,
    Execute,
    Notify,
}

/// What an issuer asks of this SCL.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestPrimitive {
    /// The method.
    pub method: Method,
    /// targetID, below sclBase. Partial addressing and `latest` are still part of it.
    pub target: Path,
    /// Authenticated by the edge, normalised.
    pub requesting_entity: Entity,
    /// The body, decoded by the edge.
    pub body: Body,
    /// filterCriteria, or why the query was malformed.
    pub filter: Result<FilterCriteria, Refusal>,
    /// Conditional headers.
    pub conditions: Conditions,
    /// Media type in which a notify should carry representations when this request creates a subscription.
    pub notify_media: NotifyMedia,
    /// Over which reference point it came.
    pub reference_point: ReferencePoint,
    /// The SCLs that passed it on, by id, the first one first (`Via`).
    pub via: Vec<String>,
    /// Asks for an asynchronous answer.
    pub correlation: Option<Correlation>,
    /// RCAT: its category for store and forward.
    pub rcat: Option<Rcat>,
    /// TRPDT: how long it may take on its way.
    pub trpdt: Option<Trpdt>,
    /// Scheme and authority at which the issuer reached this SCL, `http://nscl.example.com:8080`; `None`: it came from
    /// within.
    pub reached_at: Option<String>,
    /// groupRequestIdentifier: one fan-out, so that a group within a group is not asked twice.
    pub group_request: Option<String>,
    /// How much of a collection's lists the answer may hold.
    pub listing: Listing,
    /// Of a notify to a contact inside this SCL: how many notifies led to it, itself included.
    pub hops: u32,
}

/// Over which reference point a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReferencePoint {
    /// Network application to NSCL.
    #[default]
    Mia,
    /// Device or gateway application to its D/GSCL.
    Dia,
    /// SCL to SCL.
    Mid,
}

/// What an asynchronous request says of its answer (procedures.md 17).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Correlation {
    /// correlationID, chosen by the issuer.
    pub id: String,
    /// contactURI: where the responseNotify goes. `None`: the issuer repeats the request until it is answered.
    pub contact: Option<String>,
}

/// How much of a collection's lists the answer of a RETRIEVE may hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Listing {
    /// All of it, or a refusal: who asks cannot ask for the rest.
    #[default]
    Whole,
    /// A page of it, and where the next one begins.
    First,
    /// The page that begins there, as an attribute of its own.
    From(ListPlace),
}

/// A place in the lists of a collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListPlace {
    /// The attribute whose entries follow (`containerCollection`).
    pub list: String,
    /// After the member of this name.
    pub after: Option<String>,
}

impl RequestPrimitive {
    /// A request without body, criteria or conditions.
    pub fn new(method: Method, target: Path, requesting_entity: Entity) -> RequestPrimitive {
        RequestPrimitive {
            method,
            target,
            requesting_entity,
            body: Body::None,
            filter: Ok(FilterCriteria::default()),
            conditions: Conditions::default(),
            notify_media: NotifyMedia::default(),
            reference_point: ReferencePoint::default(),
            via: Vec::new(),
            correlation: None,
            rcat: None,
            trpdt: None,
            reached_at: None,
            group_request: None,
            listing: Listing::default(),
            hops: 0,
        }
    }

    /// How its answer is to be given later, if it is. The correlationID of a responseNotify asks for nothing: it names the
    /// request that is answered.
    pub fn later(&self) -> Option<&Correlation> {
        let answers = matches!(&self.body, Body::Message(message) if message.name == "ResponseNotify");
        self.correlation.as_ref().filter(|_| !answers)
    }

    /// The subtree that decides about this request; a CREATE in one of sclBase's collections belongs to the child that
    /// it makes, what is to be answered later to who asks. `None`: that child has no name, and the SCL is to choose one.
    pub fn subtree(&self) -> Option<SubtreeRoot> {
        if self.later().is_some() {
            return Some(deferred::home(&self.requesting_entity));
        }
        let target = &self.target;
        // Anything else is malformed or the wrong resource, which is for the target's own subtree to say.
        let child_id = match &self.body {
            Body::Representation(child)
                if self.method == Method::Create && target.root_collection().is_some() =>
            {
                child.resource_type.id_attribute().map(|id| (child, id))
            }
            _ => None,
        };
        let Some((child, id)) = child_id else { return Some(target.subtree()) };
        match (child.get(id.field.name), child.text(id.field.name)) {
            (_, Some(name)) => Some(target.child(name).subtree()),
            (Some(_), None) => Some(target.subtree()),
            // Without a name that only the issuer can know (sclId) it is refused.
            (None, None) if id.create == Mode::Mandatory => Some(target.subtree()),
            (None, None) => None,
        }
    }
}

/// A body after decoding. Syntax is refused after authorisation (procedures.md 1.2), so a malformed one travels on.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// No body.
    None,
    /// A resource, or one attribute of it, by its root element.
    Representation(Representation),
    /// The attribute element alone (partial addressing).
    Attribute {
        /// Its ETSI name.
        name: String,
        /// Its value, decoded by the first type that has this attribute.
        value: crate::Value,
    },
    /// A message body (`notify`, ...).
    Message(Struct),
    /// Any other media type: content of a contentInstance.
    Raw {
        /// Content-Type as sent.
        content_type: String,
        /// The octets.
        bytes: Bytes,
    },
    /// Could not be read; the refusal that applies once the issuer is authorised.
    Malformed(Refusal),
}

/// If-Match and its kin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Conditions {
    /// eTags without quotes; `*` as itself.
    pub if_match: Vec<String>,
    pub if_none_match: Vec<String>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

/// The media type of representations inside notify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum NotifyMedia {
    #[default]
    Xml,
    Json,
}

/// The answer.
#[derive(Clone, PartialEq, Debug)]
pub struct ResponsePrimitive {
    /// The status.
    pub status: StatusCode,
    /// resourceURI of a create, as a local address (`/m2m/...`).
    pub resource_uri: Option<String>,
    /// The body.
    pub body: Body,
    /// Opaque, without quotes; changes with every change of the representation.
    pub etag: Option<String>,
    /// lastModifiedTime.
    pub last_modified: Option<Timestamp>,
    /// With METHOD_NOT_ALLOWED.
    pub allow: Vec<Method>,
    /// errorInfo/additionalInfo.
    pub info: String,
    /// With SERVICE_UNAVAILABLE: when to try again, in milliseconds.
    pub retry_after_ms: Option<u32>,
    /// Not an answer: whoever holds the request sends it on to this absolute URI, or the path there that follows the id of
    /// a registered SCL (D-20), and relays what that says (procedures.md 11.6, 12, 13).
    pub retarget: Option<String>,
    /// The lists of the body are not complete: the next page begins there.
    pub next: Option<ListPlace>,
}

impl ResponsePrimitive {
    /// A bodyless answer.
    pub fn status(status: StatusCode) -> ResponsePrimitive {
        ResponsePrimitive {
            status,
            resource_uri: None,
            body: Body::None,
            etag: None,
            last_modified: None,
            allow: Vec::new(),
            info: String::new(),
            retry_after_ms: None,
            retarget: None,
            next: None,
        }
    }
}

impl From<Refusal> for ResponsePrimitive {
    fn from(refusal: Refusal) -> ResponsePrimitive {
        ResponsePrimitive {
            allow: refusal.allow,
            info: refusal.info,
            ..ResponsePrimitive::status(refusal.status)
        }
    }
}
