//! `demo`: the whole chain on a private Sigstore, shown command by command.
//!
//! Every command is this very program, run as a process of its own in a directory of its own: what is shown is what it wrote, and
//! what counts is how it ended. Nothing of the user's is read or changed; the environment of the commands is made here.

mod attack;
mod image;
mod shell;
mod sigstore;

use std::{path::Path, time::Instant};

use serde_json::Value;
use vidimus::{core::reference::Reference, report::yaml};

use self::{shell::Shell, sigstore::Sigstore};
use crate::{
    args::other::DemoArgs,
    context::{self, Context},
    exit::{End, Failure},
    resolve,
};

/// Who builds the image.
const BUILDER: &str = "jdoe@example.com";
/// Who would like to be.
const ATTACKER: &str = "mallory@example.com";
/// A provenance predicate, SLSA v0.2.
const PREDICATE: &str = r#"{
  "builder": {"id": "https://localhost/dummy-id"},
  "buildType": "https://example.com/tekton-pipeline",
  "invocation": {},
  "buildConfig": {},
  "metadata": {"completeness": {"parameters": false, "environment": false, "materials": false}, "reproducible": false},
  "materials": []
}
"#;
/// What a good report lists.
const CODES: [&str; 3] =
    ["builtin.attestation.signature_check", "builtin.attestation.syntax_check", "builtin.image.signature_check"];

pub(super) fn run(context: &mut Context, args: DemoArgs) -> Result<End, Failure> {
    let started = Instant::now();
    let source = image::Source::of(&args)?;
    let runtime = context::runtime()?;
    let sigstore = Sigstore::start(&runtime, args.keep)?;
    let work = sigstore.work_dir();
    write(&work.join("predicate.json"), PREDICATE)?;
    context.ui.data(format!(
        "A private Sigstore is up at {}: OIDC issuer, certificate authority, transparency logs,\n\
         timestamp authority, TUF repository and registry, {}.\n",
        sigstore.origin(),
        if args.keep { "in a process of its own" } else { "all in the memory of this process" }
    ))?;
    let registry = resolve::registry(context, &Default::default())?;
    let image = runtime.block_on(source.push(&registry, &format!("{}/demo/app", sigstore.registry())))?;
    let mut demo =
        Demo { context, shell: Shell::new(&sigstore, BUILDER)?, image, origin: sigstore.origin().to_owned(), steps: 0 };
    demo.chain()?;
    let forged =
        runtime.block_on(attack::tampered_copy(&registry, &demo.image, &format!("{}/demo/copy", sigstore.registry())))?;
    let impostor = runtime.block_on(image::push_impostor(&registry, &format!("{}/demo/impostor", sigstore.registry())))?;
    demo.attacks(&Shell::new(&sigstore, ATTACKER)?, &impostor, &forged)?;
    let steps = demo.steps;
    context.ui.data(format!("\nAll {steps} steps ended as they should, in {:.1} s.\n", started.elapsed().as_secs_f64()))?;
    context.ui.data(sigstore.finish(&runtime))?;
    Ok(End::Accepted)
}

/// The demo while it runs.
struct Demo<'a> {
    context: &'a mut Context,
    shell: Shell,
    image: Reference,
    origin: String,
    steps: usize,
}

