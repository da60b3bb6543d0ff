//! A private Sigstore in one process: OIDC issuer, CA, CT log, transparency logs, timestamp authority, TUF repository, OCI registry.
