//! A notification when a download is complete, for those who asked for it. The browser's permission is asked for only when the
//! user says so here; that the user wants it is kept in this browser.

use engine::State;
use js_sys::Reflect;
use leptos::prelude::*;
use leptos::task::spawn_local;
use shared::order::SortedMap;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{HtmlInputElement, Notification, NotificationOptions, NotificationPermission};

use super::Ui;
use super::parts::text;
use super::phrase::{self, Phrase};
use crate::kept;
use crate::snapshot::{Snapshot, TorrentView};

/// Where the browser keeps that the user wants notifications: there or not.
const KEY: &str = "enxame.notify";

/// What keeps notifications from coming though the user asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// This browser has none, or has none for this page (plain http).
    Missing,
    /// The browser was told to show none of this page's.
    Denied,
    /// The question was closed without an answer.
    Unanswered,
}

impl Obstacle {
    fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "notify.missing",
            Self::Denied => "notify.denied",
            Self::Unanswered => "notify.unanswered",
        }
    }

    /// What a permission stands in the way of; `None` has no notifications at all.
    fn of(permission: Option<NotificationPermission>) -> Option<Self> {
        match permission {
            None => Some(Self::Missing),
            Some(NotificationPermission::Granted) => None,
            Some(NotificationPermission::Denied) => Some(Self::Denied),
            Some(_) => Some(Self::Unanswered),
        }
    }
}

/// The setting, and what is notified from now on.
pub(super) fn notifier(ui: Ui) -> AnyView {
    let obstacle = RwSignal::new(None::<Obstacle>);
    // Without the permission, which may have been taken back since, it is off until it is asked for again.
    let on = RwSignal::new(is_kept() && Obstacle::of(permission()).is_none());
    watch(ui, on);
    let choose = move |event: leptos::ev::Event| {
        let field = event_target::<HtmlInputElement>(&event);
        obstacle.set(None);
        if !field.checked() {
            on.set(false);
            keep(false);
            return;
        }
        spawn_local(async move {
            let found = Obstacle::of(ask().await);
            field.set_checked(found.is_none());
            // The page may have changed its language meanwhile, and this setting with it.
            let _ = on.try_set(found.is_none());
            let _ = obstacle.try_set(found);
            keep(found.is_none());
        });
    };
    let words = text(move || obstacle.get().map(|found| ui.word(found.sentence())).unwrap_or_default());
    view! {
        <div class="notify">
            <label class="check">
                <input type="checkbox" data-testid="notify" prop:checked=on on:change=choose />
                <span>{ui.word("notify.label")}</span>
            </label>
            <p class="wrong" role="status" data-testid="notify-says">
                {words}
            </p>
        </div>
    }
    .into_any()
}

/// Says what becomes complete, while it is wanted and nobody looks.
fn watch(ui: Ui, on: RwSignal<bool>) {
    Effect::new(move |before: Option<SortedMap<u32, State>>| {
        let (states, complete) = ui.snapshot.with(|snapshot| {
            let complete = before.as_ref().map(|before| completed(before, snapshot)).unwrap_or_default();
            (states(snapshot), complete)
        });
        if on.get_untracked() && !is_looked_at() {
            for (tag, phrase) in complete {
                show(&ui.say(&phrase), &tag);
            }
        }
        states
    });
}

fn states(snapshot: &Snapshot) -> SortedMap<u32, State> {
    snapshot.torrents.iter().map(|view| (view.key, view.torrent.state)).collect()
}

/// The downloads that have become complete since these states, each with what names it to the browser. What was here already
/// when the page was opened is no news.
fn completed(before: &SortedMap<u32, State>, now: &Snapshot) -> Vec<(String, Phrase)> {
    let is_news = |view: &&TorrentView| {
        let was = before.get(&view.key);
        matches!(was, Some(State::Downloading | State::Metadata))
            && view.torrent.state == State::Seeding
            && view.torrent.bytes.downloaded > 0
            && view.can_save()
    };
    let said = |view: &TorrentView| {
        let phrase = phrase::transition(
            State::Downloading,
            State::Seeding,
            view.is_complete_in_part(),
            &view.torrent.name,
        )?;
        Some((view.torrent.info_hash.to_string(), phrase))
    };
    now.torrents.iter().filter(is_news).filter_map(said).collect()
}

/// What the browser allows now; `None` where it has no notifications, as on plain http.
fn permission() -> Option<NotificationPermission> {
    let has = |name: &str| Reflect::has(&window(), &JsValue::from_str(name)).unwrap_or_default();
    (has("Notification") && window().is_secure_context()).then(Notification::permission)
}

/// Asks the user through the browser, where that is still open.
async fn ask() -> Option<NotificationPermission> {
    if permission()? == NotificationPermission::Default
        && let Ok(question) = Notification::request_permission()
    {
        // What the answer was is what the browser says afterwards.
        let _ = JsFuture::from(question).await;
    }
    permission()
}

/// Whether the user has this tab in front.
fn is_looked_at() -> bool {
    !document().hidden() && document().has_focus().unwrap_or(true)
}

fn show(sentence: &str, tag: &str) {
    let options = NotificationOptions::new();
    // The same torrent is complete once, whatever tabs it is in.
    options.set_tag(tag);
    options.set_icon("icon-192.png");
    match Notification::new_with_options(sentence, &options) {
        Ok(notification) => {
            let shown = notification.clone();
            let open = Closure::once_into_js(move || {
                // Browsers may refuse; the notification goes all the same.
                let _ = window().focus();
                shown.close();
            });
            notification.set_onclick(Some(open.unchecked_ref()));
        }
        // On Android only a service worker may.
        Err(_) => show_by_service_worker(sentence.to_owned(), options),
    }
}

fn show_by_service_worker(sentence: String, options: NotificationOptions) {
    spawn_local(async move {
        let ready = window().navigator().service_worker().ready();
        let Ok(ready) = ready else { return };
        if let Ok(registration) = JsFuture::from(ready).await {
            let registration: web_sys::ServiceWorkerRegistration = registration.unchecked_into();
            if let Ok(shown) = registration.show_notification_with_options(&sentence, &options) {
                // It is shown or it is not; the page says it too.
                let _ = JsFuture::from(shown).await;
            }
        }
    });
}

fn is_kept() -> bool {
    kept::get(KEY).is_some()
}

fn keep(wanted: bool) {
    kept::set(KEY, wanted.then_some("1"));
}
