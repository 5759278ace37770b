//! A network of a cluster's own: every member in a network namespace, all of them on one bridge, and any way from one to
//! another can be lost, in one direction or both.
//!
//! What is lost goes as frames to an address that nobody has, as on a switch that forgets: nobody is told, connections
//! stay open and wait. Made with `ip` (iproute2), as root.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::network::{NOBODY, PREFIX, ip, remove_orphans};

/// The interface of a member in its namespace.
const OWN: &str = "eth0";

/// The bridge and its places. Dropping it removes them.
#[derive(Debug)]
pub struct Lan {
    bridge: String,
    places: Vec<String>,
    /// The first three numbers of all addresses.
    network: String,
    lost: Mutex<BTreeSet<(usize, usize)>>,
}

impl Lan {
    /// Makes a bridge, reached from here, and so many places on it.
    ///
    /// # Errors
    /// This machine does not allow it: why.
    pub fn new(places: usize) -> Result<Lan, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        remove_orphans()?;
        // 100.64.0.0/10 is nobody's in particular: shared address space.
        let network = format!("100.{}.{}", 64 + (process >> 8) % 64, process & 255);
        let mut lan = Lan {
            bridge: format!("byb{process:x}-{number}"),
            places: Vec::new(),
            network,
            lost: Mutex::default(),
        };
        ip(&["link", "add", &lan.bridge, "type", "bridge"])?;
        // From here on dropping it removes what there is.
        ip(&["addr", "add", &format!("{}.254/24", lan.network), "dev", &lan.bridge])?;
        ip(&["link", "set", &lan.bridge, "up"])?;
        for at in 0..places {
            let (name, outside) =
                (format!("{PREFIX}{process}-{number}-{at}"), format!("byv{process:x}{number}-{at}"));
            ip(&["netns", "add", &name])?;
            lan.places.push(name.clone());
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", OWN, "netns", &name])?;
            ip(&["link", "set", &outside, "master", &lan.bridge])?;
            ip(&["link", "set", &outside, "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", lan.address(at)), "dev", OWN])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "link", "set", OWN, "up"])?;
        }
        Ok(lan)
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no place.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A place's address.
    pub fn address(&self, place: usize) -> String {
        format!("{}.{}", self.network, place + 1)
    }

    /// A program that will run there. Its process is the one that is started.
    pub fn command(&self, place: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.places[place]]).arg(program);
        command
    }

    /// From now on whatever `from` sends to `to` is lost. The other direction stays as it is.
    ///
    /// # Panics
    /// `ip` refuses.
    pub fn lose(&self, from: usize, to: usize) {
        if from != to && self.lost.lock().insert((from, to)) {
            let (place, address) = (&self.places[from], self.address(to));
            let neighbour = ["neigh", "replace", &address, "lladdr", NOBODY, "dev", OWN, "nud", "permanent"];
            ip(&[&["-n", place], &neighbour[..]].concat()).expect("a neighbour is replaced");
        }
    }

    /// Loses whatever goes between the places of the one side and those of the other.
    ///
    /// # Panics
    /// `ip` refuses.
    pub fn part(&self, one: &[usize], other: &[usize]) {
        for (&a, &b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
            self.lose(a, b);
            self.lose(b, a);
        }
    }

    /// Nothing is lost any more.
    ///
    /// # Panics
    /// `ip` refuses.
    pub fn mend(&self) {
        for (from, to) in std::mem::take(&mut *self.lost.lock()) {
            ip(&["-n", &self.places[from], "neigh", "del", &self.address(to), "dev", OWN])
                .expect("a neighbour goes");
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // Interfaces go with their namespaces, or a moment later. Some may not have been made.
        for name in &self.places {
            if let Err(why) = ip(&["netns", "del", name]) {
                eprintln!("a network namespace stays behind: {why}");
            }
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_place_sends_to_another_is_lost_in_one_direction_until_it_is_mended() {
        let lan = match Lan::new(3) {
            Ok(lan) => lan,
            Err(why) => return eprintln!("skipped: no network namespaces here: {why}"),
        };
        // Nobody listens: who is reached refuses at once, and who is not says nothing. Answers go the other way, so both
        // directions are needed.
        let reaches = |from: usize, to: usize| {
            let connect = format!("exec 3<>/dev/tcp/{}/7", lan.address(to));
            let mut command = lan.command(from, Path::new("timeout"));
            let ended = command.args(["1", "bash", "-c", &connect]).output().expect("bash runs").status;
            ended.code() != Some(124)
        };
        assert!(reaches(0, 1) && reaches(1, 2));
        lan.lose(0, 1);
        assert!(!reaches(0, 1) && !reaches(1, 0), "one direction is enough");
        assert!(reaches(0, 2) && reaches(1, 2), "others are reached");
        lan.mend();
        assert!(reaches(0, 1));
        lan.part(&[0], &[1, 2]);
        assert!(!reaches(0, 1) && !reaches(2, 0) && reaches(1, 2));
    }
}
