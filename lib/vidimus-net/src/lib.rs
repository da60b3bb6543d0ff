//! The network: HTTP with limits and retries, OIDC, Fulcio, Rekor, timestamp authorities, TUF, OCI registries.
