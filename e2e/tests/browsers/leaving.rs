use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, State, Tracker};
use serde_json::json;

/// Whether the browser would ask. WebDriver answers the question itself before anybody sees it, so it is not left here.
const WOULD_ASK: &str = "
    const event = new Event('beforeunload', { cancelable: true });
    dispatchEvent(event);
    return event.defaultPrevented;";

/// Who closes a tab that somebody downloads from is asked first; who is not needed is not.
#[tokio::test]
async fn leaving_asks_while_somebody_downloads_from_here_and_not_otherwise() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("fica.bin", 4 * MIB, 124)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    // The page that is shown is behind the snapshot by a moment.
    let wait_until_would_ask = async |wanted: bool, why: &str| {
        let script = format!("return (() => {{ {WOULD_ASK} }})() === {wanted}");
        seeder.wait_for_script(&format!("{why}: asking is {wanted}"), &script).await.map(drop)
    };
    assert_eq!(seeder.run(WOULD_ASK, vec![]).await?, json!(false), "nothing is here");
    let info_hash = crate::seed(&seeder, &original).await?;
    wait_until_would_ask(false, "nobody wants it").await?;

    seeder.limit_torrent(&info_hash, "up", Some(40)).await?;
    downloader.add(&info_hash).await?;
    let is_wanted = |torrent: &e2e::Torrent| {
        torrent.bytes.uploaded > 0 && torrent.peers.iter().any(|peer| peer.peer_interested)
    };
    seeder.wait_for_torrent(&info_hash, "somebody downloads it", is_wanted).await?;
    wait_until_would_ask(true, "somebody downloads it").await?;

    downloader.pause(&info_hash).await?;
    downloader.wait_for(&info_hash, State::Paused).await?;
    seeder.wait_for_torrent(&info_hash, "nobody is linked", |torrent| torrent.peers.is_empty()).await?;
    wait_until_would_ask(false, "nobody downloads it any more").await
}
