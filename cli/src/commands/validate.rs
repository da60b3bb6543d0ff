//! `validate image`.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Map, Value};
use vidimus::{
    Outcome,
    core::{limits, reference::Reference},
    report::{self, Report, Show, text::Color},
    validate::{self, EffectiveTime, Options, Subject},
};

use super::{sign::now, verify::tell_waivers};
use crate::{
    args::{image::ValidateImageArgs, proof::EvidenceArgs},
    context::{Access, Context, write_atomically},
    exit::{End, Failure},
    resolve::{
        self,
        policy::{self, Asked},
        roots::{self, Needs},
    },
};

/// Images of one call. A release has tens of components.
const SUBJECTS: usize = 1_000;
/// How far an `--effective-time` may lie in the past and still be "now", as in `ec`.
const GRACE_SECONDS: i64 = 2;

pub(super) fn image(context: &mut Context, args: ValidateImageArgs) -> Result<End, Failure> {
    let outputs = outputs(context, &args)?;
    let subjects = subjects(&args)?;
    reject_policy(args.policy.as_deref())?;
    let asked = asked(context, &args)?;
    tell_waivers(context, &asked.0.policy);
    let effective = effective_time(&args.effective_time, args.allow_past_effective_time)?;
    let registry = resolve::registry(context, &args.registry)?;
    let discover = resolve::discover(&args.registry)?;
    let report = context.block_on(async {
        let trust = roots::instances(context, &args.trust, &args.files, asked.1).await?;
        let options = Options {
            trust: &trust,
            policy: &asked.0.policy,
            quorum: asked.0.quorum,
            by_key: args.public_key.is_some(),
            skip_image_signature: args.skip_image_sig_check,
            info: args.info,
            discover,
            at: now(),
            effective,
        };
        let _progress = context.ui.progress(&format!("validating {} image(s)", subjects.len()));
        let mut report = validate::images(&registry, &subjects, &options).await;
        if let Some(key) = &args.public_key {
            report.key = std::fs::read_to_string(key).unwrap_or_default();
        }
        Ok(report)
    })?;
    context.note("validate", &report);
    for output in &outputs {
        output.write(context, &report)?;
    }
    conclude(&report, args.strict)
}

/// The end of the command. Lenient mode forgives what was found, never that nothing could be found out.
fn conclude(report: &Report, strict: bool) -> Result<End, Failure> {
    match report.outcome() {
        Outcome::Accepted => Ok(End::Accepted),
        Outcome::Rejected if !strict => Ok(End::Accepted),
        Outcome::Rejected => Err(Failure::new(End::Rejected, "success criteria not met")),
        Outcome::Undetermined => {
            let why = report.components.iter().find_map(|c| c.undetermined.clone());
            Err(Failure::undetermined(why.unwrap_or_else(|| "nothing was judged".into())))
        }
    }
}

fn reject_policy(policy: Option<&str>) -> Result<(), Failure> {
    match policy.map(str::trim) {
        None | Some("" | "{}") => Ok(()),
        Some(_) => Err(Failure::usage("--policy is not built yet: only the built-in checks are").hint("leave out --policy")),
    }
}

/// What is asked for, and which trust that needs. `ec`'s flags for it have names of their own.
fn asked(context: &Context, args: &ValidateImageArgs) -> Result<(Asked, Needs), Failure> {
    let evidence = EvidenceArgs {
        key: args.public_key.clone(),
        insecure_ignore_tlog: args.ignore_rekor,
        insecure_ignore_sct: args.insecure_ignore_sct,
        ..EvidenceArgs::default()
    };
    let asked = policy::asked(context, &args.identity, &args.github, &evidence, &args.proof)?;
    Ok((asked, Needs::of(&evidence, &args.proof)))
}

/// One place the report goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    format: Format,
    file: Option<PathBuf>,
    color: bool,
    successes: bool,
    warnings: bool,
    docs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
    Yaml,
}

