//! More ways to pass a torrent on: the link as a QR code, the `.torrent` file, the system's own share sheet.

use js_sys::{Function, Object, Promise, Reflect};
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::HtmlDetailsElement;

use super::notes::notes;
use super::parts::{Button, Flag, Text, button, icon, sometimes, text};
use super::phrase::Phrase;
use super::qr;
use super::torrent::Row;
use crate::command::Command;

/// What opens the system's share sheet, where the browser has it (Web Share).
const SHARE: &str = "share";

/// CSS pixels of each module: whole ones, so that all are of one size.
const PIXELS: i32 = 5;

/// Closed at first; the code is drawn once it is opened.
pub(super) fn sharing(row: Row) -> AnyView {
    let ui = row.ui;
    let link = row.text(|view| Some(view.link.clone()));
    let open = RwSignal::new(false);
    // The info dictionary comes from peers when only the hash was pasted.
    let unknown: Flag = row.flag(|view| view.files.is_empty());
    let file =
        Button { disabled: unknown, ..Button::new("save-torrent", "save", ui.word("share.torrent_file")) };
    let sheet =
        Button { hidden: (!has_sheet()).into(), ..Button::new("share", "up", ui.word("share.sheet")) };
    let name = row.text(|view| Some(view.torrent.name.clone()));
    let toggle = move |event: leptos::ev::Event| open.set(event_target::<HtmlDetailsElement>(&event).open());
    view! {
        <details class="fold sharing" data-testid="sharing" on:toggle=toggle>
            <summary>{icon("chevron")} <span>{ui.word("share.title")}</span></summary>
            <div class="sharing-body">
                {sometimes(move || open.get().then(|| code(row, link, name)))}
                <div class="sharing-ways">
                    <p>{ui.word("share.about")}</p>
                    <p class="addresses" data-testid="link">
                        {link}
                    </p>
                    <div class="buttons">
                        {button(sheet, move || show_sheet(name.get_untracked(), link.get_untracked()))}
                        {button(file, move || row.order(Command::SaveTorrentFile))}
                    </div>
                    {notes(row)}
                </div>
            </div>
        </details>
    }
    .into_any()
}

/// The code, dark on light in either theme: many scanners read no other.
fn code(row: Row, link: Text, name: Text) -> AnyView {
    let ui = row.ui;
    let label = text(move || ui.say(&Phrase::plain("share.code").text("name", &name.get())));
    sometimes(move || {
        let code = qr::encode(&link.get())?;
        let view = view! {
            <svg
                class="qr"
                data-testid="qr"
                role="img"
                aria-label=label
                viewBox=format!("0 0 {0} {0}", code.size)
                width=code.size * PIXELS
                height=code.size * PIXELS
                shape-rendering="crispEdges"
            >
                <path d=code.path></path>
            </svg>
        };
        Some(view.into_any())
    })
    .into_any()
}

fn has_sheet() -> bool {
    Reflect::get(&window().navigator(), &SHARE.into()).is_ok_and(|share| share.is_function())
}

fn show_sheet(title: String, url: String) {
    leptos::task::spawn_local(async move {
        // Whoever thinks better of it is an error, too, and nothing else has to be said.
        let _ = ask_sheet(&title, &url).await;
    });
}

async fn ask_sheet(title: &str, url: &str) -> Result<(), JsValue> {
    let navigator = window().navigator();
    let share: Function = Reflect::get(&navigator, &SHARE.into())?.dyn_into()?;
    let data = Object::new();
    Reflect::set(&data, &"title".into(), &title.into())?;
    Reflect::set(&data, &"url".into(), &url.into())?;
    let asked: Promise = share.call1(&navigator, &data)?.dyn_into()?;
    JsFuture::from(asked).await?;
    Ok(())
}
