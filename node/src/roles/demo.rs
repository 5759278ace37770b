//! The teaching flow of ETSI M2M, played against a running SCL: every request and its real answer is printed, and an
//! answer that is not the expected one ends the demo with an error.
//!
//! The parties are an energy supplier's network application (mIa), a gateway at a customer's site that registers as an
//! SCL (mId), and a manufacturer's network application. The demo speaks for all of them, so the SCL has to believe
//! `From` (open mode). The heating and the smart meter are device applications: they register with the gateway over
//! dIa, out of sight of the network. An `application` below an scl would be FORBIDDEN here (it would arrive over mId;
//! only its announcement may stand there), so the gateway keeps their measurements in containers below its own scl.
//!
//! Names carry a random suffix, so the demo can be played again and by several people at once. A play that reaches its
//! end deletes what it made; one that fails leaves it for inspection until it expires.
//!
//! In reading order: the story below, `gateway` its second half where a gateway takes part, `body` what is sent, `step` one request with what is expected of its answer,
//! `listener` the application's side of a notify, `print` how it looks.

mod body;
mod gateway;
mod listener;
mod print;
mod step;

#[cfg(test)]
mod tests;

pub use gateway::Taking;

use banyan_binding::http::SendError;
use listener::Listener;
use print::Printer;
use rand::RngExt;
use rand::distr::Alphanumeric;
use std::{io, time::Duration};
use step::{JSON, Player, Request, TEXT, XML};

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The address is not `http://host[:port]/path`.
    #[error("not the address of an sclBase, such as http://127.0.0.1:8080/m2m: {given}")]
    Address {
        /// As given.
        given: String,
    },
    /// The demo cannot listen for notifications.
    #[error("failed to listen on the loopback")]
    Listen(#[source] io::Error),
    /// What was to be shown could not be written.
    #[error("failed to write")]
    Print(#[from] io::Error),
    /// A request got no answer.
    #[error("{step}: no answer")]
    NoAnswer {
        /// The step.
        step: String,
        /// Why.
        #[source]
        source: SendError,
    },
    /// A request got another answer than the standard asks for.
    #[error("{step}: expected {expected}, got {answer}")]
    Unexpected {
        /// The step.
        step: String,
        /// The statuses that would have been right.
        expected: String,
        /// Status and body of the answer.
        answer: String,
    },
    /// The subscriber was not told what it subscribed to.
    #[error("{step}: expected {expected} within {waited:?}, got {heard}")]
    NotNotified {
        /// The step.
        step: String,
        /// What should have come.
        expected: String,
        /// What came.
        heard: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// How long the demo waits for what takes time.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the notification of a measurement.
    notification: Duration,
    /// For a changed access right to hold everywhere; rights are cached for at most a second.
    right: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { notification: Duration::from_secs(10), right: Duration::from_secs(3) }
    }
}

/// Plays the flow against the SCL whose sclBase is `base_url` (`http://127.0.0.1:8080/m2m`), which must be in open mode
/// and able to reach this machine's loopback. Prints to the standard output, in colour on a terminal unless `NO_COLOR`
/// is set. Where a gateway takes part, its half of the flow follows.
///
/// # Errors
/// [`DemoError`]: the first step that did not go as the standard says.
pub async fn play(base_url: &str, gateway: Option<&Taking>) -> Result<(), DemoError> {
    perform(base_url, gateway, Printer::stdout(), Patience::default()).await
}

/// Who plays, under names of this play: paths of their resources.
struct Cast {
    base: String,
    suffix: String,
}

impl Cast {
    fn supplier(&self) -> String {
        format!("{}/applications/supplier-{}", self.base, self.suffix)
    }

    fn manufacturer(&self) -> String {
        format!("{}/applications/manufacturer-{}", self.base, self.suffix)
    }

    fn gateway(&self) -> String {
        format!("{}/scls/gateway-{}", self.base, self.suffix)
    }
}

/// The last segment of a path.
fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The smart meter's measurements, in the order in which they are sent.
const MEASUREMENTS: [&str; 3] = ["12.1 kWh", "12.4 kWh", "12.9 kWh"];

async fn perform(
    base_url: &str,
    gateway: Option<&Taking>,
    printer: Printer,
    patience: Patience,
) -> Result<(), DemoError> {
    let mut player = Player::new(base_url, printer)?;
    let suffix = rand::rng().sample_iter(Alphanumeric).take(5).map(char::from).collect::<String>();
    let cast = Cast { base: player.base().to_owned(), suffix: suffix.to_lowercase() };
    let mut listener = Listener::start().await.map_err(DemoError::Listen)?;

    register(&mut player, &cast).await?;
    keep_measurements(&mut player, &cast).await?;
    notify(&mut player, &cast, &mut listener, patience).await?;
    refuse_and_grant(&mut player, &cast, patience).await?;
    clean_up(&mut player, &cast).await?;
    if let Some(gateway) = gateway {
        gateway::play(&mut player, &cast, gateway, patience).await?;
    }
    player.say("The flow is complete: every answer was the expected one.")?;
    Ok(())
}

async fn register(player: &mut Player, cast: &Cast) -> Result<(), DemoError> {
    let (supplier, gateway) = (cast.supplier(), cast.gateway());
    let applications = format!("{}/applications", cast.base);
    player.begin(
        "The energy supplier's network application registers",
        "It creates an application resource in the network's SCL over mIa. From says who asks (the requestingEntity); \
         from now on it is this resource's URI.",
    )?;
    let body = body::application(id(&supplier));
    player.expect(&[201], Request::post(&supplier, &applications, XML, body)).await?;

    player.begin(
        "The customer's gateway registers its SCL",
        "It creates an scl resource over mId: link is its own sclBase, mgmtProtocolType is mandatory. Its device \
         applications, heating and smart meter, are registered with the gateway over dIa; the network does not see them.",
    )?;
    let body = body::scl(id(&gateway));
    player.expect(&[201], Request::post(&gateway, &format!("{}/scls", cast.base), XML, body)).await?;
    Ok(())
}

async fn keep_measurements(player: &mut Player, cast: &Cast) -> Result<(), DemoError> {
    let (supplier, gateway) = (cast.supplier(), cast.gateway());
    player.begin(
        "The gateway says who may do what",
        "An accessRight holds permissions for the resources that refer to it, and selfPermissions for itself. The \
         gateway keeps all rights, the supplier may READ. Whoever is not named is answered as if nothing was there.",
    )?;
    let body = body::access_right(Some("metering"), &gateway, &[&supplier]);
    let rights = format!("{gateway}/accessRights");
    player.expect(&[201], Request::post(&gateway, &rights, XML, body)).await?;

    for device in ["heating", "smart-meter"] {
        player.begin(
            &format!("The gateway makes a container for the {device}"),
            "An application below an scl would be FORBIDDEN: only announcements stand there. What the devices measure \
             goes into containers below the gateway's scl. accessRightID refers to the right; of the instances the \
             SCL keeps the newest hundred.",
        )?;
        let body = body::container(device, &format!("{rights}/metering"));
        player.expect(&[201], Request::post(&gateway, &format!("{gateway}/containers"), XML, body)).await?;
    }

    player.begin("The heating reports", "A contentInstance, here as XML; the SCL gives it its name.")?;
    let instances = format!("{gateway}/containers/heating/contentInstances");
    let body = body::content_instance("21.5 Cel");
    player.expect(&[201], Request::post(&gateway, &instances, XML, body)).await?;
    Ok(())
}

async fn notify(
    player: &mut Player,
    cast: &Cast,
    listener: &mut Listener,
    patience: Patience,
) -> Result<(), DemoError> {
    let (supplier, gateway) = (cast.supplier(), cast.gateway());
    let instances = format!("{gateway}/containers/smart-meter/contentInstances");
    player.begin(
        "The supplier subscribes to the smart meter",
        "A subscription needs READ on what it watches. contact is where this demo listens.",
    )?;
    let body = body::subscription("watch", &listener.contact());
    player.expect(&[201], Request::post(&supplier, &format!("{instances}/subscriptions"), XML, body)).await?;

    let [first, second, third] = MEASUREMENTS;
    player.begin("The smart meter measures: XML", "The same kind of instance as the heating's.")?;
    let body = body::content_instance(first);
    player.expect(&[201], Request::post(&gateway, &instances, XML, body)).await?;
    player.begin("The smart meter measures: JSON", "The same resource as JSON; the answer is JSON too.")?;
    let body = body::content_instance_json(second);
    player.expect(&[201], Request::post(&gateway, &instances, JSON, body)).await?;
    player.begin("The smart meter measures: raw", "Any other media type is the content itself.")?;
    player.expect(&[201], Request::post(&gateway, &instances, TEXT, third.to_owned())).await?;

    player.begin(
        "The supplier is notified",
        "The SCL posts a notify for each change, or one for several; its representation is base64, shown decoded. It \
         is promised at least once and in order.",
    )?;
    player.heard(listener, &MEASUREMENTS, patience.notification).await
}

async fn refuse_and_grant(player: &mut Player, cast: &Cast, patience: Patience) -> Result<(), DemoError> {
    let (supplier, gateway, manufacturer) = (cast.supplier(), cast.gateway(), cast.manufacturer());
    let instances = format!("{gateway}/containers/smart-meter/contentInstances");
    let latest = format!("{instances}/latest");

    player
        .begin("The meter's manufacturer registers", "Another network application, with no rights here.")?;
    let body = body::application(id(&manufacturer));
    let applications = format!("{}/applications", cast.base);
    player.expect(&[201], Request::post(&manufacturer, &applications, XML, body)).await?;

    player.begin(
        "The manufacturer is refused",
        "No permission names it, so it may not even learn that the container exists: STATUS_NOT_FOUND.",
    )?;
    player.expect(&[404], Request::get(&manufacturer, &latest)).await?;

    player.begin(
        "The supplier may not write",
        "A permission names it, but without CREATE: it knows the resource and is told STATUS_PERMISSION_DENIED (401).",
    )?;
    player.expect(&[401], Request::post(&supplier, &instances, TEXT, "0 kWh".to_owned())).await?;

    player.begin(
        "The gateway gives the manufacturer READ",
        "An UPDATE of the accessRight, which selfPermissions allow the gateway. Everything that refers to it follows.",
    )?;
    let body = body::access_right(None, &gateway, &[&supplier, &manufacturer]);
    let right = format!("{gateway}/accessRights/metering");
    player.expect(&[200, 204], Request::put(&gateway, &right, XML, body)).await?;

    player.begin(
        "The manufacturer reads the latest measurement",
        "Rights are cached for at most a second, so it may have to ask again.",
    )?;
    player.until(200, Request::get(&manufacturer, &latest), patience.right).await?;

    player.begin("The same, raw", "Below an instance, content is addressed by itself.")?;
    let answer = player.expect(&[200], Request::get(&manufacturer, &format!("{latest}/content"))).await?;
    let [.., last] = MEASUREMENTS;
    player.compare(&answer, last)
}

async fn clean_up(player: &mut Player, cast: &Cast) -> Result<(), DemoError> {
    let (supplier, gateway, manufacturer) = (cast.supplier(), cast.gateway(), cast.manufacturer());
    player.begin(
        "Everybody leaves",
        "The subscription goes first, or its subscriber would get a last notify. Deleting the scl takes the rights and \
         containers below it along.",
    )?;
    let watch = format!("{gateway}/containers/smart-meter/contentInstances/subscriptions/watch");
    for (from, path) in
        [(&supplier, &watch), (&gateway, &gateway), (&manufacturer, &manufacturer), (&supplier, &supplier)]
    {
        player.expect(&[200, 204], Request::delete(from, path)).await?;
    }
    Ok(())
}
