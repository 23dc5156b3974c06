//! The peers of one torrent: who they are and how they are connected.

use engine::{PeerSnapshot, Transport};
use leptos::prelude::*;

use super::icon;
use super::phrase::{self, Phrase, Value};
use super::torrent::Row;

/// Names a peer's row: one peer may be linked in both ways for a moment.
type Key = (String, Transport);

/// A summary and the list.
pub(super) fn peers(row: Row) -> impl IntoView {
    let ui = row.ui;
    let keys = row.watch(|view| {
        let mut keys: Vec<Key> = Vec::with_capacity(view.peers().len());
        for peer in view.peers() {
            let key = (peer.id.clone(), peer.transport);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    });
    let counts = Memo::new(move |_| {
        keys.with(|keys| {
            let direct = keys.iter().filter(|(_, transport)| *transport == Transport::Direct).count();
            (keys.len(), direct, keys.len() - direct)
        })
    });
    let summary = move || ui.say(&Phrase::counted("peers.count", counts.get().0 as u64));
    let kind = move |transport: Transport, count: usize| {
        (count > 0).then(|| {
            view! {
                <span class="way" data-way=phrase::transport_name(transport) title=ui.word(phrase::transport(transport))>
                    {icon(phrase::transport_name(transport))}
                    {count} "× " {ui.word(phrase::transport_word(transport))}
                </span>
            }
        })
    };
    let explained = move || {
        let (_, direct, relay) = counts.get();
        [(direct, Transport::Direct), (relay, Transport::Relay)]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, transport)| view! { <p class="hint">{ui.word(phrase::transport(transport))}</p> })
            .collect_view()
    };
    view! {
        <details
            class="fold peers"
            open
            data-testid="peers"
            data-count=move || counts.get().0
            hidden=move || counts.get().0 == 0
        >
            <summary>
                {icon("chevron")} <span>{summary}</span>
                {move || kind(Transport::Direct, counts.get().1)}
                {move || kind(Transport::Relay, counts.get().2)}
            </summary>
            <ul>
                <For each=move || keys.get() key=Key::clone children=move |key| peer_row(row, key) />
            </ul>
            {explained}
        </details>
    }
}

fn peer_row(row: Row, key: Key) -> impl IntoView {
    let ui = row.ui;
    let transport = key.1;
    let key = StoredValue::new(key);
    let watch = move |write: fn(super::Ui, &PeerSnapshot) -> String| {
        let text = row.watch(move |view| {
            key.try_with_value(|(id, transport)| {
                let mut peers = view.peers().iter();
                peers.find(|peer| peer.transport == *transport && peer.id == *id).map(|peer| write(ui, peer))
            })
            .flatten()
        });
        move || text.get()
    };
    let client =
        watch(|ui, peer| if peer.client.is_empty() { ui.word("peers.unknown") } else { peer.client.clone() });
    let exchange = watch(|ui, peer| ui.say(&phrase::exchange(peer)));
    let has =
        watch(|ui, peer| ui.say(&Phrase::plain("peers.has").with("percent", Value::Share(peer.progress))));
    let down = watch(|ui, peer| ui.speech().rate(peer.rates.down));
    let up = watch(|ui, peer| ui.speech().rate(peer.rates.up));
    let id = key.with_value(|(id, _)| id.clone());
    view! {
        <li class="peer" data-testid="peer" data-transport=phrase::transport_name(transport) data-peer-id=id>
            <span
                class="way"
                data-way=phrase::transport_name(transport)
                title=ui.word(phrase::transport(transport))
            >
                {icon(phrase::transport_name(transport))} <span>{ui.word(phrase::transport_word(transport))}</span>
            </span>
            <span class="client">{client}</span>
            <span class="exchange">{exchange}</span>
            <span class="has">{has}</span>
            <span class="rate">
                {icon("down")} <span class="visually-hidden">{ui.word("torrent.down")} ": "</span> {down}
            </span>
            <span class="rate">
                {icon("up")} <span class="visually-hidden">{ui.word("torrent.up")} ": "</span> {up}
            </span>
        </li>
    }
}
