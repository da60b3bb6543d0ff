//! `stack env`: the variables that point every Sigstore client at a stack.

use std::path::Path;

use super::{StackDir, StackError};

/// Name of the OIDC client that Sigstore clients present and that tokens are made for.
pub(super) const CLIENT_ID: &str = "sigstore";

/// The variables of the stack in `dir`.
pub fn env(dir: &Path) -> Result<Vec<(&'static str, String)>, StackError> {
    let record = StackDir::read(dir)?;
    let dir = dir.canonicalize().map_err(|source| StackError::File { path: dir.to_path_buf(), source })?;
    Ok(variables(&record.origin, &dir.join("public").join("root.json"), Some(&dir)))
}

/// The variables of a stack at `origin` whose TUF root is the file `root`.
///
/// `COSIGN_ROOT` is a URL because cosign fetches it like one; `TUF_ROOT_JSON` is a file because every client reads it as one.
pub fn variables(origin: &str, root: &Path, dir: Option<&Path>) -> Vec<(&'static str, String)> {
    let tuf = format!("{origin}/tuf");
    let mut variables = vec![
        ("TUF_URL", tuf.clone()),
        ("TUF_MIRROR", tuf.clone()),
        ("TUF_ROOT_JSON", root.display().to_string()),
        ("OIDC_ISSUER_URL", origin.to_owned()),
        ("COSIGN_FULCIO_URL", origin.to_owned()),
        ("COSIGN_REKOR_URL", origin.to_owned()),
        ("COSIGN_MIRROR", tuf.clone()),
        ("COSIGN_ROOT", format!("{tuf}/root.json")),
        ("COSIGN_OIDC_CLIENT_ID", CLIENT_ID.to_owned()),
        ("COSIGN_OIDC_ISSUER", origin.to_owned()),
        ("COSIGN_CERTIFICATE_OIDC_ISSUER", origin.to_owned()),
        ("COSIGN_YES", "true".to_owned()),
        ("SIGSTORE_FULCIO_URL", origin.to_owned()),
        ("SIGSTORE_OIDC_ISSUER", origin.to_owned()),
        ("SIGSTORE_REKOR_URL", origin.to_owned()),
        ("REKOR_REKOR_SERVER", origin.to_owned()),
        ("VIDIMUS_REGISTRY", origin.trim_start_matches("http://").to_owned()),
    ];
    if let Some(dir) = dir {
        variables.push(("VIDIMUS_STACK_DIR", dir.display().to_string()));
    }
    variables
}

/// `export NAME='value'` lines, for `eval` in any POSIX shell.
pub fn render_exports(variables: &[(&'static str, String)]) -> String {
    variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_survive_a_shell() {
        let dir = Path::new("/tmp/it's $HOME; `x`");
        let text = render_exports(&variables("http://127.0.0.1:4000", &dir.join("root.json"), Some(dir)));
        let script = format!("{text}printf '%s|%s' \"$VIDIMUS_STACK_DIR\" \"$COSIGN_ROOT\"");
        let shell = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), format!("{}|http://127.0.0.1:4000/tuf/root.json", dir.display()));
    }

    #[test]
    fn every_promised_variable_is_there() {
        let names: Vec<_> =
            variables("http://h:1", Path::new("/r"), Some(Path::new("/d"))).into_iter().map(|(name, _)| name).collect();
        let promised = "TUF_URL OIDC_ISSUER_URL COSIGN_FULCIO_URL COSIGN_REKOR_URL COSIGN_MIRROR COSIGN_ROOT COSIGN_OIDC_CLIENT_ID \
             COSIGN_OIDC_ISSUER COSIGN_CERTIFICATE_OIDC_ISSUER COSIGN_YES SIGSTORE_FULCIO_URL SIGSTORE_OIDC_ISSUER \
             SIGSTORE_REKOR_URL REKOR_REKOR_SERVER TUF_MIRROR TUF_ROOT_JSON VIDIMUS_REGISTRY VIDIMUS_STACK_DIR";
        for name in promised.split_whitespace() {
            assert!(names.contains(&name), "{name} is missing");
        }
    }
}
