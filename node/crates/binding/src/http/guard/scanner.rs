//! Where the requests of an HTTP/1 connection begin and end, read more strictly than hyper does.
//!
//! hyper understands what RFC 9112 lets a recipient repair: a Content-Length beside Transfer-Encoding, the same
//! Content-Length twice, lines that end with a bare LF. Something between us and the client may have repaired it the
//! other way, and then one's body is the other's request. The scanner refuses whatever has two readings, octet by octet
//! and before hyper has seen the end of the head that it stands in. It keeps no more of a head than one short value.
//!
//! Invariants: the verdict depends on the octets alone, not on how they were split into reads; whatever it lets through
//! has one framing, hyper's. Lengths of lines and heads are hyper's to bound.
//! Standard: RFC 9112 2.2, 5, 6 and 7.1; HTTP/2 (its preface) passes.

/// What has more than one reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("request line: not method SP target SP HTTP/1.x")]
    RequestLine,
    #[error("line: does not end with CR LF")]
    LineEnd,
    #[error("header: folded over lines")]
    Fold,
    #[error("header: its name is no token followed by a colon")]
    Name,
    #[error("header: control characters")]
    Control,
    #[error("Content-Length: no number")]
    Length,
    #[error("Content-Length: given twice")]
    LengthTwice,
    #[error("Content-Length: beside Transfer-Encoding")]
    LengthAndCoding,
    #[error("Transfer-Encoding: not chunked alone, once, with HTTP/1.1")]
    Coding,
    #[error("chunk: no size")]
    ChunkSize,
    #[error("chunk: longer or shorter than its size")]
    ChunkEnd,
    #[error("trailer: says how long the body is")]
    Trailer,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const VERSION: &[u8] = b"HTTP/1.";
/// Of the line that begins a chunk, whose extensions nobody needs.
const CHUNK_LINE_MAX: u16 = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// This many octets of HTTP/2's preface were seen, and nothing else yet.
    Preface(u8),
    /// HTTP/2.
    Opaque,
    /// Before a request line, before which one empty line is overlooked.
    Between,
    EmptyLine,
    RequestLine,
    Method,
    TargetStart,
    Target,
    Version(u8),
    VersionEnd,
    LineEnd,
    LineStart,
    Name,
    Value,
    SectionEnd,
    Body(u64),
    SizeStart,
    Size,
    Extension,
    SizeEnd,
    Data(u64),
    DataEnd,
    DataLineEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Other,
    Length,
    Coding,
}

/// The first octets of a name or value; longer ones are none that we look for.
#[derive(Clone, Copy, Debug)]
struct Short {
    octets: [u8; 24],
    length: u8,
}

impl Short {
    const EMPTY: Short = Short { octets: [0; 24], length: 0 };

    /// `false`: it does not fit.
    fn push(&mut self, octet: u8) -> bool {
        let at = usize::from(self.length);
        let fits = at < self.octets.len();
        if fits {
            self.octets[at] = octet;
            self.length += 1;
        }
        fits
    }

    fn get(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Scanner {
    at: At,
    heads: u64,
    /// HTTP/1.0, which knows no Transfer-Encoding.
    old: bool,
    in_trailers: bool,
    field: Field,
    short: Short,
    too_long: bool,
    length: Option<u64>,
    chunked: bool,
    chunk: u64,
    chunk_line: u16,
}

impl Scanner {
    pub(super) fn new() -> Scanner {
        Scanner {
            at: At::Preface(0),
            heads: 0,
            old: false,
            in_trailers: false,
            field: Field::Other,
            short: Short::EMPTY,
            too_long: false,
            length: None,
            chunked: false,
            chunk: 0,
            chunk_line: 0,
        }
    }

    /// Whole heads seen so far; HTTP/2's preface counts as one.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        match self.at {
            At::Preface(seen) => seen > 0,
            At::EmptyLine
            | At::RequestLine
            | At::Method
            | At::TargetStart
            | At::Target
            | At::Version(_)
            | At::VersionEnd => true,
            At::LineEnd | At::LineStart | At::Name | At::Value | At::SectionEnd => !self.in_trailers,
            _ => false,
        }
    }

