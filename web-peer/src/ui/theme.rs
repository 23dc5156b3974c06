//! Light or dark: as the system has it, or as the user says. Before the first paint `www/boot.js` does the same.

use leptos::prelude::*;
use wasm_bindgen::JsValue;

use super::Ui;
use crate::kept;

/// Where the browser keeps the user's choice; nothing for the system's.
const KEY: &str = "enxame.theme";

/// The choices, and what they are called.
const THEMES: [(&str, &str); 3] =
    [("system", "theme.system"), ("light", "theme.light"), ("dark", "theme.dark")];

/// The field in the footer.
pub(super) fn theme(ui: Ui) -> AnyView {
    let chosen = known().unwrap_or_else(|| "system".to_owned());
    let options = THEMES.map(|(theme, word)| {
        view! {
            <option value=theme selected=chosen == theme>
                {ui.word(word)}
            </option>
        }
    });
    view! {
        <label class="theme">
            <span>{ui.word("theme.title")}</span>
            <select data-testid="theme" on:change=move |event| choose(&event_target_value(&event))>
                {options.into_iter().collect_view()}
            </select>
        </label>
    }
    .into_any()
}

fn known() -> Option<String> {
    kept::get(KEY).filter(|theme| THEMES.iter().any(|(known, _)| known == theme))
}

fn choose(theme: &str) {
    let own = Some(theme).filter(|theme| *theme != "system");
    kept::set(KEY, own);
    if let Some(root) = document().document_element() {
        // A known attribute of an element that exists: cannot fail.
        let _: Result<(), JsValue> = match own {
            Some(theme) => root.set_attribute("data-theme", theme),
            None => root.remove_attribute("data-theme"),
        };
    }
    // The browser's own bars, too.
    for (of, _) in &THEMES[1..] {
        let media = match own {
            Some(theme) if theme == *of => "all".to_owned(),
            Some(_) => "not all".to_owned(),
            None => format!("(prefers-color-scheme: {of})"),
        };
        if let Ok(Some(meta)) = document().query_selector(&format!("meta[name=theme-color][data-of={of}]")) {
            // As above.
            let _ = meta.set_attribute("media", &media);
        }
    }
}

#[cfg(test)]
mod tests {
    /// The bars of the browser have the colour of the page below them.
    #[test]
    fn the_browsers_bars_have_the_pages_colours() {
        const INDEX: &str = include_str!("../../../www/index.html");
        for (theme, from) in [("light", ":root {"), ("dark", ":root[data-theme=\"dark\"] {")] {
            let paper = block(from).into_iter().find_map(|line| line.strip_prefix("--paper: ")).unwrap();
            let meta = format!("data-of=\"{theme}\" content=\"{}\"", paper.trim_end_matches(';'));
            assert!(INDEX.contains(&meta), "{meta}");
        }
    }

    const STYLE: &str = include_str!("../../../www/style.css");

    /// What stands between this and the next closing bracket, line by line.
    fn block(from: &str) -> Vec<&str> {
        let start = STYLE.find(from).unwrap_or_else(|| panic!("no {from}")) + from.len();
        let end = STYLE[start..].find('}').unwrap() + start;
        STYLE[start..end].lines().map(str::trim).filter(|line| line.starts_with("--")).collect()
    }

    #[test]
    fn dark_by_choice_is_as_dark_as_by_the_system() {
        let by_system = block(":root:not([data-theme=\"light\"]) {");
        assert!(by_system.len() > 10);
        assert_eq!(by_system, block(":root[data-theme=\"dark\"] {"));
    }
}
