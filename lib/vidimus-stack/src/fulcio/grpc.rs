//! The same service over gRPC, `dev.sigstore.fulcio.v2.CA`, for the one client that speaks nothing else (witness).
//!
//! gRPC over HTTP/2 is a POST with length-prefixed messages and a status in the trailers; the messages of this service are a few
//! strings in protocol buffers. That much is written out here; there is no compression, no streaming and no reflection.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::routes::{REQUEST_BYTES, bearer, chain_v2};
use super::{Fulcio, IssueRefusal, Proof};

/// Fields in one message: the largest has three.
const FIELDS: usize = 32;

const INVALID_ARGUMENT: u8 = 3;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

/// The routes, for the origin's root.
pub(super) fn router(fulcio: Arc<Fulcio>) -> Router {
    Router::new()
        .route("/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate", post(create_signing_certificate))
        .route("/dev.sigstore.fulcio.v2.CA/GetTrustBundle", post(trust_bundle))
        .route("/dev.sigstore.fulcio.v2.CA/GetConfiguration", post(configuration))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(fulcio)
}

/// A call that failed.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    code: u8,
    message: String,
}

fn malformed(why: &str) -> Status {
    Status { code: INVALID_ARGUMENT, message: why.to_owned() }
}

async fn create_signing_certificate(State(fulcio): State<Arc<Fulcio>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(create(&fulcio, &headers, &body).await)
}

async fn create(fulcio: &Fulcio, headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Status> {
    let request = fields(message(body)?)?;
    let credentials = fields(last(&request, 1))?;
    let token = text(last(&credentials, 1))?;
    let from_headers =
        || headers.get("oidcidentitytoken").and_then(|v| v.to_str().ok()).map(str::to_owned).or_else(|| bearer(headers));
    let token = if token.is_empty() { from_headers().unwrap_or_default() } else { token.to_owned() };
    let key_request = fields(last(&request, 2))?;
    let key = fields(last(&key_request, 1))?;
    let csr = last(&request, 3);
    let proof = match csr.is_empty() {
        true => Proof::Signature { key: last(&key, 2), signature: last(&key_request, 2) },
        false => Proof::Request(csr),
    };
    let issued = fulcio.issue(&token, proof).await.map_err(|refusal| refused(&refusal))?;
    let chain = strings(1, chain_v2(fulcio, &issued));
    // SigningCertificate.signed_certificate_embedded_sct.chain
    Ok(field(2, &field(1, &chain)))
}

async fn trust_bundle(State(fulcio): State<Arc<Fulcio>>, body: Bytes) -> Response {
    let bundle = || field(1, &strings(1, fulcio.chain().certificates().iter().map(|c| c.pem.clone())));
    answer(message(&body).map(|_| bundle()))
}

async fn configuration(State(fulcio): State<Arc<Fulcio>>, body: Bytes) -> Response {
    let config = fulcio.config();
    let named = config.issuers().map(|i| (1, i));
    let all = named.chain(config.meta_issuers().map(|i| (2, i)));
    let issuers = all.map(|(url_field, issuer)| {
        let texts = [
            (url_field, issuer.issuer_url.as_str()),
            (3, &issuer.client_id),
            (4, issuer.challenge_claim()),
            (5, &issuer.spiffe_trust_domain),
            (6, issuer.issuer_type.name()),
            (7, &issuer.subject_domain),
        ];
        let mut out: Vec<u8> = texts.iter().filter(|(_, t)| !t.is_empty()).flat_map(|(n, t)| field(*n, t.as_bytes())).collect();
        if issuer.skip_email_verification {
            out.extend([8 << 3, 1]);
        }
        field(1, &out)
    });
    answer(message(&body).map(|_| issuers.flatten().collect()))
}

fn refused(refusal: &IssueRefusal) -> Status {
    let code = match refusal {
        IssueRefusal::Unavailable(_) => UNAVAILABLE,
        IssueRefusal::Internal(_) | IssueRefusal::Log(_) => INTERNAL,
        _ => INVALID_ARGUMENT,
    };
    Status { code, message: refusal.to_string() }
}

/// The one message of a unary call.
fn message(body: &[u8]) -> Result<&[u8], Status> {
    let Some((prefix, message)) = body.split_first_chunk::<5>() else { return Err(malformed("no message")) };
    if prefix[0] != 0 {
        return Err(Status { code: UNIMPLEMENTED, message: "compressed messages".to_owned() });
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    match usize::try_from(length) {
        Ok(length) if length == message.len() => Ok(message),
        _ => Err(malformed("the length of the message")),
    }
}

/// An answer: the message and status 0 in the trailers, or nothing but the status.
fn answer(result: Result<Vec<u8>, Status>) -> Response {
    const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
    match result {
        Ok(message) => {
            let mut framed = vec![0];
            framed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
            framed.extend(message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
            ([(header::CONTENT_TYPE, GRPC)], Body::new(StreamBody::new(futures_util::stream::iter(frames)))).into_response()
        }
        Err(Status { code, message }) => {
            let mut response = ([(header::CONTENT_TYPE, GRPC)], ()).into_response();
            response.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(code)));
            if let Ok(message) = HeaderValue::from_str(&percent_encoded(&message)) {
                response.headers_mut().insert("grpc-message", message);
            }
            response
        }
    }
}

/// Bytes outside of printable ASCII, and the percent sign, as the gRPC protocol writes them in a status message.
fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'%';
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(content);
    out
}

