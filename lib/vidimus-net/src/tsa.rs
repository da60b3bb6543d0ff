//! A timestamp authority's client (RFC 3161 over HTTP, §3.4).
//!
//! The imprint is the SHA-256 of the bytes given, which in Sigstore are the raw signature and never the artifact. The answer is
//! checked for being an answer to *this* question: granted, same imprint, same nonce, a well-formed token. Whether the authority is
//! trusted, and whether its signature holds, is decided by `vidimus-verify` with everything else.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use cms::{content_info::ContentInfo, signed_data::SignedData};
use der::{
    Any, AnyRef, Decode, Encode, Sequence,
    asn1::{BitString, Int, ObjectIdentifier, OctetString},
};
use jiff::Timestamp;
use url::Url;
use vidimus_core::digest::sha256;
use x509_cert::spki::AlgorithmIdentifier;
use x509_tsp::{MessageImprint, TimeStampReq, TspVersion, TstInfo};

use crate::http::{Client, HttpError, header};

/// Time for one attempt. Authorities answer within milliseconds; clients of the field give them 5 s.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer: a token with a whole chain of certificates has some 10 KiB.
const LIMIT: u64 = 128 << 10;

/// A timestamp over `signature` from the authority at `url` (the full URL of the call, as signing configurations give it).
pub async fn timestamp(http: &Client, url: &Url, signature: &[u8]) -> Result<Timestamped, TsaError> {
    let bad = |source| TsaError::Reply { url: url.to_string(), source };
    let request = TimestampRequest::new(signature).map_err(bad)?;
    let body = request.to_der().map_err(bad)?;
    // Repeating is harmless: it makes one more timestamp, which nobody uses.
    let post = http.post(url).body("application/timestamp-query", body).header(header::ACCEPT, "application/timestamp-reply");
    let answer = post.repeatable().timeout(TIMEOUT).limit(LIMIT).send().await?;
    request.check(&answer.body).map_err(bad)
}

/// No timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TsaError {
    /// The request failed; see its kind.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is not the timestamp that was asked for.
    #[error("{url}: {source}")]
    Reply {
        /// The authority.
        url: String,
        /// What is wrong with its answer.
        source: ReplyError,
    },
}

/// A timestamp: the authority's whole answer (`TimeStampResp`), as bundles carry it, and the time it states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamped {
    /// DER of the `TimeStampResp`.
    pub response: Vec<u8>,
    /// `genTime`: when the authority says that it saw the imprint. Not yet verified.
    pub time: Timestamp,
}

/// An answer that is not the timestamp that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The answer is not DER of the expected shape.
    #[error("not a timestamp response: {0}")]
    Malformed(String),
    /// The authority refused.
    #[error("the timestamp authority refused (status {status}){}{text}", if text.is_empty() { "" } else { ": " })]
    Refused {
        /// `PKIStatus`; 0 and 1 are granted.
        status: u8,
        /// `statusString`, joined.
        text: String,
    },
    /// A timestamp of something else.
    #[error("the timestamp is over {seen}, not over {expected}")]
    Imprint {
        /// The imprint sent, in hex.
        expected: String,
        /// The imprint received, in hex, or its algorithm.
        seen: String,
    },
    /// An answer to another question: a replay.
    #[error("the timestamp answers another request: its nonce is not ours")]
    Nonce,
}

/// A request: what is sent, and what the answer has to show.
#[derive(Debug, Clone)]
pub struct TimestampRequest {
    imprint: [u8; 32],
    nonce: Int,
}

impl TimestampRequest {
    /// A request for a timestamp over `signature`, with a random nonce.
    pub fn new(signature: &[u8]) -> Result<Self, ReplyError> {
        let mut nonce = [0; 8];
        SystemRandom::new().fill(&mut nonce).map_err(|_| ReplyError::Malformed("no random numbers for the nonce".to_owned()))?;
        // Positive and without a leading zero, so that its DER is the same whoever encodes it.
        nonce[0] = (nonce[0] & 0x7f) | 0x40;
        Self::with_nonce(signature, &nonce)
    }

