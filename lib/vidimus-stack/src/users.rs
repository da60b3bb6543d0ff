//! Who may log in: people with passwords, and clients (service accounts) with secrets or with an account elsewhere.
//!
//! One file, JSON as written (YAML is read too), for its owner's eyes only. Passwords and secrets are kept as argon2id hashes
//! (RFC 9106). The file is read anew for every login, so that a change takes effect at once; it is replaced atomically, under
//! a lock, so that two commands at the same time lose nothing.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secret_file::{self, SecretFileError};

/// Bytes of the file: 4 000 users.
const FILE_BYTES: u64 = 1 << 20;
/// Bytes of a password: argon2 hashes any length, and somebody would try.
const PASSWORD_BYTES: usize = 1 << 10;
/// NIST SP 800-63B §3.1.1: at least eight characters.
const PASSWORD_CHARS: usize = 8;

/// Who somebody has proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The token's `sub`.
    pub subject: String,
    /// The token's `email`, and what certificates are issued for.
    pub email: String,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The mail address, which is also the name to log in with.
    pub email: String,
    /// The password's hash.
    password: String,
    /// When the account was made.
    pub created: Timestamp,
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The name to log in with.
    pub id: String,
    /// The mail address in its tokens.
    pub email: String,
    /// The secret's hash; without one, only federated logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Identities elsewhere that may act as this account, through token exchange.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub federated: Vec<Federated>,
    /// When the account was made.
    pub created: Timestamp,
}

/// An identity at another issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federated {
    /// The other issuer, which the certificate authority must trust too.
    pub issuer: String,
    /// The token's `sub` there.
    pub subject: String,
}

/// The accounts of a stack could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// The file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// There is one already.
    #[error("{0} exists already")]
    Exists(String),
    /// There is none.
    #[error("there is no {0}")]
    Unknown(String),
    /// Not a mail address that certificates can carry.
    #[error("{0:?} is not a mail address")]
    Email(String),
    /// Not a name for a client.
    #[error("{0:?} is not a client id: letters, digits, '-', '_' and '.', at most 64")]
    ClientId(String),
    /// Too short or too long.
    #[error("a password must have at least {PASSWORD_CHARS} characters and at most {PASSWORD_BYTES} bytes")]
    Password,
    /// The hash could not be computed.
    #[error("hashing a password: {0}")]
    Hash(String),
}

/// The accounts of a stack.
#[derive(Debug, Clone)]
pub struct Users {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    users: Vec<User>,
    clients: Vec<Client>,
}

impl Users {
    /// The accounts in a file, which need not exist yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The people.
    pub fn users(&self) -> Result<Vec<User>, UsersError> {
        Ok(self.read()?.users)
    }

    /// The service accounts.
    pub fn clients(&self) -> Result<Vec<Client>, UsersError> {
        Ok(self.read()?.clients)
    }

    /// Adds a person.
    pub fn add_user(&self, email: &str, password: &str, now: Timestamp) -> Result<(), UsersError> {
        check_email(email)?;
        let user = User { email: email.to_owned(), password: hash(password)?, created: now };
        self.change(|content| {
            if content.users.iter().any(|u| u.email.eq_ignore_ascii_case(email)) {
                return Err(UsersError::Exists(email.to_owned()));
            }
            content.users.push(user);
            Ok(())
        })
    }

    /// Gives a person another password.
    pub fn set_password(&self, email: &str, password: &str) -> Result<(), UsersError> {
        let hash = hash(password)?;
        self.change(|content| {
            let user = content.users.iter_mut().find(|u| u.email.eq_ignore_ascii_case(email));
            user.ok_or_else(|| UsersError::Unknown(email.to_owned()))?.password = hash;
            Ok(())
        })
    }

    /// Removes a person.
    pub fn remove_user(&self, email: &str) -> Result<(), UsersError> {
        self.change(|content| {
            let before = content.users.len();
            content.users.retain(|u| !u.email.eq_ignore_ascii_case(email));
            if content.users.len() == before { Err(UsersError::Unknown(email.to_owned())) } else { Ok(()) }
        })
    }