fn outputs(context: &Context, args: &ValidateImageArgs) -> Result<Vec<Target>, Failure> {
    let base = Target {
        format: Format::Text,
        file: None,
        color: context.ui.data_is_coloured(),
        successes: args.show_successes,
        warnings: args.show_warnings,
        docs: args.show_policy_docs_link,
    };
    let mut targets: Vec<_> = args.output.iter().map(|text| target(text, &base)).collect::<Result<_, _>>()?;
    if let Some(path) = &args.json_file {
        targets.push(Target { format: Format::Json, file: Some(path.clone()), color: false, ..base.clone() });
    }
    Ok(if targets.is_empty() { vec![base] } else { targets })
}

/// `FORMAT[=FILE][?show-successes=BOOL&…]`, as `ec` reads it; a file without a format gets JSON.
fn target(text: &str, base: &Target) -> Result<Target, Failure> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let (name, file) = match place.split_once('=') {
        Some((name, file)) if !file.is_empty() => (name, Some(PathBuf::from(file))),
        Some((name, _)) => (name, None),
        None => (place, None),
    };
    let format = match name {
        "" if file.is_some() => Format::Json,
        "json" => Format::Json,
        "text" => Format::Text,
        "yaml" => Format::Yaml,
        other => {
            let known = ["appstudio", "summary", "summary-markdown", "junit", "attestation", "policy-input", "vsa", "sarif"];
            let why = if known.contains(&other) { "is not built yet" } else { "is not a format" };
            return Err(Failure::usage(format!("--output {other} {why}")).hint("text, json, yaml"));
        }
    };
    let mut target = Target { format, color: base.color && file.is_none(), file, ..base.clone() };
    for option in query.split('&').filter(|o| !o.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, "true"));
        let value = crate::args::groups::go_bool(value).map_err(Failure::usage)?;
        match key {
            "show-successes" => target.successes = value,
            "show-warnings" => target.warnings = value,
            "show-policy-docs-link" => target.docs = value,
            other => return Err(Failure::usage(format!("--output {text}: unknown option {other:?}"))),
        }
    }
    Ok(target)
}

impl Target {
    fn write(&self, context: &mut Context, report: &Report) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.render(report, &mut out).map_err(Failure::undetermined)?;
        match &self.file {
            Some(path) => write_atomically(path, &out, Access::Shared),
            None => context.ui.data(out),
        }
    }

    fn render(&self, report: &Report, out: &mut Vec<u8>) -> io::Result<()> {
        let show = Show { successes: self.successes, warnings: self.warnings, policy_docs_link: self.docs };
        match self.format {
            Format::Json => report::json::render(report, show, out),
            Format::Yaml => report::yaml::render(report, show, out),
            Format::Text => report::text::render(report, show, if self.color { Color::Always } else { Color::Never }, out),
        }
    }
}

/// The images: `--image`, and `--images` as a file or as text. All are joined, each image once.
fn subjects(args: &ValidateImageArgs) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    for text in [&args.images, &args.file_path, &args.json_input].into_iter().flatten() {
        subjects.extend(snapshot(text)?);
    }
    if let Some(image) = &args.image {
        subjects.push(Subject::unnamed(resolve::reference(image)?));
    }
    let mut seen: Vec<Reference> = Vec::new();
    subjects.retain(|s| {
        !seen.contains(&s.image) && {
            seen.push(s.image.clone());
            true
        }
    });
    if subjects.is_empty() {
        return Err(Failure::usage("no image").hint("pass --image IMAGE or --images FILE"));
    }
    if subjects.len() > SUBJECTS {
        return Err(Failure::usage(format!("{} images, more than the limit of {SUBJECTS}", subjects.len())));
    }
    Ok(subjects)
}

