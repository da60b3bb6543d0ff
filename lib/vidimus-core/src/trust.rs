//! Trusted roots, signing configurations, client trust configurations.
