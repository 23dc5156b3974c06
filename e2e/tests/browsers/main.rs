//! What the whole does, in real browsers against the real tracker. One behaviour a file; every peer is a browser
//! with a profile of its own, unless the test is about tabs.

mod accessibility;
mod checked_again;
mod chosen_files;
mod direct;
mod direct_link_cut;
mod empty_file;
mod firefox;
mod folder;
mod folder_of_many;
mod hostile_tracker;
mod keyboard;
mod leaving;
mod liar;
mod limits;
mod link;
mod mixed_swarm;
mod names_in_any_script;
mod nobody_has_it;
mod nonsense;
mod offline;
mod one_file;
mod pause_and_remove;
mod playback;
mod policy;
mod quota;
mod reload;
mod seeded_file_changes;
mod seeder_leaves;
mod seeding_again;
mod share;
mod strangers_misbehave;
mod swarm;
mod taken_out;
mod their_client;
mod torrent_file;
mod tracker_killed;
mod tracker_restarts;
mod tracker_unreachable;
mod two_nodes;
mod two_tabs;
mod upload_off;
mod webtorrent;
mod webtorrents_alone;
mod without_webrtc;

use std::path::Path;

use anyhow::{Context as _, Result};
use e2e::samples::sha256;
use e2e::{Page, Tracker};

/// Large enough that a test which acts in the middle of a transfer still is in the middle.
const LONG: u64 = 192 * e2e::MIB;

/// A page of the tracker, in English whatever the machine speaks, in a browser of its own. It has no ICE servers: on
/// one machine none is needed, and nothing shall leave it.
async fn open(tracker: &Tracker) -> Result<Page> {
    Page::open(&tracker.url_with("lang=en&ice=")).await
}

/// The magnet that the page gives to others.
async fn magnet(page: &Page, info_hash: &str) -> Result<String> {
    let snapshot = page.snapshot_json().await?;
    let mut torrents = snapshot["torrents"].as_array().into_iter().flatten();
    let torrent = torrents.find(|torrent| torrent["infoHash"] == info_hash);
    let magnet = torrent.and_then(|torrent| torrent["magnet"].as_str());
    magnet.map(str::to_owned).context("the page gives no magnet")
}

/// Waits until a torrent is linked with so many peers, each of them directly and no other way.
async fn wait_until_direct(page: &Page, info_hash: &str, peers: usize) -> Result<e2e::Torrent> {
    let what = format!("linked directly with {peers}");
    page.wait_for_torrent(info_hash, &what, |torrent| torrent.is_direct_with(peers)).await
}

/// Seeds one file and gives its info-hash.
async fn seed(page: &Page, file: &Path) -> Result<String> {
    page.seed(&[file]).await?.into_iter().next().context("the page says nothing of the file")
}

/// Saves a complete torrent of one file; it must have the original's name and bytes.
async fn assert_saves(page: &Page, info_hash: &str, original: &Path) -> Result<()> {
    let saved = page.save(info_hash).await?;
    assert_eq!(saved.file_name(), original.file_name(), "the name is kept");
    assert_eq!(sha256(&saved)?, sha256(original)?, "the bytes are the same");
    Ok(())
}

/// Waits until at least this share of a download is there, and far from all of it.
async fn wait_until_in_the_middle(page: &Page, info_hash: &str, share: f64) -> Result<e2e::Torrent> {
    let torrent =
        page.wait_for_torrent(info_hash, "in the middle", |torrent| torrent.progress() > share).await?;
    assert!(torrent.progress() < 0.9, "too fast to be caught in the middle: the sample must be larger");
    Ok(torrent)
}
