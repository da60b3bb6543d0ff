//! What every request passes before a service sees it: the host it is meant for, and a time limit.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::json;

/// Longest time to an answer's head. The slowest honest answer waits for a checkpoint, a fraction of a second; clients give up after 5 to
/// 90 seconds.
const ANSWER: Duration = Duration::from_secs(60);

/// Which hosts requests may be addressed to.
#[derive(Debug, Clone)]
pub(crate) enum Hosts {
    /// Names of this machine's own interface, and this name. Without it a web page could reach a stack through a name of its own that
    /// resolves to 127.0.0.1, and would be of the same origin.
    Loopback(String),
    /// Any: the stack is exposed on purpose, under names it can not know.
    Any,
}

impl Hosts {
    fn admit(&self, host: Option<&str>) -> bool {
        let Self::Loopback(own) = self else { return true };
        // HTTP/1.0 has none, and no browser speaks it.
        let Some(host) = host else { return true };
        let name = without_port(host);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let loopback = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        loopback || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(own)
    }
}

/// Puts the guard before all routes of `router`.
pub(crate) fn guard(router: Router, hosts: Hosts) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::new(hosts), check))
}

async fn check(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    if !hosts.admit(host(request.uri(), request.headers())) {
        return error(
            StatusCode::MISDIRECTED_REQUEST,
            "this server listens on the loopback interface and answers to its names only",
        );
    }
    let path = request.uri().path();
    // Uploads to the registry are measured by their silence instead.
    if path.starts_with("/v2") {
        return next.run(request).await;
    }
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "no answer in time"),
    }
}

fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    // HTTP/2 carries the authority in the URI.
    uri.authority().map(|authority| authority.as_str()).or_else(|| headers.get(header::HOST)?.to_str().ok())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"code": status.as_u16(), "message": message}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine() {
        let hosts = Hosts::Loopback("stack.internal".into());
        for good in ["127.0.0.1:4000", "127.8.8.8", "localhost:1", "LOCALHOST", "[::1]:4000", "::1", "stack.internal:4000"] {
            assert!(hosts.admit(Some(good)), "{good}");
        }
        for bad in ["evil.example:4000", "127.0.0.1.evil.example", "10.0.0.1", "[fe80::1]:4000", "localhost.evil.example", ""] {
            assert!(!hosts.admit(Some(bad)), "{bad}");
        }
        assert!(Hosts::Any.admit(Some("evil.example")));
        assert!(hosts.admit(None));
    }
}
