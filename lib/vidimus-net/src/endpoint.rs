//! URLs of a service's calls, below the base URL that a configuration gives.

use url::Url;

/// `path` below `base`, whether or not `base` ends in a slash. A path prefix of the base is kept: services may share a host.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/{path}"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_prefixes() {
        for (base, expected) in [
            ("http://h", "http://h/api/v1/log"),
            ("http://h/", "http://h/api/v1/log"),
            ("http://h:1/rekor", "http://h:1/rekor/api/v1/log"),
            ("http://h/rekor/?a=b#c", "http://h/rekor/api/v1/log"),
        ] {
            assert_eq!(below(&base.parse().unwrap(), "api/v1/log").as_str(), expected);
        }
    }
}
