//! `tree`.

use vidimus::tree;

use super::failures;
use crate::{
    args::image::{TreeArgs, TreeOutput},
    context::Context,
    exit::{End, Failure},
    resolve,
};

pub(super) fn run(context: &mut Context, args: TreeArgs) -> Result<End, Failure> {
    let reference = resolve::reference(&args.image)?;
    let registry = resolve::registry(context, &args.registry)?;
    let options = resolve::discover(&args.registry)?;
    let tree = context.block_on(async {
        let _progress = context.ui.progress(&format!("looking at {reference}"));
        tree::tree(&registry, &reference, options).await.map_err(|e| failures::verify(context, &e))
    })?;
    context.note("tree", &tree);
    let mut out = Vec::new();
    match args.output {
        TreeOutput::Json => {
            out = serde_json::to_vec(&tree).map_err(Failure::undetermined)?;
            out.push(b'\n');
        }
        TreeOutput::Text => tree.render(&mut out).map_err(Failure::undetermined)?,
    }
    context.ui.data(out)?;
    if tree.problems.is_empty() {
        return Ok(End::Accepted);
    }
    Err(Failure::undetermined(format!("the picture may lack something: {}", tree.problems.join("; "))))
}
