//! Starting what mId needs: its listeners.

use super::{Doors, StartError, server_config, stopped};
use crate::{
    Config,
    closures::OfMid,
    config::{CheckedMid, millis},
    forward::OnMid,
    metrics::Metrics,
    mid::{
        Audit, BootstrapDoor, DeviceCertificates, IvalPolicy, Keys, Links, Lookup, Measured, MidDoor,
        OverNetwork, OverSession, Sessions,
    },
};
use banyan_binding::{
    http::{Channel, Plain, Server},
    identity::{Identity, OfScl},
    mid::{CONNECTION_LABEL, Psk, PskConfig},
    tls::Certified,
};
use banyan_client::Client;
use banyan_model::Scl;
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// Label of the exporter (RFC 5705) that makes Kmr from a bootstrap, without a context.
const BOOTSTRAP_LABEL: &str = "EXPORTER-ETSI-TC-M2M-Bootstrap";

pub(super) struct MidListeners {
    pub(super) psk: Option<TcpListener>,
    pub(super) bootstrap: Option<TcpListener>,
    pub(super) tls: Option<TcpListener>,
    pub(super) plain: Option<TcpListener>,
}

/// What all parts of mId share.
pub(super) struct MidSide {
    policy: IvalPolicy,
    sources: Arc<HashMap<IpAddr, String>>,
    links: Arc<Links>,
    audit: Audit,
    client: Client,
    metrics: Arc<Metrics>,
}

impl MidSide {
    pub(super) fn new(
        policy: IvalPolicy,
        sources: Arc<HashMap<IpAddr, String>>,
        client: Client,
        metrics: Arc<Metrics>,
    ) -> MidSide {
        let audit = Audit::new(client.clone(), Arc::clone(&metrics));
        MidSide { policy, sources, links: Arc::default(), audit, client, metrics }
    }

    /// What the forwarder looks at.
    pub(super) fn rules(&self, own: &Scl) -> OnMid {
        let (own, links) = (Arc::new(own.clone()), Arc::clone(&self.links));
        OnMid { own, policy: self.policy, links, audit: self.audit.clone() }
    }

    /// Who asks: by session, by address.
    pub(super) fn identities(&self, own: &Scl) -> (Arc<dyn Identity>, Arc<dyn Identity>) {
        let by_session = OverSession { links: Arc::clone(&self.links), audit: self.audit.clone() };
        let by_address = OverNetwork {
            sources: Arc::clone(&self.sources),
            links: Arc::clone(&self.links),
            audit: self.audit.clone(),
        };
        let session = OfScl { own: own.clone(), registered: by_session };
        let network = OfScl { own: own.clone(), registered: by_address };
        (Arc::new(session), Arc::new(network))
    }

    /// Serves the listeners, as far as they are set; what may be closed of them.
    pub(super) fn serve(
        &self,
        config: &Config,
        checked: CheckedMid,
        listeners: MidListeners,
        doors: &Doors,
        stopping: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Option<OfMid>, StartError> {
        let sessions = Sessions::new(Duration::from_secs(config.mid.max_session_age_s));
        let keys = Arc::new(Keys::new(self.client.clone(), Arc::clone(&sessions)));
        let devices =
            || DeviceCertificates { nodes: Arc::clone(&checked.nodes), sessions: Arc::clone(&sessions) };
        let server = |channel: Arc<dyn Channel>, listener: &'static str| {
            let channel = Measured { channel, listener, metrics: Arc::clone(&self.metrics) };
            Server { config: server_config(config), channel: Arc::new(channel) }
        };
        let door = |binding| {
            Arc::new(MidDoor {
                binding,
                client: self.client.clone(),
                sessions: Arc::clone(&sessions),
                links: Arc::clone(&self.links),
                metrics: Arc::clone(&self.metrics),
                flags: config.mid.flags,
                timeout: millis(config.request_timeout_ms),
                sources: Arc::clone(&self.sources),
            })
        };
        if let Some(listener) = listeners.psk {
            let channel = Psk::new(Lookup(Arc::clone(&keys)), PskConfig { legacy: config.mid.legacy_psk })?;
            let server = server(Arc::new(channel), "psk");
            tasks.spawn(server.serve(listener, door(Arc::clone(&doors.mid)), stopped(stopping.clone())));
        }
        if let (Some(listener), Some(tls)) = (listeners.tls, checked.tls) {
            let channel = Certified::new(tls, CONNECTION_LABEL, devices());
            let server = server(Arc::new(channel), "tls");
            tasks.spawn(server.serve(listener, door(Arc::clone(&doors.mid)), stopped(stopping.clone())));
        }
        if let Some(listener) = listeners.plain {
            let server = server(Arc::new(Plain), "plain");
            tasks.spawn(server.serve(listener, door(Arc::clone(&doors.plain)), stopped(stopping.clone())));
        }
        if let (Some(listener), Some(tls)) = (listeners.bootstrap, checked.bootstrap) {
            let channel = Certified::new(tls, BOOTSTRAP_LABEL, devices());
            let door = BootstrapDoor { client: self.client.clone(), metrics: Arc::clone(&self.metrics) };
            let server = server(Arc::new(channel), "bootstrap");
            tasks.spawn(server.serve(listener, Arc::new(door), stopped(stopping.clone())));
        }
        Ok(config.mid.has_sessions().then_some(OfMid { sessions, keys }))
    }
}
