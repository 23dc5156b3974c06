use anyhow::{Context as _, Result};
use e2e::Tracker;
use e2e::samples::Scratch;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// A description as Chromium makes it, of a peer that is nowhere.
const NOWHERE: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2113937151 127.0.0.1 9 typ host generation 0\r\n\
    a=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\n\
    a=fingerprint:sha-256 \
    00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";
const FLOOD: u32 = 300;
/// Most connections that a page has alive: `MAX_CONNECTIONS` of its transport.
const MAX_CONNECTIONS: usize = 64;
/// Offers that a page keeps for whoever answers first, in a swarm of strangers.
const SPARES: usize = 5;

/// Serves one page: answers its announce, then says everything that no tracker should. Tells how much it said.
async fn misbehave(stream: TcpStream, said: mpsc::UnboundedSender<usize>) -> Result<()> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    let announce: Value = loop {
        let message = socket.next().await.context("the page left")??;
        if let Message::Text(text) = message {
            break serde_json::from_str(&text)?;
        }
    };
    let info_hash = &announce["info_hash"];
    let peer = |number: u32| format!("-XX0001-{number:012}");
    let offer = |number: u32, kind: &str, sdp: &str| {
        json!({
            "action": "announce", "info_hash": info_hash, "peer_id": peer(number), "offer_id": peer(number),
            "offer": { "type": kind, "sdp": sdp },
        })
    };
    let answer = |number: u32, sdp: &str| {
        json!({
            "action": "announce", "info_hash": info_hash, "peer_id": peer(number), "offer_id": peer(number),
            "answer": { "type": "answer", "sdp": sdp },
        })
    };
    let long = "a=x\r\n".repeat(3000);
    let video =
        NOWHERE.replace("application 9 UDP/DTLS/SCTP webrtc-datachannel", "video 9 UDP/TLS/RTP/SAVPF 96");
    let mut messages = vec![
        json!({ "action": "announce", "info_hash": info_hash, "interval": 120, "complete": 1, "incomplete": 1 }),
        json!({ "action": "announce", "info_hash": info_hash, "peer_id": 7, "offer": [], "offer_id": null }),
        json!({ "action": "dance" }),
        json!([1, 2, 3]),
    ];
    for (number, sdp) in ["", "garbage", "v=0\r\n", &long, &video, &NOWHERE[..200]].into_iter().enumerate() {
        let number = 1000 + u32::try_from(number)?;
        messages.push(offer(number, "offer", sdp));
        messages.push(offer(number + 100, "answer", sdp));
        messages.push(answer(number + 200, sdp));
    }
    messages.push(answer(2000, NOWHERE));
    messages.extend((0..FLOOD).map(|number| offer(number, "offer", NOWHERE)));
    let count = messages.len();
    for message in messages {
        socket.send(Message::text(message.to_string())).await?;
    }
    said.send(count)?;
    // Until the page leaves.
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
    Ok(())
}

/// One of the torrent's trackers sends broken descriptions, answers that nobody asked for, and offers without end: the
/// download from elsewhere goes on, connections stay few, and none is left.
#[tokio::test]
async fn a_hostile_tracker_disturbs_nothing_and_leaves_no_connection() -> Result<()> {
    let (tracker, samples) = (Tracker::start()?, Scratch::new()?);
    let original = samples.file("calmo.bin", crate::LONG, 52)?;
    let (seeder, downloader) = tokio::try_join!(crate::open(&tracker), crate::open(&tracker))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let hostile = format!("ws://{}", listener.local_addr()?);
    let (said, mut has_said) = mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, said.clone()));
        }
    });

    let info_hash = crate::seed(&seeder, &original).await?;
    downloader.add(&format!("magnet:?xt=urn:btih:{info_hash}&tr={hostile}")).await?;
    let few = |snapshot: &e2e::Snapshot| {
        assert!(snapshot.rtc.open <= MAX_CONNECTIONS, "{} connections at once", snapshot.rtc.open);
        snapshot.torrent(&info_hash).is_some_and(e2e::Torrent::is_complete)
    };
    downloader.wait_until("complete", few).await?;
    has_said.recv().await.context("the hostile tracker was never asked")?;
    let spare = |snapshot: &e2e::Snapshot| snapshot.rtc.open <= SPARES;
    downloader.wait_until("only offers of its own are left", spare).await?;
    crate::assert_saves(&downloader, &info_hash, &original).await?;
    downloader.remove(&info_hash).await?;
    downloader.wait_until("no connection is left", |snapshot| snapshot.rtc.open == 0).await?;
    serving.abort();
    Ok(())
}
