//! The report for people, laid out as `ec` lays out its text form. Colour is the caller's decision.

use std::io::{self, Write};

use super::{CheckResult, Component, Report, Show};

/// Whether terminal colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// ANSI colours on the marks.
    Always,
}

/// How a kind of result is marked.
struct Mark {
    sign: &'static str,
    name: &'static str,
    ansi: &'static str,
}

const VIOLATION: Mark = Mark { sign: "✕", name: "Violation", ansi: "31" };
const WARNING: Mark = Mark { sign: "›", name: "Warning", ansi: "33" };
const SUCCESS: Mark = Mark { sign: "✓", name: "Success", ansi: "32" };

/// Lines are wrapped here, as `ec` does.
const WIDTH: usize = 130;

/// Writes the report.
pub fn render(report: &Report, show: Show, color: Color, out: &mut impl Write) -> io::Result<()> {
    let all = &report.components;
    writeln!(out, "Success: {}", report.success)?;
    writeln!(out, "Result: {}", verdict(report))?;
    let count = |list: fn(&Component) -> &Vec<CheckResult>| all.iter().map(|c| list(c).len()).sum::<usize>();
    let (violations, warnings, successes) = (count(|c| &c.violations), count(|c| &c.warnings), count(|c| &c.successes));
    writeln!(out, "Violations: {violations}, Warnings: {warnings}, Successes: {successes}")?;
    heading(all, out)?;
    for reason in all.iter().filter_map(|c| c.undetermined.as_ref()) {
        paragraph("Could not tell", reason, out)?;
    }
    results(report, show, color, out)?;
    if show.policy_docs_link {
        writeln!(
            out,
            "For more information about policy issues, see the policy documentation: https://conforma.dev/docs/policy/"
        )?;
    }
    Ok(())
}

/// The word for the whole report.
fn verdict(report: &Report) -> &'static str {
    let any = |list: fn(&Component) -> &Vec<CheckResult>| report.components.iter().any(|c| !list(c).is_empty());
    if report.components.iter().any(|c| c.undetermined.is_some()) {
        "ERROR"
    } else if !report.success || any(|c| &c.violations) {
        "FAILURE"
    } else if any(|c| &c.warnings) {
        "WARNING"
    } else if any(|c| &c.successes) {
        "SUCCESS"
    } else {
        "SKIPPED"
    }
}

fn heading(components: &[Component], out: &mut impl Write) -> io::Result<()> {
    if let [component] = components {
        writeln!(out, "Component: {}", component.name)?;
        return writeln!(out, "ImageRef: {}\n", component.image);
    }
    writeln!(out, "Components:")?;
    for c in components {
        writeln!(out, "- Name: {}\n  ImageRef: {}", c.name, c.image)?;
        let (violations, warnings, successes) = (c.violations.len(), c.warnings.len(), c.successes.len());
        writeln!(out, "  Violations: {violations}, Warnings: {warnings}, Successes: {successes}\n")?;
    }
    Ok(())
}

fn results(report: &Report, show: Show, color: Color, out: &mut impl Write) -> io::Result<()> {
    let shown = report.filtered(show);
    let any = shown.components.iter().any(|c| !(c.violations.is_empty() && c.warnings.is_empty() && c.successes.is_empty()));
    if !any {
        return Ok(());
    }
    writeln!(out, "Results:")?;
    for component in &shown.components {
        for (mark, list) in [(VIOLATION, &component.violations), (WARNING, &component.warnings), (SUCCESS, &component.successes)]
        {
            for result in list {
                entry(&mark, component, result, color, out)?;
            }
        }
    }
    Ok(())
}

fn entry(mark: &Mark, component: &Component, result: &CheckResult, color: Color, out: &mut impl Write) -> io::Result<()> {
    let head = format!("{} [{}] {}", mark.sign, mark.name, result.text("code"));
    match color {
        Color::Always => writeln!(out, "\x1b[{}m{}\x1b[0m", mark.ansi, head.trim_end())?,
        Color::Never => writeln!(out, "{}", head.trim_end())?,
    }
    writeln!(out, "  ImageRef: {}", component.image)?;
    let success = mark.name == SUCCESS.name;
    if !success {
        paragraph("Reason", &result.message, out)?;
    }
    match result.metadata.get("term") {
        Some(serde_json::Value::Array(terms)) => {
            let terms: Vec<_> = terms.iter().filter_map(|t| t.as_str()).collect();
            paragraph("Terms", &terms.join(", "), out)?;
        }
        _ => paragraph("Term", result.text("term"), out)?,
    }
    paragraph("Title", result.text("title"), out)?;
    paragraph("Description", result.text("description"), out)?;
    if !success {
        paragraph("Solution", result.text("solution"), out)?;
    }
    writeln!(out)
}

/// `  Label: text`, wrapped with two more blanks of indent; nothing for an empty text.
fn paragraph(label: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    for (index, line) in text.lines().enumerate() {
        let line = if index == 0 { format!("{label}: {line}") } else { line.to_owned() };
        let mut width = 0;
        for word in line.split(' ') {
            let len = word.chars().count();
            if width == 0 {
                write!(out, "  {word}")?;
                width = 2 + len;
            } else if width + 1 + len > WIDTH {
                write!(out, "\n  {word}")?;
                width = 2 + len;
            } else {
                write!(out, " {word}")?;
                width += 1 + len;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    fn text(report: &Report, show: Show, color: Color) -> String {
        let mut out = Vec::new();
        render(report, show, color, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn success() {
        let all = Show { successes: true, ..Show::default() };
        assert_eq!(
            text(&fixtures::accepted(), all, Color::Never),
            "\
Success: true
Result: SUCCESS
Violations: 0, Warnings: 0, Successes: 3
Component: Unnamed
ImageRef: localhost:5000/app@sha256:00

Results:
✓ [Success] builtin.attestation.signature_check
  ImageRef: localhost:5000/app@sha256:00

✓ [Success] builtin.attestation.syntax_check
  ImageRef: localhost:5000/app@sha256:00

✓ [Success] builtin.image.signature_check
  ImageRef: localhost:5000/app@sha256:00

"
        );
    }

    #[test]
    fn failure_names_the_reason() {
        assert_eq!(
            text(&fixtures::rejected(), Show::default(), Color::Never),
            "\
Success: false
Result: FAILURE
Violations: 1, Warnings: 0, Successes: 0
Component: Unnamed
ImageRef: localhost:5000/app@sha256:00

Results:
✕ [Violation] builtin.image.signature_check
  ImageRef: localhost:5000/app@sha256:00
  Reason: Image signature check failed: no signatures found

"
        );
    }

    #[test]
    fn colour_only_when_asked() {
        assert!(text(&fixtures::rejected(), Show::default(), Color::Always).contains("\x1b[31m✕"));
        assert!(!text(&fixtures::rejected(), Show::default(), Color::Never).contains('\x1b'));
    }

    #[test]
    fn long_reasons_are_wrapped() {
        let mut report = fixtures::rejected();
        report.components[0].violations[0].message = "word ".repeat(60);
        assert!(text(&report, Show::default(), Color::Never).lines().all(|l| l.chars().count() <= WIDTH));
    }
}
