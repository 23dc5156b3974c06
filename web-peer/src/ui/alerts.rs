//! What went wrong, each in one plain sentence.

use leptos::prelude::*;

use super::phrase::{self, Phrase};
use super::{Ui, icon};
use crate::command::Command;
use crate::snapshot::{Alert, Trouble};

/// What belongs to no torrent, oldest first, until dismissed.
pub(super) fn alerts(ui: Ui) -> impl IntoView {
    // By id alone: an alert never changes.
    let ids = Memo::new(move |_| {
        ui.snapshot.with(|snapshot| {
            let mut ids: Vec<u32> = snapshot.alerts.iter().map(|alert| alert.id).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        })
    });
    let row = move |id: u32| {
        let find = |alerts: &[Alert]| alerts.iter().find(|alert| alert.id == id).cloned();
        let alert = ui.snapshot.with_untracked(|snapshot| find(&snapshot.alerts));
        alert.map(|alert| {
            alert_box(ui, &alert.trouble, Some(move || ui.send(Command::Dismiss(id)))).into_any()
        })
    };
    let notice = move || {
        let phrase = ui.notice.get()?;
        Some(sentence_box(ui, &phrase, None, Some(move || ui.notice.set(None))).into_any())
    };
    view! {
        <div class="alerts">
            {notice} <For each=move || ids.get() key=|id| *id children=row />
        </div>
    }
}

/// One trouble; with a button to dismiss it, where it does not belong to something else that goes away.
pub(super) fn alert_box(ui: Ui, trouble: &Trouble, dismiss: Option<impl Fn() + Send + 'static>) -> AnyView {
    let detail = phrase::trouble_detail(trouble).map(str::to_owned);
    sentence_box(ui, &phrase::trouble(trouble), detail, dismiss)
}

fn sentence_box(
    ui: Ui,
    sentence: &Phrase,
    detail: Option<String>,
    dismiss: Option<impl Fn() + Send + 'static>,
) -> AnyView {
    view! {
        <div class="alert" role="alert">
            {icon("warning")} <div class="alert-words">
                <p data-testid="alert">{ui.say(sentence)}</p>
                {detail.map(|detail| view! { <p class="detail">{detail}</p> })}
            </div>
            {dismiss
                .map(|dismiss| {
                    view! {
                        <button
                            type="button"
                            class="button icon-only quiet"
                            aria-label=ui.word("action.dismiss")
                            title=ui.word("action.dismiss")
                            data-testid="dismiss"
                            on:click=move |_| dismiss()
                        >
                            {icon("close")}
                        </button>
                    }
                })}
        </div>
    }
    .into_any()
}
