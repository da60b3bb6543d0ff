//! tmp
mod args;
fn main() {
    match args::parse(std::env::args_os()) { Ok(p) => println!("{p:?}"), Err(e) => e.exit() }
}
