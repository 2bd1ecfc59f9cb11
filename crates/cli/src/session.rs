//! What native commands have in common: their options, whom they ask, and which share or path is meant.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use shoal_daemon::control::Client;
use shoal_daemon::control::report::Listed;
use shoal_daemon::control::text::{Directory, Escaped, Place};
use shoal_daemon::control::types::ListShares;
use shoal_daemon::home::{Environment, Home};

use tokio::runtime::Runtime;

use crate::exit::{Exit, WrongUse};
use crate::print::{shown, table};
use crate::ui::Style;

/// Options of every native command.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Print JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep configuration, key and state in this folder, and find the daemon by it
    #[arg(long, value_name = "DIR", env = "SHOAL_HOME")]
    home: Option<PathBuf>,
}

impl Common {
    pub(crate) fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Human }
    }

    pub(crate) fn home(&self) -> anyhow::Result<Home> {
        Ok(Home::find(self.home.as_deref(), &Environment::of_process())?)
    }

    /// Does something with the daemon that runs.
    pub(crate) fn ask(
        &self,
        command: impl AsyncFnOnce(Client) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        let home = self.home()?;
        client_runtime()?.block_on(async { command(Client::connect(&home).await?).await })
    }
}

/// The folder that is meant: the real one if it is there, as the daemon knows it.
pub(crate) fn folder(asked: &Path) -> anyhow::Result<Directory> {
    let unusable = |error| WrongUse(format!("cannot use {}: {error}", escaped(asked)));
    let absolute = std::path::absolute(asked).map_err(unusable)?;
    Ok(Directory(absolute.canonicalize().unwrap_or(absolute)))
}

/// What runs a command that only asks.
pub(crate) fn client_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")
}

/// The share that is meant by a name, an id or the beginning of one, or a folder; without any of these the only one, or the one
/// that the current folder is in.
pub(crate) async fn share(client: &mut Client, asked: Option<&OsStr>) -> anyhow::Result<Listed> {
    let shares = client.ask(ListShares {}).await?;
    let here = std::env::current_dir().ok();
    choose(&shares, asked, here.as_deref()).cloned()
}

/// A share, and a path in it; no path: the share's root.
pub(crate) async fn place(
    client: &mut Client,
    asked: Option<&OsStr>,
    path: &Path,
) -> anyhow::Result<(Listed, Option<Place>)> {
    let shares = client.ask(ListShares {}).await?;
    let here = std::env::current_dir().context("the current folder is gone")?;
    find(&shares, asked, path, &here)
}

/// A share, and a path in it if one is meant; without one, the share is found as by [`share`].
pub(crate) async fn place_or_share(
    client: &mut Client,
    asked: Option<&OsStr>,
    path: Option<&Path>,
) -> anyhow::Result<(Listed, Option<Place>)> {
    match path {
        Some(path) => place(client, asked, path).await,
        None => Ok((share(client, asked).await?, None)),
    }
}

/// The letters of an id that are enough to tell it from others.
const ID_LETTERS_MIN: usize = 4;

fn choose<'a>(
    shares: &'a [Listed],
    asked: Option<&OsStr>,
    here: Option<&Path>,
) -> anyhow::Result<&'a Listed> {
    let Some(asked) = asked else {
        let inside = here.and_then(|here| around(shares, &real_folder(here)));
        return match (shares, inside) {
            ([], _) => bail!("this device has no shares yet; `shoal share DIR` makes one"),
            ([only], _) => Ok(only),
            (_, Some(share)) => Ok(share),
            (_, None) => bail!("which share? Name one of these:\n{}", names(shares)),
        };
    };
    let text = asked.to_string_lossy();
    let id = text.to_ascii_lowercase();
    let by_name = |share: &&Listed| share.name == text;
    let by_id = |share: &&Listed| id.len() >= ID_LETTERS_MIN && share.share.0.to_string().starts_with(&id);
    let folder = here.map(|here| real_folder(&here.join(asked)));
    let by_folder = |share: &&Listed| Some(&share.directory.0) == folder.as_ref();
    let mut named = shares.iter().filter(by_name);
    let mut found = match named.next() {
        Some(first) => vec![first],
        None => shares.iter().filter(|share| by_id(share) || by_folder(share)).collect(),
    };
    found.extend(named);
    match found[..] {
        [one] => Ok(one),
        [] => bail!(
            "there is no share '{}' on this device; `shoal shares` lists those that are there",
            shown(&text)
        ),
        _ => bail!("'{}' can mean several shares; name one by its id:\n{}", shown(&text), names(shares)),
    }
}

