use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{BrowserOptions, MIB, Page, Tracker};
use serde_json::{Value, json};

/// Notes what the policy forbids, and whom sockets are opened to.
const NOTE: &str = "
    window.violations = [];
    addEventListener('securitypolicyviolation', (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
    window.sockets = [];
    const Native = window.WebSocket;
    window.WebSocket = class extends Native {
        constructor(url, ...more) { super(url, ...more); window.sockets.push(String(url)); }
    };";

/// Whatever is done with it, the page asks nobody but its own server, and does nothing that its policy forbids.
#[tokio::test]
async fn a_transfer_asks_no_third_party_and_obeys_the_policy() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    for number in 0..3 {
        samples.file(&format!("pasta/{number}.txt"), MIB / 4, number)?;
    }
    let options = BrowserOptions::default().with_script(NOTE);
    let url = tracker.url_with("lang=en&ice=");
    let (seeder, downloader) =
        tokio::try_join!(Page::open_with(&url, &options), Page::open_with(&url, &options))?;
    let info_hash = seeder.seed_folder(&samples.path().join("pasta")).await?;
    downloader.add(&info_hash).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::wait_until_direct(&downloader, &info_hash, 1).await?;
    downloader.wait_until_streaming().await?;
    downloader.save(&info_hash).await?;
    downloader.unfold_files(&info_hash).await?;
    downloader.press(&info_hash, "preview").await?;
    let shown = "return Boolean(document.querySelector('[data-testid=text]:not([hidden])'))";
    downloader.wait_for_script("the text is shown", shown).await?;

    let own = tracker.url().trim_end_matches('/').to_owned();
    for page in [&seeder, &downloader] {
        assert_eq!(page.run("return window.violations", vec![]).await?, json!([]));
        let console = page.console().await?.join("\n");
        assert!(!console.contains("Content Security Policy"), "{console}");
        let asked = page
            .run("return performance.getEntriesByType('resource').map((entry) => entry.name)", vec![])
            .await?;
        let asked: Vec<&str> = asked.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(asked.len() > 3, "{asked:?}");
        assert!(asked.iter().all(|url| url.starts_with(&own)), "{asked:?}");
        assert_eq!(
            page.run("return [...new Set(window.sockets)]", vec![]).await?,
            json!([format!("{}/ws", own.replacen("http", "ws", 1))])
        );
        // The policy is in force, and not only written down.
        let inline =
            "const script = document.createElement('script'); script.textContent = 'window.ran = true';
            document.head.append(script); return [Boolean(window.ran), window.violations.length]";
        assert_eq!(page.run(inline, vec![]).await?[0], false);
    }
    Ok(())
}
