//! Canonical JSON as TUF signs it (OLPC's, as securesystemslib writes it): not RFC 8785.
//!
//! Strings escape only `"` and `\`, everything else stands as it is, and numbers are whole.

use serde_json::Value;

use super::TufError;

/// The canonical bytes of a value.
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, TufError> {
    let mut out = Vec::new();
    encode(value, &mut out)?;
    Ok(out)
}

fn encode(value: &Value, out: &mut Vec<u8>) -> Result<(), TufError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Number(number) if number.is_i64() || number.is_u64() => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Number(number) => return Err(TufError::Fraction(number.to_string())),
        Value::String(text) => encode_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, out);
                encode(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // By code point, which for UTF-8 is by byte.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| name.as_bytes());
            out.push(b'{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                separate(index, out);
                encode_string(name, out);
                out.push(b':');
                encode(value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn encode_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn escapes_two_characters_and_sorts() {
        let value = json!({"b": [1, -2, true, null], "a": "x\n\"\\é<", "é": 0, "B": {}});
        let text = String::from_utf8(canonical_json(&value).unwrap()).unwrap();
        assert_eq!(text, "{\"B\":{},\"a\":\"x\n\\\"\\\\é<\",\"b\":[1,-2,true,null],\"é\":0}");
    }

    #[test]
    fn has_no_fractions() {
        assert!(matches!(canonical_json(&json!([1.5])), Err(TufError::Fraction(_))));
    }
}
