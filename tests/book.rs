//! The book of `docs/book`: the excerpts, links and commands in it exist. What its commands print, and how its pages look in a
//! browser, is checked when it is built: `scripts/book --check`.
#![cfg(feature = "cli")]

#[path = "common/chromium.rs"]
mod chromium;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bptt::verify::suite::{Item, named};
use chromium::chromium;
use serde_json::Value;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book/src")
}

/// The files of the book with their names.
fn chapters() -> Vec<(String, String)> {
    let files = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    let mut all: Vec<_> = files.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect();
    all.sort();
    all
}

/// What stands between `open` and the next `close`, all over a text.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
}

/// A text without its blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let outside = |line: &&str| {
        let fence = line.trim_start_matches([' ', '>']).starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    text.lines().filter(outside).fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn every_chapter_is_in_the_summary() {
    let summary = fs::read_to_string(source().join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<&str> = between(&summary, "](", ")").collect();
    let all = chapters();
    let files: BTreeSet<&str> =
        all.iter().map(|(name, _)| &name[..]).filter(|name| *name != "SUMMARY.md").collect();
    assert_eq!(listed, files);
}

/// The anchors of a source, each opened and closed once.
fn anchors(file: &str, text: &str) -> BTreeSet<String> {
    let named = |mark: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(mark));
        lines.map(|name| name.trim().to_string()).collect()
    };
    let (begun, ended) = (named("// ANCHOR: "), named("// ANCHOR_END: "));
    let set: BTreeSet<String> = begun.iter().cloned().collect();
    assert_eq!(set.len(), begun.len(), "{file} opens an anchor twice");
    assert_eq!(set, ended.into_iter().collect(), "{file} closes what it opens");
    set
}

#[test]
fn every_excerpt_is_there_and_every_anchor_is_used() {
    let mut used = BTreeSet::new();
    for (chapter, text) in chapters() {
        for include in between(&text, "{{#include ", "}}") {
            let (file, anchor) = include.split_once(':').unwrap_or((include, ""));
            let path = source().join(file);
            let content =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{chapter}: {file}: {error}"));
            let found = anchors(file, &content);
            assert!(anchor.is_empty() || found.contains(anchor), "{chapter}: {file} has no anchor {anchor}");
            used.insert((path.canonicalize().unwrap(), anchor.to_string()));
        }
    }
    let mut folders =
        ["shaders", "src", "examples"].map(|f| Path::new(env!("CARGO_MANIFEST_DIR")).join(f)).to_vec();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for anchor in anchors(&path.display().to_string(), &text) {
                let path = path.canonicalize().unwrap();
                assert!(
                    used.contains(&(path.clone(), anchor.clone())),
                    "{}: {anchor} is in no chapter",
                    path.display()
                );
            }
        }
    }
}

/// The name by which mdBook lets a heading be linked to.
fn slug(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.trim().chars().filter_map(kept).collect()
}

#[test]
fn links_lead_somewhere() {
    let all = chapters();
    for (chapter, text) in &all {
        for link in between(&prose(text), "](", ")") {
            if link.contains("://") {
                let address =
                    link.strip_prefix("https://").unwrap_or_else(|| panic!("{chapter}: {link}: not https"));
                let host = address.split('/').next().unwrap();
                assert!(host.contains('.') && !address.contains([' ', '"', '<']), "{chapter}: {link}");
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { chapter } else { file };
            let target = all.iter().find(|(name, _)| name == file);
            let (_, target) = target.unwrap_or_else(|| panic!("{chapter}: no chapter {file}"));
            let there = prose(target)
                .lines()
                .filter_map(|line| line.split_once("# "))
                .any(|(marks, title)| marks.chars().all(|c| c == '#') && slug(title) == heading);
            assert!(heading.is_empty() || there, "{chapter}: {file} has no heading #{heading}");
        }
    }
}

/// A command of the book: where it stands, and its text.
struct Shown {
    at: String,
    text: String,
}

/// All commands: lines of `console` blocks behind `$ `, lines of `sh` blocks, and code within the prose that begins as one.
fn commands() -> Vec<Shown> {
    let mut all = Vec::new();
    for (chapter, text) in chapters() {
        let mut block = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_start_matches([' ', '>']);
            let at = format!("docs/book/src/{chapter}:{number}");
            match (line.strip_prefix("```"), block) {
                (Some(_), Some(_)) => block = None,
                (Some(kind), None) => block = Some(kind),
                (None, Some("sh")) => all.push(Shown { at, text: line.into() }),
                (None, Some(kind)) if kind.starts_with("console") => match line.strip_prefix("$ ") {
                    Some(command) => all.push(Shown { at, text: command.into() }),
                    None => {
                        let before = all.last_mut().filter(|shown: &&mut Shown| shown.text.ends_with('\\'));
                        let before = before.expect("a console block holds commands; outputs come from them");
                        before.text.pop();
                        before.text += line;
                    }
                },
                _ => {}
            }
        }
        for code in prose(&text).split('`').skip(1).step_by(2) {
            let text = code.split_whitespace().collect::<Vec<_>>().join(" ");
            all.push(Shown { at: format!("docs/book/src/{chapter}: `{text}`"), text });
        }
    }
    all
}

