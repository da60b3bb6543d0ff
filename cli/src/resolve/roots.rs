//! Whom to trust when verifying: trusted roots, or single files as cosign has them, over what the TUF repository says.
//!
//! cosign's order: `--trusted-root` before all; then flags and variables that name single files; then the TUF repository. A part that
//! single files leave out, and that the policy needs, is the repository's.

use std::path::{Path, PathBuf};

use vidimus::{
    core::{ParseError, limits, trust::TrustedRoot},
    engine::{Instances, TrustRoot},
    net::tuf::TrustMaterial,
    single_files::{self, SingleFiles},
};

use crate::{
    args::{
        groups::TrustArgs,
        proof::{Evidence, EvidenceArgs, SingleFileArgs, StrictArgs},
    },
    context::{Context, read_input},
    exit::Failure,
};

/// Which parts of a trusted root a policy cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    authority: bool,
    log: bool,
    ct_log: bool,
    timestamp_authority: bool,
}

impl Needs {
    pub(crate) fn of(evidence: &EvidenceArgs, strict: &StrictArgs) -> Self {
        let keyless = evidence.key.is_none();
        let private = strict.evidence == Evidence::TimestampAuthority;
        Self {
            authority: keyless,
            log: !evidence.insecure_ignore_tlog && !private,
            ct_log: keyless && !evidence.insecure_ignore_sct && !private,
            timestamp_authority: evidence.use_signed_timestamps || strict.min_timestamps.is_some() || private,
        }
    }

    /// A managed key, and nothing else that anybody would have to vouch for.
    fn nothing(self) -> bool {
        !(self.authority || self.log || self.ct_log || self.timestamp_authority)
    }

    fn met_by(self, files: &SingleFiles) -> bool {
        (!self.authority || files.authorities.is_some())
            && (!self.log || files.logs.is_some())
            && (!self.ct_log || files.ct_logs.is_some())
            && (!self.timestamp_authority || files.timestamp_authorities.is_some())
    }
}

/// What is trusted, as far as files say.
enum Known {
    /// All there is to it.
    Everything(Instances),
    /// Over what the TUF repository says.
    Over(SingleFiles),
}

/// The instances to judge by. Asks the TUF repository if that is needed, and only then.
pub(crate) async fn instances(
    context: &Context,
    trust: &TrustArgs,
    files: &SingleFileArgs,
    needs: Needs,
) -> Result<Instances, Failure> {
    match known(context, trust, files, needs)? {
        Known::Everything(instances) => Ok(instances),
        Known::Over(files) => over_repository(context, trust, files).await,
    }
}

/// Like [`instances`], without starting a runtime where files, or nothing at all, are enough.
pub(crate) fn instances_now(
    context: &Context,
    trust: &TrustArgs,
    files: &SingleFileArgs,
    needs: Needs,
) -> Result<Instances, Failure> {
    match known(context, trust, files, needs)? {
        Known::Everything(instances) => Ok(instances),
        Known::Over(files) => ask_repository(context, trust, files),
    }
}

/// Prepares trust material.
pub(crate) fn prepare<'m>(
    context: &Context,
    materials: impl IntoIterator<Item = &'m TrustMaterial>,
) -> Result<Instances, Failure> {
    let mut instances = Instances::default();
    for material in materials {
        instances.push(material.source.to_string(), root(context, &material.trusted_root)?);
    }
    Ok(instances)
}

fn known(context: &Context, trust: &TrustArgs, files: &SingleFileArgs, needs: Needs) -> Result<Known, Failure> {
    let named = named(files)?;
    if let Some(materials) = super::trust_from_files(trust)? {
        if !named.is_empty() {
            let message =
                "--ca-roots, --certificate-chain and --timestamp-certificate-chain exclude --trusted-root and --trust-config";
            return Err(Failure::usage(message));
        }
        return Ok(Known::Everything(prepare(context, &materials)?));
    }
    let files = named.or(variables()?);
    if !files.is_empty() && needs.met_by(&files) {
        let root = root(context, &files.over(None))?;
        return Ok(Known::Everything(Instances::one("the files given", root)));
    }
    if files.is_empty() && needs.nothing() {
        return Ok(Known::Everything(Instances::empty()));
    }
    Ok(Known::Over(files))
}

