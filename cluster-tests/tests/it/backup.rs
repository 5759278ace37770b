//! A backup is made while the cluster serves, and a new cluster of another size is founded from it, though its founders are
//! killed while they load.
//!
//! `BANYAN_RESTORE_KILLS` sets how often (4).

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::body;
use cluster_tests::cluster::{Cluster, Config};
use cluster_tests::device::Device;
use cluster_tests::oracle::{Answer, Write, Writer, stored_within};
use cluster_tests::repeat::{Seed, value_of};
use cluster_tests::subscriber::Subscriber;
use rand::RngExt;

use crate::support::{alone, application, cluster, expect};

const WRITERS: u64 = 4;
const OWNER: &str = "/m2m/applications/owner";
const LIMIT: Duration = Duration::from_secs(30);

fn ctl(arguments: &[&str]) -> Output {
    let mut command = Command::new(&binaries::build().node);
    command.arg("ctl").args(arguments).output().expect("it can be run")
}

/// What a command of `banyan ctl` says that must end with success.
fn said(arguments: &[&str]) -> String {
    let output = ctl(arguments);
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}{why}");
    said.into_owned()
}

fn path(folder: &Path) -> &str {
    folder.to_str().expect("temporary folders have names in UTF-8")
}

/// Resources of several kinds in several shards; their paths.
async fn furnish(owner: &mut Device, subscriber: &Subscriber) -> Vec<String> {
    let flags = ["READ", "WRITE", "CREATE", "DELETE", "DISCOVER"];
    let own = [body::permission("own", &flags, &[OWNER])];
    let group = format!(
        r#"<m2m:group xmlns:m2m="http://uri.etsi.org/m2m" m2m:id="all"><m2m:memberType>MIXED</m2m:memberType><m2m:members><reference>{OWNER}/containers/c</reference></m2m:members></m2m:group>"#
    );
    let instances = format!("{OWNER}/containers/c/contentInstances");
    let mut made = vec![
        ("/m2m/applications".to_owned(), body::application("owner", None)),
        (format!("{OWNER}/accessRights"), body::access_right(Some("r"), &own, &own)),
        (
            format!("{OWNER}/containers"),
            body::container("c", Some(&format!("{OWNER}/accessRights/r")), Some(50)),
        ),
        (format!("{OWNER}/groups"), group),
        (format!("{instances}/subscriptions"), body::subscription("s", &subscriber.contact("/owner"))),
    ];
    for number in 0..20 {
        let id = format!("i{number}");
        made.push((instances.clone(), body::content_instance(Some(&id), &format!("value {number}"))));
    }
    for number in 0..12 {
        made.push(("/m2m/applications".to_owned(), body::application(&format!("meter{number}"), None)));
    }
    for (at, xml) in made {
        expect(&at, 201, owner.create(&at, &xml).await);
    }
    let mut paths: Vec<String> =
        ["", "/accessRights/r", "/containers/c", "/groups/all"].map(|below| format!("{OWNER}{below}")).into();
    paths.extend([instances.clone(), format!("{instances}/i7"), format!("{instances}/subscriptions/s")]);
    paths
}

/// The representations, addresses of edges left out: those are others in another cluster.
async fn seen(cluster: &Cluster, device: &mut Device, paths: &[String]) -> Vec<String> {
    let mut seen = Vec::new();
    for path in paths {
        let reply = expect(path, 200, device.retrieve(path).await);
        let text =
            cluster.edges().iter().fold(reply.text().to_owned(), |text, edge| text.replace(edge, "EDGE"));
        seen.push(text);
    }
    for number in 0..12 {
        let meter = format!("/m2m/applications/meter{number}");
        let mut device = cluster.device(&meter);
        seen.push(expect(&meter, 200, device.retrieve(&meter).await).text().to_owned());
    }
    seen
}

/// What is stored is what each writer had written up to some moment, and that was not before `begun`.
fn check(histories: &[Vec<Write>], stored: &[String], begun: Instant) {
    for (writer, history) in histories.iter().enumerate() {
        let own = format!("w{writer}-");
        let kept: Vec<&String> = stored.iter().filter(|content| content.starts_with(&own)).collect();
        let written: Vec<&String> = history.iter().map(|write| &write.content).take(kept.len()).collect();
        assert_eq!(kept, written, "a beginning of what writer {writer} wrote");
        let before =
            history.iter().filter(|write| write.answer == Answer::Acknowledged && write.answered < begun);
        let before = before.count();
        assert!(kept.len() >= before, "writer {writer}: {} of {before} are there", kept.len());
    }
}

