//! Trusted roots, client trust configurations, TUF metadata, and what a certificate authority answers. (A signing configuration says
//! everything in plain text.)

use super::{
    certificate,
    expand::{ANY, EACH, Rule, Show, hex},
};

/// Places of a trusted root.
pub(super) const TRUSTED_ROOT: &[Rule] = &[
    Rule(&["tlogs", EACH], Show::By(LOG)),
    Rule(&["ctlogs", EACH], Show::By(LOG)),
    Rule(&["certificateAuthorities", EACH, "certChain", "certificates", EACH, "rawBytes"], Show::As(certificate::from_base64)),
    Rule(&["timestampAuthorities", EACH, "certChain", "certificates", EACH, "rawBytes"], Show::As(certificate::from_base64)),
];

const LOG: &[Rule] = &[
    Rule(&["publicKey", "rawBytes"], Show::As(certificate::key_from_base64)),
    Rule(&["logId", "keyId"], Show::As(hex)),
    Rule(&["checkpointKeyId", "keyId"], Show::As(hex)),
];

/// Places of a client trust configuration.
pub(super) const CLIENT_TRUST_CONFIG: &[Rule] = &[Rule(&["trustedRoot"], Show::By(TRUSTED_ROOT))];

/// Places of TUF metadata: keys, in the root and in delegations. Those of Ed25519 are hex and stay so.
pub(super) const TUF: &[Rule] = &[
    Rule(&["signed", "keys", ANY, "keyval", "public"], Show::As(certificate::key_from_tuf)),
    Rule(&["signed", "delegations", "keys", ANY, "keyval", "public"], Show::As(certificate::key_from_tuf)),
];

/// Places of Fulcio's answers: a signed certificate, and the trust bundle.
pub(super) const FULCIO: &[Rule] = &[
    Rule(&["signedCertificateEmbeddedSct", "chain", "certificates", EACH], Show::As(certificate::from_pem)),
    Rule(&["signedCertificateDetachedSct", "chain", "certificates", EACH], Show::As(certificate::from_pem)),
    Rule(&["chains", EACH, "certificates", EACH], Show::As(certificate::from_pem)),
];
