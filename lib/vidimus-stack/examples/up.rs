//! Starts a stack and prints its ready line: `up [DIR [PORT]]`, in memory without a directory; `up DIR token EMAIL` prints a token.

use vidimus_stack::stack::{self, Running, Stack, StackConfig, StackError};

#[tokio::main]
async fn main() -> Result<(), StackError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [dir, verb, email] = &args[..]
        && verb == "token"
    {
        println!("{}", stack::token(dir.as_ref(), email)?);
        return Ok(());
    }
    let port = args.get(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let without_referrers = std::env::var_os("WITHOUT_REFERRERS").is_some();
    let config = StackConfig { dir: args.first().map(Into::into), port, without_referrers, ..StackConfig::default() };
    let running = Stack::start(config).await?;
    println!("ready {}", running.origin());
    let _ = Running::terminated().await;
    running.shutdown().await;
    Ok(())
}
