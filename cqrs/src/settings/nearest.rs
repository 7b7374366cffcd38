//! "did you mean": the nearest word by edit distance.

/// The word at most two edits away, the nearest first.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        // A word must keep at least one of its letters, or every short word would resemble every other.
        .filter(|(edits, candidate)| *edits <= 2 && *edits < candidate.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, delete or replace to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn counts_edits() {
        let pairs =
            [("", "", 0), ("lease", "lease", 0), ("leese", "lease", 1), ("kitten", "sitting", 3), ("", "abc", 3)];
        for (a, b, edits) in pairs {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }

    #[test]
    fn finds_the_nearest_or_none() {
        assert_eq!(nearest("stoer", ["store", "relay"].into_iter()), Some("store"));
        assert_eq!(nearest("parallelism", ["store", "relay"].into_iter()), None);
        assert_eq!(nearest("x", ["on"].into_iter()), None);
    }
}
