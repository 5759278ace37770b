//! Compiles banyan/v1/*.proto with protox: no protoc is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=banyan");
    let files = ["record", "entry", "submit", "raft", "directory", "egress", "admin"]
        .map(|name| format!("banyan/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
