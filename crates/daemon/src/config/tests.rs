//! Configurations, right and wrong (`BAD-INPUT` F1, F2).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

fn wrong(text: &str) -> String {
    let (span, what) = Config::parse(text).unwrap_err();
    let (line, column) = place(text, span.start);
    format!("{line}:{column}: {what}")
}

#[test]
fn everything_can_be_set_and_nothing_must_be() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
    let text = r#"
        name = "Ana's laptop"
        listen = ["192.168.1.5:4242", "::1"]
        trackers = ["tracker.example:9000"]
        lan = false
        tracker = true

        [history]
        keep = "2w"
        max = "1 GiB"

        [limits]
        connections = 20
    "#;
    let config = Config::parse(text).unwrap();
    assert_eq!(config.name.as_str(), "Ana's laptop");
    let addresses = ["192.168.1.5:4242", "[::1]:0"].map(|address| address.parse().unwrap());
    assert_eq!(config.listen, Listen::At(addresses.to_vec()));
    assert_eq!(config.trackers, [Address::parse("tracker.example:9000").unwrap()]);
    assert!(!config.lan && config.tracker);
    let history = Retention { keep: Duration::from_secs(14 * 24 * 60 * 60), bytes_max: 1 << 30 };
    assert_eq!((config.history, config.connections), (history, 20));
    assert_eq!(Config::parse("\r\nlisten = [\"[::]:0\"]\r\n").unwrap().listen, Listen::Any);
}

#[test]
fn f2_what_is_wrong_is_named_with_its_line_and_the_way_out() {
    assert_eq!(
        wrong("lan = true\nlann = false"),
        "2:1: unknown field `lann`, expected one of `name`, `listen`, `trackers`, `lan`, `tracker`, `history`, `limits`"
    );
    assert_eq!(wrong("lan = 1"), "1:7: invalid type: integer `1`, expected a boolean");
    assert_eq!(wrong("name = \"\""), "1:8: 'name' has 1 to 64 bytes");
    assert_eq!(
        wrong("listen = [\n  \"here\"]"),
        "2:3: give an IP address, with or without a port, like \"192.168.1.5:4242\" or \"[::]:4242\""
    );
    assert_eq!(wrong("[history]\nkeep = \"0d\""), "2:8: give a time from 1 second to 100 years");
    assert_eq!(
        wrong("trackers = [\"tracker.example\"]"),
        "1:13: an address without a port from 1 to 65535 after its last colon; give one like \"tracker.example:9000\""
    );
    for (text, line) in [
        ("[history]\nkeep = 3", 2),
        ("[history]\n[history]", 2),
        ("\n\n[limits]\nconnections = -1", 4),
        ("[limits]\nconnections = 0", 2),
        ("[limits]\nconnections = 1e30", 2),
        ("lan = true\nlan = true", 2),
        ("name = \"x\nlan = true", 1),
        ("listen = []", 1),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(&format!("{line}:")), "{text:?}: {found}");
    }
}

#[test]
fn f1_files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    assert_eq!(Config::load(&path).unwrap().config, Config::default());
    assert!(matches!(Config::load(folder.path()), Err(ConfigError::Odd { what: "no file", .. })));
    for (bytes, expected) in [
        (&b"\xef\xbb\xbflan = false\r\n"[..], None),
        (b"", None),
        (b"lan = false\nname = \"\xff\"", Some("line 2, column 9: this is not UTF-8 text")),
        (b"\x7fELF\x02\x01", Some("line 1, column ")),
        (&[b'#'; 70_000], Some("longer than 64 KiB")),
    ] {
        fs::write(&path, bytes).unwrap();
        match (Config::load(&path), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let text = error.to_string();
                assert!(text.contains("config.toml") && text.contains(expected), "{text}");
            }
            (loaded, expected) => panic!("{loaded:?} instead of {expected:?}"),
        }
    }
    fs::write(&path, "lan = false").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let loaded = Config::load(&path).unwrap();
    assert!(!loaded.config.lan);
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn a_newer_configuration_says_what_it_changes_and_when() {
    let (old, new) = (
        Config::parse("trackers = [\"a.example:1\"]\nlan = false").unwrap(),
        Config::parse("trackers = [\"b.example:1\"]\n[history]\nmax = \"1 GB\"").unwrap(),
    );
    let changes = old.changes(&new);
    assert_eq!(changes.changed, ["trackers", "history"]);
    assert_eq!(changes.at_restart, ["lan"]);
    let now = old.reloaded(&new);
    assert_eq!(now.changes(&new), Reloaded { changed: Vec::new(), at_restart: vec!["lan".into()] });
    assert_eq!(old.changes(&old), Reloaded::default());
}
