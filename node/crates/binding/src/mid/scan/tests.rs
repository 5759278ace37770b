use super::*;
use proptest::prelude::*;

fn list8(octets: &[u8]) -> Vec<u8> {
    [&[octets.len() as u8], octets].concat()
}

fn list16(octets: &[u8]) -> Vec<u8> {
    [&(octets.len() as u16).to_be_bytes(), octets].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0], list16(body).as_slice()].concat()
}

fn record(kind: u8, octets: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], list16(octets).as_slice()].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &list16(content)].concat()
}

/// A ClientHello of these versions that offers these identities.
fn hello_of(versions: &[u8], identities: &[&[u8]]) -> Vec<u8> {
    let offered: Vec<u8> = identities.iter().flat_map(|one| [list16(one), vec![0; 4]].concat()).collect();
    let binders = list16(&identities.iter().flat_map(|_| list8(&[7; 32])).collect::<Vec<u8>>());
    let extensions = [
        extension(10, &list16(&[0, 29])),
        extension(SUPPORTED_VERSIONS, &list8(versions)),
        extension(PRE_SHARED_KEY, &[list16(&offered), binders].concat()),
    ];
    let start = [vec![3, 3], vec![9; 32], list8(&[1; 32]), list16(&[0x13, 1, 0, 0xAE]), list8(&[0])];
    message(CLIENT_HELLO, &[start.concat(), list16(&extensions.concat())].concat())
}

fn key_exchange_of(identity: &[u8]) -> Vec<u8> {
    // Behind the identity of ECDHE_PSK comes the client's point.
    message(CLIENT_KEY_EXCHANGE, &[list16(identity), list8(&[4; 65])].concat())
}

fn scanned(octets: &[u8]) -> Vec<Shown> {
    Scan::default().read(octets)
}

fn names(shown: &[Shown]) -> Vec<Vec<&str>> {
    let name = |identity: &Vec<u8>| -> &str { str::from_utf8(identity).unwrap().to_owned().leak() };
    shown.iter().map(|identities| identities.iter().map(name).collect()).collect()
}

#[test]
fn a_hello_of_1_3_shows_all_it_offers_and_one_of_1_2_nothing() {
    let both = [3, 4, 3, 3];
    let long = [b'x'; IDENTITY_OCTETS_MAX + 1];
    let shown =
        |versions: &[u8], identities: &[&[u8]]| scanned(&record(HANDSHAKE, &hello_of(versions, identities)));
    assert_eq!(names(&shown(&both, &[b"one"])), [["one"]]);
    assert_eq!(names(&shown(&both, &[b"one", b"two"])), [["one", "two"]]);
    assert_eq!(names(&shown(&both, &[&long, b"", b"two"])), [["two"]]);
    assert_eq!(shown(&both, &[&long[1..]]), [[long[1..].to_vec()]]);
    assert!(shown(&both, &[&long]).is_empty());
    assert!(shown(&[3, 3], &[b"one"]).is_empty());
    assert_eq!(shown(&both, &[b"a".as_slice(); IDENTITIES_MAX])[0].len(), IDENTITIES_MAX);
    assert!(shown(&both, &[b"a".as_slice(); IDENTITIES_MAX + 1]).is_empty());
}

#[test]
fn a_key_exchange_shows_its_identity_and_ends_the_reading() {
    let hello = record(HANDSHAKE, &hello_of(&[3, 4, 3, 3], &[b"ticket"]));
    let exchange = record(HANDSHAKE, &key_exchange_of(b"one"));
    let sent = [hello.clone(), exchange.clone(), exchange.clone()].concat();
    assert_eq!(names(&scanned(&sent)), [["ticket"], ["one"]]);
    // The second hello answers a HelloRetryRequest, the third nothing.
    let again = [&hello, &record(CHANGE_CIPHER_SPEC, &[1]), &hello, &hello, &exchange];
    assert_eq!(names(&scanned(&again.map(Vec::as_slice).concat())), [["ticket"]]);
}

#[test]
fn what_is_no_handshake_is_not_looked_at() {
    let exchange = record(HANDSHAKE, &key_exchange_of(b"one"));
    let encrypted = record(23, &[0; 40]);
    for start in
        [encrypted.as_slice(), b"GET / HTTP/1.1\r\n", &[HANDSHAKE, 3, 3, 0, 0], &[HANDSHAKE, 2, 0, 0, 1]]
    {
        assert!(scanned(&[start, &exchange].concat()).is_empty(), "{start:?}");
    }
}

proptest! {
    #[test]
    fn any_octets_in_any_pieces_are_read(
        octets in prop::collection::vec(any::<u8>(), 0..2_000), piece in 1_usize..200,
    ) {
        let mut scan = Scan::default();
        for part in octets.chunks(piece) {
            scan.read(part);
        }
        // As the content of a record, and of a hello: the inner readers, too.
        scanned(&record(HANDSHAKE, &octets));
        scanned(&record(HANDSHAKE, &message(CLIENT_HELLO, &octets)));
        scanned(&record(HANDSHAKE, &message(CLIENT_KEY_EXCHANGE, &octets)));
    }

    #[test]
    fn a_broken_hello_is_read(at in 0_usize..200, octet in any::<u8>(), end in 0_usize..300) {
        let mut hello = hello_of(&[3, 4, 3, 3], &[b"one", b"two"]);
        let at = at % hello.len();
        hello[at] = octet;
        hello.truncate(end);
        let shown = scanned(&[record(HANDSHAKE, &hello), record(HANDSHAKE, &key_exchange_of(b"x"))].concat());
        prop_assert!(shown.len() <= 2);
        prop_assert!(shown.iter().all(|one| !one.is_empty() && one.len() <= IDENTITIES_MAX));
    }

    /// Messages over several records, several messages in one, records over several reads.
    #[test]
    fn pieces_do_not_matter(fragment in 1_usize..400, piece in 1_usize..100) {
        let messages = [hello_of(&[3, 4], &[b"one", b"two"]), key_exchange_of(b"three")].concat();
        let sent: Vec<u8> = messages.chunks(fragment).flat_map(|part| record(HANDSHAKE, part)).collect();
        let mut scan = Scan::default();
        let shown: Vec<Shown> = sent.chunks(piece).flat_map(|part| scan.read(part)).collect();
        prop_assert_eq!(names(&shown), [vec!["one", "two"], vec!["three"]]);
    }
}
