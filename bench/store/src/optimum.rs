//! Optimum: what a cache could answer at most that knew all requests to come.
//!
//! L. Belady, "A Study of Replacement Algorithms for a Virtual-Storage Computer", IBM Systems Journal 1966: what is needed last leaves,
//! and does not enter if that is the new one itself.

use std::collections::BinaryHeap;

/// Never asked for again.
const NEVER: u32 = u32::MAX;
/// Not held.
const OUT: u32 = 0;

/// Hits of the best order of leaving for `size` values.
pub fn hits(requests: &[u32], size: usize) -> u64 {
    let keys = requests.iter().max().map_or(0, |&most| most as usize + 1);
    let mut ahead = vec![NEVER; keys];
    let mut next = vec![NEVER; requests.len()];
    for (at, &key) in requests.iter().enumerate().rev() {
        next[at] = std::mem::replace(&mut ahead[key as usize], at as u32);
    }
    // When each key that is held is asked for next. It is held only if it is, so that is never at 0.
    let mut held = vec![OUT; keys];
    let (mut len, mut hits) = (0, 0);
    let mut last: BinaryHeap<(u32, u32)> = BinaryHeap::new();
    for (at, &key) in requests.iter().enumerate() {
        if std::mem::replace(&mut held[key as usize], OUT) != OUT {
            hits += 1;
            len -= 1;
        }
        if next[at] == NEVER {
            continue;
        }
        held[key as usize] = next[at];
        last.push((next[at], key));
        len += 1;
        while len > size {
            let (when, key) = last.pop().expect("whatever is held has been pushed");
            if held[key as usize] == when {
                held[key as usize] = OUT;
                len -= 1;
            }
        }
        if last.len() > 4 * size + 1_024 {
            last.retain(|&(when, key)| held[key as usize] == when);
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_loop_it_keeps_as_much_as_it_can() {
        let requests: Vec<u32> = (0..1_000).map(|at| at % 10).collect();
        assert_eq!(hits(&requests, 10), 990);
        // One of the ten is let through in turn: four hits for each nine others but at the ends.
        assert_eq!(hits(&requests, 5), 495);
        assert_eq!(hits(&requests, 0), 0);
    }

    #[test]
    fn what_is_needed_last_leaves() {
        assert_eq!(hits(&[0, 1, 2, 0, 1, 2], 2), 2);
        assert_eq!(hits(&[0, 1, 2, 2, 0, 1], 1), 1);
    }
}
