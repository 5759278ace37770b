//! The black-box conformance suite: what TS 102 921 says, asked over HTTP of a running cluster.
//!
//! It is written from the standard and knows nothing of the product: no codec, no model, no table of ours. A case is data
//! (`conformance/cases/*.txt`, a file a family of clauses), its bodies are written once and run as XML and as JSON. The
//! same cases run against `banyan dev` and against three nodes behind two edges, which take the requests in turn. Every XML
//! document that comes back is validated with ETSI's schemas where these are at hand.

mod case;
mod harvest;
mod ledger;
mod node;
mod peer;
mod play;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::cluster::{Config, free_ports};
use cluster_tests::device::Device;
use cluster_tests::process::Process;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::case::Case;
use self::harvest::Harvest;
use self::node::Form;
use self::play::{Deployment, play};
use crate::support::{alone, cluster};

/// Cases at once.
const AT_ONCE: usize = 12;
/// A case that takes longer hangs.
const CASE_WITHIN: Duration = Duration::from_secs(40);
const SUITE_WITHIN: Duration = Duration::from_secs(600);

#[test]
fn one_process_conforms() {
    alone(SUITE_WITHIN, || async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let edge = format!("127.0.0.1:{}", free_ports(1)[0]);
        let mut command = Command::new(&binaries::build().node);
        command
            .args(["dev", "--listen", &edge, "--authority", &edge, "--data"])
            .arg(folder.path().join("data"));
        command.env("RUST_LOG", "warn");
        let mut process = Process::start("dev", command, folder.path()).expect("the program starts");
        let mut device = Device::new([edge.clone()], "/m2m").with_timeout(Duration::from_secs(2));
        let until = Instant::now() + Duration::from_secs(60);
        while !device.retrieve("/m2m").await.is_ok_and(|reply| reply.status == 200) {
            let ended = process.ended().expect("a child can be waited for");
            assert!(ended.is_none() && Instant::now() < until, "dev is not ready:\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        run("dev", vec![edge]).await;
    });
}

#[test]
fn three_nodes_behind_two_edges_conform() {
    alone(SUITE_WITHIN, || async {
        let cluster = cluster(Config { log: "warn".to_owned(), ..Config::default() }).await;
        run("cluster", cluster.edges()).await;
    });
}

/// How one case ended in one representation.
struct Played {
    case: Case,
    form: Form,
    outcome: Result<(), String>,
    took: Duration,
}

async fn run(name: &'static str, edges: Vec<String>) {
    let only = std::env::var("BANYAN_CASES").ok();
    let deployment = Arc::new(Deployment { name, edges, harvest: Harvest::default() });
    let (started, slots) = (Instant::now(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut running = JoinSet::new();
    for (number, case) in case::all(only.as_deref()).into_iter().enumerate() {
        for form in Form::BOTH {
            if case.once && form == Form::Json {
                continue;
            }
            let (case, deployment, slots) = (case.clone(), Arc::clone(&deployment), Arc::clone(&slots));
            running.spawn(async move {
                let _slot = slots.acquire_owned().await.expect("nobody closes it");
                let started = Instant::now();
                let outcome = tokio::time::timeout(CASE_WITHIN, play(&case, number, form, deployment)).await;
                let outcome = outcome.unwrap_or_else(|_| Err(format!("takes longer than {CASE_WITHIN:?}")));
                Played { case, form, outcome, took: started.elapsed() }
            });
        }
    }
    let mut results: Vec<Played> = running.join_all().await;
    results.sort_by(|a, b| (&a.case.name, a.form).cmp(&(&b.case.name, b.form)));
    let took = started.elapsed();
    let failures = report(&deployment, &results, took);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Prints the table and gives what must not be.
fn report(deployment: &Deployment, results: &[Played], took: Duration) -> Vec<String> {
    let not_yet = ledger::not_yet();
    let mut failures = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for Played { case, form, outcome, took } in results {
        let known = not_yet.get(&case.name);
        let word = match (outcome, known) {
            (Ok(()), None) => "passed",
            (Ok(()), Some(reason)) if reason.starts_with("sometimes:") => "passed",
            (Ok(()), Some(_)) => "passed unexpectedly",
            (Err(_), Some(_)) => "not yet",
            (Err(_), None) => "FAILED",
        };
        *counts.entry(word).or_default() += 1;
        println!("{word:<20} {form:?} {:>6} ms  {:<10} {}", took.as_millis(), case.clause, case.name);
        match (outcome, known) {
            (Err(why), None) => failures.push(format!("{} [{form:?}]\n    {why}", case.name)),
            (Err(why), Some(_)) => println!("    {}", why.chars().take(300).collect::<String>()),
            (Ok(()), Some(reason)) if reason.starts_with("sometimes:") => {}
            (Ok(()), Some(reason)) => {
                failures.push(format!("{} [{form:?}] passes: take it off not_yet.txt ({reason})", case.name));
            }
            (Ok(()), None) => {}
        }
    }
    let cases =
        results.iter().map(|result| &result.case.name).collect::<std::collections::BTreeSet<_>>().len();
    println!("\n{}: {cases} cases, {counts:?}, {took:.1?}", deployment.name);
    let started = Instant::now();
    match deployment.harvest.check() {
        Ok((documents, invalid)) => {
            println!(
                "{documents} XML documents validated, {} invalid, {:.1?}",
                invalid.len(),
                started.elapsed()
            );
            failures.extend(invalid);
        }
        Err(why) => println!("XML not validated: {why}"),
    }
    failures
}
