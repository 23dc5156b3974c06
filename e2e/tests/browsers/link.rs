use anyhow::Result;
use e2e::samples::Scratch;
use e2e::{MIB, Page, Tracker};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The link that a seeder copies is all that somebody else needs.
#[tokio::test]
async fn a_page_link_opens_and_downloads() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("elo.bin", 4 * MIB, 16)?;
    let seeder = crate::open(&tracker).await?;
    let info_hash = crate::seed(&seeder, &original).await?;
    let snapshot = seeder.snapshot_json().await?;
    let link = snapshot["torrents"][0]["link"].as_str().unwrap_or_default().to_owned();
    assert!(link.ends_with(&format!("#{info_hash}")), "the hash is in the fragment: {link}");

    let downloader = Page::open(&link).await?;
    downloader.accept(&info_hash).await?;
    downloader.wait_until_complete(&info_hash).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;

    // Pasted into the field it does the same.
    let other = crate::open(&tracker).await?;
    other.add(&link).await?;
    other.wait_until_complete(&info_hash).await?;
    Ok(())
}

/// A chat that shows what is behind a link fetches it, with or without running what it fetches; so do mail filters and crawlers.
/// None of them takes part in anything: no announce, no relay, nothing stored. It takes a press of the button.
#[tokio::test]
async fn whoever_only_looks_at_a_link_uses_nothing_up() -> Result<()> {
    const HASH: &str = "00112233445566778899aabbccddeeff00112233";
    const NOTHING: [&str; 4] = ["swarms", "peers", "relayChannels", "relayedBytes"];
    let tracker = Tracker::start()?;
    // A robot that runs nothing; what it shows is the same for every link, since no server sees the fragment.
    for request in ["GET /", "HEAD /", "GET /?tracker=wss%3A%2F%2Fa.example", "GET /?lang=pt-BR"] {
        let reply = fetch(&tracker, request).await?;
        assert!(reply.starts_with("HTTP/1.1 200"), "{request}: {reply}");
        let says_what_it_is = reply.contains("property=\"og:description\"");
        assert_eq!(says_what_it_is, request.starts_with("GET"), "{request}: {reply}");
    }
    let stats = tracker.stats().await?;
    assert_eq!((&stats["connections"], &stats["messages"]["in"]), (&json!(0), &json!(0)), "{stats}");

    // One that runs everything and presses nothing. That the page is connected is the most that can come of it.
    let name = "a name".repeat(100);
    let magnet = format!("magnet:?xt=urn:btih:{HASH}&dn={name}&xl=1000000").replace(' ', "%20");
    let robot = Page::open(&tracker.url_with(&format!("lang=en&ice=#{magnet}"))).await?;
    robot.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;
    let asks = "return document.querySelector('[data-testid=invitation]')?.innerText";
    let asked = robot.wait_for_script("it asks", asks).await?;
    let asked = asked.as_str().unwrap_or_default();
    assert!(asked.contains("a name") && asked.contains("1.0 MB") && !asked.contains(&name), "{asked}");
    // It asks after a reload, too: nothing was answered.
    robot.reload().await?;
    robot.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;
    robot.wait_for_script("it asks again", asks).await?;
    let stats = tracker.stats().await?;
    assert_eq!(stats["messages"]["in"], 0, "{stats}");
    assert!(NOTHING.iter().all(|count| stats[count] == 0), "{stats}");
    assert!(robot.snapshot().await?.torrents.is_empty(), "nothing is in the list, so nothing is stored");

    // Who says no is not asked again, and whoever says yes takes part.
    robot.press_on_page("decline").await?;
    robot.wait_for_script("it is gone", &format!("return !({})", &asks["return ".len()..])).await?;
    robot.reload().await?;
    robot.wait_until("connected", |snapshot| snapshot.tracker.state == "connected").await?;
    assert_eq!(tracker.stats().await?["messages"]["in"], 0);
    assert_eq!(robot.run("return location.hash", vec![]).await?, "", "the question is answered");
    robot.go_to(&tracker.url_with(&format!("lang=en&ice=&again#{HASH}"))).await?;
    robot.accept(HASH).await?;
    robot.wait_for_text(HASH, "Nobody who has this torrent").await?;
    assert_eq!(tracker.stats().await?["peers"], 1);
    Ok(())
}

/// The reply to a request without a body.
async fn fetch(tracker: &Tracker, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(tracker.address()).await?;
    let head = format!("{request} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", tracker.address());
    stream.write_all(head.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