/// Each call of `bptt` in a line of shell, as arguments. A loop's variable stands for the first of its values.
fn calls(line: &str) -> Vec<Vec<String>> {
    let mut line = line.replace("cargo run --release -- ", "bptt ");
    for (name, values) in between(&line.clone(), "for ", ";").filter_map(|head| head.split_once(" in ")) {
        let first = values.trim_start_matches("$(seq ").split_whitespace().next().unwrap();
        line = line.replace(&format!("${name}"), first);
    }
    let ends = |c: char| "|;&<>)".contains(c);
    let begins = |before: &str| before.is_empty() || before.ends_with([' ', '(']);
    let calls = line.match_indices("bptt ").filter(|(at, _)| begins(&line[..*at]));
    let arguments = |(at, name): (usize, &str)| {
        let call = line[at + name.len()..].split(ends).next().unwrap();
        call.split_whitespace().map(String::from).collect()
    };
    calls.map(arguments).filter(|call: &Vec<String>| call.iter().any(|word| !word.starts_with('-'))).collect()
}

/// Whether the program takes the arguments: asked for help last, it has looked at all of them.
fn taken(arguments: &[String]) -> bool {
    Command::new(env!("CARGO_BIN_EXE_bptt")).args(arguments).arg("--help").output().unwrap().status.success()
}

/// The example that a command runs.
fn example(command: &str) -> Option<PathBuf> {
    let (_, name) = command.split_once("--example ")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    Some(folder.join(name.split_whitespace().next().unwrap()))
}

#[test]
fn commands_are_taken() {
    let mut count = 0;
    for Shown { at, text } in commands() {
        for call in calls(&text) {
            count += 1;
            assert!(taken(&call), "{at}: bptt does not take {call:?}");
        }
        if let Some(example) = example(&text) {
            let there = example.is_dir() || example.with_extension("rs").is_file();
            assert!(there, "{at}: no {}", example.display());
        }
        if let Some(script) = text.strip_prefix("scripts/") {
            let script =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script.split(' ').next().unwrap());
            assert!(script.is_file(), "{at}: no {}", script.display());
        }
    }
    assert!(count > 60, "the book's commands are found: {count}");
}

/// `bptt check` looks for these names only when it runs.
#[test]
fn what_the_book_checks_has_these_names() {
    let names: Vec<&str> = Item::all().map(Item::name).collect();
    let mut count = 0;
    for Shown { at, text, .. } in commands() {
        for call in calls(&text).iter().filter(|call| call[0] == "check") {
            let asked = call.windows(2).filter(|pair| pair[0] == "--only" || pair[0] == "--sabotage");
            for name in asked.flat_map(|pair| pair[1].split(',')) {
                count += 1;
                assert!(named(name, &names).is_ok(), "{at}: nothing is called {name}");
            }
        }
    }
    assert!(count > 20, "the book's checks are found: {count}");
}

/// What a page says of itself to the page that frames it.
const MEASURE: &str = r#"<script>addEventListener("load", () => {
  const page = document.documentElement, main = document.querySelector("main");
  const scrolls = element => element != main && (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
  const beyond = element => element.getBoundingClientRect().right > innerWidth + 0.5 && !scrolls(element.parentElement);
  parent.document.documentElement.dataset.found += JSON.stringify({
    name: location.pathname.split("/").pop(), width: innerWidth, content: page.scrollWidth,
    beyond: [...main.querySelectorAll("*")].filter(beyond).map(element => element.tagName),
    dark: page.classList.contains("navy"), text: main.innerText.length,
    charts: [...document.querySelectorAll("figure.chart svg")].filter(svg => svg.getBoundingClientRect().width > 0).length,
  }) + "\n";
});</script>"#;

