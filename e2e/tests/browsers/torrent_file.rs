use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Tracker};
use sha1::{Digest as _, Sha1};

/// What the page chooses for a file of this size.
const PIECE_LENGTH: usize = 64 << 10;

/// Makes a metainfo file (BEP 3) by hand. Gives its bytes and its info-hash.
fn metainfo_of(file: &Path) -> Result<(Vec<u8>, String)> {
    let content = fs::read(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let pieces: Vec<u8> = content.chunks(PIECE_LENGTH).flat_map(Sha1::digest).collect();
    let mut info = format!("d6:lengthi{}e", content.len()).into_bytes();
    info.extend(format!("4:name{}:{name}12:piece lengthi{PIECE_LENGTH}e", name.len()).bytes());
    info.extend(format!("6:pieces{}:", pieces.len()).bytes());
    info.extend(pieces);
    info.push(b'e');
    let hash = Sha1::digest(&info).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut metainfo =
        b"d7:comment14:made elsewhere10:created by7:nothing13:creation datei1699963200e4:info".to_vec();
    metainfo.extend(info);
    metainfo.push(b'e');
    Ok((metainfo, hash))
}

/// A `.torrent` that another program made names the same torrent as the page that seeds the file, and starts the
/// download. What it says beside that is shown, kept, and said by the `.torrent` that the page gives out.
#[tokio::test]
async fn a_torrent_file_made_elsewhere_downloads() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("terra.bin", 9 * MIB + 5, 18)?;
    let (metainfo, info_hash) = metainfo_of(&original)?;
    let torrent_file = samples.path().join("terra.torrent");
    fs::write(&torrent_file, metainfo)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;

    assert_eq!(crate::seed(&seeder, &original).await?, info_hash, "the hash is BitTorrent's");
    downloader.choose(&[&torrent_file]).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;

    downloader.reload().await?;
    downloader.unfold(&info_hash, "sharing").await?;
    for said in ["made elsewhere", "nothing", "Nov 14, 2023"] {
        downloader.wait_for_text(&info_hash, said).await?;
    }
    let given = fs::read(downloader.saved_by(downloader.press(&info_hash, "save-torrent")).await?)?;
    let given = String::from_utf8_lossy(&given);
    let said = "7:comment14:made elsewhere10:created by7:nothing13:creation datei1699963200e4:info";
    assert!(given.contains(said), "{}", &given[..given.floor_char_boundary(400)]);
    Ok(())
}

/// A broken `.torrent` is told, and adds nothing.
#[tokio::test]
async fn a_broken_torrent_file_is_told_in_plain_words() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let broken = samples.file("quebrado.torrent", 1000, 19)?;
    let page = crate::open(&tracker).await?;
    page.choose(&[&broken]).await?;
    let alert = page.wait_for_alert().await?;
    assert!(alert.contains("quebrado.torrent"), "the file is named: {alert}");
    assert!(page.snapshot().await?.torrents.is_empty());
    Ok(())
}
