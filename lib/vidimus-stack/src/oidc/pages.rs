//! The pages for people: a login form, a device form, and plain words. No script, nothing from elsewhere, every value escaped.

use super::authorize::AuthorizationRequest;

/// A login form for a client's request.
pub(super) fn login(request: &AuthorizationRequest, form_token: &str, message: Option<&str>) -> String {
    let hidden: String = [
        ("client_id", &request.client_id),
        ("redirect_uri", &request.redirect_uri),
        ("response_type", &request.response_type),
        ("scope", &request.scope),
        ("state", &request.state),
        ("nonce", &request.nonce),
        ("code_challenge", &request.code_challenge),
        ("code_challenge_method", &request.code_challenge_method),
    ]
    .iter()
    .map(|(name, value)| hidden(name, value))
    .collect();
    let intro = format!(
        "<p>A program ({}) asks who you are. The answer goes to <code>{}</code>.</p>",
        escape(&request.client_id),
        escape(&request.redirect_uri)
    );
    let buttons = "<button>Log in</button>";
    page("Log in", &format!("{intro}{}", form("/oauth2/authorize", &hidden, form_token, message, buttons)))
}

/// A form to log in for a device that shows a code.
pub(super) fn device(user_code: &str, form_token: &str, message: Option<&str>) -> String {
    let intro = "<p>A program shows a code and asks who you are. Go on only if you started it and the codes are the same.</p>";
    let code = format!(
        "<label>Code <input name=user_code required maxlength=16 autocomplete=off value=\"{}\"></label>",
        escape(user_code)
    );
    let buttons = "<button name=answer value=yes>Log in</button> <button name=answer value=no formnovalidate>Refuse</button>";
    page("Log in for a device", &format!("{intro}{}", form("/oauth2/device", &code, form_token, message, buttons)))
}

/// The code of an out-of-band login.
pub(super) fn code(code: &str) -> String {
    page("Logged in", &format!("<p>Copy this code into the program that asked for it:</p><pre>{}</pre>", escape(code)))
}

/// A page of words.
pub(super) fn words(title: &str, text: &str) -> String {
    page(title, &format!("<p>{}</p>", escape(text)))
}

fn form(action: &str, first: &str, form_token: &str, message: Option<&str>, buttons: &str) -> String {
    let message = message.map(|m| format!("<p role=alert><strong>{}</strong></p>", escape(m))).unwrap_or_default();
    let token = hidden("form_token", form_token);
    format!(
        "{message}<form method=post action=\"{action}\">{first}{token}\
         <label>Mail address <input name=email type=email required maxlength=254 autocomplete=username></label>\
         <label>Password <input name=password type=password required maxlength=1024 autocomplete=current-password></label>\
         {buttons}</form>"
    )
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=hidden name={name} value=\"{}\">", escape(value))
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:32rem;margin:3rem auto;padding:0 1rem}}label{{display:block;margin:1rem 0}}\
         input{{display:block;width:100%;font:inherit;padding:.4rem}}button{{font:inherit;padding:.4rem 1rem}}</style>\
         <h1>{title}</h1>{body}</html>\n"
    )
}

/// For text and for attribute values in quotation marks.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "\"><script>alert('1')</script>&";
        let request =
            AuthorizationRequest { client_id: evil.into(), redirect_uri: evil.into(), state: evil.into(), ..Default::default() };
        for page in [login(&request, evil, Some(evil)), device(evil, evil, Some(evil)), code(evil), words("t", evil)] {
            assert!(!page.contains("<script") && !page.contains("\">alert"), "{page}");
            assert!(page.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"));
        }
    }
}
