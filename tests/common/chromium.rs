//! Chromium, without a window.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Headless Chromium with a profile of its own in `folder`, which says on standard error what pages say to the console; a
/// panic that says how to get it where there is none.
pub fn chromium(folder: &Path) -> Command {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    let mac = PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    let found = places.chain([mac]).find(|place| place.is_file());
    let mut browser = Command::new(found.expect(
        "this test needs Chromium or Chrome: run scripts/test, which installs it, or install it yourself",
    ));
    browser.args([
        "--headless",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--enable-logging=stderr",
        "--v=0",
    ]);
    browser.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    browser
}
