use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker};
use serde_json::json;

/// A share sheet that notes what it is given, as headless browsers have none.
const SHEET: &str = "navigator.share = async (data) => { window.shared = data; };";

/// The QR codes in a screenshot, as a phone's camera reads them.
fn codes(picture: &Path) -> Result<Vec<String>> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(picture)?)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("the picture is too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    let (width, height, samples) = (frame.width as usize, frame.height as usize, frame.color_type.samples());
    let grey = |x: usize, y: usize| pixels[y * frame.line_size + x * samples + samples.min(3) / 2];
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    Ok(image.detect_grids().iter().filter_map(|grid| Some(grid.decode().ok()?.1)).collect())
}

/// The code on the screen is the link, in both themes; the system's share sheet gets the same link; and the `.torrent` file
/// that is saved starts the same download in another tab.
#[tokio::test]
async fn the_code_on_the_screen_the_share_sheet_and_the_torrent_file_lead_to_the_torrent() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("código.bin", MIB + 3, 123)?;
    let (options, url) = (BrowserOptions::default().with_script(SHEET), tracker.url_with("lang=en&ice="));
    let (seeder, downloader) = tokio::try_join!(Page::open_with(&url, &options), crate::open(&tracker))?;
    let info_hash = crate::seed(&seeder, &original).await?;
    let link = seeder.snapshot_json().await?["torrents"][0]["link"].clone();
    let link = link.as_str().context("no link")?;

    seeder.unfold(&info_hash, "sharing").await?;
    let drawn = "const [done] = arguments, look = () => {
            const code = document.querySelector('[data-testid=qr]');
            if (!code) return requestAnimationFrame(look);
            code.scrollIntoView({ block: 'center' });
            requestAnimationFrame(() => requestAnimationFrame(() => done(code.getAttribute('aria-label'))));
        };
        look();";
    for theme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        seeder.devtools("Emulation.setEmulatedMedia", features).await?;
        assert_eq!(
            seeder.run_async(drawn, vec![]).await?,
            "QR code of the link to \u{2068}código.bin\u{2069}"
        );
        let picture = samples.path().join(format!("{theme}.png"));
        seeder.screenshot(&picture).await?;
        assert_eq!(codes(&picture)?, [link], "{theme}");
    }

    seeder.press(&info_hash, "share").await?;
    assert_eq!(
        seeder.run("return window.shared", vec![]).await?,
        json!({ "title": "código.bin", "url": link })
    );

    let file = seeder.saved_by(seeder.press(&info_hash, "save-torrent")).await?;
    assert_eq!(file.file_name().unwrap_or_default(), "código.bin.torrent");
    let bytes = fs::read(&file)?;
    let socket = tracker.socket().replace("127.0.0.1", "localhost");
    let announced = String::from_utf8_lossy(&bytes).contains(&format!("8:announce{}:{socket}", socket.len()));
    ensure!(announced, "it names the tracker: {}", String::from_utf8_lossy(&bytes[..200.min(bytes.len())]));
    downloader.choose(&[&file]).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await
}
