//! The page's sentences in every language (`www/locales/`), and which language is taken.

/// The files are read while the macro expands, which cargo cannot see: naming them here makes a change to one
/// rebuild the page.
const _: [&str; 2] =
    [include_str!("../../../www/locales/en.toml"), include_str!("../../../www/locales/pt-BR.toml")];

#[allow(missing_docs, unreachable_pub, unused, clippy::all)]
mod generated {
    // Without a further backend, which stays empty, the macro unrolls the catalogue into code: 30 kB more.
    rust_i18n::i18n!("../www/locales", backend = rust_i18n::SimpleBackend::new());

    pub(super) fn find(locale: &str, key: &str) -> Option<std::borrow::Cow<'static, str>> {
        _rust_i18n_try_translate(locale, key)
    }
}

/// A language that the page speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// `en`.
    English,
    /// `pt-BR`.
    Portuguese,
}

impl Language {
    /// Its tag (BCP 47): names the catalogue's file, the page's `lang`, and the form of its numbers.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Portuguese => "pt-BR",
        }
    }

    /// The one that the switch in the footer offers.
    pub(super) fn other(self) -> Self {
        match self {
            Self::English => Self::Portuguese,
            Self::Portuguese => Self::English,
        }
    }

    /// The language of this tag, whatever its region: European Portuguese is nearer to Brazilian than to English.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        [Self::English, Self::Portuguese].into_iter().find(|language| {
            language.tag().split('-').next().is_some_and(|own| own.eq_ignore_ascii_case(primary))
        })
    }

    /// The first that the page speaks: of the address's `lang`, then of the browser's languages in their order;
    /// else English.
    pub(super) fn choose<'a>(asked: Option<&'a str>, preferred: impl IntoIterator<Item = &'a str>) -> Self {
        asked.into_iter().chain(preferred).find_map(Self::of_tag).unwrap_or(Self::English)
    }
}

/// The sentence of this key, unfilled. A key that is missing shows itself: ugly, but not a crash.
pub(super) fn sentence(language: Language, key: &str) -> String {
    generated::find(language.tag(), key).map_or_else(|| key.to_owned(), std::borrow::Cow::into_owned)
}

/// Puts the values into a sentence's `%{name}` places.
pub(super) fn fill(sentence: &str, values: &[(&str, String)]) -> String {
    let (names, values): (Vec<&str>, Vec<String>) = values.iter().cloned().unzip();
    rust_i18n::replace_patterns(sentence, &names, &values)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const FILES: [(Language, &str); 2] = [
        (Language::English, include_str!("../../../www/locales/en.toml")),
        (Language::Portuguese, include_str!("../../../www/locales/pt-BR.toml")),
    ];

    /// Every source file of the user interface but this one.
    #[cfg(not(target_arch = "wasm32"))]
    fn sources() -> Vec<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths
            .filter(|path| !path.ends_with("catalogue.rs"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    /// Keys with their sentences, read from the file's text: `[section]` lines and `key = "sentence"` lines.
    fn entries(file: &str) -> BTreeMap<String, String> {
        let mut section = String::new();
        let mut entries = BTreeMap::new();
        for line in file.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = format!("{name}.");
            } else if let Some((key, sentence)) = line.split_once(" = \"") {
                let sentence = sentence.strip_suffix('"').unwrap_or_else(|| panic!("not one line: {line}"));
                assert!(!sentence.is_empty(), "{key} is empty");
                assert!(
                    entries.insert(format!("{section}{key}"), sentence.to_owned()).is_none(),
                    "{key} twice"
                );
            }
        }
        entries
    }

    fn places(sentence: &str) -> BTreeSet<&str> {
        sentence.split("%{").skip(1).map(|rest| rest.split('}').next().unwrap_or_default()).collect()
    }

    #[test]
    fn every_language_has_the_same_sentences_with_the_same_places() {
        let [english, portuguese] = FILES.map(|(_, file)| entries(file));
        assert!(english.len() > 50);
        assert_eq!(english.keys().collect::<Vec<_>>(), portuguese.keys().collect::<Vec<_>>());
        for (key, sentence) in &english {
            assert_eq!(places(sentence), places(&portuguese[key]), "{key}");
        }
    }

    #[test]
    fn the_catalogue_that_was_compiled_in_is_the_one_in_the_files() {
        for (language, file) in FILES {
            for (key, expected) in entries(file) {
                assert_eq!(sentence(language, &key), expected, "{key}");
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn every_sentence_is_used_and_every_sentence_used_is_there() {
        let entries = entries(FILES[0].1);
        let sections: BTreeSet<&str> = entries.keys().filter_map(|key| key.split('.').next()).collect();
        let mut used = BTreeSet::new();
        for source in sources() {
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            // Between any two quotation marks: what is no key is told by its form.
            for literal in source.split('"') {
                let is_key = literal.split_once('.').is_some_and(|(section, rest)| {
                    sections.contains(section) && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                });
                if is_key {
                    used.insert(literal.to_owned());
                }
            }
        }
        let known: BTreeSet<String> = entries
            .keys()
            .map(|key| key.trim_end_matches(".one").trim_end_matches(".other").to_owned())
            .collect();
        assert_eq!(used, known);
    }

    #[test]
    fn plurals_come_in_one_and_other() {
        for (_, file) in FILES {
            let entries = entries(file);
            for key in entries.keys().filter_map(|key| key.strip_suffix(".one")) {
                assert!(entries.contains_key(&format!("{key}.other")), "{key}");
            }
        }
    }

    #[test]
    fn the_address_decides_the_language_before_the_browser_does() {
        use Language::{English, Portuguese};
        assert_eq!(Language::choose(Some("pt-BR"), ["en-US"]), Portuguese);
        assert_eq!(Language::choose(Some("xx"), ["pt-PT", "en"]), Portuguese);
        assert_eq!(Language::choose(None, ["fr", "pt", "en"]), Portuguese);
        assert_eq!(Language::choose(None, ["fr", "en-GB", "pt"]), English);
        assert_eq!(Language::choose(None, ["ptx", ""]), English);
        assert_eq!(Language::choose(None, []), English);
    }

    #[test]
    fn places_are_filled_and_values_are_never_read_as_places() {
        let values = [("name", "%{size}".to_owned()), ("size", "5".to_owned())];
        assert_eq!(fill("%{name}: %{size}%", &values), "%{size}: 5%");
        assert_eq!(fill("%{unknown}", &values), "%{unknown}");
        assert_eq!(fill("ç%{size}ç", &values), "ç5ç");
    }
}
