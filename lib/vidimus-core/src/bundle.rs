//! Sigstore bundles, versions 0.1 to 0.3 (protobuf-specs `sigstore_bundle.proto`, in its JSON form).
