//! The rules by which Redis matches a glob, one after the other: a second opinion on the core's matcher.
//!
//! Asks every question once, so that the worst pattern costs pattern times key and not more. Otherwise no thought for time.

/// Whether `pattern` takes `key`, both as bytes.
pub fn matches(pattern: &[u8], key: &[u8]) -> bool {
    match (pattern, key) {
        // Redis does not look at the key for this one; any other pattern but the empty one refuses the empty key.
        (b"*", _) => true,
        (_, b"") => pattern.is_empty(),
        _ => Model { pattern, key, answers: vec![None; (pattern.len() + 1) * (key.len() + 1)] }.rest(0, 0),
    }
}

struct Model<'a> {
    pattern: &'a [u8],
    key: &'a [u8],
    answers: Vec<Option<bool>>,
}

impl Model<'_> {
    /// Whether the pattern from `at` on takes the key from `from` on.
    fn rest(&mut self, at: usize, from: usize) -> bool {
        let place = at * (self.key.len() + 1) + from;
        if let Some(answer) = self.answers[place] {
            return answer;
        }
        let answer = self.ask(at, from);
        self.answers[place] = Some(answer);
        answer
    }

    fn ask(&mut self, at: usize, from: usize) -> bool {
        let Some(&token) = self.pattern.get(at) else { return from == self.key.len() };
        if token == b'*' {
            return self.rest(at + 1, from) || (from < self.key.len() && self.rest(at, from + 1));
        }
        let Some(&byte) = self.key.get(from) else { return false };
        match token {
            b'?' => self.rest(at + 1, from + 1),
            b'\\' if at + 1 < self.pattern.len() => self.pattern[at + 1] == byte && self.rest(at + 2, from + 1),
            b'[' => {
                let (is_member, behind) = self.class(at + 1, byte);
                is_member && self.rest(behind, from + 1)
            }
            _ => token == byte && self.rest(at + 1, from + 1),
        }
    }

    /// Whether the class that opens before `at` has `byte` as a member, and where the pattern goes on behind it.
    fn class(&self, mut at: usize, byte: u8) -> (bool, usize) {
        let negated = self.pattern.get(at) == Some(&b'^');
        at += usize::from(negated);
        let mut listed = false;
        loop {
            let left = self.pattern.len() - at;
            if left >= 2 && self.pattern[at] == b'\\' {
                listed |= self.pattern[at + 1] == byte;
                at += 2;
            } else if left == 0 {
                break;
            } else if self.pattern[at] == b']' {
                at += 1;
                break;
            } else if left >= 3 && self.pattern[at + 1] == b'-' {
                let (from, to) = (self.pattern[at], self.pattern[at + 2]);
                listed |= (from <= byte && byte <= to) || (to <= byte && byte <= from);
                at += 3;
            } else {
                listed |= self.pattern[at] == byte;
                at += 1;
            }
        }
        (listed != negated, at)
    }
}
