//! placeholder
#[derive(Clone, Debug, clap::Args)]
pub struct Options {}
pub async fn run(_o: Options) -> Result<(), String> { Ok(()) }
