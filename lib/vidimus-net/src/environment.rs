//! The process's surroundings as a value: variables, and where absolute paths start. Tests make their own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Environment variables, and the root of the file system that well-known absolute paths are looked up under.
#[derive(Clone)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    root: PathBuf,
}

impl Environment {
    /// That of this process. Variables that are not UTF-8 are left out: none of ours may be.
    pub fn from_process() -> Self {
        let vars = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { vars: vars.collect(), root: PathBuf::from("/") }
    }

    /// Only these variables.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let vars = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { vars, root: PathBuf::from("/") }
    }

    /// With well-known absolute paths looked up under `root`.
    #[must_use]
    pub fn with_root(self, root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), ..self }
    }

    /// A variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The home directory, if there is one.
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }

    /// Where a well-known absolute path is.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(Path::new(absolute).strip_prefix("/").unwrap_or(Path::new(absolute)))
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("vars", &self.vars.keys()).field("root", &self.root).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_unset_and_paths_move_with_the_root() {
        let env = Environment::from_pairs([("A", "1"), ("B", ""), ("HOME", "/h")]).with_root("/tmp/x");
        assert_eq!((env.var("A"), env.var("B"), env.var("C")), (Some("1"), None, None));
        assert_eq!(env.path("/var/run/token"), Path::new("/tmp/x/var/run/token"));
        assert_eq!(env.home().unwrap(), Path::new("/h"));
        assert!(!format!("{env:?}").contains("/h\""));
    }
}
