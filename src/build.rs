//! Hands the name of the target to `own.rs`; only a build script is told it.

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rustc-env=GATEWAY_EXPORTER_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
