use anyhow::{Result, bail, ensure};
use e2e::samples::{Scratch, sha256};
use e2e::{MIB, Page, Tracker};
use fantoccini::key::Key;
use serde_json::Value;

/// More steps than the page has.
const MOST_STEPS: usize = 200;

/// What has the focus: its test id (or its tag and text), and whether it can be told from the rest.
const FOCUSED: &str = "
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const shown = [element, element.closest('.button')].filter(Boolean).map((at) => getComputedStyle(at));
    const seen = shown.some((style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2);
    const { width, height } = (element.closest('.button') ?? element).getBoundingClientRect();
    return [element.dataset.testid ?? element.tagName + ' ' + element.textContent.trim().slice(0, 40), seen && width > 4 && height > 4];";

/// Everything that takes the focus, in the page's order: each must be reached by Tab. Of several radio buttons one is.
const REACHABLE: &str = "
    return [...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
        .filter((element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }))
        .map((element) => element.dataset.testid ?? element.tagName + ' ' + element.textContent.trim().slice(0, 40));";

async fn focused(page: &Page) -> Result<Option<(String, bool)>> {
    let focused = page.run(FOCUSED, vec![]).await?;
    Ok(focused[0].as_str().map(|name| (name.to_owned(), focused[1] == Value::Bool(true))))
}

/// Goes on by Tab until this has the focus, and sees it there.
async fn tab_to(page: &Page, test_id: &str) -> Result<()> {
    let mut passed = Vec::new();
    for _ in 0..MOST_STEPS {
        page.type_keys(&char::from(Key::Tab).to_string()).await?;
        match focused(page).await? {
            Some((name, is_seen)) if name == test_id => {
                ensure!(is_seen, "'{name}' has the focus, and nobody sees it");
                return Ok(());
            }
            other => passed.extend(other),
        }
    }
    bail!("Tab does not come to '{test_id}', but to {passed:?}")
}

async fn press(page: &Page, test_id: &str, key: Key) -> Result<()> {
    tab_to(page, test_id).await?;
    page.type_keys(&char::from(key).to_string()).await
}

/// From choosing a file to the saved copy without a mouse: everything is reached by Tab, seen when it is, and pressed by keys.
#[tokio::test]
async fn the_keyboard_alone_shares_downloads_and_saves() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("teclado.txt", MIB, 122)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;

    // The browser's own window for choosing is no part of the page: that a key opens it is, and what was chosen comes as always.
    let catch = "window.showOpenFilePicker = async () => {
            window.opened = navigator.userActivation.isActive;
            throw new DOMException('thought better of it', 'AbortError');
        }";
    seeder.run(catch, vec![]).await?;
    press(&seeder, "file-input", Key::Space).await?;
    seeder.wait_for_script("the window for choosing", "return window.opened === true").await?;
    let info_hash = crate::seed(&seeder, &original).await?;
    let can_copy =
        "return document.querySelector('[data-testid=copy-link]')?.innerText.trim() === 'Copy link'";
    seeder.wait_for_script("the button that copies", can_copy).await?;
    press(&seeder, "copy-link", Key::Enter).await?;
    let copied = "const [button, by_hand] = ['[data-testid=copy-link]', '.by-hand'].map((at) => document.querySelector(at));
        const said = document.querySelector('[role=status]')?.textContent;
        return button?.innerText.trim() === 'Copied' || said === 'Copied' || Boolean(by_hand)";
    seeder.wait_for_script("the link is copied", copied).await?;

    tab_to(&downloader, "add-input").await?;
    downloader.type_keys(&format!("{info_hash}{}", char::from(Key::Enter))).await?;
    downloader.wait_until_complete(&info_hash).await?;
    let can_save = "return document.querySelector('[data-testid=save]')?.disabled === false";
    downloader.wait_for_script("the button that saves", can_save).await?;
    let saved = downloader.saved_by(press(&downloader, "save", Key::Enter)).await?;
    assert_eq!(sha256(&saved)?, sha256(&original)?, "the bytes are the same");

    // With every list open nothing on the page is left out.
    let unfold = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })";
    downloader.run(unfold, vec![]).await?;
    let wanted = downloader.run(REACHABLE, vec![]).await?;
    let mut wanted: Vec<String> = serde_json::from_value(wanted)?;
    ensure!(wanted.len() > 15, "{wanted:?}");
    for _ in 0..MOST_STEPS {
        downloader.type_keys(&char::from(Key::Tab).to_string()).await?;
        if let Some((name, is_seen)) = focused(&downloader).await? {
            ensure!(is_seen, "'{name}' has the focus, and nobody sees it");
            if let Some(place) = wanted.iter().position(|other| *other == name) {
                wanted.remove(place);
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    ensure!(wanted.is_empty(), "Tab comes past {wanted:?}");

    // The torrent goes by key, and the focus is not lost with it.
    press(&downloader, "remove", Key::Space).await?;
    downloader.wait_until("the torrent is gone", |snapshot| snapshot.torrents.is_empty()).await?;
    assert_eq!(focused(&downloader).await?.map(|(name, _)| name).as_deref(), Some("add-input"));
    Ok(())
}
