//! The part of Go's `text/template` that Fulcio's `ci-issuer-metadata` uses, over a map from claims to strings.
//!
//! Known: text, `{{.claim}}`, `{{index . "claim"}}`, string literals, `eq`, `ne`, `and`, `or`, `not`, parentheses,
//! `{{if}}…{{else if}}…{{else}}…{{end}}`, comments and trim markers. A claim that is not there is an error when it is named with a
//! dot and empty when it is indexed, as with Go's option `missingkey=error`. Anything else (loops, variables, pipelines, other
//! functions) is refused when the configuration is read, not when a token arrives.

use std::collections::BTreeMap;

/// Claims by name.
pub type Values = BTreeMap<String, String>;

/// Bytes of a template: Fulcio's longest has 170.
const TEMPLATE_BYTES: usize = 4 << 10;
/// Nesting of `if` and of parentheses.
const DEPTH: usize = 16;

/// A template that cannot be used, or not with these claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Outside of the known part of the language.
    #[error("template `{template}`: {why}")]
    Syntax {
        /// The template.
        template: String,
        /// What is wrong.
        why: String,
    },
    /// A claim that the template needs is neither in the token nor among the defaults.
    #[error("value <{0}> not present in either claims or defaults")]
    Missing(String),
}

/// A template, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Source);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Without `{{`: the name of a claim.
    Claim(String),
    Nodes(Vec<Node>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Text(String),
    Print(Expr),
    If { branches: Vec<(Expr, Vec<Node>)>, otherwise: Vec<Node> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expr {
    Literal(String),
    Field(String),
    Index(Box<Expr>),
    Equal(Box<Expr>, Vec<Expr>),
    NotEqual(Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Bool(bool),
}

impl Template {
    /// Reads a template; without `{{` it names one claim.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let syntax = |why: String| TemplateError::Syntax { template: text.to_owned(), why };
        if text.len() > TEMPLATE_BYTES {
            return Err(syntax(format!("longer than {TEMPLATE_BYTES} bytes")));
        }
        if !text.contains("{{") {
            return Ok(Self(Source::Claim(text.to_owned())));
        }
        let pieces = pieces(text).map_err(syntax)?;
        let mut parser = Parser { pieces: pieces.into_iter().peekable(), depth: 0 };
        let (nodes, end) = parser.nodes().map_err(syntax)?;
        match end {
            None => Ok(Self(Source::Nodes(nodes))),
            Some(action) => Err(syntax(format!("`{{{{{action}}}}}` without `{{{{if}}}}`"))),
        }
    }

    /// The text for these claims.
    pub fn render(&self, values: &Values) -> Result<String, TemplateError> {
        match &self.0 {
            Source::Claim(name) => field(values, name),
            Source::Nodes(nodes) => {
                let mut out = String::new();
                render(nodes, values, &mut out)?;
                Ok(out)
            }
        }
    }
}

fn render(nodes: &[Node], values: &Values, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(expr) => match expr.eval(values)? {
                Value::Text(text) => out.push_str(&text),
                Value::Bool(yes) => out.push_str(if yes { "true" } else { "false" }),
            },
            Node::If { branches, otherwise } => {
                let mut chosen = otherwise;
                for (condition, body) in branches {
                    if condition.eval(values)?.is_true() {
                        chosen = body;
                        break;
                    }
                }
                render(chosen, values, out)?;
            }
        }
    }
    Ok(())
}

fn field(values: &Values, name: &str) -> Result<String, TemplateError> {
    values.get(name).cloned().ok_or_else(|| TemplateError::Missing(name.to_owned()))
}

impl Value {
    fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Bool(yes) => *yes,
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bool(yes) => yes.to_string(),
        }
    }
}

impl Expr {
    fn eval(&self, values: &Values) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Literal(text) => Value::Text(text.clone()),
            Self::Field(name) => Value::Text(field(values, name)?),
            Self::Index(name) => Value::Text(values.get(&name.eval(values)?.into_text()).cloned().unwrap_or_default()),
            Self::Equal(left, rights) => {
                let left = left.eval(values)?;
                let mut equal = false;
                for right in rights {
                    equal |= left == right.eval(values)?;
                }
                Value::Bool(equal)
            }
            Self::NotEqual(left, right) => Value::Bool(left.eval(values)? != right.eval(values)?),
            Self::And(list) => first(list, values, false)?,
            Self::Or(list) => first(list, values, true)?,
            Self::Not(expr) => Value::Bool(!expr.eval(values)?.is_true()),
        })
    }
}

/// Go's `and` and `or`: the first value that decides, else the last one.
fn first(list: &[Expr], values: &Values, decisive: bool) -> Result<Value, TemplateError> {
    let mut last = Value::Bool(!decisive);
    for expr in list {
        last = expr.eval(values)?;
        if last.is_true() == decisive {
            break;
        }
    }
    Ok(last)
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Action(String),
}

