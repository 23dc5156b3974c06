use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Page, State, Tracker};

/// Takes the torrent out of the list, keeping its data, and waits until that is shown at the foot of the page.
async fn take_out(page: &Page, info_hash: &str) -> Result<()> {
    page.unfold(info_hash, "options").await?;
    page.press(info_hash, "remove-keep").await?;
    page.wait_until("the torrent is gone", |snapshot| snapshot.torrent(info_hash).is_none()).await?;
    page.wait_for_script("what is kept", SHOWN).await.map(drop)
}

/// Presses a button of what is kept.
async fn press(page: &Page, button: &str) -> Result<()> {
    let script = format!(
        "const kept = document.querySelector('[data-testid=unlisted]');
         kept.open = true;
         return kept.querySelector('[data-testid={button}]')?.click() ?? true"
    );
    page.wait_for_script(button, &script).await.map(drop)
}

const SHOWN: &str =
    "return Boolean(document.querySelector('[data-testid=unlisted]:not([hidden]) [data-info-hash]'))";

/// A torrent that was taken out of the list leaves its data, over a reload, and goes on with it: by the button and by its hash. What is
/// deleted is gone.
#[tokio::test]
async fn what_is_kept_of_a_removed_torrent_is_there_when_it_is_listed_again() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("guardado.bin", 3 * MIB, 126)?;
    let (seeder, page) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    page.add(&info_hash).await?;
    page.wait_until_complete(&info_hash).await?;
    // From now on nobody else has it.
    seeder.remove(&info_hash).await?;

    take_out(&page, &info_hash).await?;
    page.reload().await?;
    page.wait_for_script("what is kept", SHOWN).await?;
    assert!(page.snapshot().await?.torrents.is_empty());
    press(&page, "relist").await?;
    let back = page.wait_for(&info_hash, State::Seeding).await?;
    assert_eq!((back.bytes.verified, back.bytes.downloaded), (3 * MIB, 0));
    crate::assert_saves(&page, &info_hash, &original).await?;

    take_out(&page, &info_hash).await?;
    page.add(&info_hash).await?;
    let back = page.wait_for(&info_hash, State::Seeding).await?;
    assert_eq!((back.bytes.verified, back.bytes.downloaded), (3 * MIB, 0));

    // Seeded from the file now, and what was kept of the download comes back another day.
    take_out(&page, &info_hash).await?;
    assert_eq!(crate::seed(&page, &original).await?, info_hash);
    page.wait_for_script("that nothing is kept", &SHOWN.replace("Boolean", "!Boolean")).await?;
    page.reload().await?;
    page.wait_for(&info_hash, State::Seeding).await?;

    take_out(&page, &info_hash).await?;
    press(&page, "delete-data").await?;
    page.wait_for_script("that nothing is kept", &SHOWN.replace("Boolean", "!Boolean")).await?;
    page.reload().await?;
    page.add(&info_hash).await?;
    let anew = page.wait_for(&info_hash, State::Metadata).await?;
    assert_eq!(anew.bytes.verified, 0);
    Ok(())
}
