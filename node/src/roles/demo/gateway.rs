//! The second half of the flow, with a real gateway: a GSCL that registered at the SCL by itself. Its device application
//! speaks to it alone (dIa), and everything else to the SCL in the network (mIa).

use super::{
    Cast, DemoError, Patience, body, id,
    step::{Player, Request, TEXT, XML},
};

/// A gateway that takes part in the flow.
#[derive(Clone, Debug)]
pub struct Taking {
    /// `http://host:port` of its dIa.
    pub origin: String,
    /// Path of its sclBase.
    pub base: String,
    /// Its SCL-ID.
    pub id: String,
    /// SCL-ID of the SCL in the network.
    pub nscl_id: String,
    /// What others write before its addresses.
    pub public_uri: String,
    /// securityConnectionId of its service connection.
    pub service_connection: String,
}

/// What the device application measures, and what it sends on its own.
const MEASURED: &str = "48.2 kWh";
const SENT: &str = "meter cover open";

pub(super) async fn play(
    player: &mut Player,
    cast: &Cast,
    gateway: &Taking,
    patience: Patience,
) -> Result<(), DemoError> {
    let network = player.origin().to_owned();
    let meter = format!("{}/applications/meter-{}", gateway.base, cast.suffix);
    let reader = format!("{}/applications/reader-{}", cast.base, cast.suffix);
    let scl = format!("{}/scls/{}", cast.base, gateway.id);

    player.begin(
        "A gateway has registered by itself",
        &format!(
            "It was provisioned with a root key (Kmr). By TLS-PSK with Kmr it set up service connection {}, whose key (Kmc) \
             both sides took from that channel; all that follows on mId goes over TLS-PSK with Kmc.",
            gateway.service_connection
        ),
    )?;
    player.until(200, Request::get(&scl, &scl), patience.right).await?;
    player.begin(
        "It can be reached",
        "Its scl stands here: link is its own sclBase. It cannot be called, so its m2mPoc is a communicationChannel that it \
         polls; with that it is ONLINE.",
    )?;
    player.until(200, Request::get(&scl, &scl), patience.right).await?;
    player.begin(
        "It keeps the reverse resource",
        "The local scl that stands for this SCL, in the gateway's own tree.",
    )?;
    player.visit(&gateway.origin);
    let reverse = format!("{}/scls/{}", gateway.base, gateway.nscl_id);
    player.expect(&[200], Request::get(&gateway.base, &reverse)).await?;

    player.begin(
        "A meter registers with the gateway",
        "A device application, over dIa: the network does not see it.",
    )?;
    let applications = format!("{}/applications", gateway.base);
    player.expect(&[201], Request::post(&meter, &applications, XML, body::application(id(&meter)))).await?;
    player.begin(
        "The meter lets a network application read",
        "A holder at another SCL is named by its absolute URI.",
    )?;
    let rights = format!("{meter}/accessRights");
    let right = body::access_right(Some("metering"), &meter, &[&format!("{network}{reader}")]);
    player.expect(&[201], Request::post(&meter, &rights, XML, right)).await?;
    let container = body::container("readings", &format!("{rights}/metering"));
    player.expect(&[201], Request::post(&meter, &format!("{meter}/containers"), XML, container)).await?;
    player.begin("The meter measures", "Into its own container, at the gateway.")?;
    let readings = format!("{meter}/containers/readings/contentInstances");
    player.expect(&[201], Request::post(&meter, &readings, TEXT, MEASURED.to_owned())).await?;

    player.visit(&network);
    player.begin(
        "A network application registers",
        "With the SCL in the network; it never speaks to the gateway.",
    )?;
    let applications = format!("{}/applications", cast.base);
    player.expect(&[201], Request::post(&reader, &applications, XML, body::application(id(&reader)))).await?;
    player.begin(
        "It reads the meter through the network's SCL",
        "The path begins with the gateway's SCL-ID. The request travels by the channel, the gateway's rights decide, the \
         answer comes back whole.",
    )?;
    let below = readings.strip_prefix(&gateway.base).unwrap_or(&readings);
    let latest = format!("/{}{below}/latest/content", gateway.id);
    let answer = player.until(200, Request::get(&reader, &latest), patience.notification).await?;
    player.compare(&answer, MEASURED)?;

    player.begin(
        "The network application opens an inbox",
        "The meter may CREATE in it, named by its absolute URI.",
    )?;
    let rights = format!("{reader}/accessRights");
    let right = body::inbox_right("inbox", &reader, &format!("{}{meter}", gateway.public_uri));
    player.expect(&[201], Request::post(&reader, &rights, XML, right)).await?;
    let container = body::container("inbox", &format!("{rights}/inbox"));
    player.expect(&[201], Request::post(&reader, &format!("{reader}/containers"), XML, container)).await?;

    player.visit(&gateway.origin);
    player.begin(
        "The meter writes there through its gateway",
        "Again by path, now with the SCL-ID of the network's SCL: the gateway sends the request on over mId.",
    )?;
    let inbox = format!("{reader}/containers/inbox/contentInstances");
    let below = inbox.strip_prefix(&cast.base).unwrap_or(&inbox);
    let onward = format!("/{}{below}", gateway.nscl_id);
    player.expect(&[201], Request::post(&meter, &onward, TEXT, SENT.to_owned())).await?;
    player.visit(&network);
    player.begin("The network application finds it", "In its own container.")?;
    let answer = player.expect(&[200], Request::get(&reader, &format!("{inbox}/latest/content"))).await?;
    player.compare(&answer, SENT)?;

    player.begin("Both applications leave", "The gateway stays registered until it is stopped.")?;
    player.expect(&[200, 204], Request::delete(&reader, &reader)).await?;
    player.visit(&gateway.origin);
    player.expect(&[200, 204], Request::delete(&meter, &meter)).await?;
    player.visit(&network);
    Ok(())
}
