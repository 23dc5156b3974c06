//! The names by which the program and its script know each other. wasm-bindgen ends them in sixteen digits each
//! (`__wbg_close_4d4e83804e073061`), which no compression makes shorter, and both files have some four hundred. Here they become
//! `$a`, `$b` and so on, in both.

use std::collections::HashMap;

use anyhow::{Context, Result};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ExportSection, ImportSection, Module, RawSection};
use wasmparser::{Parser, Payload};

/// What the names that are made shorter begin with: wasm-bindgen's own, which nobody else calls by their names.
const PREFIXES: [&str; 2] = ["__wbg_", "__wbindgen_"];
/// Shorter ones are not worth it, and some of those the script also has as names of its own (`__wbg_init`).
const SHORTEST: usize = 24;

/// The script and the program with short names.
///
/// # Errors
/// When `program` is no WebAssembly.
pub(crate) fn shorten(script: &str, program: &[u8]) -> Result<(String, Vec<u8>)> {
    let mut names = Names::default();
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(program) {
        let payload = payload.context("the program cannot be read")?;
        match &payload {
            Payload::ImportSection(section) => {
                let mut imports = ImportSection::new();
                for import in section.clone().into_imports() {
                    let import = import.context("an import cannot be read")?;
                    let ty = RoundtripReencoder.entity_type(import.ty).context("an import cannot be read")?;
                    imports.import(import.module, names.short(import.name), ty);
                }
                module.section(&imports);
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                for export in section.clone() {
                    let export = export.context("an export cannot be read")?;
                    let kind =
                        RoundtripReencoder.export_kind(export.kind).context("an export cannot be read")?;
                    exports.export(names.short(export.name), kind, export.index);
                }
                module.section(&exports);
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    module.section(&RawSection { id, data: &program[range] });
                }
            }
        }
    }
    Ok((names.replace(script), module.finish()))
}

/// Short names, each for a long one.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    /// The short name, or the same where it stays.
    fn short<'a>(&'a mut self, name: &'a str) -> &'a str {
        if name.len() < SHORTEST || !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return name;
        }
        let count = self.0.len();
        self.0.entry(name.to_owned()).or_insert_with(|| numbered(count))
    }

    /// The script with every long name replaced, wherever it stands as a whole word.
    fn replace(&self, script: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let mut replaced = String::with_capacity(script.len());
        let mut rest = script;
        while let Some(start) = rest.find(is_part) {
            let (before, word) = rest.split_at(start);
            let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
            replaced.push_str(before);
            replaced.push_str(self.0.get(word).map_or(word, String::as_str));
            rest = after;
        }
        replaced + rest
    }
}

/// `$a` to `$z`, `$ba`, and so on.
fn numbered(mut number: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            break;
        }
    }
    std::iter::once('$').chain(letters.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{EntityType, ExportKind, FunctionSection, TypeSection, ValType};

    use super::*;

    const LONG: [&str; 2] = ["__wbg_close_4d4e83804e073061", "__wbg_close_4d4e83804e073062"];

    fn program() -> Vec<u8> {
        let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
        types.ty().function([ValType::I32], []);
        for name in ["memory_of_no_importance_at_all", LONG[0], LONG[1]] {
            imports.import("./page.js", name, EntityType::Function(0));
        }
        let mut exports = ExportSection::new();
        exports.export("__wbindgen_start", ExportKind::Func, 0).export("again", ExportKind::Func, 1);
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&FunctionSection::new()).section(&exports);
        module.finish()
    }

    fn names(program: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(program) {
            match payload.unwrap() {
                Payload::ImportSection(section) => {
                    names.extend(section.into_imports().map(|import| import.unwrap().name.to_owned()));
                }
                Payload::ExportSection(section) => {
                    names.extend(section.into_iter().map(|export| export.unwrap().name.to_owned()));
                }
                _ => {}
            }
        }
        names
    }

    #[test]
    fn long_names_are_the_same_short_ones_in_both_and_others_stay() {
        let script =
            format!("{}: function(é) {{ x.{}(); not{} }}, __wbindgen_start", LONG[0], LONG[1], LONG[1]);
        let (script, short) = shorten(&script, &program()).unwrap();
        assert_eq!(script, format!("$a: function(é) {{ x.$b(); not{} }}, __wbindgen_start", LONG[1]));
        assert_eq!(
            names(&short),
            ["memory_of_no_importance_at_all", "$a", "$b", "__wbindgen_start", "again"]
        );
        assert!(short.len() < program().len());
        // Nothing is left to shorten.
        assert_eq!(shorten(&script, &short).unwrap(), (script, short));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(shorten("", b"\0asm\x01\0\0\0\x02\xff").is_err());
    }

    #[test]
    fn no_two_numbers_have_one_name() {
        let names: std::collections::HashSet<String> = (0..2_000).map(numbered).collect();
        assert_eq!(names.len(), 2_000);
        assert_eq!([0, 25, 26, 27].map(numbered), ["$a", "$z", "$ba", "$bb"]);
    }
}
