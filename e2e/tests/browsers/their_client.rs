use anyhow::Result;
use e2e::{Script, Tracker};

const CLIENT: &str = include_str!("scripts/client.mjs");

/// bittorrent-tracker's client, unmodified, in Node.js: announces, offers, answers, a channel, scrapes, and leaves.
#[test]
fn bittorrent_trackers_client_announces_scrapes_and_meets_through_our_tracker() -> Result<()> {
    let tracker = Tracker::start()?;
    let info_hash = "0123456789abcdef0123456789abcdef01230080";
    let mut script = Script::start(CLIENT, &[&tracker.socket(), info_hash])?;
    let mut said = Vec::new();
    loop {
        let line = script.line()?;
        assert!(!line.contains("\"failed\""), "after {said:#?}: {line}");
        if line.contains("\"done\"") {
            break;
        }
        said.push(line);
    }
    assert_eq!(said.len(), 7, "every step was made: {said:#?}");
    Ok(())
}
