//! Seeds: every random choice of a test comes from one number, and a failure says which and how to repeat it.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The seed of one test; prints how to repeat the test when it is dropped by a panic.
#[derive(Debug)]
pub struct Seed {
    test: &'static str,
    value: u64,
}

impl Seed {
    /// From the variable `BANYAN_SEED`, otherwise a new one.
    ///
    /// # Panics
    /// `BANYAN_SEED` is set and no number.
    pub fn of(test: &'static str) -> Seed {
        let value = match std::env::var("BANYAN_SEED") {
            Ok(text) => text.parse().expect("BANYAN_SEED is a number"),
            Err(_) => rand::random(),
        };
        Seed { test, value }
    }

    /// A generator that depends on the seed and on who asks.
    pub fn rng(&self, who: u64) -> StdRng {
        StdRng::seed_from_u64(self.value ^ who.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "\nseed {value}; repeat: BANYAN_SEED={value} cargo test -p cluster-tests --test it -- --exact {test} --nocapture",
                value = self.value,
                test = self.test,
            );
        }
    }
}

/// A size that the environment may enlarge for the long variants: `value_of("BANYAN_CATCH_UP_WRITES", 3_000)`.
///
/// # Panics
/// The variable is set and no number.
pub fn value_of(variable: &str, short: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => {
            text.replace('_', "").parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}"))
        }
        Err(_) => short,
    }
}
