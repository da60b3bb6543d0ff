//! Who must have signed: cosign's flags, `--identity`, `--identity-file`, `--claim`; how many of several.

use std::path::Path;

use serde::Deserialize;
use vidimus::{
    core::{fulcio::Extension, limits},
    engine::{CertificateIdentity, IDENTITIES, Pattern, Quorum},
    report::yaml,
};

use crate::{
    args::proof::{GithubArgs, IdentityArgs},
    context::{Context, read_input},
    exit::Failure,
};

/// The signers that are asked for, and how many of them must have signed.
#[derive(Debug, Clone)]
pub(crate) struct Signers {
    pub(crate) identities: Vec<CertificateIdentity>,
    pub(crate) quorum: Quorum,
}

/// A file of identities. The names of an identity's parts are those of `ec`'s policies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    #[serde(default)]
    threshold: Option<Threshold>,
    identities: Vec<Described>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Threshold {
    Number(usize),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    subject_reg_exp: Option<String>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    issuer_reg_exp: Option<String>,
    /// Texts that must be equal, or expressions after a `~`.
    #[serde(default)]
    claims: std::collections::BTreeMap<String, String>,
}

/// Everybody who is asked for. As in cosign, both who and whose word must be said.
pub(crate) fn signers(args: &IdentityArgs, github: &GithubArgs) -> Result<Signers, Failure> {
    let mut threshold = args.identity_threshold.as_deref().map(quorum).transpose()?;
    let mut identities = args.identity.iter().map(|text| described(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &args.identity_file {
        let (listed, said) = identity_file(path)?;
        identities.extend(listed);
        threshold = threshold.or(said);
    }
    if identities.is_empty() || names_somebody(args) {
        identities.push(flags(args)?);
    }
    if identities.len() > IDENTITIES {
        return Err(Failure::usage(format!("{} identities, more than the limit of {IDENTITIES}", identities.len())));
    }
    let claims = claims(args, github)?;
    for (claim, value) in claims {
        identities = identities.into_iter().map(|identity| identity.with_claim(claim, value.clone())).collect();
    }
    let quorum = threshold.unwrap_or_default();
    if quorum.required(identities.len()) > identities.len() {
        let (needed, all) = (quorum.required(identities.len()), identities.len());
        return Err(Failure::usage(format!("{needed} signers are required, but only {all} named")));
    }
    Ok(Signers { identities, quorum })
}

/// Words about patterns that match in the middle of a longer text, which is rarely meant.
pub(crate) fn warn_about_patterns(context: &Context, identities: &[CertificateIdentity]) {
    let mut patterns: Vec<_> = identities
        .iter()
        .flat_map(CertificateIdentity::patterns)
        .filter(|p| p.is_unanchored())
        .map(ToString::to_string)
        .collect();
    patterns.sort();
    patterns.dedup();
    // These mean anything, and on purpose.
    for pattern in patterns.iter().filter(|p| !matches!(p.as_str(), "/.*/" | "/.+/")) {
        context.ui.say(format!("hint: the pattern {pattern} matches anywhere in a text; anchor it with ^ and $"));
    }
}

fn names_somebody(args: &IdentityArgs) -> bool {
    let all = [
        &args.certificate_identity,
        &args.certificate_identity_regexp,
        &args.certificate_oidc_issuer,
        &args.certificate_oidc_issuer_regexp,
    ];
    // `stack env` exports the issuer: alone, it names nobody.
    all[..2].iter().any(|text| text.as_ref().is_some_and(|t| !t.is_empty()))
}

/// The one identity of cosign's four flags.
fn flags(args: &IdentityArgs) -> Result<CertificateIdentity, Failure> {
    let given = |a: &Option<String>, b: &Option<String>| [a, b].into_iter().flatten().any(|text| !text.is_empty());
    if !given(&args.certificate_identity, &args.certificate_identity_regexp) {
        let message = "--certificate-identity or --certificate-identity-regexp is required for verification in keyless mode";
        return Err(Failure::usage(message).hint("`vidimus tree IMAGE` shows who signed; or pass --key FILE"));
    }
    if !given(&args.certificate_oidc_issuer, &args.certificate_oidc_issuer_regexp) {
        let message =
            "--certificate-oidc-issuer or --certificate-oidc-issuer-regexp is required for verification in keyless mode";
        return Err(Failure::usage(message).hint("`vidimus tree IMAGE` shows who vouched for the signer"));
    }
    CertificateIdentity::from_flags(
        args.certificate_identity.as_deref(),
        args.certificate_identity_regexp.as_deref(),
        args.certificate_oidc_issuer.as_deref(),
        args.certificate_oidc_issuer_regexp.as_deref(),
    )
    .map_err(Failure::usage)
}

/// `--claim` and GitHub's flags: demanded of everybody.
fn claims(args: &IdentityArgs, github: &GithubArgs) -> Result<Vec<(Extension, Pattern)>, Failure> {
    let flags = [
        (Extension::GithubWorkflowTrigger, &github.certificate_github_workflow_trigger),
        (Extension::GithubWorkflowSha, &github.certificate_github_workflow_sha),
        (Extension::GithubWorkflowName, &github.certificate_github_workflow_name),
        (Extension::GithubWorkflowRepository, &github.certificate_github_workflow_repository),
        (Extension::GithubWorkflowRef, &github.certificate_github_workflow_ref),
    ];
    let named = flags.into_iter().filter_map(|(claim, value)| value.as_ref().filter(|v| !v.is_empty()).map(|v| (claim, v)));
    let mut claims: Vec<_> = named.map(|(claim, value)| (claim, Pattern::exact(value))).collect();
    for text in &args.claim {
        let (name, value) = condition(text).ok_or_else(|| wrong("--claim", text, "is neither NAME=VALUE nor NAME~REGEXP"))?;
        claims.push((extension("--claim", name)?, value?));
    }
    Ok(claims)
}

/// `NAME=VALUE` or `NAME~REGEXP`, whichever sign comes first.
fn condition(text: &str) -> Option<(&str, Result<Pattern, Failure>)> {
    let at = text.find(['=', '~']).filter(|&at| at > 0)?;
    let (name, rest) = text.split_at(at);
    let value = &rest[1..];
    Some((name, if rest.starts_with('=') { Ok(Pattern::exact(value)) } else { Pattern::regex(value).map_err(Failure::usage) }))
}

fn extension(flag: &str, name: &str) -> Result<Extension, Failure> {
    Extension::from_any_name(name).ok_or_else(|| {
        let all: Vec<_> = Extension::ALL.iter().map(|e| e.name()).collect();
        Failure::usage(format!("{flag}: Fulcio knows no claim {name:?}")).hint(format!("one of {}", all.join(", ")))
    })
}

fn wrong(flag: &str, text: &str, why: &str) -> Failure {
    Failure::usage(format!("{flag} {text:?} {why}"))
}

/// `subject=…,issuer=…,CLAIM=…`, each with `=` or `~`. A comma only separates where a known name follows, for patterns have commas.
fn described(text: &str) -> Result<CertificateIdentity, Failure> {
    const FLAG: &str = "--identity";
    let starts_part = |rest: &str| {
        let name = rest.split(['=', '~']).next().filter(|name| name.len() < rest.len()).unwrap_or_default();
        matches!(name, "subject" | "issuer") || Extension::from_any_name(name).is_some()
    };
    let mut cuts: Vec<usize> = text.match_indices(',').map(|(at, _)| at).filter(|&at| starts_part(&text[at + 1..])).collect();
    cuts.push(text.len());
    let (mut subject, mut issuer, mut claims, mut from) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for cut in cuts {
        let part = &text[from..cut];
        from = (cut + 1).min(text.len());
        let (name, value) = condition(part).ok_or_else(|| wrong(FLAG, part, "is neither NAME=VALUE nor NAME~REGEXP"))?;
        let value = value?;
        match name {
            "subject" => subject.push(value),
            "issuer" => issuer.push(value),
            claim => claims.push((extension(FLAG, claim)?, value)),
        }
    }
    if subject.is_empty() || issuer.is_empty() {
        return Err(
            wrong(FLAG, text, "must say subject and issuer").hint("subject=jdoe@example.com,issuer=https://accounts.example.com")
        );
    }
    Ok(CertificateIdentity { san: subject, issuer, claims })
}

fn identity_file(path: &Path) -> Result<(Vec<CertificateIdentity>, Option<Quorum>), Failure> {
    let bytes = read_input("--identity-file", path, limits::TRUST_BYTES)?;
    let bad = |why: String| Failure::usage(format!("--identity-file {}: {why}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|e| bad(e.to_string()))?;
    let value = yaml::from_str(text).map_err(|e| bad(e.to_string()))?;
    let file: IdentityFile = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    if file.identities.is_empty() {
        return Err(bad("no identities in it".to_owned()));
    }
    let threshold = match file.threshold {
        None => None,
        Some(Threshold::Number(n)) => Some(quorum(&n.to_string())?),
        Some(Threshold::Word(word)) => Some(quorum(&word)?),
    };
    let identity = |(n, described): (usize, Described)| {
        described
            .identity()
            .map_err(|failure| Failure { message: bad(format!("identity {}: {}", n + 1, failure.message)).message, ..failure })
    };
    Ok((file.identities.into_iter().enumerate().map(identity).collect::<Result<_, _>>()?, threshold))
}

impl Described {
    fn identity(self) -> Result<CertificateIdentity, Failure> {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        if !given(&self.subject) && !given(&self.subject_reg_exp) {
            return Err(Failure::usage("neither subject nor subjectRegExp"));
        }
        if !given(&self.issuer) && !given(&self.issuer_reg_exp) {
            return Err(Failure::usage("neither issuer nor issuerRegExp"));
        }
        let identity = CertificateIdentity::from_flags(
            self.subject.as_deref(),
            self.subject_reg_exp.as_deref(),
            self.issuer.as_deref(),
            self.issuer_reg_exp.as_deref(),
        );
        let mut identity = identity.map_err(Failure::usage)?;
        for (name, value) in &self.claims {
            let value = match value.strip_prefix('~') {
                Some(pattern) => Pattern::regex(pattern).map_err(Failure::usage)?,
                None => Pattern::exact(value),
            };
            identity = identity.with_claim(extension("claims", name)?, value);
        }
        Ok(identity)
    }
}

fn quorum(text: &str) -> Result<Quorum, Failure> {
    match text {
        "any" => Ok(Quorum::Any),
        "all" => Ok(Quorum::All),
        number => match number.parse() {
            Ok(n) if n > 0 => Ok(Quorum::AtLeast(n)),
            _ => Err(Failure::usage(format!("the threshold {text:?} is none of any, all, or a number from 1 on"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::End;

    fn ask(args: IdentityArgs) -> Result<Signers, Failure> {
        signers(&args, &GithubArgs::default())
    }

    fn with(identity: &[&str], threshold: Option<&str>) -> IdentityArgs {
        let identity = identity.iter().map(|s| (*s).to_owned()).collect();
        IdentityArgs { identity, identity_threshold: threshold.map(str::to_owned), ..IdentityArgs::default() }
    }

    #[test]
    fn both_signer_and_issuer_must_be_named() {
        let mut args = IdentityArgs::default();
        let missing = |args: &IdentityArgs| ask(args.clone()).unwrap_err();
        assert!(missing(&args).message.contains("--certificate-identity or"));
        args.certificate_identity = Some("a".into());
        assert!(missing(&args).message.contains("--certificate-oidc-issuer or"));
        args.certificate_oidc_issuer_regexp = Some("(".into());
        assert_eq!(missing(&args).end, End::Usage);
        args.certificate_oidc_issuer_regexp = Some("x".into());
        assert_eq!(ask(args).unwrap().identities.len(), 1);
    }

    #[test]
    fn signers_described_in_one_text() {
        let text = "subject~^a{1,2}@x$,issuer=https://i.example/a,b,SourceRepositoryURI=https://github.com/acme/app";
        let identity = described(text).unwrap();
        assert_eq!(identity.san[0].to_string(), Pattern::regex("^a{1,2}@x$").unwrap().to_string());
        assert!(identity.issuer[0].matches("https://i.example/a,b"), "a comma that separates nothing belongs to the value");
        assert_eq!(identity.claims[0].0, Extension::SourceRepositoryUri);
        for bad in ["", "subject=a", "issuer=b", "subject", "subject=a,issuer=b,subject~(", "who=a,issuer=b,subject=c"] {
            assert_eq!(described(bad).unwrap_err().end, End::Usage, "{bad}");
        }
    }

    #[test]
    fn a_claim_goes_by_any_of_its_names() {
        for name in ["BuildTrigger", "buildtrigger", "build-trigger", "1.3.6.1.4.1.57264.1.20"] {
            let mut args = with(&["subject=a,issuer=b"], None);
            args.claim = vec![format!("{name}=push")];
            assert_eq!(ask(args).unwrap().identities[0].claims[0].0, Extension::BuildTrigger, "{name}");
        }
        for bad in ["BuildTriggers=push", "BuildTrigger", "=x", "BuildTrigger~("] {
            let mut args = with(&["subject=a,issuer=b"], None);
            args.claim = vec![bad.to_owned()];
            assert_eq!(ask(args).unwrap_err().end, End::Usage, "{bad}");
        }
    }

    #[test]
    fn a_threshold_that_nobody_can_reach_is_wrong_usage() {
        let two = ["subject=a,issuer=b", "subject=c,issuer=b"];
        assert_eq!(ask(with(&two, Some("2"))).unwrap().quorum, Quorum::AtLeast(2));
        assert_eq!(ask(with(&two, Some("all"))).unwrap().quorum, Quorum::All);
        for bad in ["3", "0", "-1", "most"] {
            assert_eq!(ask(with(&two, Some(bad))).unwrap_err().end, End::Usage, "{bad}");
        }
    }

    #[test]
    fn identity_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("who.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ask(IdentityArgs { identity_file: Some(path.clone()), ..IdentityArgs::default() })
        };
        let yaml = "threshold: 2\nidentities:\n- subject: a@x\n  issuer: i\n- subjectRegExp: ^b\n  issuerRegExp: ^i$\n  claims:\n    BuildTrigger: push\n    SourceRepositoryRef: ~^refs/tags/\n";
        let signers = read(yaml).unwrap();
        assert_eq!((signers.identities.len(), signers.quorum), (2, Quorum::AtLeast(2)));
        assert_eq!(signers.identities[1].claims.len(), 2);
        assert!(read(r#"{"threshold":"all","identities":[{"subject":"a","issuer":"i"}]}"#).is_ok());
        for bad in [
            "",
            "identities: []",
            "identities: [{subject: a}]",
            "identities: [{issuer: a}]",
            "identities: [{subject: a, issuer: i, claims: {Nope: x}}]",
            "identities: [{subject: a, issuer: i, issur: j}]",
            "threshold: 2\nidentities: [{subject: a, issuer: i}]",
        ] {
            assert_eq!(read(bad).unwrap_err().end, End::Usage, "{bad}");
        }
    }
}
