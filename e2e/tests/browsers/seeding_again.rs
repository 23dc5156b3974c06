use anyhow::{Context as _, Result, ensure};
use e2e::samples::{Scratch, sha256};
use e2e::{BrowserOptions, MIB, Page, State, Torrent, Tracker};
use serde_json::{Value, json};

/// Waits until a torrent stands still until this is given: `files` or `permission`.
async fn wait_until_needed(page: &Page, info_hash: &str, what: &str) -> Result<Torrent> {
    let is_needed =
        |torrent: &Torrent| torrent.waiting.as_deref() == Some(what) && torrent.state == State::Paused;
    page.wait_for_torrent(info_hash, &format!("it waits for '{what}'"), is_needed).await
}

/// Without a handle the page cannot find files again: it lists the torrents, says what it needs, takes the same files and
/// refuses others, and seeds again under the same hash.
#[tokio::test]
async fn what_was_seeded_is_listed_after_a_reload_and_seeds_again_once_its_files_are_chosen() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("volta.bin", 3 * MIB + 5, 130)?;
    for (name, bytes, seed) in [("a.bin", MIB, 131), ("vazio", 0, 132), ("b/ação.bin", 5, 133)] {
        samples.file(&format!("pasta/{name}"), bytes, seed)?;
    }
    let folder = samples.path().join("pasta");
    let changed = samples.file("alterado/volta.bin", 3 * MIB + 5, 134)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let one = crate::seed(&seeder, &original).await?;
    // Named, and cut, as the user says.
    seeder.change("[data-testid=seed-name]", &json!("outro nome")).await?;
    seeder.change("[data-testid=seed-comment]", &json!("olá")).await?;
    seeder.change("[data-testid=seed-piece-length]", &json!("262144")).await?;
    seeder.change("[data-testid=seed-trackers]", &json!("udp://x ws://127.0.0.1:9/outro")).await?;
    seeder.change("[data-testid=theme]", &json!("dark")).await?;
    let many = seeder.seed_folder(&folder).await?;
    // Two of one name and one length.
    let twins = [samples.file("um/gêmeo.bin", MIB, 135)?, samples.file("dois/gêmeo.bin", MIB, 136)?];
    let twin_hashes = seeder.seed(&twins).await?;

    seeder.reload().await?;
    assert_eq!(seeder.run("return document.documentElement.dataset.theme", vec![]).await?, "dark");
    for info_hash in [&one, &many] {
        wait_until_needed(&seeder, info_hash, "files").await?;
        seeder.wait_for_text(info_hash, "choose or drop them").await?;
    }

    seeder.choose(&[&changed]).await?;
    let alert = seeder.wait_for_alert().await?;
    assert!(alert.starts_with("volta.bin was changed"), "{alert}");
    wait_until_needed(&seeder, &one, "files").await?;

    seeder.choose(&[&original]).await?;
    seeder.wait_for(&one, State::Seeding).await?;
    seeder.send_to("[data-testid=folder-input]", &folder.to_string_lossy()).await?;
    let back = seeder.wait_for(&many, State::Seeding).await?;
    assert_eq!((back.name.as_str(), back.pieces.total), ("outro nome", 5));
    let trackers: Vec<_> =
        back.trackers.iter().filter(|tracker| !tracker.own).map(|it| it.url.as_str()).collect();
    assert_eq!(trackers, ["ws://127.0.0.1:9/outro"]);
    seeder.unfold(&many, "sharing").await?;
    let file = seeder.saved_by(seeder.press(&many, "save-torrent")).await?;
    let bytes = std::fs::read(&file)?;
    ensure!(bytes.windows(15).any(|at| at == "7:comment4:olá".as_bytes()), "the comment is kept");
    // In whatever order they are chosen, each goes to its own torrent.
    seeder.choose(&[&twins[1], &twins[0]]).await?;
    for info_hash in &twin_hashes {
        seeder.wait_for(info_hash, State::Seeding).await?;
    }
    let rows: Vec<String> =
        seeder.snapshot().await?.torrents.into_iter().map(|torrent| torrent.info_hash).collect();
    let expected: Vec<String> = [one.clone(), many.clone()].into_iter().chain(twin_hashes).collect();
    assert_eq!(rows, expected, "the same rows, and no others");

    for info_hash in [&one, &many] {
        downloader.add(info_hash).await?;
        downloader.wait_until_complete(info_hash).await?;
    }
    crate::assert_saves(&downloader, &one, &original).await
}

