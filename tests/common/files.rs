//! Folders and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Everything below a folder, by its name in it.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|(of, bytes)| (format!("{name}/{of}"), bytes))),
            false => drop(found.insert(name, fs::read(path).unwrap())),
        }
    }
    found
}
