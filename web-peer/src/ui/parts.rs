//! The few things that the page is made of: texts, buttons, drawings, lists.
//!
//! Every view of its own type is compiled for itself, and several kB of it must be fetched by whoever opens the page.
//! So what varies is of one type here: a text is a [`Text`], a yes or no a [`Flag`], a button goes through [`button`],
//! a list through [`list`], and what is only sometimes there through [`sometimes`].

use std::hash::{DefaultHasher, Hash, Hasher};

use leptos::prelude::*;

/// A text that may change.
pub(super) type Text = Signal<String>;

/// A yes or no that may change.
pub(super) type Flag = Signal<bool>;

/// What is sometimes there.
type Sometimes = Box<dyn Fn() -> Option<AnyView> + Send>;

/// A text that is worked out anew when what it is made of changes.
pub(super) fn text(write: impl Fn() -> String + Send + Sync + 'static) -> Text {
    // A closure is of a type of its own in each function that is compiled for its caller: so not here.
    fn boxed(write: Box<dyn Fn() -> String + Send + Sync>) -> Text {
        Memo::new(move |_| write()).into()
    }
    boxed(Box::new(write))
}

/// A yes or no that is worked out anew when what it is made of changes.
pub(super) fn flag(tell: impl Fn() -> bool + Send + Sync + 'static) -> Flag {
    fn boxed(tell: Box<dyn Fn() -> bool + Send + Sync>) -> Flag {
        Memo::new(move |_| tell()).into()
    }
    boxed(Box::new(tell))
}

/// The opposite.
pub(super) fn not(flag: Flag) -> Flag {
    self::flag(move || !flag.get())
}

/// Whether there is nothing to read.
pub(super) fn is_blank(text: Text) -> Flag {
    flag(move || text.with(String::is_empty))
}

/// What is shown while `view` gives something, made anew when what that depends on changes.
pub(super) fn sometimes(view: impl Fn() -> Option<AnyView> + Send + 'static) -> Sometimes {
    Box::new(view)
}

/// Rows by their keys: a row stays as it is for as long as its key is there.
pub(super) fn list(keys: Memo<Vec<u64>>, row: impl Fn(u64) -> AnyView + Send + Sync + 'static) -> AnyView {
    fn shared(keys: Memo<Vec<u64>>, row: std::sync::Arc<dyn Fn(u64) -> AnyView + Send + Sync>) -> AnyView {
        view! { <For each=move || keys.get() key=|key| *key children=move |key| row(key) /> }.into_any()
    }
    shared(keys, std::sync::Arc::new(row))
}

/// A key for the row of what is named by this.
pub(super) fn key_of(name: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Keys in order, each once: two rows of one key would be one too many.
pub(super) fn each_once(keys: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut once = Vec::new();
    for key in keys {
        if !once.contains(&key) {
            once.push(key);
        }
    }
    once
}

/// A drawing from the sprite in index.html.
pub(super) fn icon(name: impl Into<Text>) -> AnyView {
    let name: Text = name.into();
    drawing("icon", text(move || format!("#i-{}", name.get())))
}

/// The page's mark, from the same sprite.
pub(super) fn logo() -> AnyView {
    drawing("logo", "#logo".into())
}

fn drawing(class: &'static str, href: Text) -> AnyView {
    view! {
        <svg class=class aria-hidden="true">
            <use_ href=href></use_>
        </svg>
    }
    .into_any()
}

/// What a button looks like.
#[derive(Clone, Copy)]
pub(super) struct Button {
    /// Beside `button`.
    pub(super) class: &'static str,
    /// For automation.
    pub(super) test_id: &'static str,
    /// A name in the sprite.
    pub(super) icon: Text,
    /// What it says. With the class `icon-only` it is said to screen readers alone.
    pub(super) label: Text,
    /// Shown when pointed at; empty for none.
    pub(super) hint: Text,
    /// Whether it is not there.
    pub(super) hidden: Flag,
    /// Whether it cannot be pressed.
    pub(super) disabled: Flag,
    /// Whether pressing it does nothing for now. Unlike one that is disabled it keeps the focus.
    pub(super) idle: Flag,
}

impl Button {
    /// One that is there and can be pressed.
    pub(super) fn new(test_id: &'static str, icon: impl Into<Text>, label: impl Into<Text>) -> Self {
        Self {
            class: "",
            test_id,
            icon: icon.into(),
            label: label.into(),
            hint: String::new().into(),
            hidden: false.into(),
            disabled: false.into(),
            idle: false.into(),
        }
    }
}

/// A button, and what pressing it does.
pub(super) fn button(button: Button, press: impl Fn() + 'static) -> AnyView {
    boxed_button(button, Box::new(press))
}

fn boxed_button(button: Button, press: Box<dyn Fn()>) -> AnyView {
    let Button { class, test_id, icon: icon_name, label, hint, hidden, disabled, idle } = button;
    let hint = Memo::new(move |_| Some(hint.get()).filter(|hint| !hint.is_empty()));
    view! {
        <button
            type="button"
            class=format!("button {class}")
            data-testid=test_id
            title=hint
            hidden=hidden
            disabled=disabled
            aria-disabled=move || idle.get().then_some("true")
            on:click=move |_| {
                if !idle.get_untracked() {
                    press();
                }
            }
        >
            {icon(icon_name)} <span>{label}</span>
        </button>
    }
    .into_any()
}
