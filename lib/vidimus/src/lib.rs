//! Workflows: sign, attest, verify, tree, validate and trust updates, with their reports.
