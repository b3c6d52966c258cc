//! How Redis matches a glob: `stringmatchlen` of its `src/util.c`, step for step, as a second opinion on the core's own.
//!
//! Slower than the core in the worst case, and as fond of odd patterns as the original.

/// Whether Redis would list `key` for `KEYS pattern`.
pub fn matches(pattern: &[u8], key: &[u8]) -> bool {
    pattern == b"*" || step(pattern, key, &mut false)
}

fn step(mut pattern: &[u8], mut key: &[u8], nowhere: &mut bool) -> bool {
    while let (Some(&token), Some(&byte)) = (pattern.first(), key.first()) {
        match token {
            b'*' => {
                while pattern.get(1) == Some(&b'*') {
                    pattern = &pattern[1..];
                }
                if pattern.len() == 1 {
                    return true;
                }
                while !key.is_empty() {
                    if step(&pattern[1..], key, nowhere) {
                        return true;
                    }
                    if *nowhere {
                        return false;
                    }
                    key = &key[1..];
                }
                // What follows fits nowhere in the rest: an earlier star that takes more only makes the rest shorter.
                *nowhere = true;
                return false;
            }
            b'?' => pattern = &pattern[1..],
            b'[' => match class(&pattern[1..], byte) {
                (true, behind) => pattern = behind,
                (false, _) => return false,
            },
            _ => {
                if token == b'\\' && pattern.len() >= 2 {
                    pattern = &pattern[1..];
                }
                if pattern[0] != byte {
                    return false;
                }
                pattern = &pattern[1..];
            }
        }
        key = &key[1..];
        if key.is_empty() {
            while pattern.first() == Some(&b'*') {
                pattern = &pattern[1..];
            }
            break;
        }
    }
    pattern.is_empty() && key.is_empty()
}

/// Whether the class takes `byte`, and what stands behind it.
fn class(mut inside: &[u8], byte: u8) -> (bool, &[u8]) {
    let negated = inside.first() == Some(&b'^');
    if negated {
        inside = &inside[1..];
    }
    let mut listed = false;
    loop {
        inside = match inside {
            [b'\\', escaped, behind @ ..] => {
                listed |= *escaped == byte;
                behind
            }
            [b']', behind @ ..] => return (listed != negated, behind),
            [] => return (listed != negated, inside),
            [one, b'-', other, behind @ ..] => {
                listed |= (*one.min(other)..=*one.max(other)).contains(&byte);
                behind
            }
            [one, behind @ ..] => {
                listed |= *one == byte;
                behind
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_a_real_server_are_given_here_too() {
        let cases: serde_json::Value = serde_json::from_str(include_str!("../cases/glob.json")).expect("it is JSON");
        let texts = cases["texts"].as_array().expect("there are texts");
        for row in cases["patterns"].as_array().expect("there are patterns") {
            let pattern = row["pattern"].as_str().expect("a pattern is text");
            let listed = row["matches"].as_array().expect("a row lists what matches");
            for (index, text) in texts.iter().enumerate() {
                let text = text.as_str().expect("a text is text");
                let expected = listed.contains(&index.into());
                assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} on {text:?}");
            }
        }
    }
}
