//! What an SCL may ask on mId beyond what rights say: it registers itself and no other, with the integrity that the
//! operator demands (security.md 5 and 6).

use super::{Audit, Links, now};
use banyan_binding::identity::{Peer, Registered};
use banyan_model::{
    Body, Method, Refusal, RequestPrimitive, ResourceType, Scl, StatusCode, Timestamp, Value,
    value::{Representation, Struct},
};
use std::{collections::HashMap, net::IpAddr, sync::Arc};

/// What `integrityValResults` must say. Default: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct IvalPolicy {
    /// They must be there.
    pub(crate) require: bool,
    /// `secureTimeStamp` is at most so far from now, milliseconds.
    pub(crate) fresh_ms: Option<i64>,
    /// These bits of `ivalResults` must be 0.
    pub(crate) mask: u64,
}

/// Whether a request creates an scl.
pub(crate) fn is_registration(request: &RequestPrimitive) -> bool {
    let is_scls = matches!(request.target.segments(), [only] if only == "scls");
    request.method == Method::Create && is_scls
}

/// Whether a registration that came over mId may go on to the tree.
///
/// # Errors
/// `PermissionDenied`: it is another's; `Forbidden`: its integrity is not what the operator demands.
pub(crate) fn admitted(own: &Scl, policy: IvalPolicy, request: &RequestPrimitive) -> Result<(), Refusal> {
    // What makes no sense the tree refuses, by name.
    let Body::Representation(scl) = &request.body else { return Ok(()) };
    if scl.resource_type != ResourceType::Scl {
        return Ok(());
    }
    // Who asks is the session's SCL or something below it; only the SCL itself registers, and only itself.
    let path = own.local_path(&request.requesting_entity.0);
    let is_own = match (path.as_ref().map(|path| path.segments()), scl.text("sclId")) {
        (Some([collection, id]), Some(asked)) => collection == "scls" && id == asked,
        _ => false,
    };
    if !is_own {
        let why = "sclId: not the one of the key that the channel was made with";
        return Err(Refusal::new(StatusCode::PermissionDenied, why));
    }
    integrity(policy, scl, now())
}

fn integrity(policy: IvalPolicy, scl: &Representation, now: Timestamp) -> Result<(), Refusal> {
    if policy == IvalPolicy::default() {
        return Ok(());
    }
    let refuse = |why: &str| Err(Refusal::new(StatusCode::Forbidden, format!("integrityValResults: {why}")));
    let Some(Value::Struct(results)) = scl.get("integrityValResults") else { return refuse("missing") };
    if let Some(fresh) = policy.fresh_ms {
        match results.get("secureTimeStamp") {
            Some(Value::Datetime(at)) if at.0.abs_diff(now.0) <= fresh.unsigned_abs() => {}
            _ => return refuse("secureTimeStamp is not of now"),
        }
    }
    match long(results, "ivalResults") {
        Some(found) if found & policy.mask == 0 => Ok(()),
        _ => refuse("ivalResults has what this provider does not allow"),
    }
}

fn long(of: &Struct, field: &str) -> Option<u64> {
    match of.get(field) {
        Some(Value::Long(number)) => Some(number.cast_unsigned()),
        _ => None,
    }
}

/// SCLs by what their channel proved.
#[derive(Debug)]
pub(crate) struct OverSession {
    pub(crate) links: Arc<Links>,
    pub(crate) audit: Audit,
}

impl Registered for OverSession {
    fn scl(&self, peer: &Peer) -> Result<String, Refusal> {
        let scl = peer.session.as_ref().and_then(|session| session.scl());
        scl.map(str::to_owned)
            .ok_or_else(|| Refusal::new(StatusCode::Forbidden, "the channel belongs to no SCL"))
    }

    fn link(&self, scl: &str) -> Option<String> {
        self.links.get(scl)
    }

    fn refused(&self, peer: &Peer, scl: &str, from: &str) {
        self.audit.refused("requestingEntity", peer, &format!("{scl} said to be {from}"));
    }
}

/// SCLs by their address, on a network that the operator trusts.
#[derive(Debug)]
pub(crate) struct OverNetwork {
    pub(crate) sources: Arc<HashMap<IpAddr, String>>,
    pub(crate) links: Arc<Links>,
    pub(crate) audit: Audit,
}

impl OverNetwork {
    pub(crate) fn of(sources: &HashMap<IpAddr, String>, peer: &Peer) -> Option<String> {
        sources.get(&peer.address.ip().to_canonical()).cloned()
    }
}

impl Registered for OverNetwork {
    fn scl(&self, peer: &Peer) -> Result<String, Refusal> {
        let found = OverNetwork::of(&self.sources, peer);
        found.ok_or_else(|| Refusal::new(StatusCode::Forbidden, "no SCL has this address"))
    }

    fn link(&self, scl: &str) -> Option<String> {
        self.links.get(scl)
    }

    fn refused(&self, peer: &Peer, scl: &str, from: &str) {
        self.audit.refused("requestingEntity", peer, &format!("{scl} said to be {from}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_model::{Entity, Path};

    fn scl(results: Option<(i64, i64)>) -> Representation {
        let mut scl = Representation::new(ResourceType::Scl);
        scl.set("sclId", Value::Text("gw".to_owned()));
        if let Some((found, at)) = results {
            let fields = vec![
                ("ivalResults", Value::Long(found)),
                ("signedIvalResult", Value::Long(0)),
                ("secureTimeStamp", Value::Datetime(Timestamp(at))),
            ];
            scl.set("integrityValResults", Value::Struct(Struct { name: "IntegrityValResults", fields }));
        }
        scl
    }

    #[test]
    fn integrity_is_what_the_operator_demands() {
        let required = IvalPolicy { require: true, ..IvalPolicy::default() };
        let fresh = IvalPolicy { fresh_ms: Some(1_000), ..required };
        let masked = IvalPolicy { mask: 0b100, ..required };
        for (policy, results, is_ok) in [
            (IvalPolicy::default(), None, true),
            (required, None, false),
            (required, Some((0, 0)), true),
            (fresh, Some((0, 99_000)), true),
            (fresh, Some((0, 101_000)), true),
            (fresh, Some((0, 98_999)), false),
            (masked, Some((0b011, 0)), true),
            (masked, Some((0b110, 0)), false),
        ] {
            let said = integrity(policy, &scl(results), Timestamp(100_000));
            assert_eq!(said.is_ok(), is_ok, "{policy:?} {results:?}");
            assert!(said.is_ok() || said.unwrap_err().status == StatusCode::Forbidden);
        }
    }

    #[test]
    fn an_scl_registers_itself_and_no_other() {
        let own = Scl {
            id: "nscl".to_owned(),
            base: "/m2m".to_owned(),
            authorities: Vec::new(),
            founded_at: Timestamp(0),
        };
        let said = |entity: &str| {
            let target = Path::scl_base().child("scls");
            let mut request = RequestPrimitive::new(Method::Create, target, Entity(entity.to_owned()));
            request.body = Body::Representation(scl(None));
            assert!(is_registration(&request));
            admitted(&own, IvalPolicy::default(), &request).map_err(|refusal| refusal.status)
        };
        assert_eq!(said("/m2m/scls/gw"), Ok(()));
        for entity in ["/m2m/scls/other", "/m2m/scls/gw/applications/a", "gw/applications/a"] {
            assert_eq!(said(entity), Err(StatusCode::PermissionDenied), "{entity}");
        }
    }
}
