//! What the memory store keeps and what it costs, beside other caches.
//!
//! `hit-ratio TRACES INTO` replays a folder of traces; `figures ROUNDS` times calls and `tables` makes tables of that; `sweeps` times
//! invalidations by a pattern, `collisions` hits among keys that were chosen to collide, `expiry` calls while a million entries leave;
//! `memory` weighs a million entries. The caches beside it are used through their public interfaces, with what they do by default.

mod collisions;
mod expiry;
mod memory;
mod optimum;
mod picture;
mod policies;
mod report;
mod sizes;
mod speed;
mod stores;
mod sweeps;
mod trace;

use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["hit-ratio", traces, into] => hit_ratio(Path::new(traces), Path::new(into)),
        ["figures", rounds] => match rounds.parse() {
            Ok(rounds) if rounds > 0 => speed::figures(rounds),
            _ => Err(format!("ROUNDS is {rounds}, and has to be a number of at least 1")),
        },
        ["figure", call, cache] => speed::figure(call, cache),
        ["tables"] => speed::tables(std::io::stdin().lock()),
        ["sweeps"] => {
            sweeps::run();
            Ok(())
        }
        ["collisions"] => {
            collisions::run();
            Ok(())
        }
        ["expiry"] => {
            expiry::run();
            Ok(())
        }
        ["memory"] => {
            memory::run();
            Ok(())
        }
        _ => Err("usage: hit-ratio TRACES INTO, figures ROUNDS, tables, sweeps, collisions, expiry or memory".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Replays all traces of a folder through all policies; leaves a table and a picture in `into`.
fn hit_ratio(traces: &Path, into: &Path) -> Result<(), String> {
    let mut cells = Vec::new();
    for (name, trace) in trace::folder(traces)? {
        let distinct = trace.keys as usize;
        eprintln!("{name}: {} requests of {distinct} keys", trace.requests.len());
        for size in sizes::of(&name, distinct) {
            let optimum = optimum::hits(&trace.requests, size);
            let hits = policies::ALL.map(|(_, replay)| replay(&trace.requests, size));
            let cell =
                report::Cell { trace: name.clone(), size, requests: trace.requests.len(), distinct, optimum, hits };
            eprintln!("{}", cell.row());
            cells.push(cell);
        }
    }
    let table = report::table(&cells);
    println!("{table}");
    let write = |name: &str, text: &str| {
        let path = into.join(name);
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(into).map_err(|error| format!("cannot make {}: {error}", into.display()))?;
    write("hit-ratio.md", &table)?;
    write("hit-ratio.svg", &picture::draw(&cells))
}
