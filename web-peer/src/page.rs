//! What the page's address says, and how the parts are put together at the start.

use leptos::prelude::{Set, WithUntracked, signal_local};
use shared::signal::{IceServer, parse_ice_servers};
use shared::{PeerId, magnet};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue};
use web_sys::{Url, UrlSearchParams, Window};

use crate::driver::{self, ICE_KEY, LIMITS_KEY, Settings};
use crate::kept;
use crate::snapshot::{Invitation, RateLimits, TransportMode};
use crate::{command::Command, metered, ui};

/// Starts the peer in this page.
pub fn start() {
    console_error_panic_hook::set_once();
    // Browsers show this when they are asked for verbose messages. Fails only if there is a logger already.
    let _ = console_log::init_with_level(log::Level::Debug);
    let Some(window) = web_sys::window() else { return };
    let Some(settings) = settings(&window) else { return };
    let (snapshot, set_snapshot) = signal_local(driver::first_snapshot(&settings));
    let handle = driver::start(settings, move |snapshot| set_snapshot.set(snapshot));
    expose(&window, &handle);

    let commands = handle.clone();
    ui::mount(snapshot, {
        let window = window.clone();
        move |command| {
            let address = window.location().href().unwrap_or_default();
            if snapshot.with_untracked(|snapshot| settles(&command, &address, &snapshot.invitations)) {
                drop_fragment(&window);
            }
            commands.send(command);
        }
    });

    handle.connection_changed();
    let watching = handle.clone();
    metered::watch(move || watching.connection_changed());

    // A link to a torrent asks whether to open it, also when it is pasted into the address bar of an open page.
    open_fragment(&window, &handle);
    let on_hash_change = {
        let window = window.clone();
        let handle = handle.clone();
        Closure::<dyn Fn()>::new(move || open_fragment(&window, &handle)).into_js_value()
    };
    let on_online = Closure::<dyn Fn()>::new(move || handle.network_is_back()).into_js_value();
    for (event, listener) in [("hashchange", on_hash_change), ("online", on_online)] {
        // Listeners for the page's whole life; adding one to the window cannot fail.
        let _ = window.add_event_listener_with_callback(event, listener.unchecked_ref());
    }
}

/// `#<hash or magnet>` names a torrent, and the user is asked whether they want it.
fn open_fragment(window: &Window, handle: &driver::Handle) {
    let (Ok(address), Ok(fragment)) = (window.location().href(), window.location().hash()) else { return };
    if fragment.len() <= 1 {
        return;
    }
    handle.send(Command::Invite(address));
}

/// Whether this answers what the address's fragment asks, or whether there is nothing asked of it and that was read: a reload
/// need not say it again. Other links' answers and other alerts leave the question.
fn settles(command: &Command, address: &str, open: &[Invitation]) -> bool {
    let hash_in = |text| magnet::parse_pasted(text).ok().map(|magnet| magnet.info_hash);
    let asked = hash_in(address);
    let is_about_it = |one: &Invitation| asked.is_some_and(|hash| one.info_hash == hash.to_string());
    match command {
        Command::Add(text) | Command::AddToChoose(text) => asked.is_some() && hash_in(text) == asked,
        Command::Decline(id) => open.iter().any(|one| one.id == *id && is_about_it(one)),
        Command::Dismiss(_) => !open.iter().any(is_about_it),
        _ => false,
    }
}

/// Takes the fragment out of the address, so that removing the torrent and reloading the page does not bring it back.
fn drop_fragment(window: &Window) {
    if let (Ok(path), Ok(query), Ok(history)) =
        (window.location().pathname(), window.location().search(), window.history())
    {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&format!("{path}{query}")));
    }
}

/// `window.enxame.snapshot()`: the automation contract.
fn expose(window: &Window, handle: &driver::Handle) {
    let handle = handle.clone();
    let snapshot = Closure::<dyn Fn() -> JsValue>::new(move || {
        serde_json::to_string(&handle.snapshot())
            .ok()
            .and_then(|json| js_sys::JSON::parse(&json).ok())
            .unwrap_or(JsValue::NULL)
    })
    .into_js_value();
    let enxame = js_sys::Object::new();
    // Setting a property of a fresh object, or of the window, cannot fail.
    let _ = js_sys::Reflect::set(&enxame, &"snapshot".into(), &snapshot);
    let _ = js_sys::Reflect::set(window, &"enxame".into(), &enxame);
}

