//! `bundle create`: what old cosign wrote, repackaged by us and by the real cosign, is the same and verifies.

use serde_json::Value;

use crate::{
    peer,
    sandbox::{SIGNER, Sandbox},
};

#[test]
fn created_bundles_equal_cosigns_and_verify() {
    let (Some(cosign), Some(old)) = (peer::find("cosign"), peer::find("cosign2")) else { return };
    let sandbox = Sandbox::start();
    let Sandbox { origin, token, .. } = &sandbox;
    let (mirror, root) = (format!("{origin}/tuf"), sandbox.public("root.json"));
    let file = sandbox.write("a.txt", b"an artifact\n");
    let predicate = sandbox.write("predicate", br#"{"a":1}"#);
    sandbox.peer(&old, &["initialize", "--mirror", &mirror, "--root", &root]).ok();
    let (blob, statement) = (sandbox.arg("blob.json"), sandbox.arg("statement.json"));
    let services = ["--fulcio-url", origin, "--rekor-url", origin, "--yes", "--identity-token", token];
    sandbox.peer(&old, &[&["sign-blob", "--bundle", &blob], &services[..], &[&file]].concat()).ok();
    let what = ["attest-blob", "--type", "https://example.com/p", "--predicate", &predicate, "--bundle", &statement];
    sandbox.peer(&old, &[&what[..], &services, &[&file]].concat()).ok();
    sandbox.peer(&cosign, &["initialize", "--mirror", &mirror, "--root", &root]).ok();
    sandbox.vidimus(&["initialize"]).ok();
    for (verb, bundle) in [("verify-blob", &blob), ("verify-blob-attestation", &statement)] {
        let create = ["bundle", "create", "--artifact", &file, "--bundle", bundle, "--rekor-url", origin];
        let (theirs, ours) = (sandbox.peer(&cosign, &create).stdout(), sandbox.vidimus(&create).stdout());
        assert_eq!(comparable(&ours), comparable(&theirs), "{bundle}");
        let made = sandbox.write("made.json", ours.as_bytes());
        let whom = ["--certificate-identity", SIGNER, "--certificate-oidc-issuer", origin, "--bundle", &made];
        let kind: &[&str] = if verb == "verify-blob" { &[] } else { &["--type", "https://example.com/p"] };
        let verify = [&[verb], kind, &whom, &[&file]].concat();
        sandbox.vidimus(&verify).ok();
        sandbox.peer(&cosign, &verify).ok();
    }
}

/// A bundle without what may differ: the spelling of the version, members with protobuf's defaults, which are optional, and the log's
/// promise, which it signs anew for each answer.
fn comparable(json: &str) -> Value {
    let mut bundle: Value = serde_json::from_str(json).expect("a bundle is JSON");
    bundle["mediaType"] = Value::Null;
    bundle["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"] = Value::Null;
    without_defaults(bundle)
}

fn without_defaults(value: Value) -> Value {
    let is_default = |v: &Value| v.is_null() || *v == "0" || *v == "" || *v == Value::Array(Vec::new());
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, v)| !is_default(v)).map(|(k, v)| (k, without_defaults(v)));
            Value::Object(kept.collect())
        }
        Value::Array(list) => list.into_iter().map(without_defaults).collect(),
        other => other,
    }
}
