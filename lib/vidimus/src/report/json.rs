//! The report as compact JSON in `ec`'s field order, with a final newline.

use std::io::{self, Write};

use super::{Report, Show};

/// Writes the report.
pub fn render(report: &Report, show: Show, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &report.filtered(show))?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn fields_are_in_ecs_order() {
        let mut out = Vec::new();
        render(&fixtures::accepted(), Show { successes: true, ..Show::default() }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let places: Vec<_> = [
            "\"success\":true",
            "\"components\"",
            "\"key\":\"\"",
            "\"policy\":{}",
            "\"ec-version\"",
            "\"effective-time\":\"2026-11-21T20:15:00.5Z\"",
        ]
        .iter()
        .map(|field| text.rfind(field).unwrap_or_else(|| panic!("{field} in {text}")))
        .collect();
        // "success" also ends each component, hence its last position is not at the front.
        assert!(places[1..].is_sorted(), "{text}");
        assert!(text.starts_with("{\"success\":true,"));
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn successes_are_left_out_by_default() {
        let mut out = Vec::new();
        render(&fixtures::accepted(), Show::default(), &mut out).unwrap();
        assert!(!String::from_utf8(out).unwrap().contains("successes"));
    }
}
