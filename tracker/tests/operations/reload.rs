//! A hangup has the program read its files again.

use std::time::Duration;

use shared::signal::{ToPeer, ToTracker};

use crate::client::*;
use crate::program::Program;

#[tokio::test]
async fn a_hangup_has_the_lists_read_again_and_nobody_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let deny = folder.path().join("deny");
    std::fs::write(&deny, "").unwrap();
    let program = Program::start(0, &["--deny-list", deny.to_str().unwrap()]).await;
    let mut client = program.connect().await;
    client.announced(ours(1)).await;
    std::fs::write(&deny, "01".repeat(20)).unwrap();
    program.signal("HUP");
    assert_eq!(client.failed().await.reason, "this torrent is not served here");
    std::fs::write(&deny, "").unwrap();
    program.signal("HUP");
    let served_again = async {
        loop {
            client.send(&ToTracker::Announce(ours(1))).await;
            if let ToPeer::Announced(_) = client.signal().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(served_again).await;
    program.kill().await;
}
