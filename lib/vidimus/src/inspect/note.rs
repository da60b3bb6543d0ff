//! Signed notes and log checkpoints.

use vidimus_core::{
    ParseError,
    checkpoint::{Checkpoint, Note, NoteSignature},
    encoding,
};

use super::{
    Kind, expand,
    value::{Fields, Value},
};

/// A cosignature of a witness (C2SP tlog-cosignature v1) is a time of eight bytes and an Ed25519 signature of 64.
const COSIGNATURE_BYTES: usize = 72;

/// A note inside another document.
pub(super) fn from_text(text: &str) -> Result<Value, ParseError> {
    Ok(Value::document(Kind::Note, content(text)?))
}

/// What a note says: a checkpoint if its text is one, else the lines of the text.
pub(super) fn content(text: &str) -> Result<Value, ParseError> {
    let note = Note::parse(text)?;
    let mut fields = Fields::default();
    match note.checkpoint() {
        Ok(checkpoint) => checkpoint_fields(&checkpoint, &mut fields),
        Err(_) => fields.put("text", Value::List(note.text.lines().map(Value::text).collect())),
    }
    fields.put("signatures", Value::List(note.signatures.iter().map(signature).collect()));
    Ok(Value::Fields(fields))
}

fn checkpoint_fields(checkpoint: &Checkpoint, fields: &mut Fields) {
    fields.text("origin", &*checkpoint.origin);
    fields.put("size", Value::plain(checkpoint.size));
    fields.put("rootHash", Value::text(encoding::encode(checkpoint.root)).noted("hex", ::hex::encode(checkpoint.root)));
    if !checkpoint.extensions.is_empty() {
        fields.put("extensions", Value::List(checkpoint.extensions.iter().map(Value::text).collect()));
    }
}

fn signature(signature: &NoteSignature) -> Value {
    let mut fields = Fields::default();
    fields.text("name", &*signature.name);
    fields.text("keyHint", ::hex::encode(signature.hint));
    fields.text("signature", encoding::encode(&signature.signature));
    // The line does not say which algorithm it is; the length is that of a cosignature and of no other kind in use.
    if let (COSIGNATURE_BYTES, Some(time)) = (signature.signature.len(), signature.signature.first_chunk()) {
        let seconds = u64::from_be_bytes(*time).to_string();
        if let Ok(time) = expand::seconds(&seconds) {
            fields.put("cosignatureTime", time);
        }
    }
    Value::Fields(fields)
}
