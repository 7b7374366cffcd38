//! Any string as a label.
//!
//! Mermaid has no quoting that holds everywhere. What it has is entities, `#59;` for a semicolon, which its parsers leave
//! alone and its drawing turns back. So a label keeps letters, digits and what is known to be harmless; everything else is
//! an entity. That covers what the grammar reads (`;` `#` `:` `%%` `"` `{` `~` `<`), what is read before it (directives,
//! and `style ..: #..;`, which loses its last semicolon), and what is read after it (Markdown, icons, HTML).

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest name, in characters: what stands in a box of its own.
pub(super) const NAME: usize = 60;

/// The longest line of any other text, in characters.
pub(super) const LINE: usize = 120;

/// Whether a word is, or ends with, what some parser looks for within lines. Its last letter is an entity then. (Today's
/// parsers find no `end` in a label; Mermaid's documentation still warns of it.)
fn is_looked_for(word: &str) -> bool {
    word.eq_ignore_ascii_case("end") || word.ends_with("direction")
}

/// What is shown of a string: one line without what cannot be seen, cut where it is too long.
pub(super) fn shown(raw: &str, longest: usize) -> String {
    let words: Vec<Cow<'_, str>> =
        raw.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).map(visible).collect();
    let line = words.join(" ");
    if line.is_empty() {
        return "(no name)".to_owned();
    }
    if line.chars().count() <= longest {
        return line;
    }
    let start: String = line.chars().take(longest - 1).collect();
    format!("{}…", start.trim_end())
}

/// A string as what is called something: a participant, a class.
pub(super) fn name(raw: &str) -> String {
    escaped(&shown(raw, NAME))
}

/// A string as a line of any other text.
pub(super) fn line(raw: &str) -> String {
    escaped(&shown(raw, LINE))
}

fn escaped(shown: &str) -> String {
    let words: Vec<String> = shown.split(' ').map(escaped_word).collect();
    words.join(" ")
}

/// Characters that would turn the text around them, or that no document may hold, shown as what they are: unfit.
fn visible(word: &str) -> Cow<'_, str> {
    let unfit = |c: char| {
        matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
            || matches!(u32::from(c) & 0xFFFF, 0xFFFE | 0xFFFF)
            || matches!(c, '\u{FDD0}'..='\u{FDEF}')
    };
    let word = if word.contains(unfit) { word.replace(unfit, "\u{FFFD}").into() } else { Cow::from(word) };
    // How Mermaid itself marks an entity until all is drawn. Drawn as entities, these letters would be one again.
    if word.contains("ﬂ°") || word.contains("¶ß") {
        return word.replace("ﬂ°", "\u{FFFD}°").replace("¶ß", "\u{FFFD}ß").into();
    }
    word
}

fn escaped_word(word: &str) -> String {
    let is_looked_for = is_looked_for(word);
    let mut out = String::with_capacity(word.len());
    let mut before = ' ';
    let mut rest = word.chars().peekable();
    while let Some(c) = rest.next() {
        let harmless = match c {
            // Within a word it is no Markdown.
            '_' => before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric()),
            ',' => true,
            _ => c.is_alphanumeric(),
        };
        if harmless && !(is_looked_for && rest.peek().is_none()) {
            out.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "#{};", u32::from(c));
        }
        before = c;
    }
    out
}
