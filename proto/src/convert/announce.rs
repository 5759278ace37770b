//! Announcements: what is known of them, and what came of them.

use super::Malformed;
use crate::v1;
use banyan_model::{
    ResourceType, Timestamp,
    announce::{Announced, Announcement, Done, Standing},
};

impl From<&Announced> for v1::Announced {
    fn from(announced: &Announced) -> v1::Announced {
        let wire = |known: &Announcement| v1::Announcement {
            scl: known.scl.clone(),
            stands: known.stands.as_ref().map(Into::into),
        };
        v1::Announced {
            resource_type: announced.resource_type.name().to_owned(),
            entity: announced.entity.clone(),
            at: announced.at.iter().map(wire).collect(),
        }
    }
}

impl TryFrom<v1::Announced> for Announced {
    type Error = Malformed;

    fn try_from(announced: v1::Announced) -> Result<Announced, Malformed> {
        let name = &announced.resource_type;
        let resource_type =
            ResourceType::from_name(name).ok_or_else(|| Malformed::unknown("resource type", name))?;
        let known =
            |wire: v1::Announcement| Announcement { scl: wire.scl, stands: wire.stands.map(Into::into) };
        let at = announced.at.into_iter().map(known).collect();
        Ok(Announced { resource_type, entity: announced.entity, at })
    }
}

impl From<&Standing> for v1::Standing {
    fn from(standing: &Standing) -> v1::Standing {
        v1::Standing {
            uri: standing.uri.clone(),
            digest: standing.digest,
            expiration_ms: standing.expiration.map(|at| at.0),
        }
    }
}

impl From<v1::Standing> for Standing {
    fn from(wire: v1::Standing) -> Standing {
        Standing { uri: wire.uri, digest: wire.digest, expiration: wire.expiration_ms.map(Timestamp) }
    }
}

impl From<&Done> for v1::announcement_done::Done {
    fn from(done: &Done) -> v1::announcement_done::Done {
        use v1::announcement_done::Done as Wire;
        match done {
            Done::Stands(standing) => Wire::Stands(standing.into()),
            Done::Gone => Wire::Gone(true),
            Done::Refused => Wire::Refused(true),
            Done::Kept => Wire::Kept(true),
        }
    }
}

impl From<v1::announcement_done::Done> for Done {
    fn from(wire: v1::announcement_done::Done) -> Done {
        use v1::announcement_done::Done as Wire;
        match wire {
            Wire::Stands(standing) => Done::Stands(standing.into()),
            Wire::Gone(_) => Done::Gone,
            Wire::Refused(_) => Done::Refused,
            Wire::Kept(_) => Done::Kept,
        }
    }
}
