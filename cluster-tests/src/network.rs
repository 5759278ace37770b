//! A place behind a link that can be cut: a network namespace with two veth pairs to the outside. One stands for the WAN,
//! which is cut and mended; the other for the LAN of the place, over which a test always reaches what runs there.
//!
//! Made with `ip` (iproute2), as root. Names and addresses are the process's own, and go with the value; what a process
//! left behind that was killed is removed by the next one.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// Namespaces of this prefix are ours: `banyan-<process>-<number>`.
pub(crate) const PREFIX: &str = "banyan-";
/// Addresses are of 198.18.0.0/15, which is set aside for tests of networks; each place has eight of them.
const PLACES: u32 = 1 << 14;
/// A link-layer address that nobody has.
pub(crate) const NOBODY: &str = "02:00:00:00:00:01";

/// How a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The place's end is down: it knows, and connects nowhere. The other side does not know.
    Down,
    /// Whatever is sent is lost, both ways; nobody is told.
    Silent,
}

/// The namespace. Dropping it removes it, and what still runs there loses its network.
#[derive(Debug)]
pub struct Place {
    name: String,
    /// Interfaces at this side: WAN, LAN.
    outside: [String; 2],
    first: u32,
    cut: Option<Cut>,
}

impl Place {
    /// Makes a place with both links up.
    ///
    /// # Errors
    /// This machine does not allow it: why.
    pub fn new() -> Result<Place, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        remove_orphans()?;
        // Names of interfaces have at most 15 characters.
        let outside = ["w", "l"].map(|kind| format!("by{kind}{process:x}-{number}"));
        let first = process.wrapping_add(number) % PLACES * 8;
        let place = Place { name: format!("{PREFIX}{process}-{number}"), outside, first, cut: None };
        ip(&["netns", "add", &place.name])?;
        // From here on dropping it removes what there is.
        place.inside(&["link", "set", "lo", "up"])?;
        for (name, inner, at) in [(&place.outside[0], "wan", 1), (&place.outside[1], "lan", 5)] {
            ip(&["link", "add", name, "type", "veth", "peer", "name", inner, "netns", &place.name])?;
            ip(&["addr", "add", &format!("{}/30", place.address(at)), "dev", name])?;
            ip(&["link", "set", name, "up"])?;
            place.inside(&["addr", "add", &format!("{}/30", place.address(at + 1)), "dev", inner])?;
            place.inside(&["link", "set", inner, "up"])?;
        }
        Ok(place)
    }

    /// This side's address on the WAN: where the place finds servers.
    pub fn wan_address(&self) -> String {
        self.address(1)
    }

    /// The place's address on its LAN: where a test finds servers of the place.
    pub fn lan_address(&self) -> String {
        self.address(6)
    }

    /// A program that will run there. Its process is the one that is started.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Cuts the WAN.
    ///
    /// # Panics
    /// It is cut, or `ip` refuses.
    pub fn cut(&mut self, cut: Cut) {
        assert_eq!(self.cut.replace(cut), None, "the link is cut already");
        match cut {
            Cut::Down => self.inside(&["link", "set", "wan", "down"]).expect("a link goes down"),
            Cut::Silent => {
                // Frames for nobody: whoever gets them drops them.
                let to = |at| [self.address(at), NOBODY.to_owned()];
                let lost = |dev: &str, [to, nobody]: [String; 2]| {
                    ["neigh", "replace", &to, "lladdr", &nobody, "dev", dev, "nud", "permanent"]
                        .map(str::to_owned)
                };
                run(&lost(&self.outside[0], to(2))).expect("a neighbour is replaced");
                self.run_inside(&lost("wan", to(1))).expect("a neighbour is replaced");
            }
        }
    }

    /// Mends the WAN.
    ///
    /// # Panics
    /// It is not cut, or `ip` refuses.
    pub fn mend(&mut self) {
        match self.cut.take().expect("the link is cut") {
            Cut::Down => self.inside(&["link", "set", "wan", "up"]).expect("a link comes up"),
            Cut::Silent => {
                ip(&["neigh", "del", &self.address(2), "dev", &self.outside[0]]).expect("a neighbour goes");
                self.inside(&["neigh", "del", &self.address(1), "dev", "wan"]).expect("a neighbour goes");
            }
        }
    }

    fn address(&self, at: u32) -> String {
        let host = self.first + at;
        format!("198.{}.{}.{}", 18 + (host >> 16), (host >> 8) & 255, host & 255)
    }

    fn inside(&self, arguments: &[&str]) -> Result<(), String> {
        self.run_inside(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    fn run_inside(&self, arguments: &[String]) -> Result<(), String> {
        let within = ["-n".to_owned(), self.name.clone()];
        run(&[&within[..], arguments].concat())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Interfaces outlive a namespace in which something still runs. Some may not have been made.
        for name in &self.outside {
            let _ = ip(&["link", "del", name]);
        }
        if let Err(why) = ip(&["netns", "del", &self.name]) {
            eprintln!("a network namespace stays behind: {why}");
        }
    }
}

/// Removes the namespaces of processes that are gone; their interfaces go with them.
pub(crate) fn remove_orphans() -> Result<(), String> {
    let listed = ip(&["netns", "list"])?;
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let of = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if of.is_some_and(|process| !std::path::Path::new("/proc").join(process).exists()) {
            ip(&["netns", "del", name])?;
        }
    }
    Ok(())
}

pub(crate) fn ip(arguments: &[&str]) -> Result<String, String> {
    output(Command::new("ip").args(arguments))
}

fn run(arguments: &[String]) -> Result<(), String> {
    output(Command::new("ip").args(arguments)).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        false => Err(format!("{command:?}: {status}, {}", String::from_utf8_lossy(&stderr).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_reached_until_its_link_is_cut_and_again_when_it_is_mended() {
        let mut place = match Place::new() {
            Ok(place) => place,
            Err(why) => return eprintln!("skipped: no network namespaces here: {why}"),
        };
        let listener =
            std::net::TcpListener::bind((place.wan_address(), 0)).expect("the WAN has our address");
        let port = listener.local_addr().expect("it is bound").port();
        let reaches = |place: &Place| {
            let connect = format!("exec 3<>/dev/tcp/{}/{port}", place.wan_address());
            let mut command = place.command(std::path::Path::new("timeout"));
            command.args(["1", "bash", "-c", &connect]).output().expect("bash runs").status.success()
        };
        for cut in [Cut::Down, Cut::Silent] {
            assert!(reaches(&place), "before it is cut: {cut:?}");
            place.cut(cut);
            assert!(!reaches(&place), "{cut:?}");
            place.mend();
        }
        assert!(reaches(&place), "mended");
        let name = place.name.clone();
        drop(place);
        assert!(!ip(&["netns", "list"]).expect("namespaces").contains(&name), "nothing is left behind");
    }
}
