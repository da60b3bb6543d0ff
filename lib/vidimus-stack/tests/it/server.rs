//! The one port: protocols, bounds, and whom it answers.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use reqwest::{Client, StatusCode};
use vidimus_stack::stack::{Stack, StackConfig, StackError};

fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_on_one_port() {
    let running = crate::stack().await;
    let url = format!("{}/healthz", running.origin());
    for (client, version) in [
        (Client::builder().http1_only().build().unwrap(), http::Version::HTTP_11),
        (Client::builder().http2_prior_knowledge().build().unwrap(), http::Version::HTTP_2),
    ] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.version(), answer.status()), (version, StatusCode::OK));
        assert_eq!(answer.text().await.unwrap(), "{\"status\":\"SERVING\"}");
    }
    // What a client that tries TLS first needs in order to fall back.
    assert!(
        raw(running.registry(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no request\r\n\r\n").starts_with("HTTP/1.1 400")
    );
}

#[tokio::test]
async fn other_names_for_loopback_are_not_served() {
    let running = crate::stack().await;
    let get = |host: &'static str| Client::new().get(format!("{}/healthz", running.origin())).header("host", host).send();
    assert_eq!(get("localhost:1").await.unwrap().status(), StatusCode::OK);
    assert_eq!(get("rebound.example").await.unwrap().status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_idle_clients() {
    let running = crate::stack().await;
    let mut idle = TcpStream::connect(running.registry()).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 64]).unwrap() > 0);
    let half = TcpStream::connect(running.registry()).unwrap();
    (&half).write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let address = running.registry().to_owned();
    tokio::time::timeout(Duration::from_secs(20), running.shutdown()).await.expect("the drain is bounded");
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn nothing_beyond_loopback_by_accident() {
    let config = || StackConfig { listen: Some("0.0.0.0".parse().unwrap()), ..StackConfig::default() };
    assert!(matches!(Stack::start(config()).await, Err(StackError::NotLoopback(_))));
    let running = Stack::start(StackConfig { expose: true, ..config() }).await.unwrap();
    assert!(running.exposes().unwrap().contains("without TLS"));
    assert!(crate::stack().await.exposes().is_none());
}

#[tokio::test]
async fn a_directory_keeps_its_port_and_belongs_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = |port| StackConfig { dir: Some(dir.path().join("stack")), port, ..StackConfig::default() };
    let first = Stack::start(config(0)).await.unwrap();
    let origin = first.origin().to_owned();
    assert!(matches!(Stack::start(config(0)).await, Err(StackError::InUse { pid, .. }) if pid == std::process::id()));
    first.shutdown().await;
    let second = Stack::start(config(0)).await.unwrap();
    assert_eq!(second.origin(), origin);
    second.shutdown().await;
    let port: u16 = origin.rsplit(':').next().unwrap().parse().unwrap();
    assert!(matches!(Stack::start(config(port.wrapping_add(1).max(1024))).await, Err(StackError::Origin { .. })));
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = Stack::start(config(0)).await.unwrap_err();
    assert!(matches!(&error, StackError::Bind { kept: true, .. }), "{error}");
    drop(taken);
}

#[tokio::test]
async fn the_host_must_be_one() {
    for host in ["", "a b", "a/b", "a:1", "UPPER", "::1"] {
        let config = StackConfig { host: Some(host.into()), ..StackConfig::default() };
        assert!(matches!(Stack::start(config).await, Err(StackError::Host(_))), "{host}");
    }
    let running = Stack::start(StackConfig { host: Some("localhost".into()), ..StackConfig::default() }).await.unwrap();
    assert!(running.origin().starts_with("http://localhost:"));
}
