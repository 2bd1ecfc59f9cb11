//! What the conformance suite in `tests/disk` cannot ask, because only this machine has it.

use super::*;

#[test]
fn a_temporary_folder_can_be_synced() {
    let folder = tempfile::tempdir().unwrap();
    let root = Os.open_path(folder.path()).unwrap();
    root.durability().unwrap();
    root.sync_file_system().unwrap();
    root.create_new("x".as_ref()).unwrap().start_write_out(0, 8 << 20);
}

// I10, I11: not even a name that is none leads out, where the kernel can be asked to see to it.
#[cfg(target_os = "linux")]
#[test]
fn opening_does_not_leave_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("secret"), "").unwrap();
    let root = Os.open_path(&folder.path().join("in")).unwrap();
    if rustix::fs::openat2(root.fd(), ".", DIRECTORY, Mode::empty(), rustix::fs::ResolveFlags::BENEATH)
        .is_err()
    {
        return crate::testing::skip::skip("I10: names that are none", "there is no openat2");
    }
    for name in ["..", "../secret", "/etc/passwd", "/"] {
        let name = OsStr::new(name);
        let refused = |result: io::Result<()>| {
            assert_eq!(Errno::from_io_error(&result.unwrap_err()), Some(Errno::XDEV), "{name:?}");
        };
        refused(root.open_dir(name).map(drop));
        refused(root.enter(name).map(drop));
        refused(root.open_file(name).map(drop));
        refused(root.open_or_create(name).map(drop));
        refused(root.create_new(name).map(drop));
    }
}
