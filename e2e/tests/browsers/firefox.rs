use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker};

/// Firefox seeds to Chromium and downloads from it, directly.
#[tokio::test]
async fn firefox_and_chromium_transfer_to_each_other_directly() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let (of_firefox, of_chromium) =
        (samples.file("raposa.bin", 24 * MIB, 45)?, samples.file("cromo.bin", 24 * MIB, 46)?);
    let url = tracker.url_with("lang=en&ice=");
    let options = BrowserOptions::firefox();
    let (firefox, chromium) = tokio::try_join!(Page::open_with(&url, &options), Page::open(&url))?;

    for (seeder, downloader, original) in
        [(&firefox, &chromium, &of_firefox), (&chromium, &firefox, &of_chromium)]
    {
        let info_hash = crate::seed(seeder, original).await?;
        downloader.add(&info_hash).await?;
        downloader.wait_until_complete(&info_hash).await?;
        crate::wait_until_direct(downloader, &info_hash, 1).await?;
        crate::assert_saves(downloader, &info_hash, original).await?;
    }
    Ok(())
}
