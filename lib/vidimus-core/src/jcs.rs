//! JSON Canonicalization Scheme (RFC 8785): the bytes of Rekor entry bodies and signed entry timestamps.
//!
//! Not the canonical JSON of TUF, which is another format.

use serde::Serialize;

use crate::ParseError;

/// The canonical bytes of a value.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, ParseError> {
    serde_json_canonicalizer::to_vec(value).map_err(|e| ParseError::new("canonical JSON", e))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sorts_keys_and_keeps_html_characters() {
        let value = serde_json::json!({"b": "<&>", "a": [1, 1_795_294_022_i64]});
        assert_eq!(super::canonical(&value).unwrap(), br#"{"a":[1,1795294022],"b":"<&>"}"#);
    }
}
