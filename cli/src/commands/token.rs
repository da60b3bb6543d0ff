//! Whose identity signs.

use vidimus::{net::oidc::token::IdentityToken, services::Services};

use crate::{
    args::groups::SignerArgs,
    context::Context,
    exit::{End, Failure},
};

/// An identity token.
pub(super) async fn identify(_context: &Context, signer: &SignerArgs, _services: &Services) -> Result<IdentityToken, Failure> {
    let given = signer.identity_token.clone().or_else(|| std::env::var("SIGSTORE_ID_TOKEN").ok());
    let text = given.ok_or_else(|| Failure::new(End::Rejected, "no identity token"))?;
    IdentityToken::parse(&text).map_err(|e| Failure::new(End::Rejected, e))
}
