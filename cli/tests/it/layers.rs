//! The walls between the crates, as cargo sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Each crate with the crates of ours it may use. Nothing may look sideways or up.
const ALLOWED: &[(&str, &[&str])] = &[
    ("vidimus-core", &[]),
    ("vidimus-gpg", &["vidimus-core"]),
    ("vidimus-net", &["vidimus-core"]),
    ("vidimus-stack", &["vidimus-core"]),
    ("vidimus-verify", &["vidimus-core"]),
    ("vidimus-policy", &["vidimus-core", "vidimus-verify", "vidimus-gpg"]),
    ("vidimus", &["vidimus-core", "vidimus-verify", "vidimus-net", "vidimus-gpg", "vidimus-policy"]),
    ("vidimus-cli", &["vidimus", "vidimus-stack"]),
];

/// What the decision must never be able to do: anything on a network, anything asynchronous.
const NOT_UNDER_VERIFY: &[&str] = &["axum", "hyper", "mio", "reqwest", "rustls", "socket2", "tokio"];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Packages by name, each with the names of what it is built with; what its tests are built with is left out.
fn graph(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let list = |value: &Value| value.as_array().cloned().unwrap();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|p| (p["id"].as_str().unwrap().to_owned(), p["name"].as_str().unwrap().to_owned()))
        .collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let used = list(&node["deps"])
            .into_iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
            .map(|dep| names[dep["pkg"].as_str().unwrap()].clone());
        // Two versions of one package share their name here, which errs on the side of finding too much.
        graph.entry(names[node["id"].as_str().unwrap()].clone()).or_default().extend(used);
    }
    graph
}

#[test]
fn crates_use_only_what_is_below_them() {
    let graph = graph(&metadata());
    let ours: BTreeSet<_> = graph.keys().filter(|name| name.starts_with("vidimus")).map(String::as_str).collect();
    assert_eq!(ours, ALLOWED.iter().map(|(name, _)| *name).collect(), "a crate without a place among the layers");
    for (name, allowed) in ALLOWED {
        let forbidden: Vec<_> =
            graph[*name].iter().filter(|used| ours.contains(used.as_str()) && !allowed.contains(&used.as_str())).collect();
        assert!(forbidden.is_empty(), "{name} must not use {forbidden:?}");
    }
}

#[test]
fn the_decision_cannot_reach_a_network() {
    let graph = graph(&metadata());
    let (mut below, mut open) = (BTreeSet::new(), vec!["vidimus-verify".to_owned()]);
    while let Some(name) = open.pop() {
        if below.insert(name.clone()) {
            open.extend(graph[&name].iter().cloned());
        }
    }
    assert!(below.contains("aws-lc-rs"), "the graph is not what it should be: {below:?}");
    let found: Vec<_> = NOT_UNDER_VERIFY.iter().filter(|name| below.contains(**name)).collect();
    assert!(found.is_empty(), "vidimus-verify is built with {found:?}");
}

#[test]
fn every_dependency_is_explained() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dependencies.md")).unwrap();
    let (named, used) = text.split_once("\n## Cryptography").unwrap();
    let rows = |text: &str| -> BTreeSet<String> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name.to_owned()));
        cells.collect()
    };
    let metadata = metadata();
    let direct: BTreeSet<String> = (metadata["packages"].as_array().unwrap().iter())
        .filter(|package| package["source"].is_null())
        .flat_map(|package| package["dependencies"].as_array().unwrap())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .filter(|name| !name.starts_with("vidimus"))
        .collect();
    let explained = rows(used);
    let missing: Vec<_> = direct.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&direct).collect();
    assert!(missing.is_empty() && stale.is_empty(), "docs/dependencies.md: no row for {missing:?}; nothing uses {stale:?}");
    let asked = ["sigstore", "tough", "oci-distribution", "openidconnect", "x509-parser", "in-toto", "clap", "tokio"];
    assert_eq!(rows(named), asked.map(str::to_owned).into(), "the packages named at the start");
}
