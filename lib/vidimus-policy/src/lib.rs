//! Rules over verified facts: Enterprise-Contract policies, Rego and containers policy.json.
