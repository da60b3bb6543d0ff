//! OCI registries: the distribution specification 1.1, what hangs off an image, and image layouts.