    /// What makes hyper refuse the connection from where the scanner stands, whatever it has seen of it so far.
    pub(super) fn poison(&self) -> &'static [u8] {
        match self.at {
            // Anything but a line's end belongs to an extension.
            At::Extension => b"\n",
            // With an end, for hyper does not look at a head before it has one.
            _ => b"\0\r\n\r\n",
        }
    }

    /// Takes what was read. `Err`: where in it the first octet stands that must not go on, and why.
    pub(super) fn feed(&mut self, octets: &[u8]) -> Result<(), (usize, Fault)> {
        let mut next = 0;
        while next < octets.len() {
            next += match self.at {
                At::Opaque => return Ok(()),
                At::Body(left) => {
                    let (taken, left) = take(left, octets.len() - next);
                    self.at = if left == 0 { At::Between } else { At::Body(left) };
                    taken
                }
                At::Data(left) => {
                    let (taken, left) = take(left, octets.len() - next);
                    self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                    taken
                }
                At::Value if self.field == Field::Other => {
                    let plain = octets[next..].iter().take_while(|&&octet| is_text(octet)).count();
                    if let Some(&octet) = octets.get(next + plain) {
                        self.step(octet).map_err(|fault| (next + plain, fault))?;
                        plain + 1
                    } else {
                        plain
                    }
                }
                At::Target => {
                    let plain = octets[next..].iter().take_while(|&&octet| is_target(octet)).count();
                    if let Some(&octet) = octets.get(next + plain) {
                        self.step(octet).map_err(|fault| (next + plain, fault))?;
                        plain + 1
                    } else {
                        plain
                    }
                }
                At::Preface(seen) => {
                    self.preface(usize::from(seen), octets[next]).map_err(|fault| (next, fault))?;
                    1
                }
                _ => {
                    self.step(octets[next]).map_err(|fault| (next, fault))?;
                    1
                }
            };
        }
        Ok(())
    }

    fn preface(&mut self, seen: usize, octet: u8) -> Result<(), Fault> {
        if octet == PREFACE[seen] {
            self.at = At::Preface(self::octet(seen + 1));
            if seen + 1 == PREFACE.len() {
                self.heads += 1;
                self.at = At::Opaque;
            }
            return Ok(());
        }
        // It is HTTP/1 after all: what looked like the preface is looked at again.
        self.at = At::Between;
        PREFACE[..seen].iter().chain([&octet]).try_for_each(|&octet| self.step(octet))
    }

    fn step(&mut self, octet: u8) -> Result<(), Fault> {
        self.at = match (self.at, octet) {
            (At::Between, b'\r') => At::EmptyLine,
            (At::EmptyLine, b'\n') => At::RequestLine,
            (At::Between | At::RequestLine | At::Method, octet) if is_token(octet) => At::Method,
            (At::Between | At::RequestLine, b'\n' | b'\r') | (At::EmptyLine, _) => {
                return Err(Fault::LineEnd);
            }
            (At::Method, b' ') => At::TargetStart,
            (At::TargetStart | At::Target, octet) if is_target(octet) => At::Target,
            (At::Target, b' ') => At::Version(0),
            (At::Version(seen), octet) => self.version(seen, octet)?,
            (At::VersionEnd, b'\r') => At::LineEnd,
            (At::Between | At::RequestLine | At::Method | At::TargetStart | At::Target, _)
            | (At::VersionEnd, _) => return Err(Fault::RequestLine),

            (At::LineEnd, b'\n') => At::LineStart,
            (At::LineStart, b'\r') => At::SectionEnd,
            (At::LineStart, octet) if is_token(octet) => {
                (self.short, self.too_long) = (Short::EMPTY, false);
                self.too_long |= !self.short.push(octet.to_ascii_lowercase());
                At::Name
            }
            (At::LineStart, b' ' | b'\t') => return Err(Fault::Fold),
            (At::LineStart, b'\n') | (At::LineEnd | At::SectionEnd | At::SizeEnd, _)
                if octet != b'\n' || self.at == At::LineStart =>
            {
                return Err(Fault::LineEnd);
            }
            (At::Name, octet) if is_token(octet) => {
                self.too_long |= !self.short.push(octet.to_ascii_lowercase());
                At::Name
            }
            (At::Name, b':') => self.named()?,
            (At::LineStart | At::Name, _) => return Err(Fault::Name),
            (At::Value, b'\r') => {
                self.value()?;
                At::LineEnd
            }
            (At::Value, b'\n') => return Err(Fault::LineEnd),
            (At::Value, octet) if is_text(octet) => {
                let leads = matches!(octet, b' ' | b'\t') && self.short.length == 0;
                if self.field != Field::Other && !leads && !self.short.push(octet) {
                    return Err(if self.field == Field::Length { Fault::Length } else { Fault::Coding });
                }
                At::Value
            }
            (At::Value, _) => return Err(Fault::Control),
            (At::SectionEnd, _) => self.section_ended(),

            (At::SizeStart | At::Size, octet) if octet.is_ascii_hexdigit() => self.chunk_digit(octet)?,
            (At::Size | At::Extension, b'\r') => At::SizeEnd,
            (At::Size, b';') => At::Extension,
            (At::SizeStart | At::Size, _) => return Err(Fault::ChunkSize),
            (At::Extension, octet) if is_text(octet) => {
                self.chunk_line += 1;
                if self.chunk_line > CHUNK_LINE_MAX {
                    return Err(Fault::ChunkSize);
                }
                At::Extension
            }
            (At::Extension, _) => return Err(Fault::ChunkSize),
            (At::SizeEnd, _) if self.chunk > 0 => At::Data(self.chunk),
            (At::SizeEnd, _) => {
                self.in_trailers = true;
                At::LineStart
            }
            (At::DataEnd, b'\r') => At::DataLineEnd,
            (At::DataLineEnd, b'\n') => {
                (self.chunk, self.chunk_line) = (0, 0);
                At::SizeStart
            }
            (At::DataEnd | At::DataLineEnd, _) => return Err(Fault::ChunkEnd),
            // Taken many octets at a time, or refused above.
            (At::Body(_) | At::Data(_) | At::Opaque | At::Preface(_) | At::LineEnd, _) => self.at,
        };
        Ok(())
    }

    fn version(&mut self, seen: u8, octet: u8) -> Result<At, Fault> {
        match VERSION.get(usize::from(seen)) {
            Some(&expected) if octet == expected => Ok(At::Version(seen + 1)),
            None if matches!(octet, b'0' | b'1') => {
                self.old = octet == b'0';
                Ok(At::VersionEnd)
            }
            _ => Err(Fault::RequestLine),
        }
    }

    fn named(&mut self) -> Result<At, Fault> {
        self.field = match self.short.get() {
            b"content-length" if !self.too_long => Field::Length,
            b"transfer-encoding" if !self.too_long => Field::Coding,
            _ => Field::Other,
        };
        self.short = Short::EMPTY;
        match self.field {
            Field::Length | Field::Coding if self.in_trailers => Err(Fault::Trailer),
            Field::Length if self.length.is_some() => Err(Fault::LengthTwice),
            Field::Length if self.chunked => Err(Fault::LengthAndCoding),
            Field::Coding if self.length.is_some() => Err(Fault::LengthAndCoding),
            Field::Coding if self.chunked || self.old => Err(Fault::Coding),
            _ => Ok(At::Value),
        }
    }

    fn value(&mut self) -> Result<(), Fault> {
        let value = self.short.get().trim_ascii_end();
        match self.field {
            Field::Other => {}
            Field::Length => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.length = Some(number.filter(|_| digits).ok_or(Fault::Length)?);
            }
            Field::Coding if value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            Field::Coding => return Err(Fault::Coding),
        }
        Ok(())
    }

    fn section_ended(&mut self) -> At {
        let in_trailers = std::mem::take(&mut self.in_trailers);
        let (chunked, length) = (std::mem::take(&mut self.chunked), self.length.take());
        self.field = Field::Other;
        if in_trailers {
            return At::Between;
        }
        self.heads += 1;
        match length {
            _ if chunked => {
                (self.chunk, self.chunk_line) = (0, 0);
                At::SizeStart
            }
            Some(length) if length > 0 => At::Body(length),
            _ => At::Between,
        }
    }

    fn chunk_digit(&mut self, octet: u8) -> Result<At, Fault> {
        let digit = char::from(octet).to_digit(16).map_or(0, u64::from);
        let size = self.chunk.checked_mul(16).and_then(|size| size.checked_add(digit));
        self.chunk = size.ok_or(Fault::ChunkSize)?;
        self.chunk_line += 1;
        match self.chunk_line > CHUNK_LINE_MAX {
            true => Err(Fault::ChunkSize),
            false => Ok(At::Size),
        }
    }
}

/// How much of `left` is there, and what is left then.
fn take(left: u64, there: usize) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
    (taken, left - taken as u64)
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// What is no ASCII is hyper's to judge: it frames nothing.
fn is_target(octet: u8) -> bool {
    octet > b' ' && octet != 0x7f
}

fn is_text(octet: u8) -> bool {
    octet == b'\t' || octet >= b' ' && octet != 0x7f
}
