use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{ForeignTracker, Page, Tracker};

/// What two peers have begun they finish without a tracker; and who can reach one of them reaches the other through
/// it.
#[tokio::test]
async fn without_its_tracker_a_transfer_ends_and_a_third_joins_through_a_neighbour() -> Result<()> {
    let samples = Scratch::new()?;
    let (mut first, mut second) = (Tracker::start()?, ForeignTracker::start()?);
    // Serves the page, and is not told of anything.
    let pages = Tracker::start()?;
    let original = samples.file("orfao.bin", crate::LONG, 48)?;
    let with_tracker = |url: &str| pages.url_with(&format!("lang=en&ice=&tracker={url}"));
    let (of_first, of_second) = (with_tracker(&first.socket()), with_tracker(second.url()));
    let (seeder, neighbour) = tokio::try_join!(Page::open(&of_first), Page::open(&of_first))?;

    // The seeder and the neighbour meet; the neighbour alone is known to the second tracker.
    let info_hash = crate::seed(&seeder, &original).await?;
    neighbour.add(&format!("magnet:?xt=urn:btih:{info_hash}&tr={}", second.url())).await?;
    crate::wait_until_direct(&neighbour, &info_hash, 1).await?;
    crate::wait_until_direct(&seeder, &info_hash, 1).await?;
    crate::wait_until_in_the_middle(&neighbour, &info_hash, 0.02).await?;
    first.stop();
    neighbour.wait_until("the loss is shown", |snapshot| snapshot.tracker.state != "connected").await?;

    let third = Page::open(&of_second).await?;
    third.add(&info_hash).await?;
    let met = |torrent: &e2e::Torrent| torrent.peers.iter().any(e2e::Peer::is_direct);
    third.wait_for_torrent(&info_hash, "met the neighbour", met).await?;
    second.stop();

    let both = crate::wait_until_direct(&third, &info_hash, 2).await?;
    let introduced = both.peers.iter().filter(|peer| peer.introduced).count();
    assert_eq!(introduced, 1, "the seeder was reached through the neighbour: {:?}", both.peers);
    for page in [&neighbour, &third] {
        page.wait_until_complete(&info_hash).await?;
        crate::assert_saves(page, &info_hash, &original).await?;
    }
    Ok(())
}
