//! Rekor entries, versions 1 and 2.