/// Cuts a template into text and actions, and applies the trim markers `{{-` and `-}}`.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut trim_start = false;
    while let Some(open) = rest.find("{{") {
        let (before, after) = (&rest[..open], &rest[open + 2..]);
        let close = action_end(after).ok_or("`{{` without `}}`")?;
        let mut action = &after[..close];
        let mut before = if trim_start { before.trim_start() } else { before };
        if let Some(trimmed) = action.strip_prefix("- ") {
            (action, before) = (trimmed, before.trim_end());
        }
        trim_start = action.ends_with(" -");
        action = action.strip_suffix(" -").unwrap_or(action).trim();
        out.push(Piece::Text(before.to_owned()));
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            out.push(Piece::Action(action.to_owned()));
        }
        rest = &after[close + 2..];
    }
    out.push(Piece::Text(if trim_start { rest.trim_start() } else { rest }.to_owned()));
    Ok(out)
}

/// Where an action's `}}` is: not inside a string.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

struct Parser {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    depth: usize,
}

impl Parser {
    /// Nodes up to the `else` or `end` that belongs to an outer `if`, or up to the end of the template.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<String>), String> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) if text.is_empty() => {}
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(action) => match action.split_whitespace().next() {
                    Some("if") => nodes.push(self.condition(&action["if".len()..])?),
                    Some("else" | "end") => return Ok((nodes, Some(action))),
                    _ => nodes.push(Node::Print(expression(&action)?)),
                },
            }
        }
        Ok((nodes, None))
    }

    fn condition(&mut self, first: &str) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("more than {DEPTH} nested `if`"));
        }
        let mut branches = Vec::new();
        let mut condition = Some(expression(first)?);
        let mut otherwise = None;
        loop {
            let (body, end) = self.nodes()?;
            let end = end.ok_or("`{{if}}` without `{{end}}`")?;
            match condition.take() {
                Some(condition) => branches.push((condition, body)),
                None => otherwise = Some(body),
            }
            let words: Vec<_> = end.split_whitespace().collect();
            let after_else = otherwise.is_some();
            match words.as_slice() {
                ["end"] => break,
                ["else"] if !after_else => {}
                ["else", "if", ..] if !after_else => {
                    let at = end.find("if").unwrap_or_default() + "if".len();
                    condition = Some(expression(&end[at..])?);
                }
                _ => return Err(format!("unexpected `{{{{{end}}}}}`")),
            }
        }
        self.depth -= 1;
        Ok(Node::If { branches, otherwise: otherwise.unwrap_or_default() })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Dot,
    Field(String),
    Literal(String),
    Word(String),
}

