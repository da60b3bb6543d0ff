//! The same question to three: our engine, sigstore-python and cosign. Each says `Ok`, or why not.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use vidimus::{
    core::{bundle::Bundle, encoding, trust::TrustedRoot},
    engine::{Artifact, CertificateIdentity, Policy, PublicKey, SignedEntity, TrustRoot, verify},
};

use super::{
    cases::{self, By, Case},
    listed::Peer,
};
use crate::{peer, sandbox::Sandbox};

/// cosign is asked about every so many changes.
const SAMPLE: usize = 3;
/// Processes of cosign at the same time.
const THREADS: usize = 2;

/// A bundle's text, or a trusted root's, and the case that it is a variant of.
pub(super) struct Question<'a> {
    pub(super) case: &'a Case,
    pub(super) bundle: &'a str,
    pub(super) root: &'a str,
}

pub(super) type Verdict = Result<(), String>;

/// Whether cosign is to be asked about all changes.
pub(super) fn ask_all() -> bool {
    std::env::var_os("VIDIMUS_DIFFERENTIAL").is_some()
}

/// The two, and a home for them.
pub(super) struct Peers {
    cosign: PathBuf,
    python: PathBuf,
    sandbox: Sandbox,
}

impl Peers {
    /// None if one is missing.
    pub(super) fn find() -> Option<Self> {
        let (cosign, python) = (peer::find("cosign"), peer::python());
        Some(Self { cosign: cosign?, python: python?, sandbox: Sandbox::bare() })
    }

