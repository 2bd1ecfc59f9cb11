//! What chores need and may lack: builds, and packages of the system.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

/// Builds the binary as users run it; where it is.
pub(crate) fn build_release() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "--locked", "--package", "shoal-cli"]).status()?;
    ensure!(status.success(), "the build failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(target.join("release/shoal").canonicalize()?)
}

/// Whether a program can be started by its name.
pub(crate) fn is_installed(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Installs a Debian package, if we may; whether it is there now.
pub(crate) fn install_package(package: &str) -> bool {
    let apt = |args: &[&str]| Command::new("apt-get").args(args).stdout(Stdio::null()).status();
    rustix::process::geteuid().is_root()
        && apt(&["update"]).is_ok_and(|status| status.success())
        && apt(&["install", "--yes", package]).is_ok_and(|status| status.success())
}
