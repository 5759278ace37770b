//! Two SCLs that are registered at each other: what is announced at one appears below its scl at the other, follows the
//! original and goes with it. Both are ours, so what is sent is what is taken.

use std::time::{Duration, Instant};

use cluster_tests::body;
use cluster_tests::device::Reply;

use crate::scl::Scl;
use crate::support::{alone, expect};

/// What an announcement may take in a healthy system, on a busy machine.
const WITHIN: Duration = Duration::from_secs(5);
/// What it takes besides the machine.
const PROMPT: Duration = Duration::from_secs(1);

impl Scl {
    /// Reads as this SCL itself until the answer is what is waited for.
    async fn until(&self, path: &str, what: &str, is_so: impl Fn(&Reply) -> bool) -> (Reply, Duration) {
        let mut device = self.device("/m2m");
        let begun = Instant::now();
        loop {
            let reply = device.retrieve(path).await.expect("an answer");
            if is_so(&reply) {
                return (reply, begun.elapsed());
            }
            let last = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
            assert!(begun.elapsed() < WITHIN, "{path}: {what}, but {last}\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn named(element: &str, attributes: &str, search: &str, scls: &[&str]) -> String {
    let list: String = scls.iter().map(|scl| format!("<reference>{scl}</reference>")).collect();
    format!(
        "<m2m:{element} xmlns:m2m=\"http://uri.etsi.org/m2m\" {attributes}>\
         <m2m:searchStrings><searchString>{search}</searchString></m2m:searchStrings>\
         <m2m:announceTo><activated>true</activated><sclList>{list}</sclList></m2m:announceTo>\
         </m2m:{element}>"
    )
}

#[test]
fn an_application_announced_at_one_scl_lives_and_goes_at_the_other() {
    alone(Duration::from_secs(180), || async {
        let (mut a, mut b) = (Scl::start("scl-a"), Scl::start("scl-b"));
        a.wait_ready().await;
        b.wait_ready().await;
        for (here, there, id) in [(&a, &b, "scl-b"), (&b, &a, "scl-a")] {
            let mut scl = here.device(&format!("/m2m/scls/{id}"));
            expect("register", 201, scl.create("/m2m/scls", &body::scl(id, &there.base())).await);
        }

        let (base, own) = (b.base(), "/m2m/applications/meter");
        let mut meter = a.device(own);
        let application = named("application", "appId=\"meter\"", "first", &[&base]);
        expect("register the application", 201, meter.create("/m2m/applications", &application).await);
        let annc = "/m2m/scls/scl-a/applications/meterAnnc";
        let (found, after) = b.until(annc, "it is announced", |reply| reply.status == 200).await;
        assert!(after < PROMPT, "announced after {after:?}");
        let original = format!("{}/applications/meter", a.base());
        assert_eq!(body::element(found.text(), "link"), Some(original.as_str()), "{}", found.text());
        assert_eq!(body::element(found.text(), "searchString"), Some("first"));

        // Below it stands what it creates.
        let container = named("container", "m2m:id=\"data\"", "first", &[&base]);
        expect("container", 201, meter.create(&format!("{own}/containers"), &container).await);
        let below = format!("{annc}/containers/dataAnnc");
        let (found, after) = b.until(&below, "its child is announced", |reply| reply.status == 200).await;
        assert!(after < PROMPT, "announced after {after:?}");
        let link = format!("{original}/containers/data");
        assert_eq!(body::element(found.text(), "link"), Some(link.as_str()), "{}", found.text());

        // It is the other SCL's, its applications', and nobody else's.
        for (who, status) in [
            (original.as_str(), 200),
            (&format!("{}/applications/other", a.base()), 200),
            ("/m2m/applications/stranger", 404),
            ("http://127.0.0.1:9/m2m/applications/meter", 404),
        ] {
            let read = b.device(who).retrieve(annc).await;
            expect(who, status, read);
        }
        let other = body::container("own", None, None);
        let refused = b.device(&original).create("/m2m/scls/scl-a/containers", &other).await;
        expect("what is no announcement", 404, refused);

        expect("update", 200, meter.update(own, &named("application", "", "second", &[&base])).await);
        let is_second = |reply: &Reply| {
            reply.status == 200 && body::element(reply.text(), "searchString") == Some("second")
        };
        b.until(annc, "it follows its original", is_second).await;

        expect("de-announce", 200, meter.update(own, &named("application", "", "second", &[])).await);
        b.until(annc, "it is de-announced", |reply| reply.status == 404).await;

        // And again, to go with the original.
        expect("announce", 200, meter.update(own, &named("application", "", "third", &[&base])).await);
        b.until(annc, "it is announced again", |reply| reply.status == 200).await;
        let deleted = meter.delete(own).await.expect("an answer").status;
        assert!(matches!(deleted, 200 | 204), "{deleted}");
        b.until(annc, "it goes with its original", |reply| reply.status == 404).await;
    });
}
