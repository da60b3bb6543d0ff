//! JSON Lines: one document a line, as GitHub's CLI keeps bundles (`gh attestation download`) and trusted roots
//! (`gh attestation trusted-root`).
//!
//! Written with a newline after every line: GitHub's reader ignores a last line without one. Read more leniently, as a row of JSON
//! values with white space between them, so that one document printed over many lines is read as well. What a document must be is
//! its own type's business.

use serde_json::value::RawValue;

use crate::{ParseError, bundle::Bundle, limits, trust::TrustedRoot};

/// The documents of a file, each as its own bytes. None at all is an error: an empty file is no answer to any question.
pub fn documents<'a>(format: &'static str, file: &'a [u8]) -> Result<Vec<&'a [u8]>, ParseError> {
    limits::check_len(format, file.len(), limits::ATTESTATION_BYTES)?;
    // Windows tools put a byte order mark in front of UTF-8.
    let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut documents = Vec::new();
    for next in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        let document = next.map_err(|e| ParseError::at(format, format_args!("document {}", documents.len() + 1), e))?;
        documents.push(document.get().as_bytes());
        limits::check_count(format, "documents", documents.len(), limits::DOCUMENTS)?;
    }
    if documents.is_empty() {
        return Err(ParseError::new(format, "the file is empty"));
    }
    Ok(documents)
}

/// Reads bundles.
pub fn bundles(file: &[u8]) -> Result<Vec<Bundle>, ParseError> {
    read("bundles", file, Bundle::from_json)
}

/// Reads trusted roots.
pub fn trusted_roots(file: &[u8]) -> Result<Vec<TrustedRoot>, ParseError> {
    read("trusted roots", file, TrustedRoot::from_json)
}

/// Writes documents, each of which is JSON on one line already.
pub fn write<D: AsRef<[u8]>>(documents: impl IntoIterator<Item = D>) -> Vec<u8> {
    let mut file = Vec::new();
    for document in documents {
        file.extend_from_slice(document.as_ref());
        file.push(b'\n');
    }
    file
}

fn read<T>(format: &'static str, file: &[u8], parse: fn(&[u8]) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
    let numbered = |n: usize, e: ParseError| ParseError::at(format, format_args!("document {}", n + 1), e);
    documents(format, file)?.into_iter().enumerate().map(|(n, json)| parse(json).map_err(|e| numbered(n, e))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: &[u8] = include_bytes!("../../../testdata/wire/bundle-a.v2.json");
    const ROOT: &[u8] = include_bytes!("../../../testdata/wire/trusted_root.json");

    #[test]
    fn round_trip() {
        let bundle = Bundle::from_json(BUNDLE).unwrap();
        let file = write([bundle.to_json(), bundle.to_json()]);
        assert_eq!(file.iter().filter(|b| **b == b'\n').count(), 2);
        assert_eq!(bundles(&file).unwrap(), [bundle.clone(), bundle]);
    }

    #[test]
    fn reads_printed_documents_and_a_last_line_without_newline() {
        let file = [b"\xef\xbb\xbf".as_slice(), ROOT, b"\r\n\n", ROOT.trim_ascii_end()].concat();
        assert_eq!(trusted_roots(&file).unwrap().len(), 2);
    }

    #[test]
    fn one_bad_document_is_named_and_none_is_an_error() {
        let bad = write([BUNDLE.trim_ascii_end(), b"{}"]);
        assert_eq!(bundles(&bad).unwrap_err().at, "document 2");
        assert!(bundles(&write([BUNDLE.trim_ascii_end(), b"{"])).is_err());
        assert!(bundles(b" \n").is_err());
        assert!(documents("bundles", &b"1\n".repeat(limits::DOCUMENTS)).is_ok());
        assert!(documents("bundles", &b"1\n".repeat(limits::DOCUMENTS + 1)).is_err());
    }
}
