use anyhow::{Context as _, Result};
use e2e::{Script, Tracker};

const CLIENT: &str = include_str!("scripts/client.mjs");

/// Node's WebRTC (libdatachannel) sometimes loses a connection's ICE transport on a machine that is very busy, and says so in
/// these words. That says nothing of the tracker, so the whole is done again, with clients that have never met.
const THEIR_WEBRTC_FAILED: &str = "libdatachannel error while adding remote description";

const MAX_ROUNDS: usize = 3;

/// bittorrent-tracker's client, unmodified, in Node.js: announces, offers, answers, a channel, scrapes, and leaves.
#[test]
fn bittorrent_trackers_client_announces_scrapes_and_meets_through_our_tracker() -> Result<()> {
    for round in 1..=MAX_ROUNDS {
        let tracker = Tracker::start()?;
        let said = all_that_is_said(&tracker)?;
        let last = said.last().context("it said something")?;
        if round < MAX_ROUNDS && last.contains(THEIR_WEBRTC_FAILED) {
            eprintln!("round {round}: {last}");
            continue;
        }
        assert!(last.contains("\"done\""), "{said:#?}");
        assert_eq!(said.len(), 8, "every step was made: {said:#?}");
        break;
    }
    Ok(())
}

/// The lines up to the last.
fn all_that_is_said(tracker: &Tracker) -> Result<Vec<String>> {
    let mut script = Script::start(CLIENT, &[&tracker.socket(), "0123456789abcdef0123456789abcdef01230080"])?;
    let mut said = Vec::new();
    loop {
        let line = script.line()?;
        let is_last = line.contains("\"done\"") || line.contains("\"failed\"");
        said.push(line);
        if is_last {
            return Ok(said);
        }
    }
}
