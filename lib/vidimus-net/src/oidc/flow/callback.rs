//! The listener that the browser comes back to (RFC 8252 §7.3).
//!
//! Browsers open connections ahead of need, ask for icons, and come twice; other programs of the machine may knock as well. So every
//! connection is served on its own, and only a request for the right path with the right state ends the wait. Only loopback is
//! listened on.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use url::{Host, Url};

use super::FlowError;

/// The path that Sigstore's clients register.
const PATH: &str = "/auth/callback";
/// Longest head of a request: what servers commonly accept.
const HEAD_BYTES: usize = 16 << 10;
/// Connections served at once; a browser opens six.
const CONNECTIONS: usize = 32;
/// Time for a browser to send its request. Connections opened ahead of need stay silent much longer and cost nothing but a slot.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// A listener with its address.
pub(super) struct Callback {
    listeners: Vec<TcpListener>,
    url: String,
    path: String,
}

impl Callback {
    /// Listens at the address that was asked for, or at a random port of `localhost`.
    pub(super) async fn listen(asked: Option<&str>) -> Result<Self, FlowError> {
        let Some(text) = asked else {
            let listeners = bind(0).await.map_err(|e| bad("http://localhost", e))?;
            let port = listeners[0].local_addr().map_err(|e| bad("http://localhost", e))?.port();
            return Ok(Self { listeners, url: format!("http://localhost:{port}{PATH}"), path: PATH.to_owned() });
        };
        let url: Url = text.parse().map_err(|e| bad(text, e))?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.scheme() != "http" || !loopback {
            return Err(bad(text, "it must be http on localhost; nothing is ever opened to the network"));
        }
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self { listeners: bind(port).await.map_err(|e| bad(text, e))?, url: text.to_owned(), path: url.path().to_owned() })
    }

    /// Where the browser has to come back to.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the code that comes with `state`.
    pub(super) async fn code(self, state: &str, patience: Duration) -> Result<String, FlowError> {
        let (sender, mut found) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let seats = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        for listener in self.listeners {
            let (sender, seats) = (sender.clone(), seats.clone());
            let (path, state) = (self.path.clone(), state.to_owned());
            tasks.spawn(async move {
                loop {
                    let Ok(seat) = seats.clone().acquire_owned().await else { return };
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let (sender, path, state) = (sender.clone(), path.clone(), state.clone());
                    tokio::spawn(async move {
                        let _seat = seat;
                        if let Some(result) = serve(stream, &path, &state).await {
                            // A second answer finds nobody waiting, which is fine.
                            let _ = sender.try_send(result);
                        }
                    });
                }
            });
        }
        match tokio::time::timeout(patience, found.recv()).await {
            Ok(Some(result)) => result,
            _ => Err(FlowError::Abandoned { seconds: patience.as_secs() }),
        }
    }
}

/// Both loopback addresses at one port: `localhost` may mean either to a browser. IPv6 may be missing.
async fn bind(port: u16) -> std::io::Result<Vec<TcpListener>> {
    let v4 = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let port = v4.local_addr()?.port();
    let v6 = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))).await;
    Ok([Some(v4), v6.ok()].into_iter().flatten().collect())
}

/// Serves one request. Gives the outcome if this was the one that was waited for.
async fn serve(mut stream: TcpStream, path: &str, state: &str) -> Option<Result<String, FlowError>> {
    let head = tokio::time::timeout(HEAD_TIME, read_head(&mut stream)).await.ok()??;
    let answer = judge(&head, path, state);
    let (status, words) = match &answer {
        None => ("404 Not Found", "Nothing is here."),
        Some(Ok(_)) => ("200 OK", "You are signed in. You can close this window and go back to the terminal."),
        Some(Err(_)) => ("200 OK", "Signing in did not succeed. The terminal says why."),
    };
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>vidimus</title><p>{words}</p>\n");
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\n\r\n{page}",
        page.len()
    );
    // The person sees a broken page if this fails; the login is complete all the same.
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
    answer
}

/// The first line of a request, once its head is complete.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if bytes.len() > HEAD_BYTES || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    String::from_utf8(bytes[..end].to_vec()).ok()
}

