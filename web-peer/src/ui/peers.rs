//! The peers of one torrent: who they are and how they are connected.

use engine::{PeerSnapshot, Transport};
use leptos::prelude::*;

use super::Ui;
use super::parts::{Flag, Text, each_once, icon, is_blank, key_of, list, not, text};
use super::phrase::{self, Phrase, Value};
use super::torrent::{Row, rate};
use crate::snapshot::BannedView;

/// Names a peer's row: one peer may be linked in both ways for a moment.
fn key(peer: &PeerSnapshot) -> u64 {
    key_of((&peer.id, peer.transport))
}

/// What each way means.
#[derive(Clone, Copy)]
struct Meaning {
    direct: Text,
    relay: Text,
}

impl Meaning {
    fn new(ui: Ui) -> Self {
        let meaning = |transport| {
            text(move || {
                let uses_turn = ui.snapshot.with(|snapshot| phrase::uses_turn(&snapshot.rtc));
                ui.word(phrase::transport(transport, uses_turn))
            })
        };
        Self { direct: meaning(Transport::Direct), relay: meaning(Transport::Relay) }
    }

    fn of(self, transport: Transport) -> Text {
        match transport {
            Transport::Direct => self.direct,
            Transport::Relay => self.relay,
        }
    }
}

/// A summary and the list, with what its words mean; nothing while there is nobody.
pub(super) fn peers(row: Row) -> AnyView {
    let ui = row.ui;
    let keys = row.watch(|view| each_once(view.peers().iter().map(key)));
    let nobody = row.flag(|view| view.peers().is_empty() && view.banned.is_empty());
    let bans = row.watch(|view| each_once(view.banned.iter().map(ban_key)));
    let no_bans = row.flag(|view| view.banned.is_empty());
    let ban_count = row.text(move |view| {
        let count = view.banned.len() as u64;
        (count > 0).then(|| ui.say(&Phrase::counted("banned.count", count)))
    });
    let count = row.text(|view| Some(view.peers().len().to_string()));
    let summary =
        row.text(move |view| Some(ui.say(&Phrase::counted("peers.count", view.peers().len() as u64))));
    let meaning = Meaning::new(ui);
    let counted = |transport: Transport| {
        let words = row.text(move |view| {
            let count = view.peers().iter().filter(|peer| peer.transport == transport).count();
            (count > 0).then(|| format!("{count}× {}", ui.word(phrase::transport_word(transport))))
        });
        way(transport, words, meaning)
    };
    let explained = |transport: Transport| {
        let some = row.flag(move |view| view.peers().iter().any(|peer| peer.transport == transport));
        legend(phrase::transport_name(transport), meaning.of(transport), some)
    };
    let introduced = row.flag(|view| view.peers().iter().any(|peer| peer.introduced));
    let said = |mark: &'static str, words: &'static str, is_so: fn(&PeerSnapshot) -> bool| {
        let some = row.flag(move |view| view.peers().iter().any(is_so));
        legend(mark, ui.word(words).into(), some)
    };
    let super_seeding = row.flag(|view| view.super_seeding);
    view! {
        <details class="fold peers" open data-testid="peers" data-count=count hidden=nobody>
            <summary>
                {icon("chevron")} <span>{summary}</span> {counted(Transport::Direct)} {counted(Transport::Relay)}
                <span class="lost" hidden=no_bans>
                    {ban_count}
                </span>
            </summary>
            <ul>{list(keys, move |key| peer_row(row, meaning, key))}</ul>
            {explained(Transport::Direct)}
            {explained(Transport::Relay)}
            {legend("peers", ui.word("peers.introduced").into(), introduced)}
            {said("clock", "peers.turn_ours_means", waits_here)}
            {said("clock", "peers.turn_theirs_means", waits_there)}
            {said("up", "peers.optimistic_means", |peer| peer.optimistic)}
            {said("warning", "peers.snubbed_means", |peer| peer.snubbed)}
            {legend("check", ui.word("peers.super_seeding").into(), super_seeding)}
            <ul class="banned" hidden=no_bans>
                {list(bans, move |key| ban_row(row, key))}
            </ul>
        </details>
    }
    .into_any()
}

/// It serves others now, and we wait: what [`phrase::exchange`] says of it is that.
fn waits_here(peer: &PeerSnapshot) -> bool {
    phrase::exchange(peer).key == "peers.turn_ours"
}

/// We serve others now, and it waits.
fn waits_there(peer: &PeerSnapshot) -> bool {
    phrase::exchange(peer).key == "peers.turn_theirs"
}

/// Names a banned peer's line.
fn ban_key(banned: &BannedView) -> u64 {
    key_of((&banned.id, banned.piece))
}

/// Who was banned, and why.
fn ban_row(row: Row, of: u64) -> AnyView {
    // It never changes.
    let banned = row.read(|view| view.banned.iter().find(|banned| ban_key(banned) == of).cloned());
    let Some(banned) = banned.flatten() else { return ().into_any() };
    let words = row.ui.say(&phrase::banned(&banned));
    view! {
        <li class="legend" data-testid="banned" data-peer-id=banned.id.clone() title=banned.id>
            {icon("warning")}
            <span>{words}</span>
        </li>
    }
    .into_any()
}

/// How peers are reached, with its icon; gone while there are no words.
fn way(transport: Transport, words: Text, meaning: Meaning) -> AnyView {
    let name = phrase::transport_name(transport);
    view! {
        <span class="way" data-way=name title=meaning.of(transport) hidden=is_blank(words)>
            {icon(name)}
            <span>{words}</span>
        </span>
    }
    .into_any()
}

/// What a mark in the list means, while `shown`.
fn legend(mark: &'static str, words: Text, shown: Flag) -> AnyView {
    view! {
        <p class="hint legend" hidden=not(shown)>
            {icon(mark)} <span>{words}</span>
        </p>
    }
    .into_any()
}

fn peer_row(row: Row, meaning: Meaning, of: u64) -> AnyView {
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
    let why =
        peer(|ui, peer| peer.why_relayed.map(|why| ui.word(phrase::why_relayed(why))).unwrap_or_default());
    let given = peer(|ui, peer| phrase::given(peer).map(|phrase| ui.say(&phrase)).unwrap_or_default());
    let is = move |so: fn(&PeerSnapshot) -> bool| {
        row.flag(move |view| view.peers().iter().any(|peer| key(peer) == of && so(peer)))
    };
    let introduced = is(|peer| peer.introduced);
    let sign = |test_id: &'static str, words: &'static str, shown: Flag| {
        view! {
            <span class="sign" data-testid=test_id hidden=not(shown)>
                {ui.word(words)}
            </span>
        }
    };
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
            {way(transport, ui.word(phrase::transport_word(transport)).into(), meaning)}
            <span class="client">
                <span class="client-name" title=client>
                    {client}
                </span>
                <span
                    class="introduced"
                    data-testid="introduced"
                    title=ui.word("peers.introduced")
                    hidden=not(introduced)
                >
                    {icon("peers")}
                    <span class="visually-hidden">{ui.word("peers.introduced")}</span>
                </span>
            </span>
            <span class="exchange">{exchange}</span>
            <span class="has">{has}</span>
            {rate(ui, "down", down)}
            {rate(ui, "up", up)}
            <span class="given">
                <span data-testid="given">{given}</span>
                {sign("optimistic", "peers.optimistic", is(|peer| peer.optimistic))}
                {sign("snubbed", "peers.snubbed", is(|peer| peer.snubbed))}
            </span>
            <span class="why" data-testid="why-relayed" hidden=is_blank(why)>
                {why}
            </span>
        </li>
    }
    .into_any()
}
