//! `Via` (RFC 9110 7.6.3): the SCLs that passed a request on, `1.1 nscl-1, 1.1 gscl-2`. Who finds itself there refuses:
//! a loop (procedures.md 13).

use http::{HeaderMap, header};

/// The ids, the first SCL first. A proxy that is no SCL stands there too, which does no harm.
pub(super) fn read(headers: &HeaderMap) -> Vec<String> {
    let texts = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    let received_by = |hop: &str| hop.split_whitespace().nth(1).map(str::to_owned);
    texts.flat_map(|text| text.split(',')).filter_map(received_by).collect()
}

/// The header with one more SCL.
pub(super) fn write(via: &[String], own: &str) -> String {
    let all = via.iter().map(String::as_str).chain([own]);
    all.map(|id| format!("1.1 {id}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, "HTTP/1.1 gscl-1 (a comment), 1.0 proxy:8080".parse().unwrap());
        headers.append(header::VIA, write(&["nscl-1".to_owned()], "nscl-2").parse().unwrap());
        assert_eq!(read(&headers), ["gscl-1", "proxy:8080", "nscl-1", "nscl-2"]);
        assert_eq!(write(&[], "nscl"), "1.1 nscl");
        headers.insert(header::VIA, ", ,rubbish".parse().unwrap());
        assert_eq!(read(&headers), [""; 0]);
    }
}