/// The restored cluster has everything, takes writes and notifies.
async fn check_restored(
    cluster: &Cluster,
    (paths, before): (&[String], &[String]),
    (histories, collection, begun): (&[Vec<Write>], &str, Instant),
    subscriber: &Subscriber,
) {
    let mut owner = cluster.device(OWNER);
    assert_eq!(seen(cluster, &mut owner, paths).await, before);
    let mut measured = cluster.device("/m2m/applications/measured");
    let stored = stored_within(&mut measured, collection, LIMIT).await;
    check(histories, &stored, begun);
    let tokens = said(&["token", "list", "--node", cluster.node_rpc(0)]);
    assert!(tokens.contains("/m2m/applications/measured"), "the keys' group came along: {tokens}");

    let text = format!("from {}", cluster.node_rpc(0));
    let instances = format!("{OWNER}/containers/c/contentInstances");
    expect("a write", 201, owner.create(&instances, &body::content_instance(None, &text)).await);
    let got = subscriber
        .wait("/owner", LIMIT, |all| all.iter().any(|notify| notify.contents().contains(&text)))
        .await;
    assert!(got.is_ok(), "the subscription that was restored is told of {text}");
    let reply = expect("the new one", 200, owner.retrieve(&format!("{instances}/latest")).await);
    assert_eq!(cluster_tests::subscriber::contents(reply.text()), [text]);
}

