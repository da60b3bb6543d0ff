//! The judgement of TUF documents, for the fuzz targets. Not part of the API: nothing is decided here.

use std::hint::black_box;

use jiff::Timestamp;

/// Reads a root that is to be trusted, and another document in every role that may follow it.
pub fn tuf(root: &[u8], next: &[u8], now: Timestamp) {
    let _ = black_box(crate::tuf::judge(root, next, now));
}
