//! `ringway man`: pages that roff accepts, one for each command of `--help`.

use ringway_tests::{ringway, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that is removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-man-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("the name is unused");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The commands that `--help` lists.
fn commands() -> BTreeSet<String> {
    let help = run(ringway(&["--help"])).stdout;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .map_while(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

/// Formats the page with groff, which warns of what it does not understand, if it is installed;
/// returns the text.
fn format(page: &Path) -> Option<String> {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("NOT TESTED: the syntax of {}, because groff is not installed", page.display());
        return None;
    }
    let mut groff = Command::new("groff");
    groff.args(["-man", "-ww", "-Kutf8", "-Tutf8", "-P-cbou"]).arg(page);
    let ended = run(groff);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{}", page.display());
    Some(ended.stdout)
}

#[test]
fn each_command_of_the_help_has_a_page_that_groff_accepts() {
    let folder = Folder::new("pages");
    let ended = run(ringway(&["man", "--directory", folder.path()]));
    assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    let names: BTreeSet<String> = fs::read_dir(&folder.0)
        .expect("it exists")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    let mut expected: BTreeSet<String> = commands().iter().map(|command| format!("ringway-{command}.1")).collect();
    assert!(expected.contains("ringway-serve.1") && !expected.contains("ringway-floor.1"), "{expected:?}");
    expected.insert("ringway.1".into());
    assert_eq!(names, expected);
    for name in names {
        let path = folder.0.join(&name);
        let page = fs::read_to_string(&path).expect("UTF-8");
        for heading in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
            assert!(page.contains(heading), "{name}: {heading}");
        }
        let title = name.trim_end_matches(".1");
        assert!(page.contains(&format!(".TH {title} 1")), "{name}: {page}");
        if let Some(text) = format(&path) {
            assert!(text.contains(title), "{name}: {text}");
            assert!(title != "ringway-serve" || text.contains("--max-connections"), "{text}");
        }
    }
}

#[test]
fn the_main_page_is_printed_and_is_the_one_in_the_directory() {
    let folder = Folder::new("main");
    let printed = run(ringway(&["man"]));
    assert_eq!((printed.status.code(), printed.stderr.as_str()), (Some(0), ""));
    assert!(run(ringway(&["man", "--directory", folder.path()])).status.success());
    assert_eq!(printed.stdout, fs::read_to_string(folder.0.join("ringway.1")).expect("UTF-8"));
    assert!(printed.stdout.contains("ringway\\-serve(1)"), "{}", printed.stdout);
    assert!(!printed.stdout.contains("floor"), "{}", printed.stdout);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_remedy() {
    let folder = Folder::new("none");
    let missing = format!("{}/missing", folder.path());
    let file = format!("{}/file", folder.path());
    fs::write(&file, "").expect("it is our folder");
    for directory in [&missing, &file] {
        let ended = run(ringway(&["man", "--directory", directory]));
        let line = ended.line(1);
        for part in [directory, "--directory", "ringway.1", "an existing directory"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
