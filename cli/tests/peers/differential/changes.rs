//! Single changes of a JSON document: of what it says, and of how it says it.

use serde_json::{Value, json};
use vidimus::core::encoding;

/// A change.
pub(super) struct Change {
    /// Where, as a JSON pointer.
    pub(super) at: String,
    /// What is done there.
    pub(super) what: &'static str,
    /// Whether protobuf's JSON mapping says that this means what it meant before.
    pub(super) same: bool,
    /// Whether protobuf's JSON mapping says that this is not a message.
    pub(super) refused: bool,
    /// The document's text after the change.
    pub(super) text: String,
}

const AS_IT_IS: &str = "as it is";

impl Change {
    /// No change.
    pub(super) fn none(document: &Value) -> Self {
        Self { at: String::new(), what: AS_IT_IS, same: true, refused: false, text: document.to_string() }
    }

    /// Whether it is none.
    pub(super) fn is_none(&self) -> bool {
        self.what == AS_IT_IS
    }
}

/// All changes of a document.
pub(super) fn all(document: &Value) -> Vec<Change> {
    let mut walk = Walk { whole: document, changes: Vec::new() };
    walk.value(document, "");
    walk.changes
}

struct Walk<'a> {
    whole: &'a Value,
    changes: Vec<Change>,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, at: &str) {
        if let Some((parent, key)) = at.rsplit_once('/') {
            self.member(value, parent, key, at);
        }
        match value {
            Value::Object(map) => {
                self.replace(at, "as a list", map.values().cloned().collect());
                self.changes.last_mut().unwrap().refused = true;
                self.edit(at, "with an unknown member", false, |value| value["unheardOf"] = json!(1));
                map.iter().for_each(|(key, child)| self.value(child, &format!("{at}/{key}")));
            }
            Value::Array(list) => {
                self.replace(at, "the first once more", list.iter().chain(list.first()).cloned().collect());
                list.iter().enumerate().for_each(|(i, child)| self.value(child, &format!("{at}/{i}")));
            }
            Value::String(text) => self.text(text, at),
            _ => {}
        }
    }

    fn member(&mut self, value: &Value, parent: &str, key: &str, at: &str) {
        self.edit(parent, "removed", false, |parent| match parent {
            Value::Object(map) => drop(map.remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().unwrap())),
            _ => unreachable!("only objects and arrays have members"),
        });
        self.changes.last_mut().unwrap().at = at.to_owned();
        self.replace(at, "null", Value::Null);
        let snake = snake_case(key);
        if snake != key {
            self.edit(parent, "in snake_case", true, |parent| {
                let value = parent[key].take();
                parent.as_object_mut().unwrap().remove(key);
                parent[snake.as_str()] = value;
            });
        }
        if key.parse::<usize>().is_err() {
            self.twice(value, key, at);
        }
    }

    fn text(&mut self, text: &str, at: &str) {
        self.replace(at, "empty", json!(""));
        if let Ok(number) = text.parse::<i64>() {
            self.edit(at, "as a number", true, |value| *value = json!(number));
            self.replace(at, "one more", json!((number + 1).to_string()));
            return;
        }
        match encoding::decode(text).ok().filter(|bytes| bytes.len() > 8) {
            Some(bytes) => {
                let (bare, safe) = (text.trim_end_matches('='), text.replace('+', "-").replace('/', "_"));
                for (what, new) in [("in URL-safe base64", safe.as_str()), ("without padding", bare)] {
                    if new != text {
                        self.edit(at, what, true, |value| *value = json!(new));
                    }
                }
                for i in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                    let mut bytes = bytes.clone();
                    bytes[i] ^= 1;
                    self.replace(at, "altered", json!(encoding::encode(bytes)));
                }
            }
            None => {
                let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(i, _)| i);
                let rest = text[middle..].chars().next();
                let other = if rest == Some('b') { 'c' } else { 'b' };
                let tail = rest.map_or("", |c| &text[middle + c.len_utf8()..]);
                self.replace(at, "altered", json!(format!("{}{other}{tail}", &text[..middle])));
            }
        }
    }

    /// A member that is there twice, which no `Value` can hold.
    fn twice(&mut self, value: &Value, key: &str, at: &str) {
        let mark = "\u{1f}here";
        self.edit(at, "twice", false, |value| *value = json!(mark));
        let change = self.changes.last_mut().unwrap();
        let (key, mark) = (json!(key), json!(mark));
        change.refused = true;
        change.text = change.text.replace(&format!("{key}:{mark}"), &format!("{key}:{value},{key}:{value}"));
    }

    fn replace(&mut self, at: &str, what: &'static str, new: Value) {
        self.edit(at, what, false, |value| *value = new);
    }

    fn edit(&mut self, at: &str, what: &'static str, same: bool, edit: impl FnOnce(&mut Value)) {
        let mut changed = self.whole.clone();
        edit(changed.pointer_mut(at).unwrap());
        self.changes.push(Change { at: at.to_owned(), what, same, refused: false, text: changed.to_string() });
    }
}

fn snake_case(name: &str) -> String {
    name.chars().flat_map(|c| c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()])).collect()
}
