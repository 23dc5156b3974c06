//! Says a [`Phrase`] in the page's language: the catalogue's sentence, with numbers as `Intl` writes them.

use std::cell::RefCell;

use js_sys::{Array, Function, Intl, Object, Reflect};
use wasm_bindgen::JsValue;

use super::catalogue::{self, Language};
use super::figures::{self, Figure};
use super::phrase::{Phrase, Value};
use crate::journal::Who;

/// One language, with its number formatters. Making a formatter costs far more than using it, so each is made once.
pub(super) struct Speech {
    language: Language,
    plurals: Intl::PluralRules,
    formatters: RefCell<Vec<(&'static str, u8, Function)>>,
}

impl Speech {
    pub(super) fn new(language: Language) -> Self {
        let plurals = Intl::PluralRules::new(&locales(language), &Object::new());
        Self { language, plurals, formatters: RefCell::default() }
    }

    pub(super) fn language(&self) -> Language {
        self.language
    }

    /// A sentence with nothing to fill in.
    pub(super) fn word(&self, key: &'static str) -> String {
        catalogue::sentence(self.language, key)
    }

    pub(super) fn say(&self, phrase: &Phrase) -> String {
        let sentence = match phrase.count {
            // Of the categories that exist, the page's languages differ in `one` alone; Portuguese's `many` is for
            // millions.
            Some(count) => {
                let one = self.plurals.select(count as f64) == "one";
                let category = if one { "one" } else { "other" };
                catalogue::sentence(self.language, &format!("{}.{category}", phrase.key))
            }
            None => self.word(phrase.key),
        };
        if phrase.args.is_empty() {
            return sentence;
        }
        let values: Vec<_> = phrase.args.iter().map(|(name, value)| (*name, self.value(value))).collect();
        catalogue::fill(&sentence, &values)
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Text(text) => isolated(text),
            Value::Said(text) => text.clone(),
            Value::Bytes(count) => self.bytes(*count),
            Value::Count(count) => self.figure(Figure { value: *count as f64, decimals: 0, unit: "" }),
            Value::Rate(bytes) => self.rate(*bytes as f64),
            Value::Seconds(seconds) => self.duration(*seconds as f64),
            Value::Word(key) => self.word(key),
            Value::Who(Who { client, id }) => {
                let client = if client.is_empty() { self.word("peers.unknown") } else { isolated(client) };
                format!("{client} (…{id})")
            }
            Value::Share(share) => self.figure(figures::percent_of(*share)),
            Value::Ratio(ratio) => self.figure(figures::ratio(*ratio)),
        }
    }

    /// A size, as in “1.5 MB”.
    pub(super) fn bytes(&self, count: u64) -> String {
        self.figure(figures::bytes(count))
    }

    /// A rate, as in “1.5 MB/s”.
    pub(super) fn rate(&self, bytes_per_second: f64) -> String {
        self.figure(figures::rate(bytes_per_second))
    }

    /// How much of something is done, as in “37%”.
    pub(super) fn percent(&self, done: u64, total: u64) -> String {
        self.figure(figures::percent(done, total))
    }

    /// A duration, as in “3 min 20 sec”; empty when it is too long to mean anything.
    pub(super) fn duration(&self, seconds: f64) -> String {
        match figures::duration(seconds) {
            Some((large, Some(small))) => format!("{} {}", self.figure(large), self.figure(small)),
            Some((large, None)) => self.figure(large),
            None => String::new(),
        }
    }

    /// A time of day, in milliseconds since 1970, where it is now; with its day if asked.
    pub(super) fn time(&self, at: u64, with_day: bool) -> String {
        let name = if with_day { "dateStyle" } else { "timeStyle" };
        self.format(name, 0, at as f64, || moment_formatter(self.language, with_day))
    }

    fn figure(&self, figure: Figure) -> String {
        self.format(figure.unit, figure.decimals, figure.value, || formatter(self.language, figure))
    }

    /// Writes a number with the formatter of this name, made if there is none yet.
    fn format(
        &self,
        name: &'static str,
        decimals: u8,
        value: f64,
        make: impl FnOnce() -> Function,
    ) -> String {
        let number = JsValue::from_f64(value);
        let mut formatters = self.formatters.borrow_mut();
        let known = formatters.iter().position(|(known, with, _)| *known == name && *with == decimals);
        let place = known.unwrap_or_else(|| {
            formatters.push((name, decimals, make()));
            formatters.len() - 1
        });
        // `format` is bound to its formatter (ECMA-402 §11.3.3 and §15.3.3), so `this` does not matter.
        let written = formatters[place].2.call1(&JsValue::UNDEFINED, &number);
        written.ok().and_then(|text| text.as_string()).unwrap_or_else(|| value.to_string())
    }
}

/// A text that turns the direction of nothing around it, nor its own otherwise than by its letters: between U+2068 and U+2069
/// (Unicode Standard Annex 9, section 2.4), and without what opens or closes another such run.
fn isolated(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    format!("\u{2068}{}\u{2069}", text.replace(turns, ""))
}

fn locales(language: Language) -> Array {
    Array::of1(&JsValue::from_str(language.tag()))
}

fn moment_formatter(language: Language, with_day: bool) -> Function {
    let options = Object::new();
    let styles: &[(&str, &str)] = &[("timeStyle", "medium"), ("dateStyle", "medium")];
    for (name, value) in &styles[..1 + usize::from(with_day)] {
        // Setting a property of a fresh, plain object cannot fail.
        let _ = Reflect::set(&options, &JsValue::from_str(name), &JsValue::from_str(value));
    }
    Intl::DateTimeFormat::new(&locales(language), &options).format()
}

fn formatter(language: Language, figure: Figure) -> Function {
    let options = Object::new();
    let set = |name: &str, value: JsValue| {
        // Setting a property of a fresh, plain object cannot fail.
        let _ = Reflect::set(&options, &JsValue::from_str(name), &value);
    };
    let decimals = JsValue::from_f64(f64::from(figure.decimals));
    set("minimumFractionDigits", decimals.clone());
    set("maximumFractionDigits", decimals);
    match figure.unit {
        "" => {}
        unit => {
            set("style", "unit".into());
            set("unit", unit.into());
            // Short for a byte is “byte”, also of many.
            set("unitDisplay", if unit == "byte" { "long" } else { "short" }.into());
        }
    }
    Intl::NumberFormat::new(&locales(language), &options).format()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_turn_the_direction_of_nothing_around_them() {
        assert_eq!(isolated("a b"), "\u{2068}a b\u{2069}");
        let mean = "\u{2069}\u{202e}gpj\u{61c}.\u{2066}exe\u{2068}";
        assert_eq!(isolated(mean), "\u{2068}gpj.exe\u{2069}");
    }
}
