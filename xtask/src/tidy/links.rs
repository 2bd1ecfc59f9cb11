//! Links of pages to other files lead somewhere.

use super::Source;

/// `exists` says whether there is a file or folder at a path relative to the root.
pub(super) fn check(sources: &[Source], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for page in sources.iter().filter(|source| source.is("md")) {
        for (number, target) in links(page) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path) };
            if !exists(&path) {
                findings.push(format!("{}:{number}: the link to {target} leads nowhere", page.path));
            } else if !anchor.is_empty() && !has_heading(sources, &path, anchor) {
                findings.push(format!("{}:{number}: {path} has no heading for #{anchor}", page.path));
            }
        }
    }
    findings
}

/// The targets of a page's links within the repository, with their lines.
fn links(page: &Source) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in page.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code || line.starts_with("    ") {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let here = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
        found.extend(here.map(|target| (number, target)));
    }
    found
}

/// A link of a page as a path from the root.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn has_heading(sources: &[Source], path: &str, anchor: &str) -> bool {
    let Some(page) = sources.iter().find(|source| source.path == path) else { return false };
    page.text.lines().filter_map(|line| line.strip_prefix('#')).any(|heading| slug(heading) == anchor)
}

/// A heading as it is written in links.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn links_are_followed_from_where_they_stand() {
        let text = "# A page\n[up](../README.md), [web](https://x.y/z), [here](#a-page), [bad](#b)\n\
                    [gone](gone.md) and [a folder](design)\n\n    [code](nowhere.md)\n";
        let sources = [source("docs/page.md", text)];
        let exists = |path: &str| ["README.md", "docs/page.md", "docs/design"].contains(&path);
        assert_eq!(
            check(&sources, exists),
            [
                "docs/page.md:2: docs/page.md has no heading for #b",
                "docs/page.md:3: the link to gone.md leads nowhere",
            ]
        );
    }
}