/// Files with handles in place of the user's: the origin's own, since no driver can press the browser's window for choosing. The
/// browser gives leave to read them as the test says, and the workers that are started are noted.
const HANDLES: &str = "
    const own = async () => navigator.storage.getDirectory();
    window.showOpenFilePicker = async () => [await (await own()).getFileHandle('alça.bin')];
    window.showDirectoryPicker = async () => (await own()).getDirectoryHandle('pasta');
    FileSystemHandle.prototype.queryPermission = async () => localStorage.leave ?? 'granted';
    FileSystemHandle.prototype.requestPermission = async () => {
        window.asked = (window.asked ?? 0) + 1;
        if (!navigator.userActivation.isActive) throw new DOMException('without a click', 'SecurityError');
        return localStorage.leave = localStorage.answer ?? 'granted';
    };
    window.roles = [];
    window.Worker = class extends Worker {
        constructor(script, options) {
            super(script, options);
            window.roles.push(options.name);
            this.role = options.name;
        }
        postMessage(...message) {
            if (window.held && this.role === 'hash') window.held.push(() => super.postMessage(...message));
            else super.postMessage(...message);
        }
    };";

/// Writes three files of random bytes, two of them in a folder. Gives the SHA-256 of the first.
const WRITE: &str = "
    const [done] = arguments;
    const write = async (folder, name, length) => {
        const bytes = new Uint8Array(length);
        for (let at = 0; at < length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
        const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
        await stream.write(bytes);
        await stream.close();
        const digest = await crypto.subtle.digest('SHA-256', bytes);
        return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    (async () => {
        const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle('pasta', { create: true });
        const below = await folder.getDirectoryHandle('b', { create: true });
        await write(folder, 'a.bin', 300000);
        await write(below, 'ação.bin', 7);
        return write(root, 'alça.bin', 3000001);
    })().then(done, (error) => done(String(error)));";

/// Whether a worker was started that hashes files.
const HASHES: &str = "return window.roles.includes('hash')";

/// The field of the button by which a torrent's folder is chosen again.
const FOLDER_AGAIN: &str = "document.querySelector('[data-testid=folder-again]')";

/// How many handles the page keeps.
const KEPT: &str = "
    const [done] = arguments, opening = indexedDB.open('enxame');
    opening.onsuccess = () => {
        const database = opening.result;
        const counting = database.transaction('handles').objectStore('handles').count();
        counting.onsuccess = () => { database.close(); done(counting.result); };
    };";

async fn wait_until_kept(page: &Page, handles: u64) -> Result<()> {
    let start = std::time::Instant::now();
    loop {
        let kept = page.run_async(KEPT, vec![]).await?;
        if kept == json!(handles) {
            return Ok(());
        }
        ensure!(start.elapsed().as_secs() < 60, "{kept} handles are kept instead of {handles}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// With handles the page finds the files again by itself, reads nothing through that is as it was, asks with one click where the
/// browser wants that, and refuses what was changed.
#[tokio::test]
async fn by_their_handles_files_are_seeded_again_after_a_reload() -> Result<()> {
    let tracker = Tracker::start()?;
    let (options, url) = (BrowserOptions::default().with_script(HANDLES), tracker.url_with("lang=en&ice="));
    let (seeder, downloader) = tokio::try_join!(Page::open_with(&url, &options), crate::open(&tracker))?;
    let digest = seeder.run_async(WRITE, vec![]).await?;
    for input in ["file-input", "folder-input"] {
        let press = format!("document.querySelector('[data-testid={input}]').click()");
        seeder.run(&press, vec![]).await?;
    }
    let are_seeding = |snapshot: &e2e::Snapshot| {
        snapshot.torrents.len() == 2 && snapshot.torrents.iter().all(Torrent::is_complete)
    };
    let snapshot = seeder.wait_until("two torrents are seeding", are_seeding).await?;
    let find = |is_right: fn(&Torrent) -> bool| {
        snapshot.torrents.iter().find(|torrent| is_right(torrent)).map(|torrent| torrent.info_hash.clone())
    };
    let one = find(|torrent| torrent.files.len() == 1).context("no file")?;
    let many = find(|torrent| torrent.files.len() == 2).context("no folder")?;
    wait_until_kept(&seeder, 2).await?;

    seeder.reload().await?;
    seeder.wait_until("they are found by themselves", are_seeding).await?;
    assert_eq!(seeder.run("return window.asked ?? 0", vec![]).await?, 0);
    assert_eq!(seeder.run(HASHES, vec![]).await?, false, "nothing is hashed again");

    seeder.run("localStorage.leave = 'prompt'", vec![]).await?;
    seeder.reload().await?;
    for info_hash in [&one, &many] {
        wait_until_needed(&seeder, info_hash, "permission").await?;
    }
    seeder.press(&one, "allow-files").await?;
    seeder.wait_until("one click brings both back", are_seeding).await?;
    assert_eq!(seeder.run("return window.asked", vec![]).await?, 1);
    assert_eq!(seeder.run(HASHES, vec![]).await?, false, "nothing is hashed again");

    for info_hash in [&one, &many] {
        downloader.add(info_hash).await?;
        downloader.wait_until_complete(info_hash).await?;
    }
    let saved = downloader.save(&one).await?;
    assert_eq!(Value::from(sha256(&saved)?), digest, "the bytes are the same");

    // Under a link that names another tracker nothing begins by itself, though the browser would let it, and a click is for one alone.
    seeder.go_to(&tracker.url_with("lang=en&ice=&tracker=ws://127.0.0.1:9/stranger")).await?;
    for info_hash in [&one, &many] {
        wait_until_needed(&seeder, info_hash, "permission").await?;
    }
    seeder.press(&one, "allow-files").await?;
    seeder.wait_for(&one, State::Seeding).await?;
    wait_until_needed(&seeder, &many, "permission").await?;

    // If the browser says no there is still the way of choosing the folder, in its own row; what it was called then does not matter.
    seeder.run("localStorage.answer = 'denied'", vec![]).await?;
    seeder.press(&many, "allow-files").await?;
    wait_until_needed(&seeder, &many, "files").await?;
    seeder.run("localStorage.leave = localStorage.answer = 'granted'", vec![]).await?;
    seeder.wait_for_script("the button that chooses", &format!("return Boolean({FOLDER_AGAIN})")).await?;
    seeder.run(&format!("{FOLDER_AGAIN}.click()"), vec![]).await?;
    seeder.wait_for(&many, State::Seeding).await?;

    // All of them are written anew, each as long as it was.
    seeder.run_async(WRITE, vec![]).await?;
    seeder.go_to(&url).await?;
    for (info_hash, name) in [(&one, "alça.bin"), (&many, "a.bin")] {
        wait_until_needed(&seeder, info_hash, "files").await?;
        seeder.wait_for_text(info_hash, &format!("{name} was changed since it was shared")).await?;
    }

    // It is removed while its files are compared: what the workers say later brings nothing back.
    seeder.run("window.held = []", vec![]).await?;
    seeder.run("document.querySelector('[data-testid=file-again]').click()", vec![]).await?;
    seeder.wait_for(&one, State::Hashing).await?;
    seeder.remove(&one).await?;
    wait_until_kept(&seeder, 1).await?;
    seeder
        .run("const held = window.held; window.held = null; held.forEach((post) => post())", vec![])
        .await?;
    seeder.run("document.querySelector('[data-testid=file-input]').click()", vec![]).await?;
    let is_anew = |snapshot: &e2e::Snapshot| {
        let [left, new] = &snapshot.torrents[..] else { return false };
        left.info_hash == many && new.state == State::Seeding && new.info_hash != one
    };
    seeder.wait_until("what is there now is another torrent", is_anew).await.map(drop)
}
