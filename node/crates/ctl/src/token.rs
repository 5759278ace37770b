//! `banyan ctl token`: bearer tokens of applications.
//!
//! A token is drawn here and shown once; the cluster is given its SHA-256 and can never tell it again.

use crate::{
    CtlError, NodeArguments, TIMEOUT,
    keys::{SOURCE, create, write},
    table,
};
use aws_lc_rs::{digest, rand};
use banyan_model::{
    Path as ResourcePath,
    security::{KEY_OCTETS, TOKEN_PREFIX},
};
use banyan_proto::v1::{
    CreateToken, ListTokens, ListedToken, RevokeToken, keys_answer::Kind as Answer,
    keys_question::Kind as Question,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Subcommand;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// Tokens of one answer.
const PAGE: u32 = 500;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Makes a token for an application and shows it, this once.
    Create {
        /// The application's id; or another requestingEntity, as a path with sclBase or a URI.
        #[arg(long = "for", value_name = "APPLICATION")]
        entity: String,
        /// How long it may be used: a number and `m`, `h` or `d`. Without: until it is revoked.
        #[arg(long, value_parser = lifetime)]
        expires: Option<Duration>,
        /// What it is called, in lists and for its revocation.
        #[arg(long, default_value = "")]
        label: String,
        /// Where it is written; must not exist, and is readable by its owner only. `-`: standard output.
        #[arg(long, default_value = "-")]
        out: PathBuf,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// All tokens there are, by their digests.
    List {
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Ends a token, at every edge within a second.
    Revoke {
        /// At least 8 digits of what `list` shows, or the label; of one token only.
        token: String,
        #[command(flatten)]
        node: NodeArguments,
    },
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "must be a number over 0 and m, h or d, as 90d";
    let seconds = match text.as_bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return Err(WRONG),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| WRONG)?;
    let whole = number.checked_mul(seconds).filter(|whole| *whole > 0);
    whole.map(Duration::from_secs).ok_or(WRONG)
}

pub(crate) async fn run(command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create { entity, expires, label, out, node } => {
            make(entity, expires, label, &out, &node).await
        }
        Command::List { node } => {
            print!("{}", table::tokens(&all(&node).await?));
            Ok(())
        }
        Command::Revoke { token, node } => {
            let revoke = RevokeToken { named: token, source: SOURCE.to_owned() };
            match node.keys(Question::RevokeToken(revoke)).await? {
                Some(Answer::TokenRevoked(revoked)) => println!("{}revoked", table::tokens(&[revoked])),
                _ => return Err(node.unexpected()),
            }
            Ok(())
        }
    }
}

async fn make(
    entity: String,
    expires: Option<Duration>,
    label: String,
    out: &Path,
    node: &NodeArguments,
) -> Result<(), CtlError> {
    let entity = absolute(entity, node).await?;
    // A token that has nowhere to go is not made.
    let to_stdout = out == Path::new("-");
    let file = if to_stdout { None } else { Some(create(out)?) };
    let made = match made(entity, expires, label, node).await {
        Ok(made) => made,
        Err(error) => {
            if file.is_some() {
                fs::remove_file(out).map_err(|source| CtlError::File { file: out.to_owned(), source })?;
            }
            return Err(error);
        }
    };
    let (token, listed) = made;
    match file {
        Some(file) => {
            write(file, out, &token)?;
            println!("{}the token is in {}", table::tokens(&[listed]), out.display());
            Ok(())
        }
        None => {
            // The token alone goes to standard output, so that another program can take it.
            let mut notes = io::stderr();
            let noted = writeln!(notes, "{}the token, which is not shown again:", table::tokens(&[listed]));
            let printed = noted.and_then(|()| io::stdout().write_all(token.as_bytes()));
            printed.map_err(|source| CtlError::File { file: out.to_owned(), source })
        }
    }
}

/// Whom an application's id means: the node knows what sclBase is called.
async fn absolute(entity: String, node: &NodeArguments) -> Result<String, CtlError> {
    if entity.contains('/') {
        return Ok(entity);
    }
    let status = node.ask(TIMEOUT, None).await?;
    let settings = status.directory.and_then(|directory| directory.settings);
    let base = settings.ok_or_else(|| CtlError::NotFounded(node.node.clone()))?.scl_base;
    let path = ResourcePath::scl_base().child("applications").child(entity);
    Ok(format!("{base}{path}"))
}

/// A line with the token, and what the cluster keeps of it.
async fn made(
    entity: String,
    expires: Option<Duration>,
    label: String,
    node: &NodeArguments,
) -> Result<(Zeroizing<String>, ListedToken), CtlError> {
    let token = draw()?;
    let create = CreateToken {
        digest: digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec().into(),
        entity,
        label,
        lifetime_ms: expires.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        source: SOURCE.to_owned(),
    };
    match node.keys(Question::CreateToken(create)).await? {
        Some(Answer::TokenMade(listed)) => Ok((Zeroizing::new(format!("{}\n", *token)), listed)),
        _ => Err(node.unexpected()),
    }
}

fn draw() -> Result<Zeroizing<String>, CtlError> {
    let mut octets = Zeroizing::new([0; KEY_OCTETS]);
    rand::fill(octets.as_mut()).map_err(|_| CtlError::Random)?;
    let mut token = Zeroizing::new(String::with_capacity(64));
    token.push_str(TOKEN_PREFIX);
    BASE64_URL_SAFE_NO_PAD.encode_string(octets.as_ref(), &mut token);
    Ok(token)
}

async fn all(node: &NodeArguments) -> Result<Vec<ListedToken>, CtlError> {
    let mut tokens: Vec<ListedToken> = Vec::new();
    loop {
        let after = tokens.last().map(|last| last.digest.clone()).unwrap_or_default();
        let list = ListTokens { after, limit: PAGE };
        let Some(Answer::TokensListed(page)) = node.keys(Question::ListTokens(list)).await? else {
            return Err(node.unexpected());
        };
        let is_last = !page.more || page.tokens.is_empty();
        tokens.extend(page.tokens);
        if is_last {
            return Ok(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_has_a_unit() {
        let days = |days: u64| Ok(Duration::from_secs(days * 86_400));
        assert_eq!(lifetime("90d"), days(90));
        assert_eq!(lifetime("48h"), days(2));
        assert_eq!(lifetime("1440m"), days(1));
        for wrong in ["", "d", "0d", "90", "-1d", "1.5h", "9é", "213503982334602d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
