//! Signed certificate timestamps (RFC 6962 §3.2, §3.3): the list in a certificate, the list alone, and a log's JSON answer.

use vidimus_core::{ParseError, encoding, limits};

use super::{
    expand::{self, Rule, Show},
    value::{Fields, Value},
};

const FORMAT: &str = "SCT list";
/// Logs that signed one certificate: public web certificates carry up to five, Fulcio's one.
const SCTS: usize = 32;

/// Places of a log's answer to `add-chain` and `add-pre-chain`.
pub(super) const ANSWER: &[Rule] = &[Rule(&["id"], Show::As(expand::hex)), Rule(&["timestamp"], Show::As(expand::milliseconds))];

/// Reads a list in TLS encoding: a length and, each under a length, the timestamps.
pub(super) fn list(bytes: &[u8]) -> Result<Value, ParseError> {
    let mut outer = Tls(bytes);
    let mut list = Tls(outer.vector()?);
    outer.end()?;
    let mut scts = Vec::new();
    while !list.0.is_empty() {
        limits::check_count(FORMAT, "timestamps", scts.len() + 1, SCTS)?;
        scts.push(sct(list.vector()?)?);
    }
    Ok(Value::List(scts))
}

fn sct(bytes: &[u8]) -> Result<Value, ParseError> {
    let mut tls = Tls(bytes);
    let mut fields = Fields::default();
    let [version] = *tls.array()?;
    fields.text("version", if version == 0 { "v1".to_owned() } else { format!("unknown ({version})") });
    if version != 0 {
        return Ok(Value::Fields(fields));
    }
    fields.text("logId", ::hex::encode(tls.array::<32>()?));
    fields.put("timestamp", expand::milliseconds(&u64::from_be_bytes(*tls.array()?).to_string())?);
    fields.text("extensions", ::hex::encode(tls.vector()?));
    let [hash, algorithm] = *tls.array()?;
    fields.text("signatureAlgorithm", format!("{} with {}", signature_name(algorithm), hash_name(hash)));
    fields.text("signature", encoding::encode(tls.vector()?));
    tls.end()?;
    Ok(Value::Fields(fields))
}

/// RFC 5246 §7.4.1.4.1.
fn hash_name(id: u8) -> String {
    match id {
        4 => "SHA-256".to_owned(),
        5 => "SHA-384".to_owned(),
        6 => "SHA-512".to_owned(),
        other => format!("hash {other}"),
    }
}

fn signature_name(id: u8) -> String {
    match id {
        1 => "RSA".to_owned(),
        3 => "ECDSA".to_owned(),
        7 => "Ed25519".to_owned(),
        other => format!("algorithm {other}"),
    }
}

/// A cursor over TLS presentation language (RFC 5246 §4).
struct Tls<'a>(&'a [u8]);

impl<'a> Tls<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], ParseError> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(|| ParseError::new(FORMAT, "it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    /// Bytes under a length of two bytes.
    fn vector(&mut self) -> Result<&'a [u8], ParseError> {
        let len = usize::from(u16::from_be_bytes(*self.array()?));
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| ParseError::new(FORMAT, "it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn end(&self) -> Result<(), ParseError> {
        match self.0.len() {
            0 => Ok(()),
            n => Err(ParseError::new(FORMAT, format_args!("{n} bytes after its end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Vec<u8> {
        let sct = [&[0; 1][..], &[7; 32], &1_700_000_000_000_u64.to_be_bytes(), &[0, 0, 4, 3, 0, 2, 0xaa, 0xbb]].concat();
        [&[0, u8::try_from(sct.len()).unwrap()], &sct[..]].concat()
    }

    fn list_of(n: usize) -> Vec<u8> {
        let all = one().repeat(n);
        [&u16::try_from(all.len()).unwrap().to_be_bytes(), &all[..]].concat()
    }

    #[test]
    fn reads_a_list() {
        let value = serde_json::to_value(list(&list_of(2)).unwrap()).unwrap();
        assert_eq!(value[1]["timestamp"]["time"], "2023-11-14T22:13:20Z");
        assert_eq!(value[1]["signatureAlgorithm"], "ECDSA with SHA-256");
        assert_eq!(value.as_array().unwrap().len(), 2);
        assert!(list(&list_of(SCTS)).is_ok());
        assert!(list(&list_of(SCTS + 1)).is_err());
    }

    #[test]
    fn refuses_every_truncation_and_surplus() {
        let good = list_of(1);
        for end in 0..good.len() {
            assert!(list(&good[..end]).is_err(), "{end}");
        }
        assert!(list(&[&good[..], &[0]].concat()).is_err());
    }
}
