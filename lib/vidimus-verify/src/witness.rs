//! `log.witness`: witnesses cosigned the log's checkpoint (C2SP tlog-cosignature, `cosignature/v1`), so that the log cannot show
//! different trees to different people without their help.

use vidimus_core::{
    ParseError,
    checkpoint::{KeyHint, Note},
    digest::sha256_of,
    encoding,
};

use crate::{
    Rejection,
    key::{PublicKey, Scheme},
};

/// The key type of timestamped Ed25519 cosignatures.
const COSIGNATURE_V1: u8 = 4;
/// The first bytes of an Ed25519 `SubjectPublicKeyInfo`.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Which witnesses are trusted, and how many of them must have cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPolicy {
    witnesses: Vec<Witness>,
    threshold: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Witness {
    name: String,
    hint: KeyHint,
    key: PublicKey,
}

impl WitnessPolicy {
    /// Witnesses by their verifier keys (`<name>+<hash>+<key>`, C2SP signed-note), of which `threshold` must have cosigned.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>, threshold: usize) -> Result<Self, ParseError> {
        let witnesses = keys.into_iter().map(Witness::parse).collect::<Result<Vec<_>, _>>()?;
        if threshold == 0 || threshold > witnesses.len() {
            let why = format_args!("a quorum of {threshold} among {} witnesses", witnesses.len()).to_string();
            return Err(ParseError::new("witness policy", why));
        }
        for (i, witness) in witnesses.iter().enumerate() {
            // One key under two names would be two witnesses with one opinion.
            if witnesses[..i].iter().any(|w| w.key == witness.key) {
                return Err(ParseError::at("witness policy", &witness.name, "its key is listed twice"));
            }
        }
        Ok(Self { witnesses, threshold })
    }
}

impl Witness {
    fn parse(vkey: &str) -> Result<Self, ParseError> {
        let bad = |why: &str| ParseError::at("witness key", vkey, why);
        let (name, rest) = vkey.split_once('+').ok_or_else(|| bad("no '+'"))?;
        let (hash, key) = rest.split_once('+').ok_or_else(|| bad("no second '+'"))?;
        let key = encoding::decode(key).map_err(|e| bad(&e.why))?;
        let (&kind, raw) = key.split_first().ok_or_else(|| bad("an empty key"))?;
        if kind != COSIGNATURE_V1 || raw.len() != 32 {
            return Err(bad("not an Ed25519 key for cosignatures"));
        }
        let id = sha256_of([name.as_bytes(), b"\n", &key]);
        let hint = [id[0], id[1], id[2], id[3]];
        if hash != format!("{:08x}", u32::from_be_bytes(hint)) {
            return Err(bad("the hash is not that of name and key"));
        }
        let key = PublicKey::from_spki(&[&ED25519_SPKI[..], raw].concat())?;
        Ok(Self { name: name.to_owned(), hint, key })
    }

    fn cosigned(&self, note: &Note) -> bool {
        let mine = |name: &str, hint: KeyHint| name == self.name && hint == self.hint;
        note.signatures.iter().filter(|s| mine(&s.name, s.hint)).any(|line| {
            let Some((time, signature)) = line.signature.split_first_chunk::<8>() else { return false };
            let message = format!("cosignature/v1\ntime {}\n{}", u64::from_be_bytes(*time), note.text);
            self.key.verifies(Scheme::Pure, message.as_bytes(), signature)
        })
    }
}

/// The names of the witnesses that cosigned.
pub(crate) fn check(note: &Note, policy: &WitnessPolicy) -> Result<Vec<String>, Rejection> {
    let verified: Vec<_> = policy.witnesses.iter().filter(|w| w.cosigned(note)).map(|w| w.name.clone()).collect();
    if verified.len() < policy.threshold {
        return Err(Rejection::NotEnoughWitnesses { required: policy.threshold, verified });
    }
    Ok(verified)
}

impl WitnessPolicy {
    /// What is missing where no checkpoint was verified at all.
    pub(crate) fn unmet(&self) -> Rejection {
        Rejection::NotEnoughWitnesses { required: self.threshold, verified: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use vidimus_core::checkpoint::NoteSignature;

    use super::*;

    fn vkey(name: &str, pair: &Ed25519KeyPair) -> (String, KeyHint) {
        let key = [&[COSIGNATURE_V1], pair.public_key().as_ref()].concat();
        let id = sha256_of([name.as_bytes(), b"\n", &key]);
        let hint = [id[0], id[1], id[2], id[3]];
        (format!("{name}+{:08x}+{}", u32::from_be_bytes(hint), encoding::encode(key)), hint)
    }

    fn cosign(note: &mut Note, name: &str, pair: &Ed25519KeyPair, time: u64) {
        let message = format!("cosignature/v1\ntime {time}\n{}", note.text);
        let signature = [&time.to_be_bytes()[..], pair.sign(message.as_bytes()).as_ref()].concat();
        note.signatures.push(NoteSignature { name: name.to_owned(), hint: vkey(name, pair).1, signature });
    }

    #[test]
    fn a_quorum_of_witnesses() {
        let pairs: Vec<_> = (1..=3).map(|i| Ed25519KeyPair::from_seed_unchecked(&[i; 32]).unwrap()).collect();
        let keys: Vec<_> = (0..3).map(|i| vkey(&format!("w{i}"), &pairs[i]).0).collect();
        let policy = WitnessPolicy::new(keys.iter().map(String::as_str), 2).unwrap();
        let mut note = Note { text: "log\n1\nAAAA\n".to_owned(), signatures: Vec::new() };
        cosign(&mut note, "w0", &pairs[0], 7);
        cosign(&mut note, "w0", &pairs[0], 8);
        let rejection = check(&note, &policy).unwrap_err();
        assert_eq!(rejection, Rejection::NotEnoughWitnesses { required: 2, verified: vec!["w0".to_owned()] });
        cosign(&mut note, "w1", &pairs[2], 7);
        assert!(check(&note, &policy).is_err(), "a cosignature by another key");
        cosign(&mut note, "w2", &pairs[2], 7);
        assert_eq!(check(&note, &policy).unwrap(), ["w0", "w2"]);
        note.text.push('x');
        assert!(check(&note, &policy).is_err(), "another tree");
    }

    #[test]
    fn refuses_impossible_policies() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let (key, _) = vkey("w", &pair);
        let (alias, _) = vkey("v", &pair);
        assert!(WitnessPolicy::new([key.as_str()], 0).is_err());
        assert!(WitnessPolicy::new([key.as_str()], 2).is_err());
        assert!(WitnessPolicy::new([key.as_str(), &alias], 1).is_err());
        assert!(WitnessPolicy::new([key.replace("w+", "x+").as_str()], 1).is_err());
    }
}
