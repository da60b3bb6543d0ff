//! An inspection for people: indented names and values, in the order of the document.
//!
//! Everything in it was written by others. Characters that could move the cursor, change colours, reorder the line or hide text are
//! written as escapes, so that what is on the screen is what is in the file.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::{
    Inspection,
    value::{Document, Fields, Value},
};

/// Text is cut here: more than any certificate, key or signature, less than an embedded SBOM.
const TEXT_BYTES: usize = 8 << 10;
/// JSON that is kept as it was signed (a predicate) is cut here: some two thousand lines.
const JSON_BYTES: usize = 64 << 10;

/// Writes the inspection.
pub fn render(inspection: &Inspection, out: &mut impl Write) -> io::Result<()> {
    for (n, document) in inspection.documents.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        let place = document.place.as_ref().unwrap_or(&inspection.source);
        writeln!(out, "{} (not verified): {}", document.kind.title(), escape(place))?;
        content(document, 1, out)?;
    }
    for problem in &inspection.problems {
        writeln!(out, "\nCould not be read: {}", escape(problem))?;
    }
    Ok(())
}

fn content(document: &Document, depth: usize, out: &mut impl Write) -> io::Result<()> {
    match &document.content {
        Value::Fields(fields) => members(fields, depth, out),
        Value::List(list) => items(list, depth, out),
        other => {
            write!(out, "{}", indent(depth))?;
            value(other, depth, out)
        }
    }
}

fn members(fields: &Fields, depth: usize, out: &mut impl Write) -> io::Result<()> {
    for member in &fields.0 {
        write!(out, "{}", indent(depth))?;
        named(member, depth, out)?;
    }
    Ok(())
}

fn named((name, member): &(Cow<'static, str>, Value), depth: usize, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{}:", escape(name))?;
    after_name(member, depth, out)
}

fn items(list: &[Value], depth: usize, out: &mut impl Write) -> io::Result<()> {
    for item in list {
        write!(out, "{}-", indent(depth))?;
        match item {
            // The first member stands beside the dash, the others below it.
            Value::Fields(Fields(fields)) if !fields.is_empty() => {
                for (n, member) in fields.iter().enumerate() {
                    write!(out, "{}", if n == 0 { " ".to_owned() } else { indent(depth + 1) })?;
                    named(member, depth + 1, out)?;
                }
            }
            other => after_name(other, depth, out)?,
        }
    }
    Ok(())
}

/// What follows `name:` or `-`: the value on the same line, or below and one step further in.
fn after_name(item: &Value, depth: usize, out: &mut impl Write) -> io::Result<()> {
    match item {
        Value::Fields(fields) if !fields.0.is_empty() => {
            writeln!(out)?;
            members(fields, depth + 1, out)
        }
        Value::List(list) if !list.is_empty() => {
            writeln!(out)?;
            items(list, depth + 1, out)
        }
        Value::Document(document) => {
            writeln!(out, " {}", document.kind.title())?;
            content(document, depth + 1, out)
        }
        other => {
            write!(out, " ")?;
            value(other, depth, out)
        }
    }
}

/// A value that starts on the current line.
fn value(item: &Value, depth: usize, out: &mut impl Write) -> io::Result<()> {
    match item {
        Value::Noted { value: inner, name, note } => writeln!(out, "{} ({name}: {})", inline(inner), escape(note)),
        Value::Json(json) => writeln!(out, "{}", pretty(json.get(), depth)),
        other => writeln!(out, "{}", inline(other)),
    }
}

/// A value on one line.
fn inline(item: &Value) -> String {
    match item {
        Value::Text(text) => escape(text),
        Value::Json(json) => cut(&visible(json.get()), TEXT_BYTES),
        Value::List(_) => "[]".to_owned(),
        Value::Fields(_) => "{}".to_owned(),
        Value::Noted { value, .. } => inline(value),
        Value::Document(document) => document.kind.title().to_owned(),
    }
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

/// Foreign text on one line: nothing in it acts on the terminal. A backslash is doubled, so that an escape is never ambiguous.
fn escape(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    cut(&visible(&text.replace('\\', "\\\\")), TEXT_BYTES)
}

fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c => push_visible(&mut shown, c),
        }
    }
    shown
}

/// Characters that act on the terminal instead of being seen: controls, and the invisible and reordering ones of Unicode (UTR #36,
/// "Trojan Source").
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit);
    format!("{}… ({} more bytes; --output json shows all)", &text[..end], text.len() - end)
}

/// JSON on many lines, its tokens untouched. `depth` is where it hangs.
fn pretty(json: &str, depth: usize) -> String {
    let mut lines = String::new();
    let (mut level, mut in_string, mut escaped, mut opened) = (depth, false, false, false);
    let newline = |lines: &mut String, level: usize| {
        lines.push('\n');
        lines.push_str(&indent(level));
    };
    for (at, c) in json.char_indices() {
        if lines.len() > JSON_BYTES {
            lines.push_str(&format!("… ({} more bytes; --output json shows all)", json.len() - at));
            break;
        }
        if in_string {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            push_visible(&mut lines, c);
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if c.is_ascii_whitespace() {
            continue;
        }
        if closes {
            level = level.saturating_sub(1);
        }
        // An empty object or list stays on its line.
        if opened != closes {
            newline(&mut lines, level);
        }
        opened = matches!(c, '{' | '[');
        if opened {
            level += 1;
        }
        in_string = c == '"';
        push_visible(&mut lines, c);
        match c {
            ',' => newline(&mut lines, level),
            ':' => lines.push(' '),
            _ => {}
        }
    }
    lines
}

fn push_visible(lines: &mut String, c: char) {
    match is_unsafe(c) {
        true => lines.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        false => lines.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(escape("a\x1b[31m\u{202e}b\\\n\u{9b}é\u{200d}"), "a\\u{1b}[31m\\u{202e}b\\\\\\n\\u{9b}é\\u{200d}");
        assert_eq!(escape(""), "\"\"");
        assert_eq!(escape("https://example.com/a b"), "https://example.com/a b");
        assert!(!pretty("{\"\u{7f}\u{2066}\":\"\u{85}\"}", 0).chars().any(|c| c != '\n' && is_unsafe(c)));
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let long = escape(&"é".repeat(TEXT_BYTES));
        assert!(long.len() < TEXT_BYTES + 100 && long.ends_with("more bytes; --output json shows all)"), "{}", long.len());
        let json = format!("[{}1]", "1,".repeat(JSON_BYTES));
        assert!(pretty(&json, 0).len() < 2 * JSON_BYTES);
    }

    #[test]
    fn json_keeps_its_tokens() {
        let json = r#"{"a":[1.50,{"b":"x:{,\"}"},[],{}],"c" : null}"#;
        let expected = "{\n    \"a\": [\n      1.50,\n      {\n        \"b\": \"x:{,\\\"}\"\n      },\n      [],\n      {}\n    ],\n    \"c\": null\n  }";
        assert_eq!(pretty(json, 1), expected);
        assert_eq!(pretty("1.50", 3), "1.50");
    }
}
