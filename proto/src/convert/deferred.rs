//! Requests that are answered later.

use super::{Malformed, outbox, required};
use crate::v1;
use banyan_model::{
    Timestamp,
    command::QueueLimits,
    deferred::{Deferral, Deferred, Limits},
};

impl From<&Deferral> for v1::Defer {
    fn from(deferral: &Deferral) -> v1::Defer {
        let Limits { entity, shard } = deferral.limits;
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
        }
    }
}

impl TryFrom<v1::Defer> for Deferral {
    type Error = Malformed;

    fn try_from(deferral: v1::Defer) -> Result<Deferral, Malformed> {
        let limits = |entries_max, octets_max| QueueLimits { entries_max, octets_max };
        Ok(Deferral {
            place: required("place", deferral.place)?.into(),
            request: deferral.request,
            digest: deferral.digest,
            contact: deferral.contact,
            media: outbox::media(deferral.media)?,
            lifetime_ms: deferral.lifetime_ms,
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
            octets: deferred.octets,
            answer: deferred.answer,
            expires: deferred.expires_ms.map(Timestamp),
        })
    }
}
