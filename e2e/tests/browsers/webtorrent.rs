use std::path::Path;

use anyhow::Result;
use e2e::samples::{Scratch, digests_of_folder, digests_of_zip, sha256};
use e2e::{ForeignTracker, MIB, Page, Tracker, WebTorrent};

/// How the peer ids of WebTorrent begin: `-WW`, in hexadecimal.
const OF_WEBTORRENT: &str = "2d5757";

/// A file and a folder of each side.
fn make_samples(samples: &Scratch) -> Result<()> {
    for (side, seed) in [("ours", 50), ("theirs", 60)] {
        samples.file(&format!("{side}.bin"), 9 * MIB + 3, seed)?;
        samples.file(&format!("{side}/um.bin"), 3 * MIB + 1, seed + 1)?;
        samples.file(&format!("{side}/sub/dois.bin"), 2 * MIB, seed + 2)?;
        samples.file(&format!("{side}/sub/tres.txt"), 11, seed + 3)?;
    }
    Ok(())
}

/// WebTorrent downloads a file and a folder from our page by our magnets.
async fn they_download(ours: &Page, theirs: &WebTorrent, samples: &Path, tracker: &str) -> Result<()> {
    let (file, folder) = (samples.join("ours.bin"), samples.join("ours"));
    let hashes = [crate::seed(ours, &file).await?, ours.seed_folder(&folder).await?];
    let wanted = [vec![("ours.bin".to_owned(), sha256(&file)?)], digests_of_folder(&folder)?];
    for (info_hash, wanted) in hashes.iter().zip(wanted) {
        let magnet = crate::magnet(ours, info_hash).await?;
        assert!(magnet.contains("tr=ws"), "who has no page needs the tracker: {magnet}");
        assert_eq!(theirs.download(&magnet).await?, *info_hash);
        theirs.wait_until_complete(info_hash).await?;
        assert_eq!(theirs.digests(info_hash).await?, wanted, "through {tracker}");
        crate::wait_until_direct(ours, info_hash, 1).await?;
    }
    Ok(())
}

/// Our page downloads a file and a folder from WebTorrent by its magnets.
async fn we_download(ours: &Page, theirs: &WebTorrent, samples: &Path, tracker: &str) -> Result<()> {
    let (file, folder) = (samples.join("theirs.bin"), samples.join("theirs"));
    let seed = theirs.seed(&file, &[tracker]).await?;
    ours.add(&seed.magnet).await?;
    ours.wait_until_complete(&seed.info_hash).await?;
    crate::assert_saves(ours, &seed.info_hash, &file).await?;

    let seed = theirs.seed_folder(&folder, &[tracker]).await?;
    ours.add(&seed.magnet).await?;
    let done = ours.wait_until_complete(&seed.info_hash).await?;
    assert!(done.is_direct_with(1), "WebTorrent knows no other way: {:?}", done.peers);
    assert!(done.peers[0].id.starts_with(OF_WEBTORRENT), "it is a WebTorrent: {}", done.peers[0].id);
    let saved = ours.save(&seed.info_hash).await?;
    assert_eq!(digests_of_zip(&saved)?, digests_of_folder(&folder)?);
    Ok(())
}

/// Files and folders, both ways, through our tracker.
#[tokio::test]
async fn webtorrent_and_our_page_swap_files_and_folders_through_our_tracker() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    make_samples(&samples)?;
    let (ours, theirs) = tokio::try_join!(crate::open(&tracker), WebTorrent::start())?;
    they_download(&ours, &theirs, samples.path(), &tracker.socket()).await?;
    we_download(&ours, &theirs, samples.path(), &tracker.socket()).await
}

/// The same through bittorrent-tracker's server, which knows nothing of our extensions: once as the page's own tracker,
/// and once as the torrent's, beside the page's own.
#[tokio::test]
async fn webtorrent_and_our_page_swap_files_and_folders_through_their_tracker() -> Result<()> {
    let (tracker, foreign, samples) = (Tracker::start()?, ForeignTracker::start()?, Scratch::new()?);
    make_samples(&samples)?;
    let url = tracker.url_with(&format!("lang=en&ice=&tracker={}", foreign.url()));
    let (ours, theirs) = tokio::try_join!(Page::open(&url), WebTorrent::start())?;
    they_download(&ours, &theirs, samples.path(), foreign.url()).await?;

    ours.go_to(&tracker.url_with("lang=en&ice=")).await?;
    we_download(&ours, &theirs, samples.path(), foreign.url()).await
}
