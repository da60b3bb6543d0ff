//! Several Sigstore instances side by side: their names, and the roots of the public ones.

use sigstore_trust_root::SigstoreInstance;

use super::{TufError, layout::Layout};

/// The public instances, by the names under which they are known without being initialised.
const PUBLIC: [(&str, SigstoreInstance); 3] =
    [("public-good", SigstoreInstance::PublicGood), ("staging", SigstoreInstance::Staging), ("github", SigstoreInstance::GitHub)];

/// The mirror of an instance: of the name that somebody gave it, of a public one's name, or the mirror itself.
pub(super) fn mirror_of(layout: Option<&Layout>, instance: &str) -> Result<String, TufError> {
    let named = layout.map(Layout::instances).transpose()?.unwrap_or_default();
    if let Some(mirror) = named.get(instance) {
        return Ok(mirror.clone());
    }
    if let Some((_, public)) = PUBLIC.iter().find(|(name, _)| *name == instance) {
        return Ok(public.tuf_url().to_owned());
    }
    if is_mirror(instance) {
        return Ok(instance.to_owned());
    }
    let known: Vec<_> = named.keys().map(String::as_str).chain(PUBLIC.map(|(name, _)| name)).collect();
    let known = known.join(", ");
    Err(TufError::Usage(format!(
        "no Sigstore instance is called {instance:?} (there are {known}): name it with `initialize --name`"
    )))
}

/// A name must not look like a mirror, nor make a public instance's name mean another one.
pub(super) fn check_name(name: &str, mirror: &str) -> Result<(), TufError> {
    if name.is_empty() || is_mirror(name) {
        return Err(TufError::Usage(format!("{name:?} cannot be the name of an instance: it reads like a mirror")));
    }
    match PUBLIC.iter().find(|(public, _)| *public == name) {
        Some((_, public)) if public.tuf_url().trim_end_matches('/') != mirror.trim_end_matches('/') => {
            Err(TufError::Usage(format!("{name:?} is the name of the instance at {}", public.tuf_url())))
        }
        _ => Ok(()),
    }
}

fn is_mirror(text: &str) -> bool {
    text.contains('/') || text.starts_with('.')
}

/// The root of a public instance, as it was when this program was built. An old one is walked forward.
pub(super) fn built_in_root(mirror: &str) -> Option<&'static [u8]> {
    built_in(mirror).map(SigstoreInstance::tuf_root)
}

/// The public instance at a mirror.
pub(super) fn built_in(mirror: &str) -> Option<SigstoreInstance> {
    let mut instances = PUBLIC.into_iter().map(|(_, instance)| instance);
    instances.find(|instance| instance.tuf_url().trim_end_matches('/') == mirror.trim_end_matches('/'))
}
