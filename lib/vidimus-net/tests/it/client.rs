//! The HTTP client's ways that only a process of its own can show: proxies come from the environment.

use std::process::Command;

use axum::http::Method;

use crate::server::{Behaviour, Server, http};

/// The other half of the next test: asks a name that does not exist, and a loopback address.
#[tokio::test]
#[ignore = "run by proxies_are_for_others_than_loopback with a proxy in the environment"]
async fn behind_a_proxy() {
    let server = Server::start(Behaviour::default()).await;
    let direct = http().get(&format!("http://{}/v2/", server.address()).parse().unwrap()).send().await.unwrap();
    assert_eq!(direct.status, 200);
    assert_eq!(server.requests(Method::GET, "/v2/"), 1);
    let far = http().get(&"http://registry.invalid/v2/".parse().unwrap()).send().await.unwrap();
    assert_eq!(far.status, 200);
}

#[tokio::test]
async fn proxies_are_for_others_than_loopback() {
    let proxy = Server::start(Behaviour::default()).await;
    let address = format!("http://{}", proxy.address());
    let child = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "client::behind_a_proxy", "--ignored"]);
        command.env("HTTP_PROXY", &address).env("http_proxy", &address).env_remove("NO_PROXY").env_remove("no_proxy");
        command.output().unwrap()
    });
    let output = child.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let targets: Vec<String> = proxy.log().into_iter().map(|s| s.target).collect();
    assert_eq!(targets, ["http://registry.invalid/v2/"]);
}
