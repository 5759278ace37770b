//! SHA-256, as hexadecimal digits.

use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write;

pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Sha256 {
        Sha256(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> String {
        self.0.finish().as_ref().iter().fold(String::with_capacity(64), |mut text, octet| {
            write!(text, "{octet:02x}").expect("a string takes everything");
            text
        })
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut sha256 = Sha256::new();
    sha256.update(bytes);
    sha256.finish()
}
