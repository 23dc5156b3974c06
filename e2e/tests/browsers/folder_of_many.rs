use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};
use e2e::samples::{Scratch, digests_of_folder, digests_of_zip};
use e2e::{Page, State, Torrent, Tracker};
use serde_json::{Value, json};

const NAMES: [&str; 8] = [
    "relatório ação",
    "数据 文件",
    "ملف عربي",
    "файл данных",
    "αρχείο",
    "ひらがな カタカナ",
    "🐝 mel & 100% 'x' #1",
    "ไฟล์",
];

/// 200 files, some of them empty, in folders of several scripts.
fn folder(samples: &Scratch) -> Result<std::path::PathBuf> {
    for number in 0..200_u64 {
        let name = NAMES[number as usize % NAMES.len()];
        let bytes = if number % 50 == 7 { 0 } else { number * 997 };
        samples.file(&format!("álbum 集/{name}/{number:03} {name}.bin"), bytes, number)?;
    }
    Ok(samples.path().join("álbum 集"))
}

/// All of it is downloaded, or every seventh file.
async fn downloaded(tracker: &Tracker, folder: &std::path::Path, in_part: bool) -> Result<(Page, String)> {
    let (seeder, downloader) = tokio::try_join!(crate::open(tracker), crate::open(tracker))?;
    let info_hash = seeder.seed_folder(folder).await?;
    if in_part {
        downloader.change("[data-testid=add-choose]", &json!(true)).await?;
        downloader.add(&info_hash).await?;
        let are_listed = |torrent: &Torrent| torrent.files.len() == 200;
        downloader.wait_for_torrent(&info_hash, "its files are listed", are_listed).await?;
        for place in (0..200).step_by(7) {
            downloader.prioritize(&info_hash, place, "normal").await?;
        }
        let are_here = |torrent: &Torrent| {
            let mut wanted = torrent.files.iter().filter(|file| file.priority != "skip");
            torrent.state == State::Seeding && wanted.all(|file| file.verified == file.length)
        };
        downloader.wait_for_torrent(&info_hash, "what was chosen is here", are_here).await?;
    } else {
        downloader.add(&info_hash).await?;
        downloader.wait_until_complete(&info_hash).await?;
    }
    downloader.wait_until_streaming().await?;
    Ok((downloader, info_hash))
}

/// Names and bytes come out of the zip as they went in, of the files that were chosen among 200.
#[tokio::test]
async fn files_chosen_among_two_hundred_with_names_in_many_scripts_are_saved_as_one_zip() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let folder = folder(&samples)?;
    let (downloader, info_hash) = downloaded(&tracker, &folder, true).await?;
    let listed = downloader.torrent(&info_hash).await?;
    let chosen = listed.files.iter().filter(|file| file.priority != "skip");
    let chosen: BTreeSet<String> = chosen.map(|file| format!("álbum 集/{}", file.path)).collect();
    let saved = downloader.save(&info_hash).await?;
    assert_eq!(saved.file_name().unwrap_or_default(), "álbum 集.zip");
    let mut expected = digests_of_folder(&folder)?;
    assert_eq!(expected.len(), 200);
    expected.retain(|(name, _)| chosen.contains(name));
    assert_eq!(expected.len(), 29);
    assert_eq!(digests_of_zip(&saved)?, expected);
    // Bit 11 of the flags says that a name is UTF-8 (APPNOTE 4.4.4); without it other scripts come out as nonsense.
    let bytes = fs::read(&saved)?;
    let flags = u16::from_le_bytes([bytes[6], bytes[7]]);
    assert_eq!(
        flags & (1 << 11 | 1 << 3),
        1 << 11 | 1 << 3,
        "{flags:016b}: made while it was read, names in UTF-8"
    );
    Ok(())
}

/// In place of the dialog, which no driver can press: a folder of the origin's own.
const CHOOSE: &str = "
    window.showDirectoryPicker = async () => {
        const root = await navigator.storage.getDirectory();
        return root.getDirectoryHandle('escolhida', { create: true });
    };";

/// Every file below the chosen folder: path and SHA-256.
const CHOSEN: &str = "
    const [done] = arguments;
    const list = async (folder, path) => {
        const found = [];
        for await (const [name, entry] of folder.entries()) {
            if (entry.kind === 'directory') found.push(...await list(entry, `${path}${name}/`));
            else {
                const digest = await crypto.subtle.digest('SHA-256', await (await entry.getFile()).arrayBuffer());
                found.push([path + name, [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, '0')).join('')]);
            }
        }
        return found;
    };
    navigator.storage.getDirectory().then((root) => root.getDirectoryHandle('escolhida')).then((folder) => list(folder, ''))
        .then(done, (error) => done(String(error)));";

/// Saved twice, the second one stands beside the first: nothing is overwritten.
#[tokio::test]
async fn a_folder_is_saved_into_one_that_the_user_chooses() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let folder = folder(&samples)?;
    let (downloader, info_hash) = downloaded(&tracker, &folder, false).await?;
    downloader.run(CHOOSE, vec![]).await?;
    let expected: BTreeMap<_, _> = digests_of_folder(&folder)?.into_iter().collect();
    for round in 1..=2 {
        downloader.press(&info_hash, "save-into").await?;
        let start = std::time::Instant::now();
        let found = loop {
            let found = downloader.run_async(CHOSEN, vec![]).await?;
            let files = found.as_array().map_or(0, Vec::len);
            let saving = &downloader.snapshot_json().await?["torrents"][0]["saving"];
            if files == 200 * round && *saving == json!({ "done": 200, "total": 200 }) {
                break found;
            }
            anyhow::ensure!(start.elapsed().as_secs() < 60, "{files} files: {saving}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
        let found: Option<BTreeMap<_, _>> = found.as_array().context("no list")?.iter().map(pair).collect();
        let mut wanted = expected.clone();
        if round == 2 {
            let again = |(path, digest): (&String, &String)| {
                (path.replacen("álbum 集/", "álbum 集 (2)/", 1), digest.clone())
            };
            wanted.extend(expected.iter().map(again));
        }
        assert_eq!(found.as_ref(), Some(&wanted));
    }
    Ok(())
}
