//! The least that any relay over tokio-tungstenite must do: read a message of one client, write it to the other.

use std::io::Write;

use anyhow::Result;
use futures::StreamExt;
use tokio::net::TcpListener;

/// Joins every two connections, for ever. Says its address first.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let mut two = Vec::new();
        while two.len() < 2 {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            two.push(tokio_tungstenite::accept_async(stream).await?.split());
        }
        let (Some((to_second, from_second)), Some((to_first, from_first))) = (two.pop(), two.pop()) else {
            continue;
        };
        tokio::spawn(from_first.forward(to_second));
        tokio::spawn(from_second.forward(to_first));
    }
}