/// Apart, so that who verifies from files does not pay for the stack frame of what waits for the network.
#[inline(never)]
fn ask_repository(context: &Context, trust: &TrustArgs, files: SingleFiles) -> Result<Instances, Failure> {
    context.block_on(over_repository(context, trust, files))
}

async fn over_repository(context: &Context, trust: &TrustArgs, files: SingleFiles) -> Result<Instances, Failure> {
    let material = super::repository(context, trust.instance.as_deref()).await?;
    let base = material.trusted_root.clone();
    Ok(Instances::one(material.source.to_string(), root(context, &files.over(Some(base)))?))
}

/// A prepared trust root. Members that cannot be read are mentioned: what they signed will not verify.
fn root(context: &Context, root: &TrustedRoot) -> Result<TrustRoot, Failure> {
    let root = TrustRoot::new(root).map_err(Failure::undetermined)?;
    for unusable in root.unreadable() {
        context.ui.warn(format!("the trusted root has a member that cannot be read: {unusable}"));
    }
    Ok(root)
}

/// What the flags name.
fn named(args: &SingleFileArgs) -> Result<SingleFiles, Failure> {
    let authorities = match (&args.ca_roots, &args.certificate_chain) {
        (Some(roots), _) => {
            let intermediates = args.ca_intermediates.as_ref().map(|path| read("--ca-intermediates", path)).transpose()?;
            let bytes = read("--ca-roots", roots)?;
            Some(single_files::roots(&bytes, intermediates.as_deref()).map_err(in_file("--ca-roots", roots))?)
        }
        (None, Some(path)) => Some(parse("--certificate-chain", path, single_files::chain)?),
        (None, None) => None,
    };
    let chain = |path: &PathBuf| parse("--timestamp-certificate-chain", path, single_files::chain);
    let timestamp_authorities = args.timestamp_certificate_chain.as_ref().map(chain).transpose()?;
    Ok(SingleFiles { authorities, timestamp_authorities, ..SingleFiles::default() })
}

/// What cosign's variables name.
fn variables() -> Result<SingleFiles, Failure> {
    fn from<T>(name: &str, reader: fn(&[u8]) -> Result<T, ParseError>) -> Result<Option<T>, Failure> {
        let path = std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        path.map(|path| parse(name, &path, reader)).transpose()
    }
    Ok(SingleFiles {
        authorities: from("SIGSTORE_ROOT_FILE", single_files::self_signed)?,
        logs: from("SIGSTORE_REKOR_PUBLIC_KEY", single_files::logs)?,
        ct_logs: from("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", single_files::logs)?,
        timestamp_authorities: from("SIGSTORE_TSA_CERTIFICATE_FILE", single_files::chain)?,
    })
}

fn parse<T>(what: &str, path: &Path, reader: fn(&[u8]) -> Result<T, ParseError>) -> Result<T, Failure> {
    reader(&read(what, path)?).map_err(in_file(what, path))
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    read_input(what, path, limits::TRUST_BYTES)
}

fn in_file(what: &str, path: &Path) -> impl Fn(ParseError) -> Failure {
    let place = format!("{what} {}", path.display());
    move |e| Failure::usage(format!("{place}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_needs_nobody() {
        let key = EvidenceArgs { key: Some("k".into()), insecure_ignore_tlog: true, ..EvidenceArgs::default() };
        assert!(Needs::of(&key, &StrictArgs::default()).nothing());
        let logged = EvidenceArgs { insecure_ignore_tlog: false, ..key.clone() };
        assert!(!Needs::of(&logged, &StrictArgs::default()).nothing());
        let timed = StrictArgs { min_timestamps: Some(1), ..StrictArgs::default() };
        assert!(!Needs::of(&key, &timed).nothing());
        assert!(!Needs::of(&EvidenceArgs::default(), &StrictArgs::default()).nothing());
    }

    #[test]
    fn files_are_enough_when_they_have_what_is_needed() {
        let needs = Needs::of(&EvidenceArgs::default(), &StrictArgs::default());
        let mut files = SingleFiles { authorities: Some(Vec::new()), logs: Some(Vec::new()), ..SingleFiles::default() };
        assert!(!needs.met_by(&files));
        files.ct_logs = Some(Vec::new());
        assert!(needs.met_by(&files));
        let private = StrictArgs { evidence: Evidence::TimestampAuthority, ..StrictArgs::default() };
        assert!(!Needs::of(&EvidenceArgs::default(), &private).met_by(&files));
    }
}
