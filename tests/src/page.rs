//! A page of `docs`, so that a test does what stands there and not what its writer thinks that stands there.

/// The text of a page.
#[derive(Debug)]
pub struct Page(&'static str);

impl Page {
    /// Takes the text, by `include_str!`.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// Whether a word stands there as code, with or without what follows it: `Name` or `Name.method`.
    pub fn says(&self, word: &str) -> bool {
        self.0
            .match_indices(&format!("`{word}"))
            .any(|(at, found)| self.0[at + found.len()..].starts_with(['`', '.', '(']))
    }

    /// The block of code in a language that contains a text.
    ///
    /// # Panics
    /// There is none, or more than one.
    pub fn block(&self, language: &str, part: &str) -> String {
        let found: Vec<String> = self.blocks(language).into_iter().filter(|code| code.contains(part)).collect();
        assert_eq!(found.len(), 1, "blocks of {language} with `{part}`: {found:?}");
        found.concat()
    }

    /// The blocks of code in a language.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let (mut blocks, mut kind) = (Vec::new(), None::<&str>);
        for line in self.0.lines() {
            match (line.trim_start().strip_prefix("```"), kind) {
                (Some(_), Some(_)) => kind = None,
                (Some(begun), None) => {
                    kind = begun.split(',').next();
                    if kind == Some(language) {
                        blocks.push(String::new());
                    }
                }
                (None, Some(kind)) if kind == language => {
                    let block: &mut String = blocks.last_mut().expect("it has begun");
                    block.push_str(line);
                    block.push('\n');
                }
                (None, _) => {}
            }
        }
        blocks
    }
}