/// What a request line says: the code or the refusal if it is the one with our state, nothing if it is any other.
fn judge(line: &str, path: &str, state: &str) -> Option<Result<String, FlowError>> {
    let mut words = line.split(' ');
    let (Some("GET"), Some(target)) = (words.next(), words.next()) else { return None };
    // A path, not another host or a whole URL.
    let target = target.strip_prefix('/').filter(|rest| !rest.starts_with('/'))?;
    let url = Url::parse("http://localhost/").ok()?.join(&format!("./{target}")).ok()?;
    if url.path() != path {
        return None;
    }
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    // Whoever does not know the state cannot even make the login fail.
    if value("state")? != state {
        return None;
    }
    Some(match (value("code"), value("error")) {
        (_, Some(error)) => {
            let description = value("error_description").map(|words| format!(": {words}")).unwrap_or_default();
            Err(FlowError::Refused { error, description })
        }
        (Some(code), None) if !code.is_empty() => Ok(code),
        _ => return None,
    })
}

fn bad(url: &str, why: impl std::fmt::Display) -> FlowError {
    FlowError::Redirect { url: url.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(url: &str) -> String {
        let url: Url = url.parse().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap())).await.unwrap();
        let target = &url[url::Position::BeforePath..];
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_right_request_ends_the_wait() {
        let callback = Callback::listen(None).await.unwrap();
        let url = callback.url().to_owned();
        let port = url.parse::<Url>().unwrap().port().unwrap();
        let waiting = tokio::spawn(callback.code("good", Duration::from_secs(60)));
        // A browser's connection ahead of need, one that breaks off, icons, strangers.
        let silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        for other in ["/favicon.ico", "/", "/auth/callback", "/auth/callback?code=c&state=bad", "/auth/callback?state=good"] {
            let answer = get(&format!("http://localhost:{port}{other}")).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{other}: {answer}");
        }
        assert!(!waiting.is_finished());
        let answer = get(&format!("{url}?code=c%2Fd&state=good")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("You are signed in"), "{answer}");
        assert_eq!(waiting.await.unwrap().unwrap(), "c/d");
        drop(silent);
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_silence_ends() {
        let callback = Callback::listen(None).await.unwrap();
        let url = callback.url().to_owned();
        let waiting = tokio::spawn(callback.code("s", Duration::from_secs(60)));
        get(&format!("{url}?error=access_denied&error_description=no%20way&state=s")).await;
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the OIDC issuer refused: access_denied: no way");
        let callback = Callback::listen(None).await.unwrap();
        let error = callback.code("s", Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(error, FlowError::Abandoned { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_asked_address_is_used_and_only_loopback_is() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let asked = format!("http://localhost:{free}/my/path");
        let callback = Callback::listen(Some(&asked)).await.unwrap();
        assert_eq!(callback.url(), asked);
        let waiting = tokio::spawn(callback.code("s", Duration::from_secs(60)));
        get(&format!("{asked}?code=c&state=s")).await;
        assert_eq!(waiting.await.unwrap().unwrap(), "c");
        for outside in ["http://0.0.0.0:1/x", "http://example.com/x", "https://localhost/x", "nonsense"] {
            assert!(Callback::listen(Some(outside)).await.is_err(), "{outside}");
        }
    }

    #[test]
    fn requests_are_judged_by_method_path_and_state() {
        let judge = |line: &str| judge(line, PATH, "s").map(|result| result.map_err(|e| e.to_string()));
        assert_eq!(judge("GET /auth/callback?state=s&code=c HTTP/1.1"), Some(Ok("c".to_owned())));
        for other in [
            "",
            "GET",
            "POST /auth/callback?state=s&code=c HTTP/1.1",
            "GET /auth/callback?state=s&code= HTTP/1.1",
            "GET //h/auth/callback?state=s&code=c HTTP/1.1",
            "GET http://h/auth/callback?state=s&code=c HTTP/1.1",
            "GET /other?state=s&code=c HTTP/1.1",
        ] {
            assert_eq!(judge(other), None, "{other}");
        }
    }
}
