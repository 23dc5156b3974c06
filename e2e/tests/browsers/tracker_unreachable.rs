use anyhow::Result;
use e2e::{Page, Tracker};

/// A tracker that cannot be reached is told in words, and the page works when it comes back.
#[tokio::test]
async fn an_unreachable_tracker_is_told_until_it_comes_back() -> Result<()> {
    let mut tracker = Tracker::start()?;
    let page: Page = crate::open(&tracker).await?;
    page.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;

    tracker.stop();
    page.wait_until("unreachable", |snapshot| snapshot.tracker.state == "unreachable").await?;
    let shown = page.run("return document.body.innerText", vec![]).await?;
    let shown = shown.as_str().unwrap_or_default().to_lowercase();
    assert!(shown.contains("tracker"), "the page says what it misses: {shown}");

    tracker.start_again()?;
    page.wait_until("connected again", |snapshot| snapshot.tracker.state == "connected").await?;
    Ok(())
}
