//! Just enough DER to take structures apart without copying and to compare their exact bytes.

use der::{Decode, Encode, Header, Reader, SliceReader, Tag};

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
    let mut reader = SliceReader::new(der)?;
    let header = Header::decode(&mut reader)?;
    let content = reader.read_slice(header.length)?;
    let content = reader.finish(content)?;
    if tag(der) == Some(expected) { Ok(content) } else { Err(header.tag.value_error()) }
}

/// The TLVs inside the only TLV in `der`, which must have this tag.
pub(crate) fn children(der: &[u8], expected: u8) -> der::Result<Vec<&[u8]>> {
    let mut reader = SliceReader::new(content(der, expected)?)?;
    let mut children = Vec::new();
    while !reader.is_finished() {
        children.push(reader.tlv_bytes()?);
    }
    Ok(children)
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
