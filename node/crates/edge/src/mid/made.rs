//! What a channel makes once: a root key by bootstrap, or a service connection (security.md 3.1 and 4).

use super::{KEYS_TIMEOUT, Sessions};
use banyan_binding::{
    identity::Peer,
    session::{Connection, Session},
};
use banyan_client::{Client, RequestError};
use banyan_model::{Refusal, ResponsePrimitive, StatusCode, Value, security::KeyRef, value::Struct};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::{info, warn};

/// Records the Kmr that a bootstrap exported, and says what the node has to know.
pub(crate) async fn bootstrap(
    client: &Client,
    session: &Session,
    peer: &Peer,
) -> Result<Struct, Box<ResponsePrimitive>> {
    let KeyRef::Certificate(certificate) = session.key else {
        return Err(refuse(StatusCode::Forbidden, "a bootstrap needs a certificate"));
    };
    let making =
        session.make().ok_or_else(|| refuse(StatusCode::Conflict, "this channel has made its root key"))?;
    let (source, deadline) = (peer.address.to_string(), Instant::now() + KEYS_TIMEOUT);
    let made =
        client.bootstrap(session.node, session.exporter.expose(), certificate, &source, deadline).await;
    let made = made.map_err(|failure| failed("bootstrap", session, &failure))?;
    making.made();
    info!(node = %session.node, index = made.index, "a node bootstrapped");
    let mut fields = vec![
        ("securityM2MNodeId", hex(session.node.0.to_vec())),
        ("securityKmrIndex", Value::Long(made.index.into())),
        ("securityLifetime", Value::Datetime(made.expires)),
    ];
    if !made.mas_fqdn.is_empty() {
        fields.push(("securityMasFqdn", Value::Text(made.mas_fqdn)));
    }
    fields.extend(made.scl.map(|scl| ("sclId", Value::Text(scl))));
    Ok(Struct { name: "BootstrapParamSet", fields })
}

/// Records the Kmc that a service connection exported, and says what the node has to know. From then on the channel
/// carries mId.
pub(crate) async fn connection(
    client: &Client,
    sessions: &Sessions,
    session: &Session,
    peer: &Peer,
    flags: u16,
) -> Result<Struct, Box<ResponsePrimitive>> {
    let kmr_index = match session.key {
        KeyRef::Kmr { index, .. } => Some(index),
        KeyRef::Certificate(_) => None,
        KeyRef::Kmc { .. } => {
            return Err(refuse(StatusCode::Conflict, "this channel belongs to a service connection"));
        }
    };
    let making = session
        .make()
        .ok_or_else(|| refuse(StatusCode::Conflict, "this channel has its service connection"))?;
    let epoch = sessions.epoch();
    let (source, deadline) = (peer.address.to_string(), Instant::now() + KEYS_TIMEOUT);
    let made =
        client.open_connection(session.node, kmr_index, session.exporter.expose(), &source, deadline).await;
    let made = made.map_err(|failure| failed("service connection", session, &failure))?;
    let key = KeyRef::Kmc { connection: made.connection, index: made.index };
    if !sessions.connected(session, key, made.expires, epoch) {
        // Perhaps this one was closed meanwhile. The node asks again, if it still may.
        return Err(again("something was closed meanwhile"));
    }
    let opened = Connection { id: made.connection, index: made.index };
    session.connected(opened, made.scl.clone());
    making.made();
    info!(node = %session.node, scl = %made.scl, "service connection");
    let fields = vec![
        ("securityConnectionId", Value::Long(made.connection.cast_signed())),
        ("securityKmcIndex", Value::Long(made.index.into())),
        ("securityLifetime", Value::Datetime(made.expires)),
        ("securityEncryptedM2MKey", hex(made.wrapped_kmc)),
        ("sclId", Value::Text(made.scl)),
        ("securitymIdFlags", hex(flags.to_be_bytes().to_vec())),
    ];
    Ok(Struct { name: "ConnectionParamSet", fields })
}

fn hex(octets: Vec<u8>) -> Value {
    Value::Binary { content_type: None, bytes: Bytes::from(octets) }
}

/// Why it was refused stands in the log and the audit, not in the answer.
fn failed(what: &str, session: &Session, failure: &RequestError) -> Box<ResponsePrimitive> {
    warn!(node = %session.node, key = %session.key, %failure, "{what} refused");
    match failure {
        RequestError::Refused(_) => refuse(StatusCode::Forbidden, "the node or its key is not accepted"),
        other => Box::new(other.response()),
    }
}

fn again(why: &str) -> Box<ResponsePrimitive> {
    let info = why.to_owned();
    let retry_after_ms = Some(1_000);
    Box::new(ResponsePrimitive {
        info,
        retry_after_ms,
        ..ResponsePrimitive::status(StatusCode::ServiceUnavailable)
    })
}

fn refuse(status: StatusCode, why: &str) -> Box<ResponsePrimitive> {
    Box::new(Refusal::new(status, why).into())
}
