//! HTTP around the issuer.

use std::sync::{Arc, PoisonError};

use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::authorize::{AuthorizationRequest, LoginFailure, OUT_OF_BAND, RequestFault, secret};
use super::tables::Answer;
use super::token::{DeviceRequest, GrantError, TokenRequest};
use super::{Issuer, pages};

/// Bytes of a form: a token of 16 KiB to exchange, percent-encoded.
const FORM_BYTES: usize = 64 << 10;
/// The cookie that ties a form to a browser.
const COOKIE: &str = "vidimus_form";

/// The routes, for the origin's root.
pub fn router(issuer: Arc<Issuer>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/oauth2/keys", get(keys))
        .route("/oauth2/authorize", get(show_login).post(log_in))
        .route("/oauth2/token", post(token))
        .route("/oauth2/device/code", post(start_device))
        .route("/oauth2/device", get(show_device).post(answer_device))
        .route("/oauth2/ambient", get(ambient))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .with_state(issuer)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoginForm {
    #[serde(flatten)]
    request: AuthorizationRequest,
    form_token: String,
    email: String,
    password: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DeviceForm {
    user_code: String,
    answer: String,
    form_token: String,
    email: String,
    password: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DeviceQuery {
    user_code: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AmbientQuery {
    audience: String,
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> impl IntoResponse {
    Json(issuer.discovery())
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> impl IntoResponse {
    Json(issuer.key.jwks())
}

async fn show_login(
    State(issuer): State<Arc<Issuer>>,
    Query(request): Query<AuthorizationRequest>,
    headers: HeaderMap,
) -> Response {
    match request.check() {
        Ok(()) => {
            form_page(&issuer, &headers, StatusCode::OK, &request.redirect_uri, |token| pages::login(&request, token, None))
        }
        Err(fault) => faulty(&request, &fault),
    }
}

async fn log_in(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, form: Result<Form<LoginForm>, FormRejection>) -> Response {
    let Ok(Form(form)) = form else {
        return page(StatusCode::BAD_REQUEST, pages::words("Not understood", "The form is damaged."));
    };
    let request = &form.request;
    if let Err(fault) = request.check() {
        return faulty(request, &fault);
    }
    let again = |status, message: &str| {
        form_page(&issuer, &headers, status, &request.redirect_uri, |token| pages::login(request, token, Some(message)))
    };
    if !issuer.is_own_form(cookie(&headers), &form.form_token) {
        return again(StatusCode::FORBIDDEN, "This form did not come from the page before it. Please try again.");
    }
    let login = issuer.log_in(&form.email, &form.password).await;
    match login.and_then(|account| issuer.grant_code(request, account)) {
        Ok(code) if request.redirect_uri == OUT_OF_BAND => page(StatusCode::OK, pages::code(&code)),
        Ok(code) => redirect(request, &[("code", &code)]),
        Err(failure) => {
            let (status, message) = login_failure(&failure);
            again(status, message)
        }
    }
}

async fn show_device(State(issuer): State<Arc<Issuer>>, Query(query): Query<DeviceQuery>, headers: HeaderMap) -> Response {
    form_page(&issuer, &headers, StatusCode::OK, "", |token| pages::device(&query.user_code, token, None))
}

async fn answer_device(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    form: Result<Form<DeviceForm>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return page(StatusCode::BAD_REQUEST, pages::words("Not understood", "The form is damaged."));
    };
    let again = |status, message: &str| {
        form_page(&issuer, &headers, status, "", |token| pages::device(&form.user_code, token, Some(message)))
    };
    if !issuer.is_own_form(cookie(&headers), &form.form_token) {
        return again(StatusCode::FORBIDDEN, "This form did not come from the page before it. Please try again.");
    }
    // Refusing takes no password: whoever sees the code may stop the login it is for.
    let answer = match form.answer.as_str() {
        "no" => Answer::No,
        _ => match issuer.log_in(&form.email, &form.password).await {
            Ok(account) => Answer::Yes(account),
            Err(failure) => {
                let (status, message) = login_failure(&failure);
                return again(status, message);
            }
        },
    };
    let mut tables = issuer.tables.lock().unwrap_or_else(PoisonError::into_inner);
    let done = match answer {
        Answer::Yes(_) => "You are logged in. Go back to the program that showed the code.",
        Answer::No => "The program that showed the code is told that you refused.",
    };
    match tables.device_showing(&form.user_code, issuer.clock.now()) {
        Some(device) => {
            device.answer = Some(answer);
            page(StatusCode::OK, pages::words("Done", done))
        }
        None => {
            drop(tables);
            again(StatusCode::NOT_FOUND, "No program is waiting with this code; it may be too old.")
        }
    }
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Response {
    let basic = headers.get(header::AUTHORIZATION).map(|v| v.to_str().unwrap_or_default());
    let answer = match form {
        Ok(Form(request)) => issuer.token(request, basic).await,
        Err(e) => Err(GrantError { error: "invalid_request", description: e.to_string() }),
    };
    answer.map_or_else(|e| grant_error(&e), |body| no_store(Json(body)))
}

async fn start_device(State(issuer): State<Arc<Issuer>>, form: Result<Form<DeviceRequest>, FormRejection>) -> Response {
    let answer = match form {
        Ok(Form(request)) => issuer.start_device(&request),
        Err(e) => Err(GrantError { error: "invalid_request", description: e.to_string() }),
    };
    answer.map_or_else(|e| grant_error(&e), |body| no_store(Json(body)))
}

async fn ambient(State(issuer): State<Arc<Issuer>>, Query(query): Query<AmbientQuery>, headers: HeaderMap) -> Response {
    let header = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let bearer =
        header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token);
    match issuer.ambient(bearer, &query.audience) {
        Ok(value) => no_store(Json(json!({ "count": value.len(), "value": value }))),
        Err(GrantError { error: "invalid_grant", description }) => {
            (StatusCode::UNAUTHORIZED, Json(json!({ "message": description }))).into_response()
        }
        Err(e) => (StatusCode::BAD_REQUEST, Json(json!({ "message": e.description }))).into_response(),
    }
}

fn login_failure(failure: &LoginFailure) -> (StatusCode, &'static str) {
    match failure {
        LoginFailure::Wrong => (StatusCode::UNAUTHORIZED, "Wrong mail address or password."),
        LoginFailure::Wait => (StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Please wait a minute."),
        LoginFailure::Broken(why) => {
            tracing::error!(why, "login");
            (StatusCode::INTERNAL_SERVER_ERROR, "The accounts cannot be read; the operator's log says why.")
        }
    }
}

fn faulty(request: &AuthorizationRequest, fault: &RequestFault) -> Response {
    match fault {
        RequestFault::Redirect { error, description } if request.redirect_uri != OUT_OF_BAND => {
            redirect(request, &[("error", error), ("error_description", description)])
        }
        RequestFault::Redirect { error, description } => {
            page(StatusCode::BAD_REQUEST, pages::words("Not possible", &format!("{error}: {description}")))
        }
        RequestFault::Page(why) => page(StatusCode::BAD_REQUEST, pages::words("Not possible", why)),
    }
}

fn redirect(request: &AuthorizationRequest, parameters: &[(&str, &str)]) -> Response {
    let location = request.redirect(parameters).and_then(|l| HeaderValue::from_str(&l).ok());
    match location {
        Some(location) => no_store((StatusCode::SEE_OTHER, [(header::LOCATION, location)])),
        None => page(StatusCode::BAD_REQUEST, pages::words("Not possible", "The redirect is not a URL.")),
    }
}

/// A page with a form that only this browser can send back. `target` is where the answer to the form may redirect to: browsers hold
/// redirects of a form against `form-action` too.
fn form_page(
    issuer: &Issuer,
    headers: &HeaderMap,
    status: StatusCode,
    target: &str,
    html: impl FnOnce(&str) -> String,
) -> Response {
    let known = cookie(headers).filter(|c| c.len() == 43).map(str::to_owned);
    let Ok(value) = known.map_or_else(secret, Ok) else {
        return page(StatusCode::INTERNAL_SERVER_ERROR, pages::words("Not possible", "The machine has no random numbers."));
    };
    let mut response = page(status, html(&issuer.form_token(&value)));
    let secure = if issuer.url().starts_with("https:") { "; Secure" } else { "" };
    let set = format!("{COOKIE}={value}; Path=/oauth2; HttpOnly; SameSite=Strict; Max-Age=3600{secure}");
    let origin = url::Url::parse(target).ok().filter(|u| u.scheme() == "http").map(|u| u.origin().ascii_serialization());
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' {}",
        origin.unwrap_or_default()
    );
    for (name, value) in [(header::SET_COOKIE, set), (header::CONTENT_SECURITY_POLICY, policy)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn page(status: StatusCode, html: String) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    no_store((status, headers, Html(html)))
}

fn no_store(response: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], response).into_response()
}

fn grant_error(e: &GrantError) -> Response {
    let status = match e.error {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
        "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = (status, Json(json!({ "error": e.error, "error_description": e.description }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"vidimus stack\""));
    }
    no_store(response)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    all.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}