    fn with_nonce(signature: &[u8], nonce: &[u8]) -> Result<Self, ReplyError> {
        Ok(Self { imprint: sha256(signature), nonce: Int::new(nonce).map_err(malformed)? })
    }

    /// DER of the `TimeStampReq`. Asks for the authority's certificate: without it, clients that know only the root cannot verify.
    pub fn to_der(&self) -> Result<Vec<u8>, ReplyError> {
        let request = TimeStampReq {
            version: TspVersion::V1,
            message_imprint: MessageImprint {
                hash_algorithm: AlgorithmIdentifier { oid: SHA256, parameters: Some(Any::from(AnyRef::NULL)) },
                hashed_message: OctetString::new(self.imprint).map_err(malformed)?,
            },
            req_policy: None,
            nonce: Some(self.nonce.clone()),
            cert_req: true,
            extensions: None,
        };
        request.to_der().map_err(malformed)
    }

    /// Takes the authority's answer if it answers this request.
    pub fn check(&self, response: &[u8]) -> Result<Timestamped, ReplyError> {
        let info = granted(response)?;
        let imprint = &info.message_imprint;
        let seen = if imprint.hash_algorithm.oid == SHA256 {
            hex::encode(imprint.hashed_message.as_bytes())
        } else {
            format!("a digest of algorithm {}", imprint.hash_algorithm.oid)
        };
        let expected = hex::encode(self.imprint);
        if seen != expected {
            return Err(ReplyError::Imprint { expected, seen });
        }
        if info.nonce.as_ref() != Some(&self.nonce) {
            return Err(ReplyError::Nonce);
        }
        let seconds = i64::try_from(info.gen_time.to_unix_duration().as_secs()).map_err(malformed)?;
        let time = Timestamp::from_second(seconds).map_err(malformed)?;
        Ok(Timestamped { response: response.to_vec(), time })
    }
}

/// The statement inside a response that says "granted".
fn granted(response: &[u8]) -> Result<TstInfo, ReplyError> {
    let reply = Reply::from_der(response).map_err(malformed)?;
    if reply.status.status > 1 {
        let text = reply.status.text.unwrap_or_default().join("; ");
        return Err(ReplyError::Refused { status: reply.status.status, text });
    }
    let token = reply.token.ok_or_else(|| ReplyError::Malformed("granted, but without a token".to_owned()))?;
    if token.content_type != SIGNED_DATA {
        return Err(ReplyError::Malformed(format!("the token is {}, not signed data", token.content_type)));
    }
    let signed: SignedData = token.content.decode_as().map_err(malformed)?;
    let content = signed.encap_content_info;
    if content.econtent_type != TST_INFO {
        return Err(ReplyError::Malformed(format!("the token signs {}, not a TSTInfo", content.econtent_type)));
    }
    let content = content.econtent.ok_or_else(|| ReplyError::Malformed("the token signs nothing".to_owned()))?;
    TstInfo::from_der(content.value()).map_err(malformed)
}

/// `TimeStampResp`. Our own, because the failure bits of `cmpv2` do not fit into its type and a refusal would not parse.
#[derive(Sequence)]
struct Reply {
    status: StatusInfo,
    #[asn1(optional = "true")]
    token: Option<ContentInfo>,
}

#[derive(Sequence)]
struct StatusInfo {
    status: u8,
    #[asn1(optional = "true")]
    text: Option<Vec<String>>,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

fn malformed(why: impl std::fmt::Display) -> ReplyError {
    ReplyError::Malformed(why.to_string())
}

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = include_bytes!("../../../testdata/wire/q.tsq");
    const REPLY: &[u8] = include_bytes!("../../../testdata/wire/r.tsr");

    /// The request that the captured response answers.
    fn captured() -> TimestampRequest {
        let query = TimeStampReq::from_der(QUERY).unwrap();
        let imprint = query.message_imprint.hashed_message.as_bytes().try_into().unwrap();
        TimestampRequest { imprint, nonce: query.nonce.expect("the captured query has a nonce") }
    }

