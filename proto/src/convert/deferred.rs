//! Requests that are answered later.

use super::{Malformed, outbox, required};
use crate::v1;
use banyan_model::{
    Path, Representation, Timestamp,
    command::QueueLimits,
    deferred::{Deferral, Deferred, Limits},
    saf::{Forwarding, Rcat, Storing, Trpdt},
    time::XsdDuration,
};

impl From<&Deferral> for v1::Defer {
    fn from(deferral: &Deferral) -> v1::Defer {
        let Limits { entity, shard } = deferral.limits;
        let category = deferral.storing.as_ref().map(|storing| storing.limits).unwrap_or_default();
        v1::Defer {
            place: Some((&deferral.place).into()),
            request: deferral.request.clone(),
            digest: deferral.digest,
            contact: deferral.contact.clone(),
            media: outbox::media_to_wire(deferral.media),
            lifetime_ms: deferral.lifetime_ms,
            entity_entries_max: entity.entries_max,
            entity_octets_max: entity.octets_max,
            shard_entries_max: shard.entries_max,
            shard_octets_max: shard.octets_max,
            keep_until_ms: deferral.keep_until.map(|at| at.0),
            forwarding: deferral.storing.as_ref().map(|storing| (&storing.forwarding).into()),
            category_entries_max: category.entries_max,
            category_octets_max: category.octets_max,
        }
    }
}

impl TryFrom<v1::Defer> for Deferral {
    type Error = Malformed;

    fn try_from(deferral: v1::Defer) -> Result<Deferral, Malformed> {
        let limits = |entries_max, octets_max| QueueLimits { entries_max, octets_max };
        let category = limits(deferral.category_entries_max, deferral.category_octets_max);
        let storing = deferral.forwarding.map(|forwarding| {
            Ok::<_, Malformed>(Storing { forwarding: forwarding.try_into()?, limits: category })
        });
        Ok(Deferral {
            place: required("place", deferral.place)?.into(),
            request: deferral.request,
            digest: deferral.digest,
            contact: deferral.contact,
            media: outbox::media(deferral.media)?,
            lifetime_ms: deferral.lifetime_ms,
            keep_until: deferral.keep_until_ms.map(Timestamp),
            storing: storing.transpose()?,
            limits: Limits {
                entity: limits(deferral.entity_entries_max, deferral.entity_octets_max),
                shard: limits(deferral.shard_entries_max, deferral.shard_octets_max),
            },
        })
    }
}

impl From<&Deferred> for v1::Deferred {
    fn from(deferred: &Deferred) -> v1::Deferred {
        v1::Deferred {
            entity: deferred.entity.clone(),
            at_ms: deferred.at.0,
            number: deferred.number,
            digest: deferred.digest,
            contact: deferred.contact.clone(),
            media: outbox::media_to_wire(deferred.media),
            lifetime_ms: deferred.lifetime_ms,
            octets: deferred.octets,
            answer: deferred.answer.clone(),
            expires_ms: deferred.expires.map(|at| at.0),
            keep_until_ms: deferred.keep_until.map(|at| at.0),
            forwarding: deferred.forwarding.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Deferred> for Deferred {
    type Error = Malformed;

    fn try_from(deferred: v1::Deferred) -> Result<Deferred, Malformed> {
        Ok(Deferred {
            entity: deferred.entity,
            at: Timestamp(deferred.at_ms),
            number: deferred.number,
            digest: deferred.digest,
            contact: deferred.contact,
            media: outbox::media(deferred.media)?,
            lifetime_ms: deferred.lifetime_ms,
            keep_until: deferred.keep_until_ms.map(Timestamp),
            forwarding: deferred.forwarding.map(TryInto::try_into).transpose()?,
            octets: deferred.octets,
            answer: deferred.answer,
            expires: deferred.expires_ms.map(Timestamp),
        })
    }
}

impl From<&Forwarding> for v1::Forwarding {
    fn from(forwarding: &Forwarding) -> v1::Forwarding {
        v1::Forwarding {
            target: forwarding.target.clone(),
            rcat: forwarding.rcat.number().into(),
            deadline_ms: forwarding.deadline.0,
        }
    }
}

impl TryFrom<v1::Forwarding> for Forwarding {
    type Error = Malformed;

    fn try_from(forwarding: v1::Forwarding) -> Result<Forwarding, Malformed> {
        let deadline = Timestamp(forwarding.deadline_ms);
        Ok(Forwarding { target: forwarding.target, rcat: rcat(forwarding.rcat)?, deadline })
    }
}

pub(super) fn rcat(number: u32) -> Result<Rcat, Malformed> {
    u8::try_from(number).ok().and_then(Rcat::new).ok_or(Malformed::Missing("a category from 0 to 7"))
}

pub(super) fn trpdt_to_wire(trpdt: Trpdt) -> v1::Trpdt {
    use v1::trpdt::Kind;
    let kind = match trpdt {
        Trpdt::After(XsdDuration { negative, months, millis }) => {
            Kind::After(v1::Span { negative, months, millis })
        }
        Trpdt::TimeOfDay(ms) => Kind::TimeOfDayMs(ms),
        Trpdt::At(at) => Kind::AtMs(at.0),
    };
    v1::Trpdt { kind: Some(kind) }
}

pub(super) fn trpdt(trpdt: v1::Trpdt) -> Result<Trpdt, Malformed> {
    use v1::trpdt::Kind;
    Ok(match required("trpdt", trpdt.kind)? {
        Kind::After(v1::Span { negative, months, millis }) => {
            Trpdt::After(XsdDuration { negative, months, millis })
        }
        Kind::TimeOfDayMs(ms) => Trpdt::TimeOfDay(ms),
        Kind::AtMs(at) => Trpdt::At(Timestamp(at)),
    })
}

/// The resources that hold store-and-forward policies.
pub fn policies_to_wire(parts: &[(Path, Representation)]) -> v1::Policies {
    let part = |(path, representation): &(Path, Representation)| v1::PolicyPart {
        path: Some(path.into()),
        representation: Some(representation.into()),
    };
    v1::Policies { parts: parts.iter().map(part).collect() }
}

/// The reverse.
///
/// # Errors
/// [`Malformed`].
pub fn policies(policies: v1::Policies) -> Result<Vec<(Path, Representation)>, Malformed> {
    let part = |part: v1::PolicyPart| {
        let path = required("path", part.path)?.into();
        Ok((path, required("representation", part.representation)?.try_into()?))
    };
    policies.parts.into_iter().map(part).collect()
}
