//! Core dumps, which would hold every key that the process has in memory.

use tracing::warn;

/// Switches them off for this process; once, before anything secret is read. From then on nobody but root can read its
/// memory either, and what stands below `/proc/<pid>` belongs to root.
pub fn off() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(failure) = setrlimit(Resource::Core, none) {
        warn!(%failure, "the size of core dumps cannot be limited");
    }
    // The limit does not hold for a core that the system pipes into a program.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(failure) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            warn!(%failure, "core dumps cannot be switched off");
        }
    }
}
