//! What certificates allow, with certificates as an operator would make them.

#![allow(clippy::unwrap_used)]

use super::role::{Role, role_of};
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::pki_types::CertificateDer;

fn certificate(names: &[&str]) -> CertificateDer<'static> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone()
}

#[test]
fn a_certificate_names_its_role() {
    for (names, role) in [
        (&["banyan-node"][..], Some(Role::Node)),
        (&["banyan-edge"][..], Some(Role::Edge)),
        (&["node-0.example.com", "banyan-node"][..], Some(Role::Node)),
        // The lesser of two rights.
        (&["banyan-node", "banyan-edge"][..], Some(Role::Edge)),
        (&["banyan-nodes", "node.banyan-node"][..], None),
    ] {
        assert_eq!(role_of(&certificate(names)), role, "{names:?}");
    }
}