    /// A peer's verdicts, by the number of the question; those that it `must` be asked are in any sample.
    pub(super) fn verdicts(
        &self,
        peer: Peer,
        questions: &[Question<'_>],
        must: impl Fn(usize) -> bool,
    ) -> BTreeMap<usize, Verdict> {
        match peer {
            Peer::SigstorePython => sigstore_python(&self.python, &self.sandbox, questions).into_iter().enumerate().collect(),
            Peer::Cosign => {
                let is_asked = |i: &usize| ask_all() || i.is_multiple_of(SAMPLE) || must(*i);
                let asked: Vec<_> = (0..questions.len()).filter(is_asked).collect();
                self.cosigns(questions, &asked)
            }
        }
    }

    fn cosigns(&self, questions: &[Question<'_>], asked: &[usize]) -> BTreeMap<usize, Verdict> {
        let work = |thread: usize| {
            let mine = asked.iter().skip(thread).step_by(THREADS);
            mine.map(|&i| (i, cosign(&self.cosign, &self.sandbox, &thread.to_string(), &questions[i]))).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }
}

/// Our verdict.
pub(super) fn ours(question: &Question<'_>) -> Verdict {
    let Question { case, bundle, root } = question;
    let root = TrustedRoot::from_json(root.as_bytes()).map_err(|e| e.to_string())?;
    let trust = TrustRoot::new(&root).map_err(|e| e.to_string())?;
    let entity = Bundle::from_json(bundle.as_bytes()).and_then(SignedEntity::from_bundle).map_err(|e| e.to_string())?;
    let bytes = case.file.as_ref().map(|path| std::fs::read(path).unwrap());
    let artifact = match &bytes {
        Some(bytes) => Artifact::bytes(bytes),
        None => Artifact::digest(case.digest.clone()),
    };
    verify(&entity, &artifact, &trust, &policy(case.by), jiff::Timestamp::now()).map(drop).map_err(|e| e.to_string())
}

fn policy(by: By) -> Policy {
    let identity = |san, issuer: &'static str| CertificateIdentity::from_flags(Some(san), None, Some(issuer), None).unwrap();
    let key = |path| PublicKey::from_pem_or_der(&std::fs::read(cases::path(path)).unwrap()).unwrap();
    match by {
        By::Identity(san, issuer) => Policy::keyless(identity(san, issuer)),
        By::TimestampOnly(san, issuer) => Policy::timestamp_authority_only(identity(san, issuer)),
        By::Key(path) => Policy::key(key(path)),
        By::UnloggedKey(path) => Policy::key(key(path)).unsafe_without_log(),
        By::Anyone => Policy::unsafe_any_signer(),
    }
}

/// All questions to one process.
fn sigstore_python(python: &Path, sandbox: &Sandbox, questions: &[Question<'_>]) -> Vec<Verdict> {
    let mut command = sandbox.command(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/judge.py"));
    let mut judge = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (judge.stdin.take().unwrap(), judge.stdout.take().unwrap());
    let verdicts = std::thread::scope(|scope| {
        scope.spawn(move || questions.iter().for_each(|q| writeln!(stdin, "{}", python_question(q)).unwrap()));
        let answer = |line: String| serde_json::from_str::<Option<String>>(&line).unwrap().map_or(Ok(()), Err);
        BufReader::new(stdout).lines().map(|line| answer(line.unwrap())).collect::<Vec<_>>()
    });
    assert!(judge.wait().unwrap().success() && verdicts.len() == questions.len(), "judge.py failed");
    verdicts
}

fn python_question(Question { case, bundle, root }: &Question<'_>) -> Value {
    let identity = match case.by {
        By::Identity(san, issuer) | By::TimestampOnly(san, issuer) => Some([san, issuer]),
        By::Key(_) | By::UnloggedKey(_) | By::Anyone => None,
    };
    json!({"bundle": bundle, "root": root, "digest": case.digest.to_string(), "identity": identity})
}

/// One process for one question.
fn cosign(cosign: &Path, sandbox: &Sandbox, name: &str, Question { case, bundle, root }: &Question<'_>) -> Verdict {
    let bundle_path = sandbox.write(&format!("{name}.bundle.json"), bundle.as_bytes());
    let root_path = match *root == case.root {
        true => case.root_path.clone(),
        false => sandbox.write(&format!("{name}.root.json"), root.as_bytes()),
    };
    let mut args = [what(case), whom(case.by)].concat();
    args.extend(["--bundle", &bundle_path, "--trusted-root", &root_path].map(str::to_owned));
    let digest = case.digest.to_string();
    match (&case.file, predicate_type(case)) {
        (Some(file), _) => args.push(file.clone()),
        (None, None) => args.push(digest),
        (None, Some(_)) => {
            args.extend(["--digestAlg", case.digest.algorithm().name(), "--digest", &case.digest.hex()].map(str::to_owned))
        }
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let ran = sandbox.peer(cosign, &args);
    let why = || ran.to_string().lines().find(|line| line.starts_with("Error")).unwrap_or("no reason").to_owned();
    if ran.is_ok() { Ok(()) } else { Err(why()) }
}

fn what(case: &Case) -> Vec<String> {
    match predicate_type(case) {
        Some(kind) => ["verify-blob-attestation", "--type", &kind].map(str::to_owned).to_vec(),
        None => vec!["verify-blob".to_owned()],
    }
}

/// What the statement says, where there is one.
fn predicate_type(case: &Case) -> Option<String> {
    let payload = encoding::decode(case.bundle["dsseEnvelope"]["payload"].as_str()?).ok()?;
    let statement: Value = serde_json::from_slice(&payload).ok()?;
    Some(statement["predicateType"].as_str()?.to_owned())
}

fn whom(by: By) -> Vec<String> {
    let identity = |san: &str, issuer: &str| {
        let flag = |name: &str, text: &str| match text {
            "" => [format!("{name}-regexp"), ".*".to_owned()],
            _ => [name.to_owned(), text.to_owned()],
        };
        [flag("--certificate-identity", san), flag("--certificate-oidc-issuer", issuer)].concat()
    };
    let key = |path| vec!["--key".to_owned(), cases::path(path)];
    let waived = |flags: &[&str]| flags.iter().map(|flag| format!("--insecure-ignore-{flag}")).collect::<Vec<_>>();
    match by {
        By::Identity(san, issuer) => identity(san, issuer),
        By::TimestampOnly(san, issuer) => {
            [identity(san, issuer), waived(&["tlog", "sct"]), vec!["--use-signed-timestamps".to_owned()]].concat()
        }
        By::Key(path) => key(path),
        By::UnloggedKey(path) => [key(path), waived(&["tlog"])].concat(),
        By::Anyone => identity("", ""),
    }
}
