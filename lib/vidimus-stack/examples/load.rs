//! Load for a Rekor v2 log, or for the certificate authority: many clients, each with one kept-alive connection, post valid requests as
//! fast as they are answered.
//!
//! ```text
//! cargo run --release --example load -- [--url http://127.0.0.1:8600] [--clients 256] [--entries 20000] [--keys 64] [--dir DIR]
//! cargo run --release --example load -- --url http://127.0.0.1:8600 --clients 16 --email WHO --token "$(vidimus stack token --email WHO)"
//! ```
//!
//! With `--email` and `--token` it asks a stack for certificates. Without `--url` it starts a log of its own, in `--dir` (durable) or a temporary directory, in this process, so that the machine's
//! cores are shared as they would be with a local stack. All requests are signed beforehand and each is sent once. Prints answers a
//! second and the median and 99th percentile of the time to an answer.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use vidimus_core::encoding::encode;
use vidimus_stack::{
    keys::{KeyKind, P256Signer, generate, load_or_create},
    rekor::v2::{RekorV2, router},
    storage::Directory,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the command line says.
struct Options {
    url: Option<String>,
    clients: usize,
    entries: usize,
    keys: usize,
    dir: Option<PathBuf>,
    email: Option<String>,
    token: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self { url: None, clients: 256, entries: 20_000, keys: 64, dir: None, email: None, token: None };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--url" => options.url = Some(value),
                "--clients" => options.clients = value.parse()?,
                "--entries" => options.entries = value.parse()?,
                "--keys" => options.keys = value.parse()?,
                "--dir" => options.dir = Some(value.into()),
                "--email" => options.email = Some(value),
                "--token" => options.token = Some(value),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let temporary = tempfile::tempdir()?;
    let (address, own) = match &options.url {
        Some(url) => (url.trim_start_matches("http://").trim_end_matches('/').to_owned(), None),
        None => {
            let dir = options.dir.clone().unwrap_or_else(|| temporary.path().join("log"));
            let storage = Arc::new(Directory::open(dir)?);
            let key = load_or_create(storage.as_ref(), "rekor-v2", KeyKind::Ed25519)?;
            let log = RekorV2::open(storage, &key, "localhost")?;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            let app = router(log.clone());
            tokio::spawn(async move { axum::serve(listener, app).await });
            (address, Some(log))
        }
    };
    let requests = Arc::new(build_requests(&address, &options)?);
    println!("{} requests of {} bytes by {} clients", requests.len(), requests[0].len(), options.clients);
    let (took, mut times) = run(&address, options.clients, requests).await?;
    report(took, &mut times);
    if let Some(log) = own {
        log.close().await;
        println!("{} entries in the log", log.status().size);
    }
    Ok(())
}

/// Complete HTTP requests with valid signatures.
fn build_requests(host: &str, options: &Options) -> Result<Vec<Bytes>, Failure> {
    let mut signers = Vec::new();
    for _ in 0..options.keys.max(1) {
        signers.push(P256Signer::from_pkcs8(&generate(KeyKind::EcdsaP256)?)?);
    }
    let mut requests = Vec::with_capacity(options.entries);
    for (n, signer) in (0..options.entries).zip(signers.iter().cycle()) {
        if let (Some(email), Some(token)) = (&options.email, &options.token) {
            requests.push(post(host, "/api/v2/signingCert", &certificate_request(signer, email, token)?));
            continue;
        }
        let message = format!("artifact {n}");
        let body = format!(
            concat!(
                r#"{{"hashedRekordRequestV002":{{"digest":"{}","signature":{{"content":"{}","verifier":"#,
                r#"{{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{{"rawBytes":"{}"}}}}}}}}}}"#
            ),
            encode(digest(&SHA256, message.as_bytes())),
            encode(signer.sign(message.as_bytes())?),
            encode(signer.spki()),
        );
        requests.push(post(host, "/api/v2/log/entries", &body));
    }
    Ok(requests)
}

/// What Fulcio wants: the token, the key, and the token's subject signed with it.
fn certificate_request(signer: &P256Signer, email: &str, token: &str) -> Result<String, Failure> {
    let pem = vidimus_core::encoding::pem("PUBLIC KEY", signer.spki());
    Ok(format!(
        concat!(
            r#"{{"credentials":{{"oidcIdentityToken":"{}"}},"publicKeyRequest":{{"#,
            r#""publicKey":{{"algorithm":"ECDSA","content":"{}"}},"proofOfPossession":"{}"}}}}"#
        ),
        token,
        pem.replace('\n', "\\n"),
        encode(signer.sign(email.as_bytes())?),
    ))
}

fn post(host: &str, path: &str, body: &str) -> Bytes {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// Sends every request once; returns the time that all took, and each answer's.
async fn run(address: &str, clients: usize, requests: Arc<Vec<Bytes>>) -> Result<(Duration, Vec<Duration>), Failure> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        let connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        connections.push(connection);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> =
        connections.into_iter().map(|connection| tokio::spawn(client(connection, requests.clone(), next.clone()))).collect();
    let mut times = Vec::with_capacity(requests.len());
    for task in tasks {
        times.extend(task.await??);
    }
    Ok((start.elapsed(), times))
}

async fn client(mut connection: TcpStream, requests: Arc<Vec<Bytes>>, next: Arc<AtomicUsize>) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    let mut buffer = Vec::with_capacity(8 << 10);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let start = Instant::now();
        connection.write_all(request).await?;
        read_answer(&mut connection, &mut buffer).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Reads one answer, which must be 200 (a certificate) or 201 (an entry).
async fn read_answer(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    buffer.clear();
    loop {
        if connection.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end])?;
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let length: usize = length.ok_or("an answer without length")?.parse()?;
        if buffer.len() < end + 4 + length {
            continue;
        }
        if !head.starts_with("HTTP/1.1 20") {
            return Err(String::from_utf8_lossy(buffer).into_owned().into());
        }
        return Ok(());
    }
}

fn report(took: Duration, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    let rate = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX)) / took.as_secs_f64();
    println!("{rate:.0} a second, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(50), at(99), at(100));
}
