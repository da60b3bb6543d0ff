//! Starts a stack and prints its ready line: `up [DIR [PORT]]`, in memory without a directory.

use vidimus_stack::stack::{Running, Stack, StackConfig, StackError};

#[tokio::main]
async fn main() -> Result<(), StackError> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map(Into::into);
    let port = args.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let without_referrers = std::env::var_os("WITHOUT_REFERRERS").is_some();
    let running = Stack::start(StackConfig { dir, port, without_referrers, ..StackConfig::default() }).await?;
    println!("ready {}", running.origin());
    let _ = Running::terminated().await;
    running.shutdown().await;
    Ok(())
}
