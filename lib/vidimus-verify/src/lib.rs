//! The decision: does this signature prove what it claims, under this trust root and policy, at this time? Pure and synchronous.
