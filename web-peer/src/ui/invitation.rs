//! Links that were opened: what they are about, and whether the user wants it. Until they say so nothing is fetched.

use leptos::prelude::*;

use super::Ui;
use super::parts::{Button, button, each_once, icon, list};
use super::phrase::Phrase;
use crate::command::Command;
use crate::snapshot::Invitation;

/// One card for each, the newest first.
pub(super) fn invitations(ui: Ui) -> AnyView {
    // By id alone: an invitation never changes.
    let ids = Memo::new(move |_| {
        ui.snapshot.with(|snapshot| each_once(snapshot.invitations.iter().rev().map(|one| one.id.into())))
    });
    let card = move |id: u64| {
        let invitation = ui.snapshot.with_untracked(|snapshot| {
            snapshot.invitations.iter().find(|one| u64::from(one.id) == id).cloned()
        });
        invitation.map(|invitation| card(ui, invitation)).into_any()
    };
    view! { <div class="invitations" aria-live="polite">{list(ids, card)}</div> }.into_any()
}

fn card(ui: Ui, invitation: Invitation) -> AnyView {
    let Invitation { id, info_hash, name, size, magnet } = invitation;
    let title = format!("invitation-{id}");
    let labelled = title.clone();
    // A hash has no place where a line may break.
    let name = if name.is_empty() { info_hash.clone() } else { name };
    let size = size.map(|size| ui.speech().bytes(size));
    let sentence = ui.say(&Phrase::plain("invitation.title").text("name", &name));
    // The focus would go with the card.
    let answer = move |command: Command| {
        super::frame::go_to_main();
        ui.send(command);
    };
    let accept = Button { class: "primary", ..Button::new("accept", "down", ui.word("add.button")) };
    let choose = Button::new("accept-choose", "file", ui.word("add.choose"));
    let decline = Button { class: "quiet", ..Button::new("decline", "close", ui.word("invitation.decline")) };
    let to_choose = magnet.clone();
    view! {
        <section
            class="card invitation"
            data-testid="invitation"
            data-info-hash=info_hash
            aria-labelledby=labelled
        >
            <span class="mark" aria-hidden="true">{icon("link")}</span>
            <div>
                <h2 id=title>{sentence}</h2>
                <p class="facts"><span>{size}</span></p>
                <p class="hint">{ui.word("invitation.hint")}</p>
                <div class="buttons">
                    {button(accept, move || answer(Command::Add(magnet.clone())))}
                    {button(choose, move || answer(Command::AddToChoose(to_choose.clone())))}
                    {button(decline, move || answer(Command::Decline(id)))}
                </div>
            </div>
        </section>
    }
    .into_any()
}
