//! The peers of one torrent: who they are and how they are connected.

use std::hash::{DefaultHasher, Hash, Hasher};

use engine::{PeerSnapshot, Transport};
use leptos::prelude::*;

use super::Ui;
use super::parts::{Text, each_once, icon, is_blank, list};
use super::phrase::{self, Phrase, Value};
use super::torrent::{Row, rate};

/// Names a peer's row: one peer may be linked in both ways for a moment.
fn key(peer: &PeerSnapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&peer.id, peer.transport).hash(&mut hasher);
    hasher.finish()
}

/// A summary and the list; nothing while there is nobody.
pub(super) fn peers(row: Row) -> AnyView {
    let ui = row.ui;
    let keys = row.watch(|view| each_once(view.peers().iter().map(key)));
    let nobody = row.flag(|view| view.peers().is_empty());
    let count = row.text(|view| Some(view.peers().len().to_string()));
    let summary =
        row.text(move |view| Some(ui.say(&Phrase::counted("peers.count", view.peers().len() as u64))));
    let some = |transport: Transport, say: fn(Ui, Transport, usize) -> String| {
        row.text(move |view| {
            let count = view.peers().iter().filter(|peer| peer.transport == transport).count();
            (count > 0).then(|| say(ui, transport, count))
        })
    };
    let counted = |transport| {
        let words = some(transport, |ui, transport, count| {
            format!("{count}× {}", ui.word(phrase::transport_word(transport)))
        });
        way(ui, transport, words)
    };
    let explained = |transport| {
        let words = some(transport, |ui, transport, _| ui.word(phrase::transport(transport)));
        view! { <p class="hint">{words}</p> }
    };
    view! {
        <details class="fold peers" open data-testid="peers" data-count=count hidden=nobody>
            <summary>
                {icon("chevron")} <span>{summary}</span> {counted(Transport::Direct)} {counted(Transport::Relay)}
            </summary>
            <ul>{list(keys, move |key| peer_row(row, key))}</ul>
            {explained(Transport::Direct)}
            {explained(Transport::Relay)}
        </details>
    }
    .into_any()
}

/// How peers are reached, with its icon; gone while there are no words.
fn way(ui: Ui, transport: Transport, words: Text) -> AnyView {
    let name = phrase::transport_name(transport);
    view! {
        <span class="way" data-way=name title=ui.word(phrase::transport(transport)) hidden=is_blank(words)>
            {icon(name)}
            <span>{words}</span>
        </span>
    }
    .into_any()
}

fn peer_row(row: Row, of: u64) -> AnyView {
    let ui = row.ui;
    let peer = move |write: fn(Ui, &PeerSnapshot) -> String| {
        row.text(move |view| view.peers().iter().find(|peer| key(peer) == of).map(|peer| write(ui, peer)))
    };
    let client =
        peer(|ui, peer| if peer.client.is_empty() { ui.word("peers.unknown") } else { peer.client.clone() });
    let exchange = peer(|ui, peer| ui.say(&phrase::exchange(peer)));
    let has =
        peer(|ui, peer| ui.say(&Phrase::plain("peers.has").with("percent", Value::Share(peer.progress))));
    let down = peer(|ui, peer| ui.speech().rate(peer.rates.down));
    let up = peer(|ui, peer| ui.speech().rate(peer.rates.up));
    let id = peer(|_, peer| peer.id.clone());
    // Part of the key, so it never changes.
    let transport =
        row.read(|view| view.peers().iter().find(|peer| key(peer) == of).map(|peer| peer.transport));
    let Some(transport) = transport.flatten() else { return ().into_any() };
    view! {
        <li
            class="peer"
            data-testid="peer"
            data-transport=phrase::transport_name(transport)
            data-peer-id=id
        >
            {way(ui, transport, ui.word(phrase::transport_word(transport)).into())}
            <span class="client">{client}</span>
            <span class="exchange">{exchange}</span>
            <span class="has">{has}</span>
            {rate(ui, "down", down)}
            {rate(ui, "up", up)}
        </li>
    }
    .into_any()
}