/// The components of a snapshot: bare, or under `spec:`.
fn snapshot(text: &str) -> Result<Vec<Subject>, Failure> {
    let content = match Path::new(text).is_file() {
        true => String::from_utf8(crate::context::read_input("--images", Path::new(text), limits::MANIFEST_BYTES)?)
            .map_err(Failure::usage)?,
        false => text.to_owned(),
    };
    let value: Value = report::yaml::from_str(&content).map_err(|e| Failure::usage(format!("--images: {e}")))?;
    let value = value.get("spec").unwrap_or(&value);
    let components = value.get("components").and_then(Value::as_array);
    let components = components.ok_or_else(|| Failure::usage("--images: no list of components"))?;
    components.iter().map(component).collect()
}

fn component(value: &Value) -> Result<Subject, Failure> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let image = text("containerImage").ok_or_else(|| Failure::usage("--images: a component without containerImage"))?;
    let source = value.get("source").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    let mut subject = Subject::unnamed(resolve::reference(image)?);
    subject.name = text("name").unwrap_or("Unnamed").to_owned();
    subject.source = source;
    Ok(subject)
}

/// `now`, `attestation`, a date, or a time; the past only when allowed.
fn effective_time(text: &str, allow_past: bool) -> Result<EffectiveTime, Failure> {
    let time = match text {
        "attestation" => return Ok(EffectiveTime::Attestation),
        "now" => return Ok(EffectiveTime::At(now())),
        other => other.parse::<Timestamp>().ok().or_else(|| midnight(other)),
    };
    let time = time.ok_or_else(|| {
        Failure::usage(format!("--effective-time {text:?} is none of now, attestation, 2026-01-31, 2026-01-31T12:00:00Z"))
    })?;
    if !allow_past && time.as_second() < now().as_second() - GRACE_SECONDS {
        return Err(Failure::usage(format!("--effective-time {text} is in the past")).hint("--allow-past-effective-time"));
    }
    Ok(EffectiveTime::At(time))
}

fn midnight(date: &str) -> Option<Timestamp> {
    Some(date.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Target {
        Target { format: Format::Text, file: None, color: false, successes: false, warnings: true, docs: false }
    }

    #[test]
    fn outputs_as_ec_reads_them() {
        assert_eq!(target("yaml", &base()).unwrap().format, Format::Yaml);
        let file = target("=r.json?show-successes=true", &base()).unwrap();
        assert_eq!((file.format, file.file, file.successes), (Format::Json, Some("r.json".into()), true));
        assert_eq!(target("text=o.txt", &base()).unwrap().file, Some("o.txt".into()));
        assert!(target("junit", &base()).unwrap_err().message.contains("not built yet"));
        assert!(target("xml", &base()).unwrap_err().message.contains("not a format"));
        assert!(target("json?color=1", &base()).is_err());
    }

    #[test]
    fn effective_times() {
        assert_eq!(effective_time("attestation", false).unwrap(), EffectiveTime::Attestation);
        assert!(effective_time("2020-01-01", false).is_err());
        let start = EffectiveTime::At("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(effective_time("2020-01-01", true).unwrap(), start);
        assert!(effective_time("2999-01-01T00:00:00Z", false).is_ok());
        assert!(effective_time("tomorrow", true).is_err());
    }

    #[test]
    fn snapshots_in_json_and_yaml() {
        let json = snapshot(r#"{"components":[{"name":"a","containerImage":"r.io/a:1"}]}"#).unwrap();
        let yaml = snapshot("spec:\n  components:\n  - name: a\n    containerImage: r.io/a:1\n").unwrap();
        assert_eq!(json, yaml);
        assert_eq!(json[0].name, "a");
        assert!(snapshot("{}").is_err() && snapshot("components: [{}]").is_err());
    }

    #[test]
    fn a_policy_is_not_silently_ignored() {
        assert!(reject_policy(None).is_ok() && reject_policy(Some("{}")).is_ok());
        assert_eq!(reject_policy(Some("policy.yaml")).unwrap_err().end, End::Usage);
    }
}
