//! OpenPGP simple signing: keyrings, signatures, lookaside stores.
