//! Whom to trust, who must have signed, what must be proven: the flags of the commands that verify, on files and without a network.
//! The kernel is the judge of "without a network": it kills whatever opens a socket.

use std::thread;

use serde_json::Value;
use vidimus::core::{digest::sha256, encoding};

use crate::sandbox::{JDOE, Sandbox, image, nobody, stack};

const BOB: &str = "bob@corp.example";
const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata");

/// Runs something in a thread whose system calls, and those of the programs it starts, may not open a socket.
fn without_sockets<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let calls: [i64; 3] = match std::env::consts::ARCH {
        // socket, connect, io_uring_setup
        "x86_64" => [41, 42, 425],
        "aarch64" => [198, 203, 425],
        other => panic!("the numbers of the system calls of {other} are not known here"),
    };
    let rules = calls.map(|call| (call, Vec::new())).into_iter().collect();
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            seccompiler::apply_filter(&program).unwrap();
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A sandbox with a file signed by the builder through a Rekor v1 log, whose key alone is enough to check it.
fn signed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    sandbox.run("sign-blob -y --signing-config signing_config_rekor_v1.v0.2.json --bundle f.json f").exits(0);
    sandbox
}

/// The same by a second person, in the file `bob.json`.
fn signed_twice() -> Sandbox {
    let mut sandbox = signed();
    sandbox.set("SIGSTORE_ID_TOKEN", stack().token(BOB).unwrap());
    sandbox.run("sign-blob -y --bundle bob.json f").exits(0);
    sandbox
}

/// The members of the trusted root as the single files that cosign takes.
fn single_files(sandbox: &Sandbox) {
    let root = sandbox.json("trusted_root.json");
    let bytes = |value: &Value| encoding::decode(value.as_str().unwrap()).unwrap();
    let chain = |authority: &Value| -> Vec<String> {
        let certificates = authority["certChain"]["certificates"].as_array().unwrap();
        certificates.iter().map(|c| encoding::pem("CERTIFICATE", &bytes(&c["rawBytes"]))).collect()
    };
    let key = |log: &Value| encoding::pem("PUBLIC KEY", &bytes(&log["publicKey"]["rawBytes"]));
    let fulcio = chain(&root["certificateAuthorities"][0]);
    sandbox.file("fulcio.pem", fulcio.concat());
    sandbox.file("roots.pem", fulcio.last().unwrap());
    sandbox.file("intermediates.pem", fulcio[..fulcio.len() - 1].concat());
    sandbox.file("tsa.pem", chain(&root["timestampAuthorities"][0]).concat());
    sandbox.file("ctfe.pub", key(&root["ctlogs"][0]));
    let logs: Vec<_> = root["tlogs"].as_array().unwrap().iter().map(key).collect();
    sandbox.file("rekor.pub", logs.concat());
}

#[test]
fn the_judge_is_awake() {
    let sandbox = Sandbox::new();
    let line = format!("tree {}/app:1", nobody());
    without_sockets(|| assert_eq!(sandbox.run(&line).code, -1, "it opened a socket and lives"));
    without_sockets(|| sandbox.run(&format!("--network=none {line}")).exits(3).says("--network=none"));
}

#[test]
fn no_network_opens_no_socket() {
    let sandbox = signed();
    let image = image("no-socket");
    let signer = sandbox.signer();
    without_sockets(|| {
        sandbox.run(&format!("verify-blob --network=none {signer} --bundle f.json f")).exits(0).says("Verified OK");
        for line in [
            format!("verify {signer} {image}"),
            format!("verify-attestation {signer} {image}"),
            format!("validate image {signer} --image {image}"),
            format!("tree {image}"),
            format!("inspect {image}"),
            format!("sign -y {image}"),
            "sign-blob -y --bundle g.json f".to_owned(),
            format!("initialize --mirror {} --root root.json", stack().origin()),
            format!("login -u a --password b {}", stack().registry()),
        ] {
            sandbox.run(&format!("--network=none {line}")).exits(3);
        }
        sandbox.run("--network=none inspect f.json").exits(0);
    });
}

