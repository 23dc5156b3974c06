//! Who may come, and to what.

use shared::signal::{Announce, Event, RelayReason, Scrape, ToPeer, ToTracker};
use tracker::access::{Access, AccessFiles};

use crate::client::*;
use crate::page::get;

#[tokio::test]
async fn a_torrent_that_is_denied_while_people_share_it_ends_for_them_and_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let deny = folder.path().join("deny");
    std::fs::write(&deny, "").unwrap();
    let files = AccessFiles { deny: Some(deny.clone()), ..AccessFiles::default() };
    let access = Access::load(files, Vec::new()).unwrap();
    let handle = access.clone();
    let tracker = Tracker::start_with(|settings| settings.access = access).await;
    let ((mut a, at_a), (mut b, _)) = tracker.pair().await;
    a.announced(Announce { info_hash: hash(2), ..ours(1) }).await;

    std::fs::write(&deny, "01".repeat(20)).unwrap();
    handle.reload().unwrap();
    for client in [&mut a, &mut b] {
        // Two peers leave, one after the other; the channel closes behind the failure of the first, or before.
        let (mut failed, mut closed) = (false, false);
        while !(failed && closed) {
            match client.signal().await {
                ToPeer::Failed(failure) => {
                    assert_eq!(failure.info_hash, Some(hash(1)));
                    assert_eq!(failure.reason, "this torrent is not served here");
                    failed = true;
                }
                ToPeer::RelayClosed { reason, .. } => {
                    assert_eq!(reason, RelayReason::PeerLeft);
                    closed = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    a.data(at_a.channel, b"x").await;
    a.send(&ToTracker::Announce(ours(1))).await;
    assert_eq!(a.failed().await.reason, "this torrent is not served here");
    assert_eq!(
        a.announced(Announce { info_hash: hash(2), event: Event::Update, ..ours(1) }).await.incomplete,
        1
    );
    assert_eq!(tracker.metric("peers").await, 1);
    assert_eq!(tracker.rejections("access-list").await, 1);
    a.send(&ToTracker::Scrape(Scrape { info_hashes: vec![hash(1), hash(2)] })).await;
    match a.signal().await {
        ToPeer::Scraped(reply) => assert_eq!(reply.files.into_keys().collect::<Vec<_>>(), [hash(2)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(tracker.rejections("access-list").await, 2);

    std::fs::write(&deny, "").unwrap();
    handle.reload().unwrap();
    assert_eq!(a.announced(ours(1)).await.incomplete, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let origins = vec!["self".to_owned(), "https://example.org".to_owned()];
    let access = Access::load(AccessFiles::default(), origins).unwrap();
    let tracker = Tracker::start_with(|settings| settings.access = access).await;
    let own = format!("http://{}", tracker.address);
    for origin in ["https://example.org", &own] {
        tracker.try_connect("/ws", &[("origin", origin)]).await.map_err(|_| origin).unwrap();
    }
    tracker.connect().await.quiet().await;
    let (status, said) =
        tracker.try_connect("/ws", &[("origin", "https://evil.example")]).await.err().unwrap();
    assert_eq!(status, 403);
    assert!(said.contains("origin"), "{said}");
    assert_eq!(tracker.rejections("origin").await, 1);
    tracker.stop().await;
}

#[tokio::test]
async fn a_private_tracker_wants_a_token_and_remembers_it_for_the_page() {
    const TOKEN: &str = "correct-horse-battery";
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, TOKEN).unwrap();
    let files = AccessFiles { tokens: Some(tokens.clone()), ..AccessFiles::default() };
    let access = Access::load(files, Vec::new()).unwrap();
    let handle = access.clone();
    let tracker = Tracker::start_with(|settings| settings.access = access).await;
    for (path, headers) in [
        ("/ws", vec![]),
        ("/ws?token=wrong-horse-battery", vec![]),
        ("/ws", vec![("cookie", "enxame-token=wrong-horse-battery")]),
    ] {
        let (status, said) = tracker.try_connect(path, &headers).await.err().unwrap();
        assert_eq!(status, 401, "{path}");
        assert!(said.contains("private"), "{said}");
    }
    assert_eq!(tracker.rejections("token").await, 3);
    assert!(tracker.try_connect(&format!("/ws?token={TOKEN}"), &[]).await.is_ok());
    let bearer = format!("Bearer {TOKEN}");
    assert!(tracker.try_connect("/ws", &[("authorization", &bearer)]).await.is_ok());

    let opened = get(&tracker, &format!("//evil.example/?lang=en&token={TOKEN}"), &[]).await;
    assert_eq!((opened.status, opened.header("location")), (303, "/evil.example/?lang=en"));
    let opened_so = get(&tracker, &format!("/\\evil.example/?token={TOKEN}"), &[]).await;
    assert_eq!((opened_so.status, opened_so.header("location")), (303, "/evil.example/"));
    let cookie = opened.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let kept = cookie.split(';').next().unwrap();
    assert!(tracker.try_connect("/ws", &[("cookie", kept)]).await.is_ok());
    assert_eq!(get(&tracker, "/?token=wrong-horse-battery", &[]).await.status, 401);

    std::fs::write(&tokens, "another-token-of-mine").unwrap();
    handle.reload().unwrap();
    assert!(tracker.try_connect("/ws", &[("cookie", kept)]).await.is_err(), "taken back");
    tracker.stop().await;
}

#[tokio::test]
async fn only_a_named_proxy_says_whose_connection_it_is() {
    for (proxies, refused) in [("127.0.0.1", false), ("192.0.2.1", true)] {
        let tracker = Tracker::start_with(|settings| {
            settings.proxies = proxies.parse().unwrap();
            settings.limits.connections_per_address = 2;
        })
        .await;
        let mut kept = Vec::new();
        let mut last = Ok(());
        for n in 0..4 {
            let address = format!("203.0.113.{n}");
            match tracker.try_connect("/ws", &[("x-forwarded-for", &address)]).await {
                Ok(client) => kept.push(client),
                Err((status, _)) => last = Err(status),
            }
        }
        assert_eq!((kept.len(), last), if refused { (2, Err(429)) } else { (4, Ok(())) }, "{proxies}");
        kept.clear();
        tracker.stop().await;
    }
}