fn find(
    shares: &[Listed],
    asked: Option<&OsStr>,
    path: &Path,
    here: &Path,
) -> anyhow::Result<(Listed, Option<Place>)> {
    let absolute = real(&here.join(path));
    let (share, inside) = match asked {
        Some(_) => {
            let share = choose(shares, asked, Some(here))?;
            // With a share named a path is one in it.
            let inside = match path.is_absolute() {
                true => absolute.strip_prefix(&share.directory.0).map(Path::to_path_buf).ok(),
                false => Some(path.components().filter(|part| *part != Component::CurDir).collect()),
            };
            (share, inside)
        }
        None => {
            let share = around(shares, &absolute);
            let share = share.with_context(|| {
                format!("{} is in no share of this device; `shoal shares` lists them", escaped(path))
            })?;
            (share, absolute.strip_prefix(&share.directory.0).map(Path::to_path_buf).ok())
        }
    };
    let outside = || format!("{} is not inside {}", escaped(path), share.directory);
    let inside = inside.with_context(outside)?;
    if inside.as_os_str().is_empty() {
        return Ok((share.clone(), None));
    }
    let bytes = inside.as_os_str().as_bytes();
    let place = Place::parse(bytes).with_context(|| format!("{} is no path in a share", escaped(path)))?;
    Ok((share.clone(), Some(place)))
}

fn around<'a>(shares: &'a [Listed], path: &Path) -> Option<&'a Listed> {
    shares.iter().find(|share| path.starts_with(&share.directory.0))
}

/// The path with the links above it followed, as far as it is there: shares are known by their real folders. The last name
/// is left as it is: it may be a link that is itself in the share.
fn real(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    let mut rest = Vec::new();
    let mut above = plain.as_path();
    while let (Some(parent), Some(name)) = (above.parent(), above.file_name()) {
        rest.push(name);
        above = parent;
        if let Ok(real) = above.canonicalize() {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
    }
    plain
}

fn real_folder(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| real(path))
}

fn escaped(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn names(shares: &[Listed]) -> String {
    let row = |share: &Listed| {
        vec![format!("  {}", shown(&share.name)), share.share.0.short(), share.directory.to_string()]
    };
    table(&shares.iter().map(row).collect::<Vec<_>>()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(folder: &Path) -> Vec<Listed> {
        let share = |letter: &str, name: &str| {
            let listed = serde_json::json!({
                "share": letter.repeat(51) + "a", "name": name, "directory": folder.join(name), "role": "admin",
                "is_paused": false,
            });
            serde_json::from_value(listed).unwrap()
        };
        vec![share("b", "notes"), share("c", "photos"), share("d", "twin"), share("e", "twin")]
    }

    #[test]
    fn a_share_is_found_by_name_id_folder_or_where_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("notes")).unwrap();
        std::os::unix::fs::symlink(root.join("notes"), root.join("link")).unwrap();
        let shares = shares(&root);
        let name = |asked: Option<&str>, here: &Path| {
            choose(&shares, asked.map(OsStr::new), Some(here)).map(|share| share.name.clone())
        };
        assert_eq!(name(Some("photos"), &root).unwrap(), "photos");
        assert_eq!(name(Some("BBBB"), &root).unwrap(), "notes");
        assert_eq!(name(Some("./notes"), &root).unwrap(), "notes");
        assert_eq!(name(None, &root.join("notes/deep")).unwrap(), "notes");
        assert_eq!(name(None, &root.join("link/deep")).unwrap(), "notes");
        for (asked, what) in [
            (Some("bbb"), "there is no share 'bbb' on this device"),
            (Some("x\u{1b}"), "there is no share 'x\\x1b' on this device"),
            (Some("twin"), "'twin' can mean several shares"),
            (None, "which share? Name one of these:\n  notes   bbbbbbb  "),
        ] {
            let error = name(asked, &root).unwrap_err().to_string();
            assert!(error.starts_with(what), "{error}");
        }
        assert_eq!(choose(&shares[..1], None, None).unwrap().name, "notes");
        assert!(choose(&[], None, None).unwrap_err().to_string().contains("`shoal share DIR` makes one"));
    }

    #[test]
    fn a_path_is_one_of_the_share_that_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("notes/d")).unwrap();
        std::os::unix::fs::symlink(root.join("photos"), root.join("notes/link")).unwrap();
        let shares = shares(&root);
        let found = |asked: Option<&str>, path: &str, here: &str| {
            let found = find(&shares, asked.map(OsStr::new), Path::new(path), &root.join(here));
            found.map(|(share, place)| {
                format!("{}:{}", share.name, place.map_or("-".into(), |place| place.to_string()))
            })
        };
        assert_eq!(found(None, "a.txt", "notes").unwrap(), "notes:a.txt");
        assert_eq!(found(None, "../x/./y", "notes/d").unwrap(), "notes:x/y");
        assert_eq!(found(None, "gone/deep", "notes/d").unwrap(), "notes:d/gone/deep");
        // A link in a share is a thing of the share.
        assert_eq!(found(None, "link", "notes").unwrap(), "notes:link");
        assert_eq!(found(None, ".", "notes").unwrap(), "notes:-");
        assert_eq!(found(Some("photos"), "./a/b", "").unwrap(), "photos:a/b");
        assert_eq!(found(Some("notes"), root.join("notes/a").to_str().unwrap(), "").unwrap(), "notes:a");
        for (asked, path) in [
            (None, "elsewhere"),
            (Some("photos"), "../x"),
            (Some("photos"), "/etc/passwd"),
            (Some("notes"), ".shoal/x"),
        ] {
            assert!(found(asked, path, "").is_err(), "{path}");
        }
    }
}
