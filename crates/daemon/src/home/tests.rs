//! Homes in folders of the tests.

use super::*;

fn environment(home: &Path) -> Environment {
    Environment { home: Some(home.as_os_str().to_owned()), ..Environment::default() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn places_follow_the_environment_and_an_option_overrules_it() {
    let usual = Home::find(None, &environment(Path::new("/home/ana"))).unwrap();
    assert_eq!(usual.config_file(), Path::new("/home/ana/.config/shoal/config.toml"));
    assert_eq!(usual.state(), Path::new("/home/ana/.local/state/shoal"));
    assert_eq!(usual.socket(), Path::new("/home/ana/.local/state/shoal/shoal.sock"));

    let own = Environment {
        config: Some("/c".into()),
        state: Some("relative".into()),
        runtime: Some("/run/user/7".into()),
        ..environment(Path::new("/home/ana"))
    };
    let own = Home::find(None, &own).unwrap();
    assert_eq!(own.config_file(), Path::new("/c/shoal/config.toml"));
    assert_eq!(own.state(), Path::new("/home/ana/.local/state/shoal"));
    assert_eq!(own.socket(), Path::new("/run/user/7/shoal.sock"));

    let asked = Home::find(Some(Path::new("/x")), &Environment::default()).unwrap();
    assert_eq!(asked.config_file(), Path::new("/x/config.toml"));
    assert_eq!((asked.state(), asked.socket()), (Path::new("/x"), Path::new("/x/shoal.sock")));
    assert!(matches!(Home::find(None, &Environment::default()), Err(HomeError::Nowhere)));
}

#[test]
fn t11_all_that_is_made_is_closed_to_others() {
    let outer = tempfile::tempdir().unwrap();
    let home = Home::find(Some(&outer.path().join("deep/home")), &Environment::default()).unwrap();
    let held = home.hold().unwrap();
    held.device_key().unwrap();
    held.set_last_port(4242).unwrap();
    let mut looked_at = 0;
    let mut folders = vec![home.state().to_owned()];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            looked_at += 1;
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert_eq!(looked_at, 5); // key, lock, port, shares, indexes
    assert_eq!(held.last_port(), Some(4242));
}

#[test]
fn t11_a_folder_that_others_may_enter_is_refused_unless_it_is_empty() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("home");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let home = Home::find(Some(&folder), &Environment::default()).unwrap();
    drop(home.hold().unwrap());
    assert_eq!(mode(&folder), 0o700);

    fs::set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
    let error = home.hold().unwrap_err();
    assert!(matches!(error, HomeError::Open { mode: 0o750, .. }), "{error}");
    assert_eq!(mode(&folder), 0o750);

    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Home::find(Some(&file), &Environment::default()).unwrap().hold().unwrap_err();
    assert!(matches!(error, HomeError::Foreign { .. }), "{error}");
}

#[test]
fn one_daemon_has_a_home_and_the_next_one_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::find(Some(folder.path()), &Environment::default()).unwrap();
    let held = home.hold().unwrap();
    let error = home.hold().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("a daemon runs already, as process {}; `shoal stop` ends it", std::process::id())
    );
    let waiting = home.clone();
    let waiter = std::thread::spawn(move || waiting.wait_until_free().unwrap());
    assert!(!waiter.is_finished());
    drop(held);
    waiter.join().unwrap();
    home.hold().unwrap();
}

#[test]
fn f9_a_key_is_made_once_and_refused_when_it_is_not_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::find(Some(folder.path()), &Environment::default()).unwrap();
    let held = home.hold().unwrap();
    let device = held.device_key().unwrap().device();
    assert_eq!(held.device_key().unwrap().device(), device);

    let path = folder.path().join("key");
    let whole = fs::read(&path).unwrap();
    let damage = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        matches!(held.device_key(), Err(HomeError::Key(KeyError::Damaged { .. })))
    };
    assert!(damage(b""));
    assert!(damage(&whole[..whole.len() / 2]));
    assert!(damage(&whole.repeat(8)));
    assert!(damage(&[b'x'; 5000]));
    for at in 0..whole.len() - 1 {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(damage(&changed), "byte {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(held.device_key().unwrap().device(), device);

    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let error = held.device_key().unwrap_err().to_string();
    assert!(error.contains("is open to others (mode 644)"), "{error}");

    fs::remove_file(&path).unwrap();
    fs::write(home.shares().join("x.json"), "").unwrap();
    assert!(matches!(held.device_key(), Err(HomeError::Key(KeyError::Gone { .. }))));
    assert!(!path.exists());
}

#[test]
fn a_socket_can_lie_deeper_than_its_name_is_long() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let outer = tempfile::tempdir().unwrap();
    let deep = outer.path().join("x".repeat(120));
    let home = Home::find(Some(&deep), &Environment::default()).unwrap();
    let _held = home.hold().unwrap();
    let _listener = home.with_socket(|path| UnixListener::bind(path)).unwrap();
    assert!(home.socket().exists());
    home.with_socket(|path| UnixStream::connect(path)).unwrap();
}
