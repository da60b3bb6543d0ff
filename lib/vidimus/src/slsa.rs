//! The syntax of SLSA provenance: predicates of v0.2 and v1 against JSON schemas (draft 2020-12) written from the SLSA
//! specification. Other predicate types have no schema here and are not judged.

use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde_json::Value;

pub use vidimus_core::intoto::{SLSA_V1 as PROVENANCE_V1, SLSA_V02 as PROVENANCE_V02};

/// Errors listed in one message. A predicate of the wrong version breaks every rule at once; five say enough.
const LISTED: usize = 5;

/// A predicate that does not have the shape its type promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{predicate_type}: {}", .problems.join("; "))]
#[non_exhaustive]
pub struct SyntaxError {
    /// The type whose schema was broken.
    pub predicate_type: String,
    /// What is wrong and where, as JSON pointers.
    pub problems: Vec<String>,
}

/// Whether there is a schema for a predicate type.
pub fn knows(predicate_type: &str) -> bool {
    validator(predicate_type).is_some()
}

/// Checks a predicate against the schema of its type. Types without a schema pass: nothing is known against them.
pub fn check(predicate_type: &str, predicate: &Value) -> Result<(), SyntaxError> {
    let Some(validator) = validator(predicate_type) else { return Ok(()) };
    let mut errors = validator.iter_errors(predicate);
    let mut problems: Vec<_> = errors.by_ref().take(LISTED).map(|e| describe(&e)).collect();
    let more = errors.count();
    if problems.is_empty() {
        return Ok(());
    }
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Err(SyntaxError { predicate_type: predicate_type.into(), problems })
}

fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    if path.is_empty() { format!("the predicate: {error}") } else { format!("{path}: {error}") }
}

fn validator(predicate_type: &str) -> Option<&'static Validator> {
    static V02: OnceLock<Validator> = OnceLock::new();
    static V1: OnceLock<Validator> = OnceLock::new();
    match predicate_type {
        PROVENANCE_V02 => Some(V02.get_or_init(|| compile(include_str!("../schemas/slsa-provenance-v0.2.json")))),
        PROVENANCE_V1 => Some(V1.get_or_init(|| compile(include_str!("../schemas/slsa-provenance-v1.json")))),
        _ => None,
    }
}

fn compile(schema: &str) -> Validator {
    let schema = serde_json::from_str(schema).expect("an embedded schema is JSON; a test reads both");
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&schema)
        .expect("an embedded schema is a schema; a test compiles both")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn v02() -> Value {
        json!({"builder":{"id":"https://localhost/dummy-id"},"buildType":"https://example.com/tekton-pipeline","invocation":{},
            "buildConfig":{},"metadata":{"completeness":{"parameters":false,"environment":false,"materials":false},
            "reproducible":false},"materials":[]})
    }

    fn v1() -> Value {
        json!({"buildDefinition":{"buildType":"https://example.com/b/v1","externalParameters":{"ref":"main"},
            "resolvedDependencies":[{"uri":"git+https://example.com/r","digest":{"gitCommit":"abc"}}]},
            "runDetails":{"builder":{"id":"https://example.com/builder","version":{"x":"1"}},
            "metadata":{"invocationId":"1","startedOn":"2026-01-02T03:04:05Z"}},"extension":1})
    }

    #[test]
    fn accepts_what_the_specification_describes() {
        assert_eq!(check(PROVENANCE_V02, &v02()), Ok(()));
        assert_eq!(check(PROVENANCE_V1, &v1()), Ok(()));
        assert_eq!(check("https://example.com/anything", &json!("text")), Ok(()));
    }

    #[test]
    fn the_versions_do_not_pass_for_each_other() {
        let error = check(PROVENANCE_V1, &v02()).unwrap_err().to_string();
        assert!(error.contains("buildDefinition"), "{error}");
        assert!(check(PROVENANCE_V02, &v1()).unwrap_err().to_string().contains("builder"));
    }

    #[test]
    fn says_where_it_is_wrong() {
        let mut predicate = v02();
        predicate["builder"]["id"] = json!("no scheme");
        predicate["metadata"]["buildStartedOn"] = json!("yesterday");
        let error = check(PROVENANCE_V02, &predicate).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/builder/id") && text.contains("/metadata/buildStartedOn"), "{text}");

        let mut predicate = v1();
        predicate["buildDefinition"].as_object_mut().unwrap().remove("externalParameters");
        assert!(check(PROVENANCE_V1, &predicate).unwrap_err().to_string().contains("externalParameters"));
    }

    #[test]
    fn not_an_object() {
        assert!(check(PROVENANCE_V02, &json!([])).is_err());
        assert!(check(PROVENANCE_V1, &json!(null)).is_err());
    }

    #[test]
    fn a_thousand_problems_make_one_readable_message() {
        let mut predicate = v02();
        predicate["materials"] = Value::Array(vec![json!(1); 1000]);
        let error = check(PROVENANCE_V02, &predicate).unwrap_err();
        assert_eq!(error.problems.len(), LISTED + 1);
        assert_eq!(error.problems[LISTED], "and 995 more");
    }
}
