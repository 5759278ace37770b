//! `banyan ctl saf`: what waits for other SCLs, wherever in the cluster.
//!
//! Each member knows what the shards have stored that it leads, so all of them are asked. One that does not answer leaves
//! its part out, and the command says so.

use crate::{CtlError, NodeArguments, TIMEOUT, table};
use banyan_proto::v1::StoredQuestion;

pub(crate) async fn run(node: &NodeArguments) -> Result<(), CtlError> {
    let status = node.ask(TIMEOUT, None).await?;
    let members = status.directory.map(|directory| directory.members).unwrap_or_default();
    let (mut stored, mut more, mut silent) = (Vec::new(), false, 0);
    for member in members {
        let member = NodeArguments { node: member.address, ..node.clone() };
        match member.within(TIMEOUT, async |mut admin| admin.stored(StoredQuestion {}).await).await {
            Ok(answer) => {
                stored.extend(answer.stored);
                more |= answer.more;
            }
            Err(error) => {
                eprintln!("{error}");
                silent += 1;
            }
        }
    }
    print!("{}", table::stored(stored));
    if more {
        println!("and more");
    }
    match silent {
        0 => Ok(()),
        silent => Err(CtlError::Silent(silent)),
    }
}
