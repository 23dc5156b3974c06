//! A line to the tracker on which what arrives is slow, and stops where it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Bytes at a time, and about as many as the line holds beyond what the systems keep.
const CHUNK: usize = 16 << 10;

/// Forwards connections to the tracker; what the tracker sends passes at a given speed. Ends when dropped.
#[derive(Debug)]
pub struct SlowLine {
    address: SocketAddr,
    most: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SlowLine {
    /// Starts one on a free port, with so many bytes a second for each connection.
    pub async fn start(tracker: SocketAddr, speed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a slow line")?;
        let address = listener.local_addr().context("the slow line has no address")?;
        let (most, stops) = watch::channel(u64::MAX);
        let passed = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(async move {
            while let Ok((page, _)) = listener.accept().await {
                // Whatever goes wrong with one connection shows in the page that made it.
                tokio::spawn(forward(page, tracker, speed, Arc::clone(&passed), stops.clone()));
            }
        });
        Ok(Self { address, most, task })
    }

    /// Lets so many bytes pass from the tracker, over all connections from the start on, and no more until told another number.
    pub fn pass_at_most(&self, bytes: u64) {
        self.most.send_replace(bytes);
    }

    /// `ws://127.0.0.1:…/ws`.
    pub fn socket(&self) -> String {
        format!("ws://{}/ws", self.address)
    }
}

async fn forward(
    mut page: TcpStream,
    tracker: SocketAddr,
    speed: u64,
    passed: Arc<AtomicU64>,
    mut stops: watch::Receiver<u64>,
) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    // Else the system takes megabytes off the tracker's hands, and what is behind them waits for seconds.
    socket.set_recv_buffer_size(1 << 16)?;
    let mut tracker = socket.connect(tracker).await?;
    let (mut from_tracker, mut to_tracker) = tracker.split();
    let (mut from_page, mut to_page) = page.split();
    let slowly = async {
        let mut chunk = vec![0; CHUNK];
        let mut due = Instant::now();
        loop {
            let read = from_tracker.read(&mut chunk).await?;
            if read == 0 {
                return std::io::Result::Ok(0);
            }
            due = due.max(Instant::now()) + Duration::from_secs_f64(read as f64 / speed as f64);
            sleep_until(due).await;
            let passed = passed.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
            // Without whom to ask the line is gone, and so is this connection soon.
            if stops.wait_for(|most| passed <= *most).await.is_err() {
                return Ok(0);
            }
            to_page.write_all(&chunk[..read]).await?;
        }
    };
    tokio::try_join!(slowly, copy(&mut from_page, &mut to_tracker))?;
    Ok(())
}
