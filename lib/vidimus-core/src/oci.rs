//! OCI manifests, indexes and descriptors, bytes first.
