//! Links the binary at a fixed address. A position-independent one has some 25 000 pointers to adjust at every start, which touches a
//! hundred pages, a quarter of those that verifying a file touches. Libraries, heap and stack stay at random addresses.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