    /// Adds a service account, with a secret or for the given identities elsewhere.
    pub fn add_client(
        &self,
        id: &str,
        email: &str,
        secret: Option<&str>,
        federated: Vec<Federated>,
        now: Timestamp,
    ) -> Result<(), UsersError> {
        check_email(email)?;
        let named = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !named {
            return Err(UsersError::ClientId(id.to_owned()));
        }
        let secret = secret.map(hash).transpose()?;
        let client = Client { id: id.to_owned(), email: email.to_owned(), secret, federated, created: now };
        self.change(|content| {
            if content.clients.iter().any(|c| c.id == id) {
                return Err(UsersError::Exists(id.to_owned()));
            }
            content.clients.push(client);
            Ok(())
        })
    }

    /// Removes a service account.
    pub fn remove_client(&self, id: &str) -> Result<(), UsersError> {
        self.change(|content| {
            let before = content.clients.len();
            content.clients.retain(|c| c.id != id);
            if content.clients.len() == before { Err(UsersError::Unknown(id.to_owned())) } else { Ok(()) }
        })
    }

    /// The person with this address and password, if both are right. Takes tens of milliseconds either way.
    pub fn log_in(&self, email: &str, password: &str) -> Result<Option<Account>, UsersError> {
        let content = self.read()?;
        let user = content.users.into_iter().find(|u| u.email.eq_ignore_ascii_case(email));
        let right = is_right(user.as_ref().map(|u| u.password.as_str()), password);
        Ok(user.filter(|_| right).map(|u| Account { subject: u.email.clone(), email: u.email }))
    }

    /// The service account with this id and secret, if both are right.
    pub fn log_in_client(&self, id: &str, secret: &str) -> Result<Option<Account>, UsersError> {
        let content = self.read()?;
        let client = content.clients.into_iter().find(|c| c.id == id);
        let right = is_right(client.as_ref().and_then(|c| c.secret.as_deref()), secret);
        Ok(client.filter(|_| right).map(Client::into_account))
    }

    /// The service account that an identity elsewhere may act as.
    pub fn federated(&self, issuer: &str, subject: &str) -> Result<Option<Account>, UsersError> {
        let fits = |c: &Client| c.federated.iter().any(|f| f.issuer == issuer && f.subject == subject);
        Ok(self.read()?.clients.into_iter().find(fits).map(Client::into_account))
    }

    fn read(&self) -> Result<Content, UsersError> {
        let text = match secret_file::read_text(&self.path, FILE_BYTES) {
            Err(e) if e.is_not_found() => return Ok(Content::default()),
            other => other?,
        };
        Ok(serde_saphyr::from_str(&text).map_err(|e| SecretFileError::malformed(&self.path, e))?)
    }

    fn change(&self, change: impl FnOnce(&mut Content) -> Result<(), UsersError>) -> Result<(), UsersError> {
        secret_file::create_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        let _lock = secret_file::lock(&self.path)?;
        let mut content = self.read()?;
        change(&mut content)?;
        let text = serde_json::to_vec_pretty(&content).map_err(|e| SecretFileError::malformed(&self.path, e))?;
        Ok(secret_file::replace(&self.path, &text)?)
    }
}

impl Client {
    fn into_account(self) -> Account {
        Account { subject: format!("client:{}", self.id), email: self.email }
    }
}

fn check_email(email: &str) -> Result<(), UsersError> {
    if crate::fulcio::is_email(email) { Ok(()) } else { Err(UsersError::Email(email.to_owned())) }
}

fn hash(password: &str) -> Result<String, UsersError> {
    if password.chars().count() < PASSWORD_CHARS || password.len() > PASSWORD_BYTES {
        return Err(UsersError::Password);
    }
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes()).map_err(|e| UsersError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

/// Compares a password with a hash. Without a hash it does the same work and says no: how long an answer takes must not tell
/// whether there is an account.
fn is_right(hash: Option<&str>, password: &str) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash_of_nothing().unwrap_or_default());
    let known = hash.is_some();
    let Ok(hash) = PasswordHash::new(hash.unwrap_or(&NOBODY)) else { return false };
    let right = password.len() <= PASSWORD_BYTES && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    known && right
}

