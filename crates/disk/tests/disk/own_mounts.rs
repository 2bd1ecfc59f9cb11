//! A process that may mount what it likes: its mounts are nobody else's, and end with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::skip::skip;

/// What the process gets that may mount: a folder for its mounts.
const PLACE: &str = "SHOAL_DISK_TEST_MOUNTED";

/// The folder for mounts, in the process that may.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// Runs a test of this program that asks for [`place`] where it may mount; what it said, or a skip.
pub(crate) fn run(what: &str, test: &str) -> Option<String> {
    let may = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let probe = Command::new("unshare").args([may, "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip(what, &String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Err(error) => {
            skip(what, &format!("cannot start unshare: {error}"));
            return None;
        }
    }
    let place = tempfile::tempdir().unwrap();
    let run = Command::new("unshare")
        .args([may, "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PLACE, place.path())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
    Some(text)
}

/// Mounts something at a new folder of this name; a skip, if it may not be.
pub(crate) fn mount(place: &Path, name: &str, what: &str, arguments: &[&str]) -> Option<PathBuf> {
    let at = place.join(name);
    fs::create_dir(&at).unwrap();
    let run = Command::new("mount").args(arguments).arg(&at).output().unwrap();
    if run.status.success() {
        return Some(at);
    }
    skip(what, &String::from_utf8_lossy(&run.stderr));
    None
}

/// Makes a small ext4 in a file and mounts it; a skip, if that cannot be.
pub(crate) fn mount_ext4(
    place: &Path,
    name: &str,
    what: &str,
    bytes: u64,
    options: &[&str],
) -> Option<PathBuf> {
    let image = place.join(format!("{name}.img"));
    fs::File::create(&image).unwrap().set_len(bytes).unwrap();
    match Command::new("mkfs.ext4").args(["-q", "-F"]).args(options).arg(&image).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip(what, &String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Err(error) => {
            skip(what, &format!("cannot start mkfs.ext4: {error}"));
            return None;
        }
    }
    let at = mount(place, name, what, &["-o", "loop", image.to_str().unwrap()])?;
    fs::remove_dir(at.join("lost+found")).unwrap();
    Some(at)
}

/// Undoes a mount, which lets its loop device go too.
pub(crate) fn unmount(at: &Path) {
    assert!(Command::new("umount").arg(at).status().unwrap().success());
}
