//! What cosign wrote before bundles: tags, layer annotations, simple-signing payloads.
