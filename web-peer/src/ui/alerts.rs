//! What went wrong, each in one plain sentence.

use leptos::prelude::*;

use super::Ui;
use super::parts::{Button, button, each_once, icon, list, sometimes};
use super::phrase::{self, Phrase};
use crate::command::Command;
use crate::snapshot::Trouble;

/// What belongs to no torrent, oldest first, until dismissed.
pub(super) fn alerts(ui: Ui) -> AnyView {
    // By id alone: an alert never changes.
    let ids = Memo::new(move |_| {
        ui.snapshot.with(|snapshot| each_once(snapshot.alerts.iter().map(|alert| u64::from(alert.id))))
    });
    let row = move |id: u64| {
        let trouble = ui.snapshot.with_untracked(|snapshot| {
            let alert = snapshot.alerts.iter().find(|alert| u64::from(alert.id) == id);
            alert.map(|alert| (alert.id, alert.trouble.clone()))
        });
        let shown = trouble.map(|(id, trouble)| {
            alert_box(ui, &trouble, Some(Box::new(move || ui.send(Command::Dismiss(id)))))
        });
        shown.into_any()
    };
    let notice = move || {
        let phrase = ui.notice.get()?;
        Some(sentence_box(ui, &phrase, None, Some(Box::new(move || ui.notice.set(None)))))
    };
    view! { <div class="alerts">{sometimes(notice)} {list(ids, row)}</div> }.into_any()
}

/// One trouble; with a button to dismiss it, where it does not belong to something else that goes away.
pub(super) fn alert_box(ui: Ui, trouble: &Trouble, dismiss: Option<Box<dyn Fn()>>) -> AnyView {
    let detail = phrase::trouble_detail(trouble).map(str::to_owned);
    sentence_box(ui, &phrase::trouble(trouble), detail, dismiss)
}

fn sentence_box(
    ui: Ui,
    sentence: &Phrase,
    detail: Option<String>,
    dismiss: Option<Box<dyn Fn()>>,
) -> AnyView {
    let dismiss = dismiss.map(|dismiss| {
        let label = ui.word("action.dismiss");
        let shape = Button {
            class: "icon-only quiet",
            hint: label.clone().into(),
            ..Button::new("dismiss", "close", label)
        };
        button(shape, dismiss)
    });
    view! {
        <div class="alert" role="alert">
            {icon("warning")} <div class="alert-words">
                <p data-testid="alert">{ui.say(sentence)}</p>
                <p class="detail">{detail}</p>
            </div> {dismiss}
        </div>
    }
    .into_any()
}
