//! Every input that is checked in, run as an ordinary test: what was found once stays found, without libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use chatapi_fuzz::TARGETS;

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    let seeds = inputs("corpus", name);
    assert!(!seeds.is_empty(), "corpus/{name} is there");
    for input in seeds.into_iter().chain(inputs("regressions", name)) {
        // Shown where it fails.
        println!("{}", input.display());
        target(&fs::read(&input).expect("the input is readable"));
    }
}

fn inputs(kind: &str, name: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn what_was_sent_to_the_reader_is_read_the_same_however_it_is_cut() {
    replay("rest_reader");
}

#[test]
fn what_was_requested_is_parsed_within_its_limits() {
    replay("request_parsing");
}

#[test]
fn what_was_framed_comes_to_the_same_command_in_every_form() {
    replay("client_frames");
}

#[test]
fn what_was_damaged_opens_or_is_refused_with_a_reason() {
    replay("migrations");
}

#[test]
fn what_was_decided_breaks_no_invariant_of_the_simulation() {
    replay("scenario");
}

#[test]
fn every_target_has_a_corpus_and_a_test_here() {
    let mut directories = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    directories.sort();
    let mut names = TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(directories, names);
}