fn strings(number: u8, texts: impl IntoIterator<Item = String>) -> Vec<u8> {
    texts.into_iter().flat_map(|text| field(number, text.as_bytes())).collect()
}

/// The length-delimited fields of a message; fields of other wire types are skipped, groups are refused.
fn fields(mut message: &[u8]) -> Result<Vec<(u64, &[u8])>, Status> {
    let truncated = || malformed("a truncated message");
    let mut out = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            1 => 8,
            2 => varint(&mut message)?,
            5 => 4,
            _ => return Err(malformed("a wire type that is not known")),
        };
        let length = usize::try_from(length).ok().filter(|l| *l <= message.len()).ok_or_else(truncated)?;
        let (content, rest) = message.split_at(length);
        message = rest;
        if key & 7 == 2 {
            out.push((key >> 3, content));
        }
        if out.len() > FIELDS {
            return Err(malformed("too many fields"));
        }
    }
    Ok(out)
}

fn varint(message: &mut &[u8]) -> Result<u64, Status> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first().ok_or_else(|| malformed("a truncated number"))?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number of more than 64 bits"))
}

/// Protocol buffers: of a field that is there more than once the last one counts; one that is not there is empty.
fn last<'a>(fields: &[(u64, &'a [u8])], number: u64) -> &'a [u8] {
    fields.iter().rev().find(|(n, _)| *n == number).map_or(&[], |(_, content)| content)
}

fn text(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes).map_err(|_| malformed("a string that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let long = vec![7; 300];
        let written = [field(1, b"one"), vec![2 << 3, 0x96, 1], field(3, &long), field(1, b"two")].concat();
        let read = fields(&written).unwrap();
        assert_eq!((last(&read, 1), last(&read, 3), last(&read, 2)), (&b"two"[..], &long[..], &b""[..]));
    }

    #[test]
    fn damage_is_refused() {
        assert!(message(&[0, 0, 0, 0]).is_err());
        assert!(message(&[0, 0, 0, 0, 2, 1]).is_err());
        assert_eq!(message(&[1, 0, 0, 0, 0]).unwrap_err().code, UNIMPLEMENTED);
        assert_eq!(message(&[0, 0, 0, 0, 1, 9]), Ok(&[9][..]));
        for bad in
            [&[0x0a, 5, 1][..], &[0x0a], &[0x0b], &[0xff; 11], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]]
        {
            assert!(fields(bad).is_err(), "{bad:?}");
        }
        assert!(fields(&[0x0a, 0].repeat(FIELDS + 1)).is_err());
        assert_eq!(percent_encoded("50% \u{fc}\n"), "50%25 %C3%BC%0A");
    }
}
