//! A web server for a few pages of the tests' own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request's head is no longer than this many bytes: the browsers are ours.
const HEAD: usize = 16 << 10;

/// One file of a site: path, media type, content.
pub type SiteFile = (&'static str, &'static str, Vec<u8>);

/// Serves a few files on a free port of this machine; ends when dropped.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    /// Starts one.
    pub async fn start(files: Vec<SiteFile>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a site")?;
        let address = listener.local_addr().context("the site has no address")?;
        let files = Arc::new(files);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever goes wrong with one connection shows in the browser that made it.
                tokio::spawn(serve(stream, Arc::clone(&files)));
            }
        });
        Ok(Self { address, task })
    }

    /// The URL of a path that starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, files: Arc<Vec<SiteFile>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split_whitespace().nth(1).unwrap_or_default();
    let file = files.iter().find(|(name, _, _)| path.split('?').next() == Some(name));
    let (status, kind, content) = match file {
        Some((_, kind, content)) => ("200 OK", *kind, content.as_slice()),
        None => ("404 Not Found", "text/plain", b"there is no such file".as_slice()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(content).await?;
    stream.shutdown().await?;
    Ok(())
}
