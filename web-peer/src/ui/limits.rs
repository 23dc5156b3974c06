//! How fast it may go: of all torrents together, and the fields for that of one.

use leptos::prelude::*;
use web_sys::HtmlInputElement;

use super::Ui;
use super::parts::{flag, icon, sometimes, text};
use crate::command::Command;
use crate::snapshot::RateLimits;

/// Fields are in kilobytes (1,000 bytes) a second, as rates are shown.
const UNIT: u64 = 1000;
/// The largest limit that can be written, in that unit: a terabyte a second is none.
const MOST: u64 = 1_000_000_000;

/// Where a limit's fields are found by automation.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) down: &'static str,
    pub(super) up: &'static str,
    pub(super) upload_off: &'static str,
}

/// The limits of all torrents together, closed at first.
pub(super) fn limits(ui: Ui) -> AnyView {
    let in_force = Memo::new(move |_| ui.snapshot.with(|snapshot| snapshot.limits));
    let names = Names { down: "limit-down", up: "limit-up", upload_off: "upload-off" };
    view! {
        <details class="fold settings" data-testid="speed-limits">
            <summary>{icon("chevron")} <span>{ui.word("limits.title")}</span></summary>
            <div class="settings-body">
                <p>{ui.word("limits.about")}</p>
                {limit_fields(ui, names, in_force, move |limits| ui.send(Command::SetLimits(limits)))}
            </div>
        </details>
    }
    .into_any()
}

/// Two fields, for what is fetched and what is sent, and whether anything is sent at all; `set` is told as soon as one was changed.
pub(super) fn limit_fields(
    ui: Ui,
    names: Names,
    in_force: Memo<RateLimits>,
    set: impl Fn(RateLimits) + 'static,
) -> AnyView {
    let set: StoredValue<Box<dyn Fn(RateLimits)>, LocalStorage> = StoredValue::new_local(Box::new(set));
    let wrong = RwSignal::new(false);
    let field = move |word, test_id, part: fn(&mut RateLimits) -> &mut Option<u64>| {
        let written = text(move || {
            let limit = *part(&mut in_force.get());
            // Whatever a script set, nothing is shown as nothing.
            limit.map(|limit| limit.div_ceil(UNIT).to_string()).unwrap_or_default()
        });
        let change = move |event: leptos::ev::Event| {
            let input = event_target::<HtmlInputElement>(&event);
            // False also for what is no number at all, which the browser gives as nothing.
            let right = input.check_validity();
            wrong.set(!right);
            if right {
                let mut limits = in_force.get_untracked();
                // A whole number in any notation (`1e3` is one), or nothing, which is none.
                let limit = input.value_as_number();
                *part(&mut limits) = (!limit.is_nan()).then(|| (limit as u64).saturating_mul(UNIT));
                set.with_value(|set| set(limits));
            }
        };
        view! {
            <label>
                <span class="label">{ui.word(word)}</span>
                <span class="limit">
                    <input
                        type="number"
                        min="1"
                        max=MOST.to_string()
                        step="1"
                        inputmode="numeric"
                        autocomplete="off"
                        data-testid=test_id
                        placeholder=ui.word("limits.none")
                        prop:value=written
                        on:change=change
                    />
                    <span class="unit">"kB/s"</span>
                </span>
            </label>
        }
    };
    let is_off = flag(move || in_force.get().upload_off);
    let switch = move |event: leptos::ev::Event| {
        let upload_off = event_target_checked(&event);
        set.with_value(|set| set(RateLimits { upload_off, ..in_force.get_untracked() }));
    };
    view! {
        <div class="limits">
            {field("limits.down", names.down, |limits| &mut limits.down)}
            {field("limits.up", names.up, |limits| &mut limits.up)}
        </div>
        {sometimes(move || {
            wrong
                .get()
                .then(|| {
                    view! {
                        <p class="wrong" role="alert">
                            {ui.word("limits.wrong")}
                        </p>
                    }
                        .into_any()
                })
        })}
        <label class="check">
            <input type="checkbox" data-testid=names.upload_off prop:checked=is_off on:change=switch />
            <span>
                {ui.word("limits.upload_off")} <span class="hint">{ui.word("limits.upload_off_hint")}</span>
            </span>
        </label>
    }
    .into_any()
}
