//! The programs under test, built once a test run with the profile of the tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Paths of the two programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `banyan`.
    pub node: PathBuf,
    /// `banyan-edge`.
    pub edge: PathBuf,
}

/// Builds both, on the first call, and says where they are.
///
/// # Panics
/// The build fails: no test can mean anything then.
pub fn build() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(|| {
        // A test binary runs from <target>/<profile>/deps, a program from <target>/<profile>.
        let me = std::env::current_exe().expect("a running program has a path");
        let folder = me.parent().expect("a program stands in a folder");
        let folder = if folder.ends_with("deps") {
            folder.parent().expect("deps stands in a profile")
        } else {
            folder
        };
        let release = folder.ends_with("release");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        if release {
            build.args(["build", "--release", "--locked", "-p", "banyan", "-p", "banyan-edge", "--bins"]);
        } else {
            // As `cargo test --workspace` builds them, which has just done so: with fewer packages dependencies have other
            // features, and half of them would be compiled a second time, for minutes.
            build.args(["test", "--workspace", "--no-run", "--quiet", "--locked"]);
        }
        build.arg("--target-dir").arg(folder.parent().expect("a profile stands in the target folder"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = build.status().expect("cargo can be run");
        assert!(status.success(), "the programs under test do not build: {status}");
        Binaries { node: folder.join("banyan"), edge: folder.join("banyan-edge") }
    })
}