/// Opens every page of a folder in frames of that width: what the pages say of themselves, the browser's messages, and the
/// addresses that were asked for and are no files.
fn visit(folder: &Path, pages: &[String], width: u32, dark: bool) -> (Vec<Value>, String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let frames = pages
        .iter()
        .map(|page| format!("<iframe src=\"{page}\" style=\"width:{width}px;height:800px\"></iframe>"));
    let page = format!(
        "<!DOCTYPE html><html data-found=\"\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" \
         content=\"light dark\"><style>iframe {{ border: 0 }}</style></head><body>{}</body></html>",
        frames.collect::<String>()
    );
    let (frame, log) = (folder.join("all-pages.html"), profile.path().join("net.json"));
    fs::write(&frame, page).unwrap();
    let mut browser = chromium(profile.path());
    browser.args(["--disable-gpu", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    browser.args(["--allow-file-access-from-files", "--window-size=1500,900"]);
    browser.arg(format!("--log-net-log={}", log.display()));
    browser.arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }));
    let output = browser.arg("--dump-dom").arg(format!("file://{}", frame.display())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = between(&dom, "data-found=\"", "\"").next().unwrap().replace("&quot;", "\"");
    let found = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let log: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    let events = log["events"].as_array().unwrap().iter();
    let of_pages = events
        .filter(|event| event["params"]["initiator"].as_str().is_some_and(|from| from != "not an origin"));
    let asked =
        of_pages.filter_map(|event| event["params"]["url"].as_str()).filter(|url| !url.starts_with("file:"));
    (found, said, asked.map(String::from).collect())
}

/// A copy of the built book in which pages say what they are like, and one more page with `extra` in it.
fn measurable(book: &Path, extra: &str) -> (tempfile::TempDir, Vec<String>) {
    let copy = tempfile::tempdir().unwrap();
    let done = Command::new("cp").arg("-r").arg(book.join(".")).arg(copy.path()).status().unwrap();
    assert!(done.success());
    let mut pages = Vec::new();
    for (name, _) in chapters().iter().filter(|(name, _)| name != "SUMMARY.md") {
        let page = name.replace(".md", ".html");
        let path = copy.path().join(&page);
        let html = fs::read_to_string(&path).unwrap().replacen("<head>", &format!("<head>{MEASURE}"), 1);
        fs::write(&path, html).unwrap();
        pages.push(page);
    }
    if !extra.is_empty() {
        let html = fs::read_to_string(copy.path().join("index.html")).unwrap();
        fs::write(copy.path().join("extra.html"), html.replacen("<main>", &format!("<main>{extra}"), 1))
            .unwrap();
        pages = vec!["extra.html".into()];
    }
    (copy, pages)
}

/// The folder of the built book, which `scripts/book --check` names.
fn built() -> PathBuf {
    std::env::var_os("BPTT_BOOK").expect("scripts/book --check builds the book and runs this test").into()
}

#[test]
#[ignore = "needs the built book: scripts/book --check"]
fn pages_load_and_fit() {
    let (copy, pages) = measurable(&built(), "");
    for (width, dark) in [(360, false), (360, true), (1280, false), (1280, true)] {
        let (found, said, asked) = visit(copy.path(), &pages, width, dark);
        assert!(!said.contains("CONSOLE"), "{said}");
        assert_eq!(asked, [""; 0], "a page asks for nothing but files");
        let names: BTreeSet<&str> = found.iter().map(|page| page["name"].as_str().unwrap()).collect();
        assert_eq!(names, pages.iter().map(|page| &page[..]).collect(), "every page has loaded");
        for page in &found {
            assert_eq!((&page["width"], &page["dark"]), (&width.into(), &dark.into()), "{page}");
            assert!(page["content"].as_u64().unwrap() <= width.into(), "{page}");
            assert_eq!(page["beyond"], Value::Array(vec![]), "{width} px: {page}");
            assert!(page["text"].as_u64().unwrap() > 1000, "{page}");
        }
        let charts: u64 = found.iter().map(|page| page["charts"].as_u64().unwrap()).sum();
        let figures: usize = chapters().iter().map(|(_, text)| text.matches("<!-- figure ").count()).sum();
        assert_eq!(charts, figures as u64, "each chart is shown once");
    }
}

/// The test above would see it.
#[test]
#[ignore = "needs the built book: scripts/book --check"]
fn a_page_that_fails_is_seen() {
    let wrong = "<img src=\"http://example.invalid/a.png\"><div style=\"width:2000px\">wide</div><script>console.error('told')</script>";
    let (copy, pages) = measurable(&built(), wrong);
    let (found, said, asked) = visit(copy.path(), &pages, 360, false);
    assert!(said.contains("told"), "{said}");
    assert_eq!(asked.first().map(|url| &url[..]), Some("http://example.invalid/a.png"));
    assert_eq!(found[0]["beyond"], Value::from(vec!["DIV"]), "{found:?}");
}
