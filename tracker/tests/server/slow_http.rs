//! Plain HTTP by those who do not read, do not finish what they ask, or ask without end: it costs nobody else anything, and ends.

use std::io::ErrorKind;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::Page;

use crate::client::*;

/// More than both ends' buffers in the system hold.
const LARGE: usize = 32 << 20;

/// As long again, and a connection is cut off.
const HTTP_TIME: Duration = Duration::from_secs(2);

/// A tracker that serves one large file, and the file's folder.
async fn serving(http_time: Duration) -> (Tracker, TempDir) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("index.html"), "a page").unwrap();
    std::fs::write(folder.path().join("large.bin"), vec![7; LARGE]).unwrap();
    let page = Page::from_folder(folder.path()).unwrap();
    let tracker = Tracker::start_with(|settings| {
        settings.page = page;
        settings.limits.http_time = http_time;
    })
    .await;
    (tracker, folder)
}

async fn ask(tracker: &Tracker, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(tracker.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Waits until only those are connected who ask for it, beside so many others.
async fn only(tracker: &Tracker, others: u64) {
    soon(async {
        while tracker.metric("sockets").await > 1 + others {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// What is left to read until the tracker ends or cuts the connection.
async fn rest(mut stream: TcpStream) -> usize {
    let (mut sum, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match soon(stream.read(&mut buffer)).await {
            Ok(0) => return sum,
            Ok(read) => sum += read,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                return sum;
            }
        }
    }
}

#[tokio::test]
async fn who_reads_slowly_or_not_at_all_is_cut_off_and_costs_nobody_else() {
    const SILENT: usize = 4;
    let (tracker, _folder) = serving(HTTP_TIME).await;
    let mut others = [tracker.join(1).await, tracker.join(2).await];
    let asked = "GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(ask(&tracker, asked).await);
    }
    let slow = ask(&tracker, asked).await;
    let slow = tokio::spawn(async move {
        let mut stream = slow;
        // A byte now and then is no reason to wait for the rest.
        for _ in 0..20 {
            let mut byte = [0];
            if stream.read(&mut byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stream
    });
    for other in &mut others {
        other.quiet().await;
    }
    assert!(reply(tracker.address, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(reply(tracker.address, "/").await.ends_with("a page"));
    only(&tracker, others.len() as u64).await;
    assert!(tracker.rejections("slow-http").await > SILENT as u64);
    silent.push(slow.await.unwrap());
    for stream in silent {
        assert!(rest(stream).await < LARGE, "it was not cut off");
    }
    for other in &mut others {
        other.quiet().await;
    }
    tracker.stop().await;
}

#[tokio::test]
async fn who_reads_at_a_good_pace_gets_all_of_a_large_file() {
    let (tracker, _folder) = serving(Duration::from_secs(60)).await;
    let stream =
        ask(&tracker, "GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(rest(stream).await > LARGE);
    assert_eq!(tracker.rejections("slow-http").await, 0);
    tracker.stop().await;
}

#[tokio::test]
async fn a_request_whose_body_never_ends_is_cut_off() {
    let (tracker, _folder) = serving(HTTP_TIME).await;
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nhalf";
    let unfinished = [ask(&tracker, head).await, ask(&tracker, &head.replace("GET", "POST")).await];
    only(&tracker, 0).await;
    for stream in unfinished {
        rest(stream).await;
    }
    tracker.stop().await;
}

#[tokio::test]
async fn requests_without_end_are_answered_only_as_far_as_the_replies_are_read() {
    const REQUESTS: usize = 20_000;
    let (tracker, _folder) = serving(HTTP_TIME).await;
    let mut other = tracker.join(1).await;
    let before = tracker.metric("http_requests_total").await;
    let stream = TcpStream::connect(tracker.address).await.unwrap();
    let (reading, mut writing) = stream.into_split();
    let flood = tokio::spawn(async move {
        let some = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        for _ in 0..REQUESTS / 100 {
            // Until it is cut off.
            if writing.write_all(some.as_bytes()).await.is_err() {
                break;
            }
        }
    });
    other.quiet().await;
    only(&tracker, 1).await;
    let answered = tracker.metric("http_requests_total").await - before;
    assert!(answered < REQUESTS as u64 / 2, "{answered} of {REQUESTS} were answered to nobody");
    soon(flood).await.unwrap();
    drop(reading);
    tracker.stop().await;
}
