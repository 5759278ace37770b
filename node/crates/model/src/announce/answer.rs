//! What the answer of another SCL means for an announcement.

use super::{Action, Done, Standing, Step};
use crate::{Body, ResponsePrimitive, Scl, StatusCode};

/// What to do after an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The step is over.
    Done(Done),
    /// The id is taken there: RETRIEVE it to see whether by this announcement, then [`verify`].
    Verify,
    /// Try again later.
    Again,
}

/// Judges the answer to a step's request, which was sent to the SCL whose sclBase is `link`.
pub fn judge(step: &Step, scl: &Scl, link: &str, answer: &ResponsePrimitive) -> Verdict {
    let ok = matches!(
        answer.status,
        StatusCode::Ok | StatusCode::Created | StatusCode::Accepted | StatusCode::Deleted
    );
    match (&step.action, answer.status) {
        (_, status) if is_transient(status) => Verdict::Again,
        (Action::Wait, _) => Verdict::Again,
        (Action::Create { sent, .. }, _) if ok => {
            let uri = match &answer.resource_uri {
                Some(uri) => of_authority(link, uri),
                None => step.uri(scl, link),
            };
            Verdict::Done(Done::Stands(Standing { uri, ..sent.clone() }))
        }
        (Action::Create { .. }, StatusCode::Conflict) => Verdict::Verify,
        (Action::Create { .. }, _) => Verdict::Done(Done::Refused),
        // Something else, or nothing to be seen: nothing of ours to delete.
        (Action::Find, _) => Verdict::Done(found(step, scl, link, answer).map_or(Done::Gone, Done::Stands)),
        (Action::Update { .. } | Action::Delete { .. }, StatusCode::NotFound) => Verdict::Done(Done::Gone),
        // A refusal of an UPDATE stands: to repeat it would change nothing.
        (Action::Update { sent, .. }, _) => Verdict::Done(Done::Stands(sent.clone())),
        (Action::Delete { .. }, _) if ok => Verdict::Done(Done::Gone),
        (Action::Delete { .. }, _) => Verdict::Done(Done::Kept),
    }
}

/// Judges what was found where a CREATE met a CONFLICT: this very announcement, created by an attempt whose answer was
/// lost, or something else.
pub fn verify(step: &Step, scl: &Scl, link: &str, answer: &ResponsePrimitive) -> Verdict {
    match answer.status {
        status if is_transient(status) => Verdict::Again,
        // It has gone in between, or has expired: the next CREATE will tell.
        StatusCode::NotFound => Verdict::Again,
        _ => Verdict::Done(found(step, scl, link, answer).map_or(Done::Refused, Done::Stands)),
    }
}

/// The announcement in the answer to a RETRIEVE, if it is one of the original. What else it says is not looked at: an
/// UPDATE follows, or a DELETE.
fn found(step: &Step, scl: &Scl, link: &str, answer: &ResponsePrimitive) -> Option<Standing> {
    let Body::Representation(found) = &answer.body else { return None };
    let is_it = answer.status == StatusCode::Ok && found.text("link") == Some(step.original.as_str());
    is_it.then(|| Standing { uri: step.uri(scl, link), digest: 0, expiration: None })
}

impl Step {
    /// What there is to say when the SCL is not registered any more.
    pub fn unregistered(&self) -> Done {
        match &self.action {
            Action::Create { .. } | Action::Update { .. } | Action::Wait => Done::Refused,
            Action::Delete { .. } | Action::Find => Done::Gone,
        }
    }

    /// What is settled for when nothing came of it for too long.
    pub fn given_up(&self) -> Done {
        match &self.action {
            Action::Create { .. } | Action::Wait => Done::Refused,
            Action::Update { sent, .. } => Done::Stands(sent.clone()),
            Action::Delete { .. } => Done::Kept,
            Action::Find => Done::Gone,
        }
    }
}

/// Failures of the way there or of the moment.
fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::RequestTimeout
            | StatusCode::InternalServerError
            | StatusCode::BadGateway
            | StatusCode::ServiceUnavailable
            | StatusCode::GatewayTimeout
    )
}

/// A resourceURI as the other SCL writes it, with the authority that it was reached by if it has none.
fn of_authority(link: &str, uri: &str) -> String {
    if !uri.starts_with('/') {
        return uri.to_owned();
    }
    let Some((scheme, rest)) = link.split_once("://") else { return uri.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{authority}{uri}")
}
