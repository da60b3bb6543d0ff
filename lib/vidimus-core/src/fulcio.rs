//! The claims that Fulcio writes into certificates.
