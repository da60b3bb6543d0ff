//! `inspect` and `bundle inspect`.

use std::path::Path;

use vidimus::{
    core::limits,
    inspect::{self, Inspection, Kind},
    net::http,
};

use super::failures;
use crate::{
    args::tools::{BundleInspectArgs, InspectArgs, InspectOutput},
    context::{Context, read_input},
    exit::{End, Failure},
    resolve,
};

pub(super) fn run(context: &mut Context, args: InspectArgs) -> Result<End, Failure> {
    let kind = args.kind.as_deref().map(str::parse::<Kind>).transpose().map_err(Failure::usage)?;
    if kind.is_some() || is_file(&args.target) {
        return file(context, Path::new(&args.target), kind, args.output);
    }
    let reference = resolve::reference(&args.target)?;
    let registry = resolve::registry(context, &args.registry)?;
    let options = resolve::discover(&args.registry)?;
    let inspection = context.block_on(async {
        let _progress = context.ui.progress(&format!("looking at {reference}"));
        inspect::image(&registry, &reference, &options).await.map_err(|e| match e.kind() {
            http::Kind::NotFound => Failure::new(End::Rejected, &e),
            _ => failures::oci(&e),
        })
    })?;
    show(context, &inspection, args.output)
}

pub(super) fn bundle(context: &mut Context, args: BundleInspectArgs) -> Result<End, Failure> {
    file(context, &args.bundle, Some(Kind::Bundle), args.output)
}

/// Whether a target is a file. A mistyped file name must not become a question to a registry.
fn is_file(target: &str) -> bool {
    let last = target.rsplit('/').next().unwrap_or(target);
    let looks_like_one = last.contains('.') && !last.contains([':', '@']) || target.starts_with(['/', '.']);
    target == "-" || looks_like_one || Path::new(target).exists()
}

fn file(context: &mut Context, path: &Path, kind: Option<Kind>, output: InspectOutput) -> Result<End, Failure> {
    let bytes = read_input("reading", path, limits::ATTESTATION_BYTES)?;
    let name = path.display();
    let documents = inspect::documents(&bytes, kind).map_err(|e| Failure::new(End::Rejected, format!("{name}: {e}")))?;
    show(context, &Inspection::new(name.to_string(), documents), output)
}

fn show(context: &mut Context, inspection: &Inspection, output: InspectOutput) -> Result<End, Failure> {
    context.note("inspection", inspection);
    let mut out = Vec::new();
    match output {
        InspectOutput::Json => inspect::json::render(inspection, &mut out),
        InspectOutput::Text => inspect::text::render(inspection, &mut out),
    }
    .map_err(Failure::undetermined)?;
    context.ui.data(out)?;
    match inspection.problems.len() {
        0 => Ok(End::Accepted),
        n => Err(Failure::undetermined(format!("{n} of the places could not be read; there may be more than is shown"))),
    }
}

#[cfg(test)]
mod tests {
    use super::is_file;

    #[test]
    fn files_and_images() {
        for file in ["-", "b.sigstore.json", "no/such/b.json", "./x", "/x", "../x:1"] {
            assert!(is_file(file), "{file}");
        }
        for image in ["app", "ghcr.io/acme/app", "localhost:5000/app", "app:1.2", "registry.example.com/app:v1.json"] {
            assert!(!is_file(image), "{image}");
        }
        assert!(!is_file(&format!("a.io/b@sha256:{}", "0".repeat(64))));
    }
}
