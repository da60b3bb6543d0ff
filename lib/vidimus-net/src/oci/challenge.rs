//! `WWW-Authenticate` (RFC 9110 §11.6.1), as far as registries use it: `Basic` and `Bearer realm=…,service=…,scope=…`.

use http::HeaderMap;

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// Where the token is to be had.
        realm: String,
        /// The `service` parameter, to be passed on.
        service: Option<String>,
        /// What the token must allow, if the registry says.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The strongest challenge we can answer among all that an answer carries.
    pub(crate) fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for header in headers.get_all(http::header::WWW_AUTHENTICATE) {
            for (scheme, parameters) in challenges(header.to_str().unwrap_or_default()) {
                let parameter =
                    |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
                match (scheme.to_ascii_lowercase().as_str(), parameter("realm")) {
                    ("bearer", Some(realm)) => {
                        return Some(Self::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
                    }
                    ("basic", _) => basic = Some(Self::Basic),
                    _ => {}
                }
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// Splits a header into schemes and their parameters. A scheme is a word that no `=` follows.
fn challenges(text: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, tail) = parameter_value(value.trim_start());
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                rest = tail;
            }
            None => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::WWW_AUTHENTICATE};

    use super::*;

    fn parse(values: &[&'static str]) -> Option<Challenge> {
        Challenge::parse(&HeaderMap::from_iter(values.iter().map(|v| (WWW_AUTHENTICATE, HeaderValue::from_static(v)))))
    }

    #[test]
    fn bearer_with_commas_in_its_scope() {
        let expected = Challenge::Bearer {
            realm: "https://auth.example.com/token".into(),
            service: Some("r.io".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        let text = r#"Bearer realm="https://auth.example.com/token",service="r.io", scope="repository:a/b:pull,push""#;
        assert_eq!(parse(&[text]), Some(expected.clone()));
        assert_eq!(parse(&[r#"Basic realm="x""#, text]), Some(expected.clone()), "bearer is preferred");
        assert_eq!(
            parse(&[
                r#"Basic realm="x", bearer Realm="https://auth.example.com/token", service=r.io, scope="repository:a/b:pull,push""#
            ]),
            Some(expected)
        );
    }

    #[test]
    fn basic_and_nothing() {
        assert_eq!(parse(&[r#"Basic realm="a \"quoted\" realm""#]), Some(Challenge::Basic));
        assert_eq!(parse(&["Basic"]), Some(Challenge::Basic));
        for hostile in ["", "Negotiate abc==", "Bearer", "Bearer service=\"x\"", "\"", "=,=,=", "Bearer realm"] {
            assert_eq!(parse(&[hostile]), None, "{hostile}");
        }
        assert_eq!(parse(&[r#"Bearer realm="unterminated"#]).map(|c| matches!(c, Challenge::Bearer { .. })), Some(true));
    }
}
