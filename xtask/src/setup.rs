//! What chores need and may lack: the root of the repository, builds, and packages of the system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Goes to the root of the repository, to which all paths of chores are relative.
pub(crate) fn enter_root() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no workspace")?;
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds the binary as users run it; where it is.
pub(crate) fn build_release() -> Result<PathBuf> {
    let status = cargo().args(["build", "--release", "--locked", "--package", "shoal-cli"]).status()?;
    ensure!(status.success(), "the build failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let binary = target.join("release/shoal");
    binary.canonicalize().with_context(|| format!("the build left no {}", binary.display()))
}

/// Whether a program can be started by its name.
pub(crate) fn is_installed(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether a program can be found by its name; not all of them answer when they are asked for their version.
pub(crate) fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Installs a Debian package, if we may; whether it is there now.
pub(crate) fn install_package(package: &str) -> bool {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    rustix::process::geteuid().is_root()
        // What is known of packages may be old, or nothing at all.
        && (apt(&["install", "--yes", package])
            || (apt(&["update"]) && apt(&["install", "--yes", package])))
}
