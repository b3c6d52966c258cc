//! Trace: the requests that others recorded, as numbers of keys in the order they were asked for.
//!
//! A folder holds one trace a file, packed (`.gz`, `.xz`, `.zst`) or not. What a file holds shows in its contents:
//!
//! | format | looks like |
//! |---|---|
//! | ranges | text, four numbers a line, as the traces of the ARC paper: the first key, how many follow one another, and two that are ignored |
//! | numbers | text, a key a line, as the traces of the LIRS paper; lines that are no number are skipped |
//! | binary | one integer of four or of eight bytes a request, big-endian |
//!
//! Must not know what is done with the requests.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Requests by number of the key: the first key is 0, the next that was not there before 1, and so on.
pub struct Trace {
    pub requests: Vec<u32>,
    pub keys: u32,
}

/// The traces of a folder by name, the file's own up to its first dot; files that hold none are passed over. Joined ones (`sizes`) come last.
pub fn folder(folder: &Path) -> Result<impl Iterator<Item = (String, Trace)>, String> {
    let cannot = |error| format!("cannot read the folder {}: {error}; name one that holds traces", folder.display());
    let mut files: Vec<(String, PathBuf)> = std::fs::read_dir(folder)
        .map_err(cannot)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.extension().is_none_or(|end| end != "md"))
        .filter_map(|path| Some((path.file_name()?.to_str()?.split('.').next()?.to_owned(), path)))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("there is no trace in {}", folder.display()));
    }
    let known = files.clone();
    let alone = files.into_iter().map(|(name, path)| (name, vec![path]));
    let joined = crate::sizes::joined().filter_map(move |name| {
        let find = |part: &str| known.iter().find(|(known, _)| known == part).map(|(_, path)| path.clone());
        Some((name.to_owned(), name.split('+').map(find).collect::<Option<Vec<_>>>()?))
    });
    Ok(alone.chain(joined).filter_map(|(name, parts)| match read_all(&parts) {
        Ok(trace) => Some((name, trace)),
        Err(problem) => {
            eprintln!("{name} is passed over: {problem}");
            None
        }
    }))
}

/// The files one after another; the keys of different files are different, those of the same file the same.
fn read_all(parts: &[PathBuf]) -> Result<Trace, String> {
    let mut numbers = HashMap::new();
    let mut requests = Vec::new();
    for path in parts {
        let source = parts.iter().position(|other| other == path);
        for key in keys(&unpacked(path).map_err(|error| error.to_string())?)? {
            let next = numbers.len() as u32;
            requests.push(*numbers.entry((source, key)).or_insert(next));
        }
    }
    Ok(Trace { requests, keys: numbers.len() as u32 })
}

fn unpacked(path: &Path) -> std::io::Result<Vec<u8>> {
    let (file, mut bytes) = (File::open(path)?, Vec::new());
    match path.extension().and_then(|end| end.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes)?,
        Some("xz") => liblzma::read::XzDecoder::new_multi_decoder(file).read_to_end(&mut bytes)?,
        Some("zst") => zstd::Decoder::new(file)?.read_to_end(&mut bytes)?,
        _ => { file }.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn keys(bytes: &[u8]) -> Result<Vec<u64>, String> {
    let is_text = bytes.iter().take(4_096).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let keys: Vec<u64> = if is_text {
        String::from_utf8_lossy(bytes).lines().flat_map(line).collect()
    } else if bytes.len() % 8 == 0 && halves_differ(bytes) {
        bytes.chunks_exact(8).map(|key| u64::from_be_bytes(key.try_into().expect("eight bytes"))).collect()
    } else if bytes.len() % 4 == 0 {
        bytes.chunks_exact(4).map(|key| u32::from_be_bytes(key.try_into().expect("four bytes")).into()).collect()
    } else {
        return Err("it is no text, and no row of integers of four or eight bytes".into());
    };
    if keys.is_empty() { Err("it holds no request".into()) } else { Ok(keys) }
}

fn line(line: &str) -> std::ops::Range<u64> {
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(count)), Some(Ok(_)), Some(Ok(_))) => first..first.saturating_add(count),
        (Some(Ok(key)), None, ..) => key..key + 1,
        _ => 0..0,
    }
}

/// Whether words of four bytes at even and at odd places have little in common: they are halves of integers of eight.
fn halves_differ(bytes: &[u8]) -> bool {
    let halves = |half: usize| bytes.chunks_exact(8).map(move |key| &key[half * 4..half * 4 + 4]);
    let even: HashSet<&[u8]> = halves(0).collect();
    let shared = halves(1).filter(|word| even.contains(word)).count();
    shared * 4 < bytes.len() / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_four_numbers_is_a_row_of_keys() {
        assert_eq!(keys(b"10 3 0 0\n7 1 0 1\n").unwrap(), [10, 11, 12, 7]);
    }

    #[test]
    fn a_line_of_one_number_is_a_key_and_marks_are_skipped() {
        assert_eq!(keys(b"5\r\n*\r\n6\r\n5\r\n").unwrap(), [5, 6, 5]);
    }

    #[test]
    fn the_width_of_binary_keys_shows_in_their_halves() {
        let asked = [1_u32 << 20, 2 << 20, 1 << 20, 1 << 20, 2 << 20, 2 << 20];
        let four: Vec<u8> = asked.iter().flat_map(|key| key.to_be_bytes()).collect();
        let eight: Vec<u8> = asked.iter().flat_map(|&key| u64::from(key).to_be_bytes()).collect();
        for bytes in [four, eight] {
            assert_eq!(keys(&bytes).unwrap(), asked.map(u64::from));
        }
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(keys(b"").unwrap_err().contains("no request"));
        assert!(keys(&[0, 1, 2]).unwrap_err().contains("no text"));
    }
}
