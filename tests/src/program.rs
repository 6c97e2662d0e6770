//! The program `ringway`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The program, built in the profile of the test that asks. Cargo tells the tests of another package no path, and may not
/// have built it for them, or not anew.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        // <target>/<profile>/deps/<test>-<hash>
        let folder = test.ancestors().nth(2).expect("cargo puts tests there");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "ringway-cli", "--bin", "ringway", "--profile", profile])
            .arg("--target-dir")
            .arg(folder.parent().expect("the target folder"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the program cannot be built");
        folder.join("ringway")
    })
}
