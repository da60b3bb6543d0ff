//! The differences that are as they should be, and why.

use Peer::{Cosign, SigstorePython as Python};

use super::changes::Change;

/// Somebody else's verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Cosign,
    SigstorePython,
}

/// A difference: the peer, whether it accepts, what was done (`""` is anything) and where (part of the case's name and the pointer).
#[derive(Debug)]
pub(super) struct Listed {
    peer: Peer,
    accepts: bool,
    what: &'static str,
    place: &'static str,
    pub(super) why: &'static str,
}

impl Listed {
    /// Whether this is the difference.
    pub(super) fn is(&self, peer: Peer, accepts: bool, case: &str, change: &Change) -> bool {
        let place = format!("{case} {}", change.at);
        (self.peer, self.accepts) == (peer, accepts)
            && (self.what.is_empty() || self.what == change.what)
            && place.contains(self.place)
    }
}

const fn accepts(peer: Peer, what: &'static str, place: &'static str, why: &'static str) -> Listed {
    Listed { peer, accepts: true, what, place, why }
}

const fn refuses(peer: Peer, what: &'static str, place: &'static str, why: &'static str) -> Listed {
    Listed { peer, accepts: false, what, place, why }
}

const LAST_COUNTS: &str = "of a member that is there twice it takes the last";
const ONE_FORM: &str = "it reads one of the forms that protobuf's JSON mapping has";
const HINT_OF_TIME: &str = "a broken timestamp spoils the others; here it is one that was never made";
const NOTE_NAME: &str = "it goes by the key id; a note's signature also has the log's name (C2SP signed-note)";
const TREE_SIZE: &str = "it does not compare a Rekor v1 proof's tree size with the checkpoint's";
const IGNORED_BY_V2: &str = "it reads what Rekor v2 says to ignore (rekor-tiles, CLIENTS.md)";

/// Of bundles.
pub(super) const BUNDLES: &[Listed] = &[
    refuses(Cosign, "as it is", "cosign/ed25519", "cosign 3.1.1 cannot verify what it signs with an Ed25519 key"),
    refuses(Cosign, "", "/messageSignature/messageDigest", "the specification forbids to verify with it: it is a hint"),
    refuses(Cosign, "", "/inclusionPromise", "the timestamp says when; the inclusion proof is there"),
    refuses(
        Cosign,
        "altered",
        "/signedTimestamp",
        "the certificates in a timestamp are not needed: the trusted root has the authority's",
    ),
    refuses(Cosign, "in snake_case", "/dsseEnvelope", "it does not take for a bundle what has no `dsseEnvelope`"),
    refuses(
        Cosign,
        "",
        "sigstore-js-2.0.0-provenance.sigstore.json /verificationMaterial/tlogEntries/0/inclusionProof",
        "bundle 0.1 may do without the proof",
    ),
    accepts(
        Cosign,
        "altered",
        "/canonicalizedBody",
        "it does not read a Rekor v2 body, but makes one of the bundle's parts; both must agree here",
    ),
    accepts(Cosign, "", "/kindVersion/", "it goes by the body alone; we want both to say the same"),
    accepts(Cosign, "altered", "/checkpoint/envelope", NOTE_NAME),
    accepts(Cosign, "one more", "/inclusionProof/treeSize", TREE_SIZE),
    accepts(Cosign, "removed", "/signedTimestamp", "a required member"),
    accepts(Cosign, "removed", "/signedEntryTimestamp", "a required member"),
    accepts(Cosign, "the first once more", "/rfc3161Timestamps", "a timestamp twice is something that no signer writes"),
    refuses(Python, "as it is", "sigstore-js-2.0.0-provenance", "it knows neither SHA-512 in statements nor `intoto` entries"),
    refuses(Python, "as it is", "public/dsse.sigstore.json", "it wants an inclusion proof of bundle 0.1 too"),
    refuses(Python, "as it is", "github-private-attestation", "it wants a log entry, and logs in the trusted root"),
    refuses(Python, "as it is", "managed-key", "it knows no managed keys"),
    refuses(Python, "as it is", "cosign/", "it knows no managed keys"),
    refuses(Python, "as a number", "", ONE_FORM),
    refuses(Python, "in URL-safe base64", "", ONE_FORM),
    refuses(Python, "without padding", "", ONE_FORM),
    refuses(Python, "null", "", ONE_FORM),
    refuses(Python, "removed", "/logIndex", "it does not know that 0 may be left out"),
    refuses(Python, "removed", "/hashes", "it does not know that an empty list may be left out"),
    refuses(Python, "", "/signedTimestamp", HINT_OF_TIME),
    refuses(Python, "", "/inclusionProof/rootHash", IGNORED_BY_V2),
    refuses(Python, "", "/inclusionProof/treeSize", IGNORED_BY_V2),
    refuses(Python, "one more", "/inclusionProof/logIndex", IGNORED_BY_V2),
    accepts(
        Python,
        "one more",
        "/tlogEntries/0/logIndex",
        "it takes a Rekor v2 entry's index from the proof (rekor-tiles, CLIENTS.md: not from there)",
    ),
    accepts(Python, "twice", "", LAST_COUNTS),
    accepts(Python, "altered", "/checkpoint/envelope", NOTE_NAME),
    accepts(Python, "altered", "/logId/keyId", "it tries all of the trusted root's logs, whatever the entry says"),
    accepts(Python, "", "/integratedTime", "it does not look at a promise without a time; we refuse what cannot be true"),
    accepts(Python, "one more", "/inclusionProof/treeSize", TREE_SIZE),
];

const SPOILS: &str = "one member that it cannot use spoils the whole root; here the others can be used";
const UNHEARD_OF: &str = "here a newer root may say more than we know";

/// Of trusted roots.
pub(super) const ROOTS: &[Listed] = &[
    refuses(Cosign, "with an unknown member", "", UNHEARD_OF),
    refuses(Cosign, "", "/tlogs/", SPOILS),
    refuses(Cosign, "", "/ctlogs/", SPOILS),
    refuses(Cosign, "", "/timestampAuthorities/", SPOILS),
    accepts(Cosign, "the first once more", "/timestampAuthorities/0/certChain", "it does not mind certificates after the root"),
    refuses(Python, "with an unknown member", "", UNHEARD_OF),
    refuses(Python, "in URL-safe base64", "", ONE_FORM),
    refuses(Python, "without padding", "", ONE_FORM),
    refuses(Python, "null", "", "it does not know that null is a member that is not there"),
    refuses(Python, "", "/tlogs/", SPOILS),
    refuses(Python, "", "/ctlogs/", SPOILS),
    refuses(Python, "", "/certificateAuthorities/", SPOILS),
    refuses(Python, "", "/timestampAuthorities", SPOILS),
    accepts(Python, "twice", "", LAST_COUNTS),
    accepts(Python, "altered", "/certificateAuthorities/", "it does not look at the root certificate's own signature"),
    accepts(Python, "", "/keyId", "it computes the ids of keys, and tries all where none fits"),
    accepts(Python, "", "/tlogs/1/baseUrl", NOTE_NAME),
    accepts(Python, "", "/validFor", "it takes a log's key without a start for one that was always valid"),
    accepts(Python, "the first once more", "/timestampAuthorities/0/certChain", "it does not mind certificates after the root"),
];
