//! Just enough DER to take structures apart without copying and to compare their exact bytes.

use der::{Encode, ErrorKind, Tag};

/// Universal and context tags that the formats here use.
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The explicit or implicit constructed context tag `[n]`.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// The tag of a TLV.
pub(crate) fn tag(tlv: &[u8]) -> Option<u8> {
    tlv.first().copied()
}

/// The content of the only TLV in `der`, which must have this tag.
pub(crate) fn content(der: &[u8], expected: u8) -> der::Result<&[u8]> {
    let (whole, content) = split(der)?;
    if whole.len() != der.len() || tag(der) != Some(expected) {
        return Err(Tag::try_from(expected).map_or_else(|_| ErrorKind::Failed.into(), |tag| tag.value_error()));
    }
    Ok(content)
}

/// The TLVs inside the only TLV in `der`, which must have this tag.
pub(crate) fn children(der: &[u8], expected: u8) -> der::Result<Vec<&[u8]>> {
    let mut rest = content(der, expected)?;
    let mut children = Vec::with_capacity(8);
    while !rest.is_empty() {
        children.push(take(&mut rest)?);
    }
    Ok(children)
}

/// Takes the first TLV off.
pub(crate) fn take<'a>(rest: &mut &'a [u8]) -> der::Result<&'a [u8]> {
    let (whole, _) = split(rest)?;
    *rest = &rest[whole.len()..];
    Ok(whole)
}

/// The first TLV: all of it, and its content. Tags have one byte, as all of these formats'; lengths are definite and as short as can
/// be (X.690 §10.1).
fn split(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let malformed = || der::Error::from(ErrorKind::Failed);
    let (&[tag, first], rest) = der.split_first_chunk().ok_or_else(malformed)?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let octets = rest.get(..usize::from(first & 0x7f)).ok_or_else(malformed)?;
            let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
            if octets[0] == 0 || length < 0x80 {
                return Err(malformed());
            }
            (length, 2 + octets.len())
        }
        _ => return Err(malformed()),
    };
    if tag & 0x1f == 0x1f || der.len() - header < length {
        return Err(malformed());
    }
    let whole = &der[..header + length];
    Ok((whole, &whole[header..]))
}

/// A TLV.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> der::Result<Vec<u8>> {
    let length = der::Length::try_from(value.len())?;
    let mut out = Vec::with_capacity(value.len() + 6);
    out.push(tag);
    length.encode_to_vec(&mut out)?;
    out.extend_from_slice(value);
    Ok(out)
}

/// The item at an index, or an error that says that the structure is too short.
pub(crate) fn item<'a>(items: &[&'a [u8]], index: usize) -> der::Result<&'a [u8]> {
    items.get(index).copied().ok_or_else(|| Tag::Sequence.value_error())
}

#[cfg(test)]
mod tests {
    use der::{Reader, SliceReader};

    use super::*;

    /// Lengths of one to three octets, and what is not DER.
    #[test]
    fn takes_apart_what_the_library_takes_apart() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let value = vec![7; len];
            let der = tlv(OCTET_STRING, &value).unwrap();
            assert_eq!(content(&der, OCTET_STRING).unwrap(), value);
            assert_eq!(children(&tlv(SEQUENCE, &[&der[..], &der].concat()).unwrap(), SEQUENCE).unwrap(), [&der, &der]);
            assert!(content(&der, INTEGER).is_err());
            assert!(content(&der[..der.len() - 1], OCTET_STRING).is_err());
            assert!(content(&[&der[..], &[0]].concat(), OCTET_STRING).is_err());
        }
        for bad in
            [&b""[..], b"\x04", b"\x04\x80\x00\x00", b"\x04\x81\x01\x07", b"\x04\x82\x00\x80", b"\x04\x85\x00\x00\x00\x00\x00"]
        {
            assert!(split(bad).is_err(), "{bad:?}");
        }
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let der = [0x04, first, second, 0, 0, 0, 0, 0];
                let mut reader = SliceReader::new(&der).unwrap();
                assert_eq!(split(&der).ok().map(|(whole, _)| whole), reader.tlv_bytes().ok(), "{first} {second}");
            }
        }
    }
}
