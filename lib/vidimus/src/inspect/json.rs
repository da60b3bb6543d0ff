//! An inspection for programs.

use std::io::{self, Write};

use super::{Inspection, text::is_unsafe};

/// Writes the inspection as one JSON document. Characters that could act on a terminal are written as `\u` escapes, which changes
/// nothing for a program: outside of strings JSON has none of them.
pub fn render(inspection: &Inspection, out: &mut impl Write) -> io::Result<()> {
    let json = serde_json::to_string_pretty(inspection)?;
    let mut plain = 0;
    for (at, c) in json.char_indices().filter(|(_, c)| *c != '\n' && is_unsafe(*c)) {
        out.write_all(&json.as_bytes()[plain..at])?;
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            write!(out, "\\u{unit:04x}")?;
        }
        plain = at + c.len_utf8();
    }
    writeln!(out, "{}", &json[plain..])
}