fn expression(text: &str) -> Result<Expr, String> {
    let tokens = tokens(text)?;
    let mut tokens = tokens.into_iter().peekable();
    let expr = call(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(expr),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

/// A function with its operands, or one operand.
fn call(tokens: &mut Tokens, depth: usize) -> Result<Expr, String> {
    if depth > DEPTH {
        return Err(format!("more than {DEPTH} nested parentheses"));
    }
    let name = match tokens.peek() {
        Some(Token::Word(_)) => match tokens.next() {
            Some(Token::Word(name)) => name,
            _ => return Err("a function".to_owned()),
        },
        _ => return operand(tokens, depth),
    };
    if name == "index" {
        return match tokens.next() {
            Some(Token::Dot) => Ok(Expr::Index(Box::new(operand(tokens, depth)?))),
            _ => Err("`index` of anything but `.`".to_owned()),
        };
    }
    let mut operands = Vec::new();
    while tokens.peek().is_some_and(|t| *t != Token::Close) {
        operands.push(operand(tokens, depth)?);
    }
    function(&name, operands)
}

fn function(name: &str, mut operands: Vec<Expr>) -> Result<Expr, String> {
    let count = operands.len();
    match (name, count) {
        ("eq", 2..) => {
            let left = operands.remove(0);
            Ok(Expr::Equal(Box::new(left), operands))
        }
        ("ne", 2) => {
            let left = operands.remove(0);
            Ok(Expr::NotEqual(Box::new(left), Box::new(operands.remove(0))))
        }
        ("and", 1..) => Ok(Expr::And(operands)),
        ("or", 1..) => Ok(Expr::Or(operands)),
        ("not", 1) => Ok(Expr::Not(Box::new(operands.remove(0)))),
        ("eq" | "ne" | "and" | "or" | "not", _) => Err(format!("`{name}` with {count} operands")),
        _ => Err(format!("function `{name}` is not known")),
    }
}

fn operand(tokens: &mut Tokens, depth: usize) -> Result<Expr, String> {
    match tokens.next() {
        Some(Token::Literal(text)) => Ok(Expr::Literal(text)),
        Some(Token::Field(name)) => Ok(Expr::Field(name)),
        Some(Token::Open) => {
            let inner = call(tokens, depth + 1)?;
            match tokens.next() {
                Some(Token::Close) => Ok(inner),
                _ => Err("`(` without `)`".to_owned()),
            }
        }
        Some(token) => Err(format!("unexpected {token:?}")),
        None => Err("an operand is missing".to_owned()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let (token, len) = match c {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' | '`' => literal(rest, c)?,
            '.' => {
                let name = word(&rest[1..]);
                (if name.is_empty() { Token::Dot } else { Token::Field(name.to_owned()) }, 1 + name.len())
            }
            _ => {
                let name = word(rest);
                if name.is_empty() {
                    return Err(format!("unexpected `{c}`"));
                }
                (Token::Word(name.to_owned()), name.len())
            }
        };
        rest = rest[len..].trim_start();
        out.push(token);
    }
    Ok(out)
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// A string in `"` (with the escapes `\"` and `\\`) or in backquotes, with its length in the source.
fn literal(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Literal(out), at + 1)),
            '\\' if quote == '"' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                _ => return Err("an escape other than `\\\"` and `\\\\`".to_owned()),
            },
            c => out.push(c),
        }
    }
    Err("a string without end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, claims: &[(&str, &str)]) -> Result<String, TemplateError> {
        let values = claims.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Template::parse(template)?.render(&values)
    }

    #[test]
    fn claims_and_fields() {
        assert_eq!(render("sha", &[("sha", "abc")]).unwrap(), "abc");
        assert_eq!(render("{{ .url }}/{{.repo}}!", &[("url", "https://h"), ("repo", "a/b")]).unwrap(), "https://h/a/b!");
        assert_eq!(render(r#"x{{(index . "a.b/c-d")}}"#, &[("a.b/c-d", "1")]).unwrap(), "x1");
        assert_eq!(render(r#"x{{index . "gone"}}"#, &[]).unwrap(), "x");
        assert_eq!(render("sha", &[]), Err(TemplateError::Missing("sha".into())));
        assert_eq!(render("a{{.sha}}", &[]), Err(TemplateError::Missing("sha".into())));
    }

    #[test]
    fn conditions() {
        let reference = r#"refs/{{if eq .ref_type "branch"}}heads/{{ else }}tags/{{end}}{{ .ref }}"#;
        assert_eq!(render(reference, &[("ref_type", "branch"), ("ref", "main")]).unwrap(), "refs/heads/main");
        assert_eq!(render(reference, &[("ref_type", "tag"), ("ref", "v1")]).unwrap(), "refs/tags/v1");
        let quoted = r#"{{if eq (index . "ssh") "true"}}ssh-rerun{{ else }}""{{end}}"#;
        assert_eq!(render(quoted, &[("ssh", "true")]).unwrap(), "ssh-rerun");
        assert_eq!(render(quoted, &[]).unwrap(), "\"\"");
        let chain = r#"{{if eq .k "a" "b"}}1{{else if ne .k "c"}}2{{else if not .z}}3{{else}}4{{end}}"#;
        for (k, z, expected) in [("a", "", "1"), ("b", "", "1"), ("x", "", "2"), ("c", "", "3"), ("c", "z", "4")] {
            assert_eq!(render(chain, &[("k", k), ("z", z)]).unwrap(), expected);
        }
        assert_eq!(render(r#"{{or .a .b "c"}}{{and .b "d"}}"#, &[("a", ""), ("b", "b")]).unwrap(), "bd");
        assert_eq!(render("{{if .a}}{{if .b}}both{{end}}{{end}}", &[("a", "1"), ("b", "1")]).unwrap(), "both");
    }

    #[test]
    fn text_around_actions() {
        assert_eq!(render("a {{- /* note */ -}} b{{- `}}` -}} c", &[]).unwrap(), "ab}}c");
        assert_eq!(render(r#"{{"q\"\\"}}"#, &[]).unwrap(), "q\"\\");
    }

    #[test]
    fn what_is_not_known_is_refused_when_read() {
        let bad = [
            "{{.a",
            "{{end}}",
            "{{if .a}}x",
            "{{if .a}}{{else}}{{else}}{{end}}",
            "{{if .a}}{{else}}{{else if .b}}{{end}}",
            "{{range .a}}{{end}}",
            "{{.a | printf}}",
            "{{$x := 1}}",
            "{{printf .a}}",
            "{{eq .a}}",
            "{{index .a \"b\"}}",
            "{{(.a}}",
            "{{\"a}}",
            "{{if}}{{end}}",
            "{{}}",
            "{{.a.b}}",
        ];
        for template in bad {
            assert!(matches!(Template::parse(template), Err(TemplateError::Syntax { .. })), "{template}");
        }
        let deep = "{{if .a}}".repeat(20) + &"{{end}}".repeat(20);
        assert!(Template::parse(&deep).is_err());
        assert!(Template::parse(&format!("{{{{{}.a{}}}}}", "(".repeat(20), ")".repeat(20))).is_err());
    }
}
