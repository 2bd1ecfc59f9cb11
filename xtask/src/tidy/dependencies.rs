//! Every direct dependency stands in docs/design/dependencies.md, with its version and whoever uses it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{Source, find};

const PAGE: &str = "docs/design/dependencies.md";

pub(super) fn check(sources: &[Source]) -> Result<Vec<String>> {
    let page = find(sources, PAGE)?;
    let workspace = find(sources, "Cargo.toml")?;
    let mut findings = Vec::new();

    let mut versions = BTreeMap::new();
    for (name, value) in entries(&workspace.text, |section| section == "workspace.dependencies") {
        if !value.contains("path =") {
            versions.insert(name, version(value));
        }
    }
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (member, manifest) in members(sources) {
        let is_ours = |section: &str| section.ends_with("dependencies");
        for (name, value) in entries(&manifest.text, is_ours).filter(|(name, _)| !name.starts_with("shoal-"))
        {
            if versions.contains_key(name) && value.contains("workspace") {
                users.entry(name).or_default().insert(member);
            } else {
                findings.push(format!("{}: take {name} from the workspace", manifest.path));
            }
        }
    }

    let rows = rows(&page.text);
    for (name, version) in &versions {
        let known: BTreeSet<&str> = users.get(name).cloned().unwrap_or_default();
        match rows.get(name) {
            None => findings.push(format!("{PAGE}: {name} is missing")),
            Some(row) if row.version != *version => {
                findings.push(format!("{PAGE}: {name} has version {version}, not {}", row.version));
            }
            Some(row) if row.users != known => {
                findings.push(format!("{PAGE}: {name} is used by {known:?}, not by {:?}", row.users));
            }
            Some(_) => {}
        }
    }
    let gone = rows.keys().filter(|name| !versions.contains_key(*name));
    findings.extend(gone.map(|name| format!("{PAGE}: {name} is no dependency any more")));
    Ok(findings)
}

/// The members of the workspace by their short names. What lies in a folder of a member (its fuzz targets) is none.
fn members(sources: &[Source]) -> impl Iterator<Item = (&str, &Source)> {
    sources.iter().filter_map(|source| {
        let folder = source.path.strip_suffix("/Cargo.toml")?;
        let name = folder.strip_prefix("crates/").unwrap_or(folder);
        (!name.contains('/')).then_some((name, source))
    })
}

/// The entries of those sections of a manifest: what stands before the `=` (or the first dot), and all behind it.
fn entries(manifest: &str, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
    let mut is_inside = false;
    manifest.lines().filter_map(move |line| {
        if let Some(section) = line.strip_prefix('[') {
            is_inside = is_wanted(section.trim_end_matches(']'));
            return None;
        }
        let end = line.find(['.', ' ', '='])?;
        let is_entry = is_inside && end > 0 && !line.starts_with('#');
        is_entry.then(|| (&line[..end], &line[end..]))
    })
}

/// The version in `= "1.2"` or `= { version = "1.2", … }`.
fn version(value: &str) -> &str {
    let rest = value.split_once("version").map_or(value, |(_, rest)| rest);
    rest.split('"').nth(1).unwrap_or_default()
}

struct Row<'a> {
    version: &'a str,
    users: BTreeSet<&'a str>,
}

/// The rows of the page's tables: `| `name` version | users, with remarks in brackets | …`.
fn rows(page: &str) -> BTreeMap<&str, Row<'_>> {
    let mut found = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let mut cells = line.split('|').map(str::trim);
        let (Some(crate_cell), Some(users_cell)) = (cells.next(), cells.next()) else { continue };
        let Some((name, version)) = crate_cell.split_once('`') else { continue };
        let users = users_cell.split(',').filter_map(|user| user.split_whitespace().next()).collect();
        found.insert(name, Row { version: version.trim(), users });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn the_page_and_the_manifests_agree() {
        let workspace = "[workspace.dependencies]\nshoal-disk = { path = \"crates/disk\" }\n\nserde = \"1.0.2\"\n\
                         clap = { version = \"4.6\", features = [\"derive\"] }\nnew = \"1\"\nmoved = \"2\"\n";
        let disk = "[package]\nversion.workspace = true\n[dependencies]\nserde.workspace = true\nodd = \"3\"\n\
                    [dev-dependencies]\nclap = { workspace = true, features = [\"x\"] }\nmoved.workspace = true\n";
        let page = "| Crate | Used by | Why | Not taken |\n|---|---|---|---|\n| `serde` 1.0.1 | disk | x | y |\n\
                    | `clap` 4.6 | disk (tests) | x | y |\n| `old` 1 | disk | x | y |\n| `moved` 2 | cli, disk | x | y |\n";
        let sources =
            [source("Cargo.toml", workspace), source("crates/disk/Cargo.toml", disk), source(PAGE, page)];
        assert_eq!(
            check(&sources).unwrap(),
            [
                "crates/disk/Cargo.toml: take odd from the workspace".to_owned(),
                format!("{PAGE}: moved is used by {{\"disk\"}}, not by {{\"cli\", \"disk\"}}"),
                format!("{PAGE}: new is missing"),
                format!("{PAGE}: serde has version 1.0.2, not 1.0.1"),
                format!("{PAGE}: old is no dependency any more"),
            ]
        );
    }
}
