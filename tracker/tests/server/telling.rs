//! What a tracker tells about itself, and to whom.

use crate::client::*;
use crate::page::get;

#[tokio::test]
async fn metrics_count_what_happens() {
    let tracker = Tracker::start().await;
    let ((mut a, at_a), (mut b, at_b)) = tracker.pair().await;
    a.data(at_a.channel, b"hello").await;
    b.read_data(at_b.channel, 5, false).await;
    a.send_text("?").await;
    a.failed().await;
    for (name, value) in [
        ("connections", 2),
        ("addresses", 1),
        ("swarms", 1),
        ("peers", 2),
        ("relay_channels", 1),
        ("relay_channels_opened_total", 1),
        ("relayed_bytes_total", 5),
        ("relayed_frames_total", 1),
        ("queue_bytes", 0),
        ("message_seconds_count{action=\"announce\"}", 2),
        ("message_seconds_count{action=\"relay-open\"}", 1),
        ("rejections_total{reason=\"malformed\"}", 1),
        ("rejections_total{reason=\"connections\"}", 0),
    ] {
        assert_eq!(tracker.metric(name).await, value, "{name}");
    }
    let text = get(&tracker, "/metrics", &[]).await;
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(text.body).unwrap();
    // Every line is a comment or a name with a number, and every name has its type.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let name = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let typed = |name: &str| text.contains(&format!("# TYPE {name} "));
        assert!(typed(name) || family.is_some_and(typed), "{line}");
    }
    tracker.stop().await;
}

#[tokio::test]
async fn people_see_a_page_and_programs_json() {
    let tracker = Tracker::start().await;
    let page = get(&tracker, "/stats", &["Accept: text/html,application/xhtml+xml,*/*;q=0.8"]).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("Relay channels<td") && !page.contains("null"), "{page}");
    let json = get(&tracker, "/stats", &["Accept: */*"]).await;
    assert_eq!((json.header("content-type"), json.header("vary")), ("application/json", "accept"));
    tracker.stop().await;
}

#[tokio::test]
async fn metrics_are_for_whom_they_are_meant() {
    let tracker = Tracker::start_with(|settings| {
        settings.metrics_from = "10.0.0.0/8".parse().unwrap();
        settings.proxies = "127.0.0.1".parse().unwrap();
    })
    .await;
    for path in ["/metrics", "/stats"] {
        assert_eq!(get(&tracker, path, &[]).await.status, 403, "{path}");
        assert_eq!(get(&tracker, path, &["X-Forwarded-For: 10.1.2.3"]).await.status, 200, "{path}");
    }
    assert_eq!(get(&tracker, "/health", &[]).await.status, 200);
    tracker.stop().await;
}

#[tokio::test]
async fn every_reply_tells_browsers_to_be_careful() {
    let tracker = Tracker::start().await;
    for path in ["/", "/health", "/stats", "/metrics", "/no-such-file", "/../secret"] {
        let reply = get(&tracker, path, &[]).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    }
    tracker.stop().await;
}