impl Demo<'_> {
    /// What a builder and a user of the image do.
    fn chain(&mut self) -> Result<(), Failure> {
        let image = self.image.to_string();
        self.title("Trust the private Sigstore: pin the root of its TUF repository")?;
        self.accepted(&["initialize", "--mirror", &format!("{}/tuf", self.origin), "--root", "root.json"])?;
        self.title(&format!("Sign the image as {BUILDER}: a key that lives for a second, a certificate for ten minutes"))?;
        self.accepted(&["sign", "-y", &image])?;
        self.title("Attest how it was built: SLSA provenance")?;
        self.accepted(&["attest", "-y", "--predicate", "predicate.json", "--type", "slsaprovenance", &image])?;
        self.title("Look at what hangs off the image now")?;
        self.accepted(&["tree", &image])?;
        self.title("Judge it: signature, attestation, and the attestation's syntax")?;
        let report = self.validate(&image, &["--output", "yaml", "--show-successes"], End::Accepted)?;
        self.check_report(&report)
    }

    /// What must not succeed.
    fn attacks(&mut self, attacker: &Shell, impostor: &Reference, forged: &Reference) -> Result<(), Failure> {
        self.title(&format!(
            "First attack: {ATTACKER} signs an image of her own, with a genuine certificate of the same authority …"
        ))?;
        let image = impostor.to_string();
        let line = ["sign", "-y", &image];
        let output = attacker.run(&line)?;
        self.show(&line, &output, End::Accepted)?;
        self.title(&format!("… but {BUILDER} was asked for. Refused:"))?;
        let issuer = self.origin.clone();
        let line = ["verify", "--certificate-identity", BUILDER, "--certificate-oidc-issuer", &issuer, &image];
        let output = self.step(&line, End::NothingMatched)?;
        self.expect(&output, &format!("signed by {ATTACKER}"))?;
        self.title(
            "Second attack: a copy of the image whose attestation names another builder, under the genuine signature. Refused:",
        )?;
        let report = self.validate(&forged.to_string(), &["--output", "text"], End::Rejected)?;
        self.expect(&report, CODES[0])
    }

    fn validate(&mut self, image: &str, output: &[&str], end: End) -> Result<String, Failure> {
        let issuer = "127.0.0.1";
        let mut line = vec!["validate", "image", "--image", image];
        line.extend(["--certificate-identity-regexp", BUILDER, "--certificate-oidc-issuer-regexp", issuer]);
        line.extend(output);
        self.step(&line, end)
    }

    fn accepted(&mut self, line: &[&str]) -> Result<(), Failure> {
        self.step(line, End::Accepted).map(drop)
    }

    fn step(&mut self, line: &[&str], end: End) -> Result<String, Failure> {
        let output = self.shell.run(line)?;
        self.show(line, &output, end)
    }

    fn title(&mut self, text: &str) -> Result<(), Failure> {
        self.context.ui.data(format!("\n{}\n", self.context.ui.bold(text)))
    }

    /// Shows a command with everything it wrote, and checks how it ended.
    fn show(&mut self, line: &[&str], output: &shell::Output, end: End) -> Result<String, Failure> {
        self.steps += 1;
        let exit = if output.code == 0 { String::new() } else { format!("[exit {}]\n", output.code) };
        self.context.ui.data(format!("$ vidimus {}\n{}{exit}", shell::quoted(line), output.text))?;
        if output.code == i32::from(end.code()) {
            return Ok(output.text.clone());
        }
        Err(Failure::new(
            End::Rejected,
            format!("this step should have ended with exit code {}, not {}", end.code(), output.code),
        ))
    }

    /// The report must say what the demo promises, not only end well.
    fn check_report(&self, text: &str) -> Result<(), Failure> {
        let report = yaml::from_str(text).map_err(|e| Failure::new(End::Rejected, format!("the report is not YAML: {e}")))?;
        let successes = report["components"][0]["successes"].as_array().cloned().unwrap_or_default();
        let codes: Vec<_> = successes.iter().filter_map(|s| s["metadata"]["code"].as_str()).collect();
        if report["success"] == Value::Bool(true) && codes == CODES {
            return Ok(());
        }
        Err(Failure::new(End::Rejected, format!("the report should say success and list {CODES:?}; it lists {codes:?}")))
    }

    fn expect(&self, text: &str, words: &str) -> Result<(), Failure> {
        match text.contains(words) {
            true => Ok(()),
            false => Err(Failure::new(End::Rejected, format!("the refusal should have said {words:?}"))),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| crate::exit::file_error("writing", path, &e))
}
