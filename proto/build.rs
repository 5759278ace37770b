//! Compiles banyan/v1/*.proto with protox: no protoc is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=banyan");
    let files = ["record", "entry", "submit", "raft", "directory", "egress", "admin", "security"]
        .map(|name| format!("banyan/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    // These hold secrets: what is shown of them is written by hand.
    // The rarest of all answers must not make every other one as large.
    let mut builder = tonic_prost_build::configure().bytes(".").boxed("banyan.v1.Answer.what.keys");
    for secret in ["ResolvedKey", "Bootstrap", "OpenConnection", "ProvisionedKey", "RotatedKey"] {
        builder = builder.skip_debug([format!("banyan.v1.{secret}")]);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
