//! The open mode of `dev` and of a closed test network: whoever one says one is.

use super::{Authorization, Identity, Peer, Said, authorization, decode_user, from_header, missing};
use banyan_model::{Refusal, Scl};
use http::HeaderMap;

/// Believes `From` (V2), else the user part of HTTP Basic (V1).
#[derive(Clone, Debug)]
pub struct Open {
    /// What this SCL calls itself; its own sclBase as an entity is the SCL, which may do everything.
    pub scl: Scl,
}

impl Identity for Open {
    fn identify(&self, _peer: &Peer, headers: &HeaderMap) -> Result<Said, Refusal> {
        if let Some(from) = from_header(headers)? {
            return Ok(Said::Known(self.scl.normalise(from)));
        }
        match authorization(headers)? {
            Some(Authorization::Basic { user, .. }) if !user.is_empty() => {
                Ok(Said::Known(self.scl.normalise(&decode_user(&user)?)))
            }
            _ => Err(missing("requestingEntity: neither From nor HTTP Basic names one")),
        }
    }
}
