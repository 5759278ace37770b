//! The `link` of SCLs that are at the other end of a session, for as long as one may be believed.

use banyan_client::Client;
use banyan_model::{Body, Entity, Method, Path, RequestPrimitive, Scl};
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

const KEPT_FOR: Duration = Duration::from_secs(10);
const ENTRIES_MAX: usize = 10_000;

/// What was learned, by sclId.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<String, (Option<String>, Instant)>>);

impl Links {
    pub(crate) fn get(&self, scl: &str) -> Option<String> {
        let known = self.0.lock();
        known.get(scl).filter(|(_, until)| *until > Instant::now()).and_then(|(link, _)| link.clone())
    }

    /// The SCL registers, or changes what it registered.
    pub(crate) fn forget(&self, scl: &str) {
        self.0.lock().remove(scl);
    }

    /// Asks for it unless it is known. Whoever cannot be asked for has none.
    pub(crate) async fn learn(&self, client: &Client, own: &Scl, scl: &str, limit: Duration) {
        if self.0.lock().get(scl).is_some_and(|(_, until)| *until > Instant::now()) {
            return;
        }
        let path = Path::scl_base().child("scls").child(scl);
        // As the SCL itself, which may read what it keeps.
        let request = RequestPrimitive::new(Method::Retrieve, path, Entity(own.base.clone()));
        let Ok(answer) = client.submit(request, Instant::now() + limit).await else { return };
        let link = match &answer.body {
            Body::Representation(found) => found.text("link").map(str::to_owned),
            _ => None,
        };
        let mut known = self.0.lock();
        if known.len() >= ENTRIES_MAX {
            let now = Instant::now();
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() < ENTRIES_MAX {
            known.insert(scl.to_owned(), (link, Instant::now() + KEPT_FOR));
        }
    }
}