fn hash_of_nothing() -> Option<String> {
    let random = crate::pki::key::random::<16>().ok()?;
    hash(&hex::encode(random)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> (tempfile::TempDir, Users) {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::at(&dir.path().join("keys/users.json"));
        (dir, users)
    }

    #[test]
    fn people() {
        let (_dir, users) = users();
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(users.users().unwrap(), []);
        users.add_user("jdoe@example.com", "correct horse", now).unwrap();
        users.add_user("other@example.com", "battery staple", now).unwrap();
        assert!(matches!(users.add_user("JDoe@example.com", "correct horse", now), Err(UsersError::Exists(_))));
        assert!(matches!(users.add_user("nobody", "correct horse", now), Err(UsersError::Email(_))));
        assert!(matches!(users.add_user("a@b.c", "short", now), Err(UsersError::Password)));
        let account = Account { subject: "jdoe@example.com".into(), email: "jdoe@example.com".into() };
        assert_eq!(users.log_in("jdoe@example.com", "correct horse").unwrap(), Some(account));
        for (email, password) in
            [("jdoe@example.com", "correct horsf"), ("jdoe@example.com", ""), ("none@example.com", "correct horse")]
        {
            assert_eq!(users.log_in(email, password).unwrap(), None);
        }
        users.set_password("jdoe@example.com", "another one").unwrap();
        assert_eq!(users.log_in("jdoe@example.com", "correct horse").unwrap(), None);
        assert!(users.log_in("jdoe@example.com", "another one").unwrap().is_some());
        users.remove_user("jdoe@example.com").unwrap();
        assert!(matches!(users.remove_user("jdoe@example.com"), Err(UsersError::Unknown(_))));
        assert_eq!(users.users().unwrap().len(), 1);
        let text = std::fs::read_to_string(&users.path).unwrap();
        assert!(text.contains("$argon2id$") && !text.contains("staple"));
    }

    #[test]
    fn service_accounts() {
        let (_dir, users) = users();
        let now = Timestamp::UNIX_EPOCH;
        let elsewhere = Federated { issuer: "https://ci.example.com".into(), subject: "repo:a".into() };
        users.add_client("ci", "ci@example.com", Some("long secret"), vec![], now).unwrap();
        users.add_client("fed", "fed@example.com", None, vec![elsewhere], now).unwrap();
        assert!(matches!(users.add_client("a b", "ci@example.com", None, vec![], now), Err(UsersError::ClientId(_))));
        assert!(matches!(users.add_client("ci", "ci@example.com", None, vec![], now), Err(UsersError::Exists(_))));
        assert_eq!(users.log_in_client("ci", "long secret").unwrap().unwrap().subject, "client:ci");
        assert_eq!(users.log_in_client("ci", "wrong secret").unwrap(), None);
        assert_eq!(users.log_in_client("fed", "").unwrap(), None);
        assert_eq!(users.federated("https://ci.example.com", "repo:a").unwrap().unwrap().email, "fed@example.com");
        assert_eq!(users.federated("https://ci.example.com", "repo:ab").unwrap(), None);
        users.remove_client("ci").unwrap();
        assert_eq!(users.log_in_client("ci", "long secret").unwrap(), None);
    }

    #[test]
    fn yaml_is_read_and_nonsense_is_not_emptiness() {
        let (_dir, users) = users();
        users.add_user("jdoe@example.com", "correct horse", Timestamp::UNIX_EPOCH).unwrap();
        let hash = users.read().unwrap().users[0].password.clone();
        let yaml = format!("users:\n- email: jdoe@example.com\n  password: {hash}\n  created: 2026-11-21T00:00:00Z\n");
        secret_file::replace(&users.path, yaml.as_bytes()).unwrap();
        assert!(users.log_in("jdoe@example.com", "correct horse").unwrap().is_some());
        secret_file::replace(&users.path, b"[1, 2").unwrap();
        assert!(matches!(users.users(), Err(UsersError::File(SecretFileError::Malformed { .. }))));
    }
}
