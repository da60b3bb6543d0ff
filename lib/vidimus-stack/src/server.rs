//! One port for every service: HTTP/1.1 and HTTP/2 with prior knowledge, bounded in connections, time and drain.
//!
//! Does not know any service: it is given one router. TLS is not spoken; a stack that listens beyond loopback belongs behind a proxy that does.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// Connections served at once. Each costs a socket and about 20 KiB; 4096 leaves room under the usual limit of open files when raised,
/// and the accept loop waits (the kernel queues) rather than refusing.
const CONNECTIONS: usize = 4096;
/// Pending connections the kernel may queue while the accept loop is busy.
const BACKLOG: u32 = 1024;
/// Time for a complete request head, which for a kept-alive connection is also the longest idle time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// An HTTP/2 connection is probed after this silence…
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// …and closed when the probe stays unanswered this long.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams on one HTTP/2 connection: more than any client opens, far fewer than would hurt.
const STREAMS: u32 = 256;
/// How long a stopping server waits for requests under way. A signing client retries; an operator does not wait.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause after `accept` fails (out of descriptors): retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A serving port.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Binds `address` without serving yet: the port is part of the origin that certificates and logs are then made for.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A stack restarted after a crash must get its port back while old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Server {
    /// Serves `router` on `listener` until [`Server::shutdown`].
    pub fn start(listener: TcpListener, router: Router) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, router, stopped));
        Ok(Self { address, stop, task })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish within two seconds, then cuts the rest.
    pub async fn shutdown(self) {
        let _ = self.stop.send(true);
        // The task ends within DRAIN by construction; a panic in it has already been reported by the runtime.
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let builder = Arc::new(protocol());
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = serve(&builder, stream, router.clone());
                    let connection = graceful.watch(connection.into_owned());
                    tokio::spawn(async move {
                        // A client that hangs up or speaks nonsense is its own problem and reason for no log line.
                        let _ = connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS);
    builder
}

type Connection<'a> = auto::Connection<'a, TokioIo<TcpStream>, TowerToHyperService<Router>, TokioExecutor>;

fn serve(builder: &auto::Builder<TokioExecutor>, stream: TcpStream, router: Router) -> Connection<'_> {
    // Answers are written whole; waiting to fill a segment only adds latency.
    let _ = stream.set_nodelay(true);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
