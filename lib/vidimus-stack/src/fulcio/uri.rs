//! URIs as Go's `net/url` reads and writes them, because certificates must carry the same bytes as a real Fulcio's.

/// The authority of a URI: what identity providers are compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
}

/// Scheme and host name of `scheme://host[:port]…`. None for anything else, and for URIs with user information, which exist to
/// look like another host.
pub(super) fn authority(uri: &str) -> Option<Authority<'_>> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let scheme_ok = scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    let ok = scheme_ok && !scheme.is_empty() && !host.is_empty() && !authority.contains('@');
    ok.then_some(Authority { scheme, host })
}

/// The text of a URI after Go's `url.Parse(…).String()`: unchanged, unless the path holds a byte that may not stand there; then
/// the whole path is escaped anew. None where Go reports an error or the result would not fit an X.509 name.
pub(super) fn normalized(uri: &str) -> Option<String> {
    if uri.bytes().any(|b| b.is_ascii_control()) || authority(uri).is_none() {
        return None;
    }
    let path_at = uri.find("://")? + 3;
    let path_at = path_at + uri[path_at..].find(['/', '?', '#']).unwrap_or(uri.len() - path_at);
    let (origin, rest) = uri.split_at(path_at);
    let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, tail) = rest.split_at(path_end);
    let path = if valid_encoded(path) { path.to_owned() } else { escape(&unescape(path)?) };
    let text = format!("{origin}{path}{tail}");
    (text.is_ascii() && !text.contains(' ')).then_some(text)
}

/// Go: bytes that an already escaped path may contain.
fn valid_encoded(path: &str) -> bool {
    let ok = |b: u8| b"!$&'()*+,;=:@[]%".contains(&b) || !must_escape(b);
    path.bytes().all(ok) && unescape(path).is_some()
}

/// Go: bytes of a path that are escaped when the path is written from its unescaped form.
fn must_escape(b: u8) -> bool {
    !(b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b))
}

fn escape(path: &[u8]) -> String {
    path.iter().map(|b| if must_escape(*b) { format!("%{b:02X}") } else { char::from(*b).to_string() }).collect()
}

fn unescape(path: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(hex::decode(digits).ok()?[0]);
    }
    Some(out)
}

/// SPIFFE ID §2: the trust domain of `spiffe://domain[/path]`, if the identifier is well formed.
pub(super) fn spiffe_trust_domain(id: &str) -> Option<&str> {
    let rest = id.strip_prefix("spiffe://")?;
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(d, p)| (d, Some(p)));
    let segment = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    (is_trust_domain(domain) && path.is_none_or(|p| p.split('/').all(segment))).then_some(domain)
}

/// SPIFFE ID §2.1.
pub(super) fn is_trust_domain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// RFC 5321 addresses without quoting or address literals, in ASCII, which is all that an `rfc822Name` can hold.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b));
    let label = |s: &str| {
        !s.is_empty()
            && s.len() <= 63
            && !s.starts_with('-')
            && !s.ends_with('-')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    local.len() <= 64 && text.len() <= 254 && local.split('.').all(atom) && domain.contains('.') && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        let split = |u| authority(u).map(|a| (a.scheme, a.host));
        assert_eq!(split("https://accounts.example.com:8443/x?y"), Some(("https", "accounts.example.com")));
        assert_eq!(split("http://[::1]:80/"), Some(("http", "::1")));
        for bad in ["example.com", "https://", "https://a@b/", "://x", "HTTPS://x", "mailto:a@b"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn written_as_go_writes_them() {
        let same = "https://github.com/o/r/.github/workflows/ci.yml@refs/heads/a+b(c)'d'!*~%41";
        assert_eq!(normalized(same).unwrap(), same);
        assert_eq!(normalized("https://h/x#f?y").unwrap(), "https://h/x#f?y");
        assert_eq!(normalized("https://h/refs/heads/ü(1) a").unwrap(), "https://h/refs/heads/%C3%BC%281%29%20a");
        assert_eq!(normalized("https://h/a\"b").unwrap(), "https://h/a%22b");
        for bad in ["https://h/%zz", "https://h/\n", "no-scheme/x", "https://h/x?a b", "https://ü/x"] {
            assert_eq!(normalized(bad), None, "{bad}");
        }
    }

    #[test]
    fn spiffe() {
        assert_eq!(spiffe_trust_domain("spiffe://example.org/ns/a/sa/b"), Some("example.org"));
        assert_eq!(spiffe_trust_domain("spiffe://example.org"), Some("example.org"));
        for bad in
            ["spiffe://", "spiffe://Ex/a", "spiffe://e/", "spiffe://e/a//b", "spiffe://e/..", "spiffe://e/a?b", "https://e/a"]
        {
            assert_eq!(spiffe_trust_domain(bad), None, "{bad}");
        }
    }

    #[test]
    fn email() {
        for good in ["jdoe@example.com", "a.b+c@x-y.co.uk", "o'hara@example.com"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.c", "a@", "a@b", "a@@b.c", "a b@c.d", "a@b..c", "a@-b.c", ".a@b.c", "a@b.c\n", "ü@b.c", "a@b.c "]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