    #[test]
    fn encodes_the_request_that_others_send() {
        assert_eq!(captured().to_der().unwrap(), QUERY);
        let request = TimestampRequest::new(b"signature").unwrap();
        let read = TimeStampReq::from_der(&request.to_der().unwrap()).unwrap();
        assert_eq!(read.message_imprint.hashed_message.as_bytes(), sha256(b"signature"));
        assert!(read.cert_req);
    }

    #[test]
    fn takes_a_real_answer() {
        let timestamp = captured().check(REPLY).unwrap();
        assert_eq!(timestamp.response, REPLY);
        assert!(timestamp.time.to_string().starts_with("2026-11-21T"), "{}", timestamp.time);
    }

    #[test]
    fn refuses_the_answer_to_another_question() {
        let mut other = captured();
        other.imprint[0] ^= 1;
        assert!(matches!(other.check(REPLY), Err(ReplyError::Imprint { .. })));
        let other = TimestampRequest { nonce: Int::new(&[1]).unwrap(), ..captured() };
        assert_eq!(other.check(REPLY), Err(ReplyError::Nonce));
    }

    #[test]
    fn a_refusal_says_why() {
        let failure = Reply {
            status: StatusInfo {
                status: 2,
                text: Some(vec!["no SHA-1".to_owned()]),
                failure: Some(BitString::from_bytes(&[0x80, 0, 0x40]).unwrap()),
            },
            token: None,
        };
        let error = captured().check(&failure.to_der().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the timestamp authority refused (status 2): no SHA-1");
    }

    #[test]
    fn refuses_what_is_not_a_response() {
        for bad in [&b""[..], b"<html>", &REPLY[..REPLY.len() - 1], QUERY] {
            assert!(matches!(captured().check(bad), Err(ReplyError::Malformed(_))), "{bad:?}");
        }
        let empty = Reply { status: StatusInfo { status: 0, text: None, failure: None }, token: None };
        assert!(matches!(captured().check(&empty.to_der().unwrap()), Err(ReplyError::Malformed(_))));
    }

    #[tokio::test]
    async fn an_authority_is_asked_over_http() {
        use crate::{
            http::Kind,
            testing::{Reply, Server, hasty, impatient},
        };
        // A captured answer is an answer to another nonce.
        let server = Server::start(|_| Reply::new(200, REPLY).with("content-type", "application/timestamp-reply")).await;
        let url = server.url.join("api/v1/timestamp").unwrap();
        let error = timestamp(&impatient(), &url, b"signature").await.unwrap_err();
        assert!(matches!(error, TsaError::Reply { source: ReplyError::Imprint { .. }, .. }), "{error}");
        let seen = &server.seen()[0];
        assert_eq!((seen.path.as_str(), seen.header("content-type")), ("/api/v1/timestamp", Some("application/timestamp-query")));
        let sent = TimeStampReq::from_der(&seen.body).unwrap();
        assert_eq!(sent.message_imprint.hashed_message.as_bytes(), sha256(b"signature"));
        for (reply, kind) in [
            (Reply::new(400, "Weak hash algorithm in timestamp request"), Kind::Status(400)),
            (Reply::new(401, ""), Kind::Denied),
            (Reply::new(429, ""), Kind::RateLimited { retry_after: None }),
            (Reply::new(500, ""), Kind::Unavailable),
            (Reply::new(200, vec![0; 1 << 20]), Kind::TooLarge { limit: LIMIT }),
            (Reply::new(200, REPLY).after(Duration::from_secs(600)), Kind::Timeout),
        ] {
            let server = Server::start(move |_| reply.clone()).await;
            let error = timestamp(&hasty(), &server.url, b"signature").await.unwrap_err();
            assert!(matches!(&error, TsaError::Http(http) if http.kind == kind), "{error}");
        }
        let error = timestamp(&Client::disabled(), &url, b"signature").await.unwrap_err();
        assert!(matches!(&error, TsaError::Http(http) if http.kind == Kind::Disabled), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}