#[test]
fn a_backup_made_under_writes_founds_clusters_of_other_sizes() {
    let seed = Seed::of("backup::a_backup_made_under_writes_founds_clusters_of_other_sizes");
    let kills = value_of("BANYAN_RESTORE_KILLS", 4);
    alone(Duration::from_secs(300 + 10 * kills), || async {
        let mut rng = seed.rng(u64::MAX);
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let backup = folder.path().join("backup");
        let subscriber = Subscriber::start().await;
        let mut old = cluster(Config { keys: true, ..Config::default() }).await;
        let (device, collection) = application(&old, "measured").await;
        let mut owner = old.device(OWNER);
        let paths = furnish(&mut owner, &subscriber).await;
        said(&["token", "create", "--for", device.from(), "--node", old.node_rpc(0)]);
        let notified = subscriber
            .wait("/owner", LIMIT, |all| {
                all.iter().any(|notify| notify.contents().contains(&"value 19".to_owned()))
            })
            .await;
        assert!(notified.is_ok(), "everything was notified");
        let before = seen(&old, &mut owner, &paths).await;
        let old_cluster = old.status(0).await.expect("it answers").node.expect("it says who it is").cluster;

        let stop = Arc::new(AtomicBool::new(false));
        let running: Vec<_> = (0..WRITERS)
            .map(|number| {
                let device = old.device(device.from());
                let mut writer = Writer::new(number, device, &collection, seed.rng(number));
                let stop = Arc::clone(&stop);
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        writer.write(Duration::from_millis(20)).await;
                    }
                    writer.into_history()
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(700)).await;
        let begun = Instant::now();
        let node = old.node_rpc(1).to_owned();
        let name = path(&backup).to_owned();
        let made = tokio::task::spawn_blocking(move || said(&["backup", &name, "--node", &node]));
        let made = made.await.expect("it does not panic");
        let ended = Instant::now();
        eprintln!("backup under writes took {:?}\n{made}", ended - begun);
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
        let mut histories = Vec::new();
        for writer in running {
            histories.push(writer.await.expect("a writer does not panic"));
        }
        let meanwhile =
            |write: &&Write| write.answer == Answer::Acknowledged && (begun..ended).contains(&write.answered);
        assert!(histories.iter().flatten().any(|write| meanwhile(&write)), "writes went on meanwhile");
        assert_eq!(said(&["verify", path(&backup)]), made);
        let again = ctl(&["backup", path(&backup), "--node", old.node_rpc(0)]);
        assert!(!again.status.success(), "a backup is not written over");
        old.kill_all();
        drop(old);

        let restored = Config { keys: true, restore: Some(backup.clone()), ..Config::default() };
        let known = (paths.as_slice(), before.as_slice());
        let written = (histories.as_slice(), collection.as_str(), begun);
        for nodes in [1, 3] {
            let mut new = Cluster::prepare(binaries::build(), Config { nodes, edges: 1, ..restored.clone() });
            for _ in 0..kills {
                // Somewhere between the first look at the backup and the last replica; founders are as far as they came.
                new.start_all();
                tokio::time::sleep(Duration::from_millis(rng.random_range(20..500))).await;
                new.kill_all();
            }
            let begin = Instant::now();
            new.start_all();
            new.wait_ready().await;
            eprintln!("{nodes} nodes restored and ready in {:?}", begin.elapsed());
            let status = new.status(0).await.expect("it answers");
            let directory = status.directory.expect("it was founded");
            assert_ne!(directory.cluster, old_cluster, "a cluster of its own");
            assert_eq!(directory.restored.map(|from| from.cluster), Some(old_cluster));
            check_restored(&new, known, written, &subscriber).await;
            let latest = format!("{OWNER}/containers/c/contentInstances/latest");
            let mut owner = new.device(OWNER);
            let last = expect("the last one", 200, owner.retrieve(&latest).await).text().to_owned();
            if nodes == 3 {
                // Whoever leads next has loaded the same.
                let leader = new.leader(OWNER).await;
                new.kill_node(leader);
                let others: Vec<usize> = (0..nodes).filter(|&node| node != leader).collect();
                new.leader_among(OWNER, &others).await;
            } else {
                new.kill_node(0);
                // The setting may stay, and the backup may go.
                fs::rename(&backup, folder.path().join("away")).expect("a folder can be renamed");
                new.start_node(0);
                new.wait_node(0).await;
                fs::rename(folder.path().join("away"), &backup).expect("a folder can be renamed");
            }
            let until = Instant::now() + LIMIT;
            while !owner
                .retrieve(&latest)
                .await
                .is_ok_and(|reply| reply.status == 200 && reply.text() == last)
            {
                assert!(Instant::now() < until, "the last one is there afterwards, too");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
}

/// A node that refuses to start, and says this.
fn refuses(cluster: &mut Cluster, what: &str, words: &[&str]) {
    let (status, log) = cluster.start_node_to_fail(0, LIMIT);
    assert_eq!(status.code(), Some(1), "{what}: it ends by itself:\n{log}");
    for word in words {
        assert!(log.contains(word), "{what}: it must say {word:?}:\n{log}");
    }
}

#[test]
fn what_cannot_be_restored_is_refused_before_anything_is_written() {
    alone(Duration::from_secs(180), || async {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let backup = folder.path().join("backup");
        let mut one = cluster(Config { nodes: 1, edges: 1, shards: 2, ..Config::default() }).await;
        application(&one, "kept").await;
        said(&["backup", path(&backup), "--node", one.node_rpc(0)]);
        one.stop_node(0, LIMIT);

        // Into a node that has a cluster.
        let file = one.folder().join("node-0.toml");
        let text = fs::read_to_string(&file).expect("the configuration is there");
        fs::write(&file, format!("restore = {:?}\n{text}", path(&backup))).expect("it can be written");
        refuses(&mut one, "a node with a cluster", &["belongs to cluster", "empty data folder"]);
        fs::write(&file, text).expect("it can be written");
        one.start_node(0);
        one.wait_node(0).await;
        one.kill_all();

        let config =
            Config { nodes: 1, edges: 1, shards: 2, restore: Some(backup.clone()), ..Config::default() };
        let mut new = Cluster::prepare(binaries::build(), config);
        let victim = backup.join("shard-2.snapshot");
        let whole = fs::read(&victim).expect("the backup is there");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        for (what, bytes, word) in [
            ("a flipped bit", Some(damaged.as_slice()), "is damaged"),
            ("a short file", Some(&whole[..whole.len() - 1]), "bytes, the manifest says"),
            ("a missing file", None, "is missing"),
        ] {
            match bytes {
                Some(bytes) => fs::write(&victim, bytes).expect("the backup can be written"),
                None => fs::remove_file(&victim).expect("it is there"),
            }
            refuses(&mut new, what, &["shard-2.snapshot", word]);
            let verified = ctl(&["verify", path(&backup)]);
            let said = String::from_utf8_lossy(&verified.stdout);
            assert!(
                !verified.status.success() && said.contains("shard-2.snapshot") && said.contains(word),
                "{said}"
            );
        }
        fs::write(&victim, &whole).expect("the backup can be written");
        let manifest = backup.join("manifest.jsonl");
        let text = fs::read_to_string(&manifest).expect("the backup is there");
        fs::write(&manifest, text.replace("\"format\":1", "\"format\":2"))
            .expect("the backup can be written");
        refuses(&mut new, "a newer backup", &["has format 2, this release knows up to 1"]);
        fs::remove_file(&manifest).expect("it is there");
        refuses(&mut new, "an interrupted backup", &["interrupted"]);
        fs::write(&manifest, text).expect("the backup can be written");

        // Nothing of all this is in the way of the right one.
        new.start_all();
        new.wait_ready().await;
        let mut device = new.device("/m2m/applications/kept");
        expect("what was kept", 200, device.retrieve("/m2m/applications/kept").await);
    });
}
