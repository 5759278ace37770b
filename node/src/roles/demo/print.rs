//! How the flow looks: steps, requests, answers and notifications, in colour where that is wanted.

use super::{
    listener::Notification,
    step::{Answer, Request},
};
use http::{HeaderMap, StatusCode, header};
use std::io::{self, IsTerminal, Write};

/// Columns of running text.
const COLUMNS: usize = 100;
/// Headers of an answer that belong to the binding; the others are HTTP's own business.
const SHOWN: [header::HeaderName; 5] =
    [header::LOCATION, header::CONTENT_TYPE, header::ETAG, header::ALLOW, header::RETRY_AFTER];

#[derive(Clone, Copy)]
enum Style {
    Step,
    Request,
    Right,
    Wrong,
    Notification,
    Faint,
}

impl Style {
    /// Select Graphic Rendition parameters of a terminal.
    fn code(self) -> &'static str {
        match self {
            Style::Step => "1",
            Style::Request => "36",
            Style::Right => "32",
            Style::Wrong => "1;31",
            Style::Notification => "35",
            Style::Faint => "2",
        }
    }
}

/// Writes the flow.
pub(super) struct Printer {
    out: Box<dyn Write + Send>,
    colour: bool,
    steps: usize,
}

impl Printer {
    /// The standard output; in colour on a terminal unless NO_COLOR is set to anything.
    pub(super) fn stdout() -> Printer {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let out = io::stdout();
        let colour = out.is_terminal() && !plain;
        Printer::new(Box::new(out), colour)
    }

    pub(super) fn new(out: Box<dyn Write + Send>, colour: bool) -> Printer {
        Printer { out, colour, steps: 0 }
    }

    /// A step's title and what it is about.
    pub(super) fn step(&mut self, title: &str, why: &str) -> io::Result<()> {
        self.steps += 1;
        writeln!(self.out)?;
        self.line(Style::Step, 0, &format!("{}. {title}", self.steps))?;
        for line in wrap(why, COLUMNS - 3) {
            writeln!(self.out, "   {line}")?;
        }
        self.out.flush()
    }

    /// A sentence of its own.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out)?;
        self.line(Style::Step, 0, text)?;
        self.out.flush()
    }

    pub(super) fn request(&mut self, request: &Request) -> io::Result<()> {
        self.line(Style::Request, 3, &format!("> {} {}", request.method, request.path))?;
        self.line(Style::Request, 3, &format!("> From: {}", request.from))?;
        if let Some(media_type) = request.content_type {
            self.line(Style::Request, 3, &format!("> Content-Type: {media_type}"))?;
        }
        self.body(&request.body)
    }

    pub(super) fn answer(&mut self, answer: &Answer, right: bool) -> io::Result<()> {
        let style = if right { Style::Right } else { Style::Wrong };
        let reason = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
        self.line(style, 3, format!("< {} {}", answer.status, reason.unwrap_or_default()).trim_end())?;
        for name in &SHOWN {
            if let Some(value) = text(&answer.headers, name) {
                self.line(style, 3, &format!("< {}: {value}", title(name.as_str())))?;
            }
        }
        self.body(&answer.text())
    }

    pub(super) fn notification(&mut self, notification: &Notification) -> io::Result<()> {
        let Notification { status_code, subscription, document, .. } = notification;
        self.line(Style::Notification, 3, &format!("< notify {status_code}"))?;
        self.line(Style::Notification, 3, &format!("< subscriptionReference: {subscription}"))?;
        self.body(document)
    }

    fn body(&mut self, body: &str) -> io::Result<()> {
        for line in indent(body).lines() {
            self.line(Style::Faint, 5, line)?;
        }
        self.out.flush()
    }

    /// What peers sent must not steer the terminal, so control characters go.
    fn line(&mut self, style: Style, margin: usize, text: &str) -> io::Result<()> {
        let text: String = text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
        match self.colour {
            true => writeln!(self.out, "{:margin$}\x1b[{}m{text}\x1b[0m", "", style.code()),
            false => writeln!(self.out, "{:margin$}{text}", ""),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `content-type` as it is written by hand.
fn title(name: &str) -> String {
    let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect::<Vec<_>>().join("-")
}

/// Breaks running text at blanks.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Puts each element of an XML document on a line of its own, for the eye only: an element with nothing but text
/// stays in one piece. Anything but XML stays as it is.
pub(super) fn indent(document: &str) -> String {
    if !document.trim_start().starts_with('<') {
        return document.to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    let (mut depth, mut rest, mut opened) = (0_usize, document.trim(), false);
    while let Some(end) = rest.find('>') {
        let (piece, after) = rest.split_at(end + 1);
        let (text, tag) = piece.split_at(piece.find('<').unwrap_or(0));
        rest = after;
        let closing = tag.starts_with("</");
        let alone = tag.ends_with("/>") || tag.starts_with("<?") || tag.starts_with("<!");
        if closing {
            depth = depth.saturating_sub(1);
        }
        match lines.last_mut() {
            // The end of an element without children joins its start.
            Some(line) if closing && opened => {
                line.push_str(text);
                line.push_str(tag);
            }
            _ => {
                if !text.trim().is_empty() {
                    lines.push(format!("{:1$}{2}", "", depth * 2, text.trim()));
                }
                lines.push(format!("{:1$}{tag}", "", depth * 2));
            }
        }
        opened = !closing && !alone;
        if opened {
            depth += 1;
        }
    }
    if !rest.trim().is_empty() {
        lines.push(rest.trim().to_owned());
    }
    lines.join("\n")
}
