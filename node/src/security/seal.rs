//! Sealing: AES-256-GCM with a random nonce before the text. What a secret belongs to is authenticated with it, so that
//! a record cannot be put in another's place.

use super::kek::Secret;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use banyan_model::security::KeyRef;
use zeroize::Zeroizing;

/// A record cannot be opened: it was changed, or sealed with another key, or for another record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed cannot be opened with this key here")]
pub(super) struct SealError;

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError)?))
}

/// Seals 32 octets for `owner`.
pub(super) fn seal(key: &[u8; 32], owner: &[u8], secret: &[u8; 32]) -> Result<Vec<u8>, SealError> {
    let nonce: [u8; NONCE_LEN] = rand::random();
    let mut text = Zeroizing::new(secret.to_vec());
    let sealing = cipher(key)?;
    let nonced = Nonce::assume_unique_for_key(nonce);
    let tag =
        sealing.seal_in_place_separate_tag(nonced, Aad::from(owner), &mut text).map_err(|_| SealError)?;
    Ok([&nonce, text.as_slice(), tag.as_ref()].concat())
}

/// Opens what was sealed for `owner`.
pub(super) fn open(key: &[u8; 32], owner: &[u8], sealed: &[u8]) -> Result<Secret, SealError> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError)?;
    let mut text = Zeroizing::new(text.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = cipher(key)?.open_in_place(nonce, Aad::from(owner), &mut text).map_err(|_| SealError)?;
    let mut secret = Secret::default();
    if opened.len() != secret.len() {
        return Err(SealError);
    }
    secret.copy_from_slice(opened);
    Ok(secret)
}

/// Tells a key from another one without telling anything of it to who has not the data key.
pub(super) fn fingerprint(data_key: &[u8; 32], secret: &[u8; 32]) -> Vec<u8> {
    let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, data_key), b"banyan key fingerprint v1");
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), secret).as_ref().to_vec()
}

/// Whose a sealed key is.
pub(super) fn owner(key: &KeyRef) -> Vec<u8> {
    key.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_for_the_same_owner_opens() {
        let (key, secret) = ([1; 32], [2; 32]);
        let sealed = seal(&key, b"kmr/a/1", &secret).expect("seals");
        assert_eq!(*open(&key, b"kmr/a/1", &sealed).expect("opens"), secret);
        assert_ne!(sealed, seal(&key, b"kmr/a/1", &secret).expect("seals"), "another nonce");
        assert!(!sealed.windows(4).any(|four| four == [2; 4]));

        assert_eq!(open(&key, b"kmr/a/2", &sealed).err(), Some(SealError), "put in another's place");
        assert_eq!(open(&[3; 32], b"kmr/a/1", &sealed).err(), Some(SealError));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key, b"kmr/a/1", &changed).err(), Some(SealError), "octet {at}");
        }
        for end in 0..sealed.len() {
            assert_eq!(open(&key, b"kmr/a/1", &sealed[..end]).err(), Some(SealError));
        }
    }
}
