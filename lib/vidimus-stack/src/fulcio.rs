//! A certificate authority that speaks Fulcio's protocol.

pub mod ct;
pub mod template;