#[test]
fn public_bundles_with_nothing_but_what_is_built_in() {
    let github = "https://token.actions.githubusercontent.com";
    let beacon = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let a = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    for (mirror, bundle, who, issuer, what) in [
        (
            "",
            "cosign-blob",
            "w.vollprecht@gmail.com",
            "https://github.com/login/oauth",
            format!("{TESTDATA}/public/cosign-blob.txt"),
        ),
        ("", "happy-path", beacon, github, a.to_owned()),
        ("https://tuf-repo-cdn.sigstage.dev", "staging-rekor2-dsse", beacon, github, a.to_owned()),
    ] {
        let mut sandbox = Sandbox::bare();
        if !mirror.is_empty() {
            sandbox.set("TUF_MIRROR", mirror);
        }
        let flags = format!("--certificate-identity {who} --certificate-oidc-issuer {issuer}");
        let line = format!("verify-blob --network=none --bundle {TESTDATA}/public/{bundle}.sigstore.json {flags}");
        without_sockets(|| {
            sandbox.run(&format!("{line} {what}")).exits(0).says("Verified OK").says("as it was when this program was built");
            sandbox.run(&format!("{line} sha256:{}", "0".repeat(64))).exits(1);
        });
    }
}

#[test]
fn a_private_instance_of_github() {
    let sandbox = Sandbox::bare();
    let digest = "sha256:76f1fe8593bf227cca2c089e3c16dc95014a8d3e89c5dd220530469ca043c428";
    let roots =
        ["github", "production"].map(|name| std::fs::read_to_string(format!("{TESTDATA}/public/roots/{name}.json")).unwrap());
    // One line each, as `gh attestation trusted-root` prints them.
    let lines = roots.map(|json| format!("{}\n", serde_json::from_str::<Value>(&json).unwrap()));
    sandbox.file("roots.jsonl", lines.concat());
    let bundle = format!("{TESTDATA}/public/github-private-attestation.sigstore.json");
    let signer = "--certificate-identity https://dotcom.releases.github.com --certificate-oidc-issuer-regexp .*";
    let line = format!("verify-blob --trusted-root roots.jsonl --bundle {bundle} {signer} --report r.json");
    sandbox.run(&format!("{line} {digest}")).exits(1).says("0 of 1 required log entries").says("--evidence timestamp-authority");
    let ran = sandbox.run(&format!("{line} --evidence timestamp-authority {digest}")).exits(0).says("Verified OK");
    ran.says("NOT checked, as asked: that the signature is public").says("NOT checked, as asked: that the certificate is public");
    let report = sandbox.json("r.json");
    assert_eq!(report["waivers"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(report["verified"]["trustRoot"].as_str().unwrap().contains("roots.jsonl, line 1"), "{report}");
    // Where only others are trusted, it is said whose it is.
    let production = format!("{TESTDATA}/public/roots/production.json");
    let line =
        format!("verify-blob --evidence timestamp-authority --trusted-root {production} --bundle {bundle} {signer} {digest}");
    sandbox.run(&line).exits(1);
}

#[test]
fn a_bundle_of_another_instance_is_said_to_be_one() {
    let sandbox = Sandbox::new();
    let who = "--certificate-identity w.vollprecht@gmail.com --certificate-oidc-issuer https://github.com/login/oauth";
    let bundle = format!("{TESTDATA}/public/cosign-blob.sigstore.json {TESTDATA}/public/cosign-blob.txt");
    let ran = sandbox.run(&format!("verify-blob {who} --bundle {bundle}")).exits(1);
    ran.says("not in the trusted root").says("hint: it was made by Sigstore's public-good instance");
}

#[test]
fn trust_in_single_files() {
    let mut sandbox = signed();
    single_files(&sandbox);
    sandbox.unset("COSIGN_TRUST_CONFIG");
    let line = format!("verify-blob --network=none {} --bundle f.json f", sandbox.signer());
    let variables = [
        ("SIGSTORE_ROOT_FILE", "fulcio.pem"),
        ("SIGSTORE_REKOR_PUBLIC_KEY", "rekor.pub"),
        ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "ctfe.pub"),
        ("SIGSTORE_TSA_CERTIFICATE_FILE", "tsa.pem"),
    ];
    variables.iter().for_each(|(name, file)| sandbox.set(name, *file));
    without_sockets(|| sandbox.run(&line).exits(0).says("Verified OK"));
    without_sockets(|| sandbox.run(&format!("{line} --use-signed-timestamps")).exits(0));
    // What no file says is the TUF repository's, which cannot be asked here: nobody is trusted instead.
    sandbox.set("TUF_MIRROR", "http://127.0.0.1:9");
    sandbox.set("TUF_ROOT_JSON", sandbox.path().join("root.json").display().to_string());
    for (name, file) in &variables[..3] {
        sandbox.unset(name);
        sandbox.run(&line).exits(3);
        sandbox.set(name, "f");
        sandbox.run(&line).exits(2).says(name);
        sandbox.set(name, *file);
    }
    sandbox.set("SIGSTORE_REKOR_PUBLIC_KEY", "ctfe.pub");
    sandbox.run(&line).exits(1).says("not in the trusted root");
    sandbox.set("SIGSTORE_REKOR_PUBLIC_KEY", "rekor.pub");
    // Flags come before variables, and --trusted-root before both.
    sandbox.set("SIGSTORE_ROOT_FILE", "tsa.pem");
    sandbox.run(&line).exits(1).says("which the trusted root does not have");
    sandbox.run(&format!("{line} --ca-roots roots.pem --ca-intermediates intermediates.pem")).exits(0);
    sandbox.run(&format!("{line} --certificate-chain fulcio.pem --timestamp-certificate-chain tsa.pem")).exits(0);
    sandbox.run(&format!("{line} --trusted-root trusted_root.json")).exits(0);
    for flags in [
        "--ca-intermediates intermediates.pem",
        "--ca-roots roots.pem --certificate-chain fulcio.pem",
        "--trusted-root trusted_root.json --certificate-chain fulcio.pem",
        "--trusted-root trusted_root.json --trust-config trust_config.json",
    ] {
        sandbox.run(&format!("{line} {flags}")).exits(2);
    }
}

#[test]
fn typed_trust_replaces_trust_from_the_environment() {
    let sandbox = signed();
    // COSIGN_TRUST_CONFIG is set here, and would contradict.
    sandbox.run(&format!("verify-blob {} --trusted-root trusted_root.json --bundle f.json f", sandbox.signer())).exits(0);
}

#[test]
fn several_signers() {
    let sandbox = signed_twice();
    let issuer = stack().origin();
    let (jdoe, bob) = (format!("subject={JDOE},issuer={issuer}"), format!("subject~^bob@,issuer={issuer}"));
    let both = "--bundle f.json --bundle bob.json";
    let line = |rest: &str| sandbox.run(&format!("verify-blob --report r.json {rest} f"));
    line(&format!("{both} --identity {jdoe} --identity {bob}")).exits(0);
    let ran = line(&format!("{both} --identity {jdoe} --identity {bob} --identity-threshold all")).exits(0);
    ran.says("2 of the 2 required signers signed");
    assert_eq!(sandbox.json("r.json")["verified"].as_array().map(Vec::len), Some(2));
    let ran = line(&format!("--bundle f.json --identity {jdoe} --identity {bob} --identity-threshold 2")).exits(1);
    ran.says(&format!("1 of 2 identities signed ({JDOE}), 2 must; not signed by: /^bob@/"));
    // One person whom two patterns describe is one person.
    let anybody = format!("subject~@,issuer={issuer}");
    line(&format!("--bundle f.json --identity {jdoe} --identity {anybody} --identity-threshold all")).exits(1);
    line(&format!("{both} --identity {jdoe} --identity {anybody} --identity-threshold all")).exits(0);
    // The same from a file, and the bundles as JSON Lines.
    let lines = ["f.json", "bob.json"].map(|name| format!("{}\n", sandbox.json(name)));
    sandbox.file("both.jsonl", lines.concat());
    let file = format!(
        "threshold: 2\nidentities:\n- subject: {JDOE}\n  issuer: {issuer}\n- subjectRegExp: ^bob@\n  issuerRegExp: ^http\n- subject: eve@example.com\n  issuer: {issuer}\n"
    );
    sandbox.file("who.yaml", file);
    line("--bundle both.jsonl --identity-file who.yaml").exits(0).says("2 of the 2 required signers");
    line("--bundle both.jsonl --identity-file who.yaml --identity-threshold all").exits(1).says("not signed by: eve@example.com");
    // A line that is broken takes nothing from the others.
    sandbox.file("some.jsonl", format!("{{\"mediaType\":\"x\"}}\n{}", lines[0]));
    line(&format!("--bundle some.jsonl --identity {jdoe}")).exits(0);
}

#[test]
fn several_signers_of_an_image() {
    let mut sandbox = Sandbox::new();
    let image = image("two-signers");
    sandbox.run(&format!("sign -y {image}")).exits(0);
    let issuer = stack().origin();
    let who =
        format!("--identity subject={JDOE},issuer={issuer} --identity subject={BOB},issuer={issuer} --identity-threshold 2");
    let ran = sandbox.run(&format!("verify {who} --report r.json {image}")).exits(12).prints_nothing();
    ran.says(&format!("1 of 2 identities signed ({JDOE}), 2 must; not signed by: {BOB}"));
    assert_eq!(sandbox.json("r.json")["images"][0]["identities"]["required"], 2);
    let ran = sandbox.run(&format!("validate image --image {image} {who}")).exits(1);
    assert!(ran.stdout.contains("1 of 2 identities signed"), "{ran}");
    sandbox.set("SIGSTORE_ID_TOKEN", stack().token(BOB).unwrap());
    sandbox.run(&format!("sign -y {image}")).exits(0);
    sandbox.run(&format!("verify {who} {image}")).exits(0).says("2 of the 2 required signers signed");
}

#[test]
fn claims() {
    let sandbox = signed();
    let signer = sandbox.signer();
    let line = |rest: &str| sandbox.run(&format!("verify-blob --bundle f.json {signer} {rest} f"));
    let issuer = stack().origin();
    line(&format!("--claim IssuerV2={issuer} --claim issuer~^http")).exits(0);
    line("--claim IssuerV2=https://elsewhere.example")
        .exits(1)
        .says("IssuerV2")
        .says(&format!("hint: the certificate's IssuerV2 is {issuer}"));
    line("--claim SourceRepositoryURI=https://github.com/acme/app")
        .exits(1)
        .says("the certificate says nothing about SourceRepositoryURI");
    line("--claim NoSuchClaim=x").exits(2).says("TokenSubject");
}

#[test]
fn more_evidence_than_usual() {
    let sandbox = signed();
    let signer = sandbox.signer();
    let line = |rest: &str| sandbox.run(&format!("verify-blob --bundle f.json {signer} {rest} f"));
    line("--min-log-entries 1 --min-timestamps 1 --min-bundle-version 0.3 --require-inclusion-proof").exits(0);
    line("--min-log-entries 2").exits(1).says("1 of 2 required log entries");
    line("--min-timestamps 2").exits(1).says("1 of 2 required");
    line("--min-log-entries 1 --insecure-ignore-tlog").exits(2);
    line("--min-log-entries 0").exits(2);
    let old = format!(
        "{TESTDATA}/public/github-whl.sigstore.json sha256:c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201"
    );
    let who = "--certificate-identity https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2 --certificate-oidc-issuer https://token.actions.githubusercontent.com";
    let roots = format!("{TESTDATA}/public/roots/production.json");
    let ran = sandbox.run(&format!("verify-blob --trusted-root {roots} {who} --min-bundle-version 0.3 --bundle {old}"));
    ran.exits(1).says("bundles of version 0.3 or newer only").says("hint: sign again");
    sandbox.run(&format!("verify-blob --trusted-root {roots} {who} --min-bundle-version 0.2 --bundle {old}")).exits(0);
}

#[test]
fn witnesses() {
    let sandbox = signed();
    let signer = sandbox.signer();
    let spki =
        encoding::pem_one(&std::fs::read_to_string(format!("{TESTDATA}/keys/ed25519.pub")).unwrap(), "PUBLIC KEY").unwrap();
    let key = [&[4], &spki[spki.len() - 32..]].concat();
    let id = sha256(&[b"witness.example\n".as_slice(), &key].concat());
    let vkey = format!("witness.example+{:02x}{:02x}{:02x}{:02x}+{}", id[0], id[1], id[2], id[3], encoding::encode(&key));
    sandbox.file("witnesses", format!("# those whom we know\n{vkey}\n\n"));
    for witness in [&*vkey, "witnesses"] {
        let ran = sandbox.run(&format!("verify-blob --bundle f.json {signer} --witness {witness} f"));
        ran.exits(1).says("0 of 1 required witnesses cosigned the log's checkpoint");
    }
    sandbox.run(&format!("verify-blob --bundle f.json {signer} --witness {vkey} --witness-threshold 2 f")).exits(2);
}

#[test]
fn a_signature_in_a_file_of_its_own() {
    let sandbox = signed();
    let bundle = sandbox.json("f.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let signature = text(&bundle["messageSignature"]["signature"]);
    let material = &bundle["verificationMaterial"];
    let certificate = encoding::decode(text(&material["certificate"]["rawBytes"])).unwrap();
    let timestamp = text(&material["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"]);
    let pem = encoding::pem("CERTIFICATE", &certificate);
    sandbox.file("f.sig", &signature);
    sandbox.file("f.pem", &pem);
    sandbox.file("f.pem.base64", encoding::encode(&pem));
    sandbox.file("f.tsr", encoding::decode(&timestamp).unwrap());
    sandbox.file("f.tsr.json", format!(r#"{{"SignedRFC3161Timestamp":"{timestamp}"}}"#));
    let signer = sandbox.signer();
    let line = |rest: &str| sandbox.run(&format!("verify-blob {signer} {rest} f"));
    for (sig, cert, tsr) in [("f.sig", "f.pem", "f.tsr"), (&*signature, "f.pem.base64", "f.tsr.json")] {
        let flags = format!("--signature {sig} --certificate {cert} --rfc3161-timestamp {tsr} --offline");
        line(&flags).exits(1).says("0 of 1 required log entries").says("--insecure-ignore-tlog");
        line(&format!("{flags} --insecure-ignore-tlog")).exits(0).says("Verified OK").says("NOT checked, as asked");
    }
    line("--signature f.sig --certificate f.pem --insecure-ignore-tlog").exits(1).says("prove when the signature was made");
    let now = line("--signature f.sig --certificate f.pem --insecure-ignore-tlog --insecure-current-time").exits(0);
    now.says("only that it is valid now");
    line("--signature f.sig --offline").exits(1);
    line("--signature f.sig --bundle f.json").exits(2);
    line("--bundle f.json --certificate f.pem").exits(2);
    line("").exits(2).says("--bundle FILE");
}

#[test]
fn a_log_entry_that_did_not_travel_along_is_asked_for() {
    let sandbox = signed();
    let bundle = sandbox.json("f.json");
    let certificate = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str().unwrap();
    sandbox.file("f.sig", bundle["messageSignature"]["signature"].as_str().unwrap());
    sandbox.file("f.pem", encoding::pem("CERTIFICATE", &encoding::decode(certificate).unwrap()));
    sandbox.file("g", "other");
    let signer = sandbox.signer();
    let line = |rest: &str| sandbox.run(&format!("verify-blob {signer} --signature f.sig --certificate f.pem {rest}"));
    // By the trusted root, or by name.
    line("f").exits(0).says("asking http").says("Verified OK");
    line(&format!("--rekor-url {} f", stack().origin())).exits(0);
    line("g").exits(1).says("0 of 1 required log entries");
    line("--offline f").exits(1).says("0 of 1 required log entries");
    line("--network=none f").exits(1).says("0 of 1 required log entries");
    // Not asked is not "not there".
    line(&format!("--rekor-url http://{} f", nobody())).exits(3).says("could not be fetched").says("--offline");
    line("--rekor-url nowhere f").exits(2);
}

#[test]
fn a_managed_key_from_everywhere() {
    let mut sandbox = Sandbox::bare();
    let pem = std::fs::read_to_string(format!("{TESTDATA}/public/managed-key.pub")).unwrap();
    sandbox.file("k.pem", &pem);
    sandbox.file("k.der", encoding::pem_one(&pem, "PUBLIC KEY").unwrap());
    sandbox.set("THE_KEY", pem);
    let root = format!("{TESTDATA}/public/roots/production.json");
    let bundle = format!("--bundle {TESTDATA}/public/managed-key.sigstore.json {TESTDATA}/public/managed-key.txt");
    for key in ["k.pem", "k.der", "env://THE_KEY"] {
        sandbox.run(&format!("verify-blob --network=none --trusted-root {root} --key {key} {bundle}")).exits(0);
        // Without a log entry being asked for, nobody has to be trusted.
        let ran = sandbox.run(&format!("verify-blob --network=none --insecure-ignore-tlog --key {key} {bundle}")).exits(0);
        ran.says("NOT checked, as asked");
    }
    let other = format!("{TESTDATA}/keys/p384.pub");
    sandbox
        .run(&format!("verify-blob --network=none --trusted-root {root} --key {other} {bundle}"))
        .exits(1)
        .says("hint: another key");
    sandbox.run(&format!("verify-blob --key env://NOT_THERE {bundle}")).exits(2).says("NOT_THERE");
}

#[test]
fn a_digest_instead_of_the_file() {
    let sandbox = Sandbox::new();
    sandbox.file("f", "content\n");
    sandbox.file("p.json", "{}");
    sandbox.run("attest-blob -y --type https://example.com/p --predicate p.json --bundle a.json f").exits(0);
    let digest = vidimus::core::Digest::sha256(b"content\n");
    let line = format!("verify-blob-attestation --type https://example.com/p {} --bundle a.json", sandbox.signer());
    sandbox.run(&format!("{line} {digest}")).exits(0);
    sandbox.run(&format!("{line} --digest {}", digest.hex())).exits(0);
    sandbox.run(&format!("{line} sha256:{}", "0".repeat(64))).exits(1);
    // The signature is over a SHA-256: another digest leaves the question open.
    sandbox.run("sign-blob -y --bundle f.json f").exits(0);
    let line = format!("verify-blob {} --bundle f.json", sandbox.signer());
    sandbox.run(&format!("{line} {digest}")).exits(0);
    sandbox.run(&format!("{line} sha512:{}", "0".repeat(128))).exits(3).says("give the file itself, or its sha256 digest");
}
