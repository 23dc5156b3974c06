use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker};

/// A name is kept as it is, whatever it is written in; and whoever reads Portuguese has the page in Portuguese, unasked.
#[tokio::test]
async fn a_name_in_any_script_is_kept() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let originals = [
        samples.file("relatório ação 数据 🐝.bin", MIB, 10)?,
        samples.file("ملف عربي.txt", 1000, 11)?,
        samples.file("it's 100% 'quoted' & #1.bin", 1000, 12)?,
    ];
    let portuguese = BrowserOptions { language: "pt-BR".to_owned(), ..BrowserOptions::default() };
    let url = tracker.url_with("ice=");
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), Page::open_with(&url, &portuguese))?;
    assert_eq!(downloader.run("return document.documentElement.lang", vec![]).await?, "pt-BR");

    for original in &originals {
        let info_hash = crate::seed(&seeder, original).await?;
        downloader.add(&info_hash).await?;
        let done = downloader.wait_until_complete(&info_hash).await?;
        assert_eq!(Some(done.name.as_ref()), original.file_name());
        downloader.wait_for_text(&info_hash, "Completo, compartilhando").await?;
        crate::assert_saves(&downloader, &info_hash, original).await?;
    }
    Ok(())
}
