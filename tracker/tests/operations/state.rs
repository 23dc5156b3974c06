//! What outlives a crash.

use std::path::Path;
use std::time::Duration;

use shared::signal::{Announce, Event, Scrape, ToPeer, ToTracker};
use shared::{InfoHash, PeerId};

use crate::client::*;
use crate::program::Program;

/// The torrent of this number.
fn torrent(n: u32) -> InfoHash {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    InfoHash::new(bytes)
}

/// Downloads a torrent: comes without it, and has it.
async fn complete(client: &mut Client, n: u32) {
    let comes = Announce { info_hash: torrent(n), peer_id: PeerId::new([1; 20]), ..ours(1) };
    client.announced(comes.clone()).await;
    client.announced(Announce { event: Event::Completed, left: Some(0), ..comes.clone() }).await;
    client.announced(Announce { event: Event::Stopped, ..comes }).await;
}

async fn downloaded(client: &mut Client, n: u32) -> u32 {
    client.send(&ToTracker::Scrape(Scrape { info_hashes: vec![torrent(n)] })).await;
    match client.signal().await {
        ToPeer::Scraped(reply) => reply.files[&torrent(n)].downloaded,
        other => panic!("{other:?}"),
    }
}

/// Waits until all that happened before is saved.
async fn saved(program: &Program) {
    // The save under way may have begun before: the one after it did not.
    let before = metric(program.address, "state_saves_total").await;
    let saved = async {
        while metric(program.address, "state_saves_total").await < before + 2 {
            // Each look is a connection, which is counted, and so there is always something to save.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(saved).await;
}

async fn start(state: &Path) -> Program {
    // A client that completes over and over, as fast as it can, is not what the bound on messages is for.
    let unbounded = ["--max-messages-per-second", "1000000", "--max-message-burst", "1000000"].map(Path::new);
    Program::start(0, &[&[Path::new("--state"), state], &unbounded[..]].concat()).await
}

#[tokio::test]
async fn completed_counts_and_totals_outlive_a_crash_that_comes_after_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("tracker.redb");
    let program = start(&state).await;
    let mut client = program.connect().await;
    complete(&mut client, 1).await;
    complete(&mut client, 1).await;
    complete(&mut client, 2).await;
    saved(&program).await;
    program.kill().await;

    let program = start(&state).await;
    let mut client = program.connect().await;
    assert_eq!((downloaded(&mut client, 1).await, downloaded(&mut client, 2).await), (2, 1));
    complete(&mut client, 1).await;
    assert_eq!(downloaded(&mut client, 1).await, 3);
    let stats = reply(program.address, "/stats").await;
    let stats: serde_json::Value = serde_json::from_str(stats.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(stats["completed"], 1, "{stats}");
    assert_eq!(stats["lifetime"]["completed"], 4, "{stats}");
    program.kill().await;
}

#[tokio::test]
async fn an_orderly_end_loses_nothing_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("tracker.redb");
    let mut program = start(&state).await;
    let mut client = program.connect().await;
    complete(&mut client, 1).await;
    drop(client);
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0));
    let program = start(&state).await;
    assert_eq!(downloaded(&mut program.connect().await, 1).await, 1);
    program.kill().await;
}

#[tokio::test]
async fn the_file_is_whole_whenever_the_tracker_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("tracker.redb");
    let mut least = 0;
    for round in 0..6_u64 {
        let program = start(&state).await;
        let mut client = program.connect().await;
        let before = downloaded(&mut client, 1).await;
        assert!(before >= least, "{before} of at least {least} in round {round}");
        for _ in 0..20 {
            complete(&mut client, 1).await;
        }
        saved(&program).await;
        least = before + 20;
        // More, of which some are being saved when the end comes: at another moment of the saving in each round.
        let busy = async {
            loop {
                complete(&mut client, 1).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(470 + 13 * round), busy).await;
        program.kill().await;
    }
    let program = start(&state).await;
    assert!(downloaded(&mut program.connect().await, 1).await >= least);
    program.kill().await;
}
