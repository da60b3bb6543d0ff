//! A JWT-SVID from the SPIFFE Workload API: gRPC `SpiffeWorkloadAPI/FetchJWTSVID` over a Unix socket.
//!
//! The two messages are small enough to be written and read here (Protocol Buffers encoding, wire type 2 only), and the call is one
//! HTTP/2 request, so no gRPC library is needed. Only sockets are spoken to; a `tcp://` endpoint is a failure that says so.

use std::path::PathBuf;

use ::http::{HeaderName, HeaderValue, header};
use vidimus_core::ParseError;

use super::{Context, Outcome, TIMEOUT};
use crate::http::{Network, chain};

/// Where SPIRE's agent listens unless told otherwise; cosign's default too.
const DEFAULT_SOCKET: &str = "/tmp/spire-agent/public/api.sock";
/// Largest answer: a few tokens.
const LIMIT: usize = 256 << 10;

pub(super) async fn fetch(context: &Context<'_>) -> Result<String, Outcome> {
    let path = socket(context)?;
    if !path.exists() {
        return Err(Outcome::NotHere(format!("there is no {}", path.display())));
    }
    if context.http.config().network == Network::None {
        return Err(Outcome::Failed("the network is switched off".to_owned()));
    }
    let failed = |why: String| Outcome::Failed(format!("{}: {why}", path.display()));
    let client = reqwest::Client::builder()
        .unix_socket(path.clone())
        .http2_prior_knowledge()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(|e| failed(chain(&e)))?;
    let mut answer = client
        .post("http://localhost/SpiffeWorkloadAPI/FetchJWTSVID")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        // The Workload API demands it, so that nobody can be tricked into relaying such a request.
        .header(HeaderName::from_static("workload.spiffe.io"), HeaderValue::from_static("true"))
        .body(frame(&string_field(1, context.audience)))
        .send()
        .await
        .map_err(|e| failed(chain(&e)))?;
    let grpc = |name: &str| answer.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(status) = grpc("grpc-status").filter(|status| status != "0") {
        return Err(failed(format!("gRPC status {status}: {}", grpc("grpc-message").unwrap_or_default())));
    }
    if !answer.status().is_success() {
        return Err(failed(format!("HTTP {}", answer.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| failed(chain(&e)))? {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT {
            return Err(failed(format!("more than {LIMIT} bytes")));
        }
    }
    token(&body).map_err(|e| failed(e.to_string()))
}

/// The socket of `SPIFFE_ENDPOINT_SOCKET`, a URL by the specification and a path by cosign's habit.
fn socket(context: &Context<'_>) -> Result<PathBuf, Outcome> {
    let Some(place) = context.env.var("SPIFFE_ENDPOINT_SOCKET") else { return Ok(context.env.path(DEFAULT_SOCKET)) };
    match place.split_once(':') {
        Some(("unix", path)) => Ok(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
        Some(("tcp", _)) => Err(Outcome::Failed(format!("SPIFFE_ENDPOINT_SOCKET: only Unix sockets are supported, not {place}"))),
        _ => Ok(PathBuf::from(place)),
    }
}

/// A gRPC message: not compressed, its length, its bytes.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// The first token of a framed `JWTSVIDResponse { repeated JWTSVID svids = 1 }`, `JWTSVID { string spiffe_id = 1; string svid = 2 }`.
fn token(body: &[u8]) -> Result<String, ParseError> {
    let fail = |why: &str| ParseError::new("JWT-SVID response", why);
    let (head, rest) = body.split_first_chunk::<5>().ok_or_else(|| fail("it has no message"))?;
    let [compressed, length @ ..] = head;
    if *compressed != 0 {
        return Err(fail("it is compressed, which was not asked for"));
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| fail("it is too long"))?;
    let message = rest.get(..length).ok_or_else(|| fail("it is cut short"))?;
    let svid = field(message, 1)?.ok_or_else(|| fail("it has no SVID"))?;
    let token = field(svid, 2)?.ok_or_else(|| fail("its SVID has no token"))?;
    String::from_utf8(token.to_vec()).map_err(|_| fail("its token is not text"))
}

/// The first occurrence of a length-delimited field.
fn field(mut message: &[u8], wanted: u64) -> Result<Option<&[u8]>, ParseError> {
    let fail = |why: &str| ParseError::new("JWT-SVID response", why);
    while !message.is_empty() {
        let key = varint(&mut message).ok_or_else(|| fail("a field has no number"))?;
        let (number, kind) = (key >> 3, key & 7);
        let length = match kind {
            0 => {
                varint(&mut message).ok_or_else(|| fail("a number is cut short"))?;
                continue;
            }
            1 => 8,
            2 => varint(&mut message).ok_or_else(|| fail("a length is cut short"))?,
            5 => 4,
            _ => return Err(fail("a field has an unknown type")),
        };
        let length = usize::try_from(length).map_err(|_| fail("a field is too long"))?;
        let (value, rest) = message.split_at_checked(length).ok_or_else(|| fail("a field is cut short"))?;
        if kind == 2 && number == wanted {
            return Ok(Some(value));
        }
        message = rest;
    }
    Ok(None)
}

/// A base-128 number, at most ten bytes.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn string_field(number: u8, text: &str) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = text.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap_or(0));
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full};
    use hyper::{Request, Response, body::Incoming, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;
    use crate::{environment::Environment, http::Client, testing::impatient};

    fn answer(token: &str) -> Vec<u8> {
        let svid = [string_field(1, "spiffe://d/w"), string_field(2, token), string_field(3, "hint")].concat();
        let mut message =
            vec![1 << 3 | 2, u8::try_from(svid.len() & 0x7f).unwrap() | 0x80, u8::try_from(svid.len() >> 7).unwrap()];
        message.extend(svid);
        frame(&message)
    }

    #[test]
    fn reads_the_first_token() {
        assert_eq!(token(&answer(&"t".repeat(200))).unwrap(), "t".repeat(200));
        let whole = answer("token");
        for end in 0..whole.len() {
            assert!(token(&whole[..end]).is_err(), "{end}");
        }
        for bad in [
            &[1, 0, 0, 0, 0][..],
            &[0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 2, 0x0f, 1],
            &[0, 0, 0, 0, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(token(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sockets_are_named_in_three_ways() {
        let http = Client::disabled();
        let socket_of = |value: &str| {
            let env = Environment::from_pairs([("SPIFFE_ENDPOINT_SOCKET", value)]);
            socket(&Context { http: &http, env: &env, audience: "a" })
        };
        for value in ["unix:///run/s.sock", "unix:/run/s.sock", "/run/s.sock"] {
            assert_eq!(socket_of(value).unwrap(), PathBuf::from("/run/s.sock"));
        }
        assert!(socket_of("tcp://127.0.0.1:1").is_err());
    }

    /// An agent that answers one kind of request over HTTP/2 on a Unix socket.
    fn agent(
        reply: impl Fn(&Request<Incoming>, &[u8]) -> Response<Full<bytes::Bytes>> + Clone + Send + Sync + 'static,
    ) -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let reply = reply.clone();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let reply = reply.clone();
                    async move {
                        let body = request.body_mut().collect().await.unwrap().to_bytes();
                        Ok::<_, Infallible>(reply(&request, &body))
                    }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let env = Environment::from_pairs([("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", path.display()))]);
        (dir, env)
    }

    #[tokio::test]
    async fn asks_an_agent_for_the_audience() {
        let (_dir, env) = agent(|request, body| {
            assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchJWTSVID");
            assert_eq!(request.headers()["workload.spiffe.io"], "true");
            assert_eq!(body, frame(&string_field(1, "sigstore")));
            Response::builder().header("content-type", "application/grpc").body(answer("a.b.c").into()).unwrap()
        });
        let http = impatient();
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        assert_eq!(fetch(&context).await.unwrap(), "a.b.c");
        let http = Client::disabled();
        let context = Context { http: &http, ..context };
        assert!(matches!(fetch(&context).await, Err(Outcome::Failed(_))));
    }

    #[tokio::test]
    async fn an_agents_refusal_is_a_failure() {
        let (_dir, env) = agent(|_, _| {
            let reply = Response::builder().header("grpc-status", "7").header("grpc-message", "no identity issued");
            reply.body(Full::default()).unwrap()
        });
        let http = impatient();
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        let Err(Outcome::Failed(why)) = fetch(&context).await else { panic!("not a failure") };
        assert!(why.contains("no identity issued"), "{why}");
    }

    #[tokio::test]
    async fn no_socket_means_not_here() {
        let http = impatient();
        let env = Environment::from_pairs::<&str, &str>([]).with_root("/nonexistent");
        let context = Context { http: &http, env: &env, audience: "sigstore" };
        assert!(matches!(fetch(&context).await, Err(Outcome::NotHere(_))));
    }
}
