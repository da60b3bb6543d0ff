//! The report as YAML: the JSON form with its keys in alphabetical order, as `ec` (through sigs.k8s.io/yaml) writes it.

use std::io::{self, Write};

use serde::Serialize;

use super::{Report, Show};

/// Writes the report.
pub fn render(report: &Report, show: Show, out: &mut impl Write) -> io::Result<()> {
    out.write_all(to_string(&report.filtered(show))?.as_bytes())
}

/// Any value as block-style YAML with sorted keys.
pub fn to_string(value: &impl Serialize) -> io::Result<String> {
    // Through `Value`, whose maps are sorted.
    let value = serde_json::to_value(value)?;
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX, prefer_block_scalars: true };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, &value, options).map_err(io::Error::other)?;
    Ok(text)
}

/// Reads YAML, or JSON, which is YAML as well.
pub fn from_str(text: &str) -> io::Result<serde_json::Value> {
    serde_saphyr::from_str(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn as_ec_prints_it() {
        let mut out = Vec::new();
        render(&fixtures::accepted(), Show { successes: true, ..Show::default() }, &mut out).unwrap();
        let expected = format!(
            "\
components:
- containerImage: localhost:5000/app@sha256:00
  name: Unnamed
  signatures:
  - certificate: |
      -----BEGIN CERTIFICATE-----
      AAAA
      -----END CERTIFICATE-----
    keyid: b7a2
    metadata:
      Fulcio Issuer: http://localhost
    sig: MEUC
  source: {{}}
  success: true
  successes:
  - metadata:
      code: builtin.attestation.signature_check
    msg: Pass
  - metadata:
      code: builtin.attestation.syntax_check
    msg: Pass
  - metadata:
      code: builtin.image.signature_check
    msg: Pass
ec-version: vidimus {}
effective-time: \"2026-11-21T20:15:00.5Z\"
key: \"\"
policy: {{}}
success: true
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
