#![no_main]

use banyan_model::{Path, Timestamp, key::Key};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Some(path) = Path::parse(text) {
        assert!(path.is_sound(), "{path:?}");
        assert_eq!(Path::parse(&path.to_string()).as_ref(), Some(&path), "an address is read as what it addresses");
        assert_eq!(path.slot(), path.subtree().slot());
        assert!(path.is_below_or_at(&path.subtree().path()));
        if let Some(name) = path.name() {
            assert_eq!(Key::name(&Key::resource(&path).bytes), Some(name));
        }
    }
    if let Some(at) = Timestamp::parse(text) {
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
    }
});