/// The switch `transport=auto|relay|direct`.
fn transport(word: Option<&str>) -> TransportMode {
    match word {
        Some("relay") => TransportMode::Relay,
        Some("direct") => TransportMode::Direct,
        _ => TransportMode::Auto,
    }
}

/// The user's ICE servers: the switch `ice=`, else what the page's settings keep; none of either leaves it to the tracker.
/// What cannot be read counts as not said.
fn ice(switch: Option<String>) -> Option<Vec<IceServer>> {
    parse_ice_servers(&switch.or_else(|| kept::get(ICE_KEY))?).ok()
}

/// How fast all torrents together may go, as the page's settings keep it; what cannot be read limits nothing.
fn limits() -> RateLimits {
    kept::get(LIMITS_KEY).and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

fn settings(window: &Window) -> Option<Settings> {
    let location = window.location();
    let page = Url::new(&location.href().ok()?).ok()?;
    // The parameters follow the address: they are read before it is shortened.
    let page_query = UrlSearchParams::new_with_str(&page.search()).ok()?;
    let tracker = page_query.get("tracker").filter(|url| !url.is_empty());
    page.set_hash("");
    page.set_search("");
    let mut page_address = page.href();
    if let Some(tracker) = &tracker {
        let encoded = js_sys::encode_uri_component(tracker);
        page_address.push_str(&format!("?tracker={encoded}"));
    }
    let own_tracker = || {
        let scheme = if page.protocol() == "https:" { "wss" } else { "ws" };
        format!("{scheme}://{}/ws", page.host())
    };
    let mut random = [0; 12 + 16 + 8];
    window.crypto().ok()?.get_random_values_with_u8_array(&mut random).ok()?;
    let (id, rest) = random.split_first_chunk::<12>()?;
    let (key, seed) = rest.split_first_chunk::<16>()?;
    Some(Settings {
        transport: transport(page_query.get("transport").as_deref()),
        ice: ice(page_query.get("ice")),
        limits: limits(),
        tracker_is_foreign: tracker.as_ref().is_some_and(|tracker| *tracker != own_tracker()),
        tracker: tracker.unwrap_or_else(own_tracker),
        page_address,
        peer_id: PeerId::with_prefix(*id),
        key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
        seed: u64::from_le_bytes(seed.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_answers_a_links_own_question_takes_it_out_of_the_address() {
        let (one, other) = ("ab".repeat(20), "cd".repeat(20));
        let address = format!("http://localhost/?lang=en#{one}");
        let about = |id, hash: &str| Invitation {
            id,
            info_hash: hash.into(),
            name: String::new(),
            size: None,
            magnet: format!("magnet:?xt=urn:btih:{hash}"),
        };
        let open = [about(1, &one), about(2, &other)];
        for answer in [
            Command::Add(one.clone()),
            Command::AddToChoose(open[0].magnet.clone()),
            Command::Add(one.to_uppercase()),
            Command::Decline(1),
        ] {
            assert!(settles(&answer, &address, &open), "{answer:?}");
        }
        for another in [
            Command::Add(other),
            Command::AddToChoose(open[1].magnet.clone()),
            Command::Add("hello".into()),
            Command::Decline(2),
            Command::Decline(3),
            Command::Dismiss(1),
            Command::SetIce(None),
        ] {
            assert!(!settles(&another, &address, &open), "{another:?}");
        }
        // It was said that it is in the list already, or is no link to a torrent.
        assert!(settles(&Command::Dismiss(1), &address, &open[1..]));
        assert!(settles(&Command::Dismiss(1), "http://localhost/#hello", &open));
        assert!(!settles(&Command::Add("hello".into()), "http://localhost/#hello", &open));
    }
}
