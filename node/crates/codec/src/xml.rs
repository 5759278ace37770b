//! XML: `reader` turns text into checked tokens, `decode` tokens into values, `encode` values into text.

pub(crate) mod decode;
pub(crate) mod encode;
mod reader;
