//! A timestamp authority (RFC 3161, RFC 5816) that answers as Sigstore's does.
//!
//! [`Tsa::stamp`] turns a [`TimestampRequest`] into a DER `TimeStampResp`; [`router`] puts HTTP around it. Timestamps are made from
//! the clock the authority was given, in whole seconds. Nothing is stored: a timestamp proves itself.

mod request;
mod routes;
mod token;

use std::path::Path;

use const_oid::ObjectIdentifier;
use der::asn1::Int;
use jiff::Timestamp;

pub use request::{RequestError, TimestampRequest};
pub use routes::router;

use crate::clock::Clock;
use crate::pki::certificate::{IssueError, TIME_STAMPING};
use crate::pki::hierarchy::{Hierarchy, Plan};
use crate::pki::{Chain, OpenError};

/// The policy that Sigstore's timestamp authorities state.
pub const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.2");

const PLAN: Plan = Plan {
    organization: "vidimus stack",
    names: &["vidimus stack tsa", "vidimus stack tsa intermediate", "vidimus stack tsa root"],
    purpose: TIME_STAMPING,
};

/// A timestamp authority.
#[derive(Debug)]
pub struct Tsa {
    signer: token::Signer,
    chain: Chain,
    valid: (Timestamp, Timestamp),
    clock: Clock,
}

impl Tsa {
    /// Opens the authority whose keys are in `keys`/`tsa`, and makes them the first time.
    pub fn open(keys: &Path, clock: Clock) -> Result<Self, OpenError> {
        let Hierarchy { key, signer, chain, not_after, not_before } = Hierarchy::open(&keys.join("tsa"), &PLAN, clock.now())?;
        Ok(Self { signer: token::Signer::new(key, signer)?, chain, valid: (not_before, not_after), clock })
    }

    /// Leaf, intermediate, root.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// From when to when every certificate of the chain is valid.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        self.valid
    }

    /// Answers a request with a granted `TimeStampResp`.
    pub fn stamp(&self, request: &TimestampRequest) -> Result<Vec<u8>, IssueError> {
        self.signer.respond(request, self.clock.now())
    }
}

/// A nonce as a positive number, from its big-endian bytes.
fn positive(bytes: &[u8]) -> der::Result<Int> {
    let significant = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    let mut number = vec![0];
    number.extend_from_slice(significant);
    // A leading zero only stays where the next bit would make the number negative.
    let minimal = if significant.first().is_some_and(|b| b & 0x80 == 0) { &number[1..] } else { &number[..] };
    Int::new(minimal)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::{Request, StatusCode};

    use super::*;
    use crate::testing::call;

    fn tsa(dir: &Path) -> Tsa {
        Tsa::open(dir, Clock::system()).unwrap()
    }

    fn openssl(dir: &Path, arguments: &[&str]) -> (bool, String) {
        let out = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The answer to a query of openssl's, in `dir` as `reply.tsr`, with the chain beside it.
    fn reply(dir: &Path, options: &[&str]) -> Tsa {
        let tsa = tsa(&dir.join("keys"));
        std::fs::write(dir.join("data"), "data").unwrap();
        let query = [&["ts", "-query", "-data", "data", "-out", "query.tsq"], options].concat();
        assert!(openssl(dir, &query).0);
        let query = std::fs::read(dir.join("query.tsq")).unwrap();
        let response = tsa.stamp(&TimestampRequest::from_der(&query).unwrap()).unwrap();
        std::fs::write(dir.join("reply.tsr"), response).unwrap();
        let certificates = tsa.chain().certificates();
        std::fs::write(dir.join("root.pem"), &certificates[2].pem).unwrap();
        std::fs::write(dir.join("others.pem"), [&*certificates[0].pem, &*certificates[1].pem].concat()).unwrap();
        tsa
    }

    #[test]
    fn openssl_accepts_our_replies() {
        for options in [&["-sha256", "-cert"][..], &["-sha384", "-cert", "-no_nonce"], &["-sha512"]] {
            let dir = tempfile::tempdir().unwrap();
            reply(dir.path(), options);
            let verify = ["ts", "-verify", "-in", "reply.tsr", "-CAfile", "root.pem", "-untrusted", "others.pem"];
            let (ok, text) = openssl(dir.path(), &[&verify[..], &["-queryfile", "query.tsq"]].concat());
            assert!(ok, "{text}");
            std::fs::write(dir.path().join("data"), "other data").unwrap();
            let (ok, _) = openssl(dir.path(), &[&verify[..], &["-data", "data"]].concat());
            assert!(!ok, "a timestamp of other data must not verify");
        }
    }

    #[test]
    fn a_reply_says_what_sigstore_says() {
        let dir = tempfile::tempdir().unwrap();
        reply(dir.path(), &["-sha256"]);
        let (ok, text) = openssl(dir.path(), &["ts", "-reply", "-in", "reply.tsr", "-text"]);
        assert!(ok, "{text}");
        for line in [
            "Status: Granted.",
            "Policy OID: 1.3.6.1.4.1.57264.2",
            "Hash Algorithm: sha256",
            "0x01 seconds",
            "CN=vidimus stack tsa",
        ] {
            assert!(text.replace(" = ", "=").contains(line), "{line} in {text}");
        }
    }

    async fn post(tsa: Arc<Tsa>, media_type: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let request = Request::post("/api/v1/timestamp").header("content-type", media_type).body(Body::from(body)).unwrap();
        let answer = call(&router(tsa), request).await;
        (answer.status, answer.body)
    }

    #[tokio::test]
    async fn http() {
        let dir = tempfile::tempdir().unwrap();
        let tsa = Arc::new(reply(dir.path(), &["-sha256"]));
        let query = std::fs::read(dir.path().join("query.tsq")).unwrap();
        let (status, body) = post(tsa.clone(), "application/timestamp-query", query.clone()).await;
        assert_eq!((status, body[0]), (StatusCode::CREATED, 0x30));
        let json = br#"{"artifactHash":"n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=","hashAlgorithm":"sha256"}"#;
        assert_eq!(post(tsa.clone(), "application/json; charset=utf-8", json.to_vec()).await.0, StatusCode::CREATED);
        assert_eq!(post(tsa.clone(), "text/plain", query).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let weak = br#"{"artifactHash":"AAAA","hashAlgorithm":"sha1"}"#.to_vec();
        let (status, body) = post(tsa.clone(), "application/json", weak).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body, br#"{"code":400,"message":"Weak hash algorithm in timestamp request"}"#);
        assert_eq!(post(tsa.clone(), "application/timestamp-query", vec![0x30, 0]).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(post(tsa, "application/json", vec![b' '; 2000]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
