use anyhow::{Context as _, Result};
use e2e::samples::{Scratch, digests_of_folder, digests_of_zip, sha256};
use e2e::{MIB, Page, State, Torrent, Tracker};
use serde_json::json;

/// The file at the end of this path, and its place in the list.
fn file<'a>(torrent: &'a Torrent, name: &str) -> Result<(usize, &'a e2e::TorrentFile)> {
    let found = torrent.files.iter().enumerate().find(|(_, file)| file.path.ends_with(name));
    found.with_context(|| format!("no file {name} among {:?}", torrent.files))
}

/// Of each file but these there is no more than the pieces that it shares with them.
fn assert_only(torrent: &Torrent, names: &[&str]) {
    let piece = torrent.bytes.total.div_ceil(u64::from(torrent.pieces.total)).next_power_of_two();
    for file in &torrent.files {
        let is_wanted = names.iter().any(|name| file.path.ends_with(name));
        if is_wanted {
            assert_eq!(file.verified, file.length, "{} is all here", file.path);
        } else {
            assert!(file.verified <= 2 * piece, "{} was not wanted: {} bytes", file.path, file.verified);
        }
    }
}

async fn wait_until_here(page: &Page, info_hash: &str) -> Result<Torrent> {
    let is_here = |torrent: &Torrent| {
        let mut wanted = torrent.files.iter().filter(|file| file.priority != "skip");
        torrent.state == State::Seeding && wanted.all(|file| file.verified == file.length)
    };
    page.wait_for_torrent(info_hash, "what was chosen is here", is_here).await
}

/// The user chooses two files of a folder before anything is fetched: these come, and no others, also after a reload; then
/// one more, by opening it. What was chosen is saved, and no more.
#[tokio::test]
async fn of_a_folder_only_the_chosen_files_are_downloaded_until_more_are_chosen() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    for (name, bytes, seed) in [
        ("a.bin", 3 * MIB + 5, 80),
        ("b.bin", 2 * MIB, 81),
        ("c.txt", 4 * MIB, 82),
        ("d.bin", MIB + 3, 83),
        ("e.bin", 2 * MIB, 84),
    ] {
        samples.file(&format!("pasta/{name}"), bytes, seed)?;
    }
    let folder = samples.path().join("pasta");
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let info_hash = seeder.seed_folder(&folder).await?;

    downloader.change("[data-testid=add-choose]", &json!(true)).await?;
    downloader.add(&info_hash).await?;
    let listed = downloader
        .wait_for_torrent(&info_hash, "files are listed", |torrent| torrent.files.len() == 5)
        .await?;
    assert!(listed.files.iter().all(|file| file.priority == "skip"), "{:?}", listed.files);
    assert_eq!(listed.bytes.verified, 0);
    // Who wants nothing and who needs nothing part after a moment; wanting brings them together again.
    downloader.wait_for_torrent(&info_hash, "nobody is linked", |torrent| torrent.peers.is_empty()).await?;
    downloader.prioritize(&info_hash, file(&listed, "b.bin")?.0, "normal").await?;
    downloader.prioritize(&info_hash, file(&listed, "d.bin")?.0, "high").await?;
    let done = wait_until_here(&downloader, &info_hash).await?;
    assert_only(&done, &["b.bin", "d.bin"]);
    for words in ["What you chose is complete", "2 of 5 chosen"] {
        downloader.wait_for_text(&info_hash, words).await?;
    }

    downloader.reload().await?;
    let after = wait_until_here(&downloader, &info_hash).await?;
    assert_eq!((after.files.len(), file(&after, "d.bin")?.1.priority.as_str()), (5, "high"));
    assert_only(&after, &["b.bin", "d.bin"]);

    // Who opens a file wants it. It is the only one that can be shown.
    downloader.wait_until_streaming().await?;
    downloader.unfold_files(&info_hash).await?;
    downloader.press(&info_hash, "preview").await?;
    let is_wanted =
        |torrent: &Torrent| file(torrent, "c.txt").is_ok_and(|(_, file)| file.priority == "normal");
    downloader.wait_for_torrent(&info_hash, "what was opened is wanted", is_wanted).await?;
    let more = wait_until_here(&downloader, &info_hash).await?;
    assert_only(&more, &["b.bin", "c.txt", "d.bin"]);
    let mut chosen = digests_of_folder(&folder)?;
    chosen.retain(|(name, _)| !name.ends_with("a.bin") && !name.ends_with("e.bin"));
    assert_eq!(chosen.len(), 3);
    assert_eq!(digests_of_zip(&downloader.save(&info_hash).await?)?, chosen);
    for name in ["b.bin", "c.txt", "d.bin"] {
        let saved = downloader.save_file(&info_hash, file(&more, name)?.0).await?;
        assert_eq!(sha256(&saved)?, sha256(&folder.join(name))?, "{name} is the same");
    }
    Ok(())
}
