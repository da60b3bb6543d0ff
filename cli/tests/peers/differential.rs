//! Changed bundles, judged by us and by the real cosign: the verdicts are the same, or the difference is one that is listed here with
//! its reason. Bundles of Rekor v1 and v2, of public and of private instances; each member is removed, emptied and altered.

use std::path::Path;

use serde_json::{Value, json};
use vidimus::core::encoding;

use crate::{peer, sandbox::Sandbox};

/// A bundle that both accept: its file, trusted root, artifact, signer and issuer.
type Case = [&'static str; 5];

const GITHUB_LOGIN: &str = "https://github.com/login/oauth";
const CASES: [Case; 4] = [
    ["wire/bundle-a.v1.json", "wire/trusted_root.json", "wire/a.txt", "dev@signet.test", "http://127.0.0.1:5600"],
    ["wire/bundle-a.v2.json", "wire/trusted_root.json", "wire/a.txt", "dev@signet.test", "http://127.0.0.1:5600"],
    [
        "public/cosign-blob.sigstore.json",
        "public/roots/production.json",
        "public/cosign-blob.txt",
        "w.vollprecht@gmail.com",
        GITHUB_LOGIN,
    ],
    [
        "public/staging-rekor2.sigstore.json",
        "public/roots/staging.json",
        "public/staging-rekor2.txt",
        "jku@goto.fi",
        GITHUB_LOGIN,
    ],
];

/// Where cosign accepts what we refuse.
const STRICTER: &[(&str, &str)] = &[
    ("/kindVersion/", "cosign goes by the body alone; we want both to say the same"),
    ("/canonicalizedBody", "of a Rekor v2 body, cosign compares the certificate's key; we compare the certificate"),
    ("/checkpoint/envelope", "cosign goes by the key id; a note's signature also has the log's name (C2SP signed-note)"),
    ("/rfc3161Timestamps", "an empty timestamp, or one twice, is something no signer writes"),
];

/// Where we accept what cosign refuses.
const LAXER: &[(&str, &str)] = &[
    ("/inclusionPromise", "the timestamp says when; the inclusion proof is there"),
    ("/messageDigest", "the specification forbids to verify with it: it is a hint"),
    ("/signedTimestamp", "certificates in a timestamp are not needed where the trusted root has the authority's"),
];

#[test]
fn changed_bundles_get_the_same_verdict_from_cosign() {
    let Some(cosign) = peer::find("cosign") else { return };
    let (sandbox, us) = (Sandbox::start(), Path::new(env!("CARGO_BIN_EXE_vidimus")));
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/");
    let (mut tried, mut differences, mut problems) = (0, 0, Vec::new());
    for [bundle, root, artifact, signer, issuer] in CASES {
        let document: Value = serde_json::from_slice(&std::fs::read(format!("{testdata}{bundle}")).unwrap()).unwrap();
        let mut changes = vec![(String::new(), "as it is", document.clone())];
        walk(&document, &document, "", &mut changes);
        for (at, what, changed) in changes {
            let file = sandbox.write("changed.json", changed.to_string().as_bytes());
            let (root, artifact) = (format!("{testdata}{root}"), format!("{testdata}{artifact}"));
            let whom = ["--certificate-identity", signer, "--certificate-oidc-issuer", issuer];
            let line = [&["verify-blob", "--trusted-root", &root, "--bundle", &file], &whom[..], &[&artifact]].concat();
            let (ours, theirs) = (sandbox.peer(us, &line).is_ok(), sandbox.peer(&cosign, &line).is_ok());
            tried += 1;
            let listed = if ours { LAXER } else { STRICTER };
            if ours == theirs {
                assert!(!at.is_empty() || ours, "{bundle} as it is");
            } else if listed.iter().any(|(place, _)| at.contains(place)) {
                differences += 1;
            } else {
                problems.push(format!("{bundle} {at} {what}: we say {ours}, cosign {theirs}"));
            }
        }
    }
    println!("{tried} bundles, {differences} listed differences");
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(tried > 300);
}

/// The document with one change, for each change.
fn walk(whole: &Value, value: &Value, at: &str, out: &mut Vec<(String, &'static str, Value)>) {
    let replaced = |new: Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(at).unwrap() = new;
        changed
    };
    let mut push = |what, changed| out.push((at.to_owned(), what, changed));
    if let Some((parent, key)) = at.rsplit_once('/') {
        let mut changed = whole.clone();
        match changed.pointer_mut(parent).unwrap() {
            Value::Object(map) => drop(map.remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().unwrap())),
            _ => unreachable!("only objects and arrays have members"),
        }
        push("removed", changed);
    }
    match value {
        Value::Object(map) => map.iter().for_each(|(key, child)| walk(whole, child, &format!("{at}/{key}"), out)),
        Value::Array(list) => {
            push("the first once more", replaced(list.iter().chain(list.first()).cloned().collect()));
            list.iter().enumerate().for_each(|(i, child)| walk(whole, child, &format!("{at}/{i}"), out));
        }
        Value::String(text) => {
            push("empty", replaced(json!("")));
            altered(text).into_iter().for_each(|new| push("altered", replaced(json!(new))));
        }
        _ => {}
    }
}

/// Another number, other bytes, or another text.
fn altered(text: &str) -> Vec<String> {
    if let Ok(number) = text.parse::<i64>() {
        return vec![(number + 1).to_string()];
    }
    match encoding::decode(text).ok().filter(|bytes| bytes.len() > 8) {
        Some(bytes) => [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1]
            .into_iter()
            .map(|i| {
                let mut bytes = bytes.clone();
                bytes[i] ^= 1;
                encoding::encode(bytes)
            })
            .collect(),
        None => {
            let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(i, _)| i);
            let rest = text[middle..].chars().next();
            let other = if rest == Some('b') { 'c' } else { 'b' };
            vec![format!("{}{other}{}", &text[..middle], rest.map_or("", |c| &text[middle + c.len_utf8()..]))]
        }
    }
}
