#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| banyan_fuzz::read(banyan_codec::Format::Json, octets));
