//! DSSE envelopes and their pre-authentication encoding.
