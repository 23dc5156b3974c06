//! What the system asks of the program.

use tokio_util::sync::CancellationToken;
use tracker::access::Access;
use tracker::tls::Tls;

/// Done at ctrl-c, or when the system asks for the second time that the program end. The first time it is `restart` that is
/// cancelled, so that clients can go somewhere else.
#[cfg(unix)]
pub(crate) fn stop(restart: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => {
                    if restart.is_cancelled() {
                        return;
                    }
                    restart.cancel();
                }
            }
        }
    })
}

/// Done at ctrl-c.
#[cfg(not(unix))]
pub(crate) fn stop(_restart: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    Ok(async move {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot wait for ctrl-c");
            std::future::pending::<()>().await;
        }
    })
}

/// Reads the certificate and the lists again whenever the system says that it hung up (SIGHUP), as long as the program runs.
#[cfg(unix)]
pub(crate) fn reload(tls: Option<Tls>, access: Access) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (tls, access) = (tls.clone(), access.clone());
            let reading = tokio::task::spawn_blocking(move || {
                match tls.map_or(Ok(()), |tls| tls.reload()) {
                    Ok(()) => tracing::info!("read the certificate again"),
                    Err(error) => tracing::error!(%error, "the old certificate stays"),
                }
                match access.reload() {
                    Ok(()) => tracing::info!("read the access lists again"),
                    Err(error) => tracing::error!(%error, "the old access lists stay"),
                }
            });
            if let Err(error) = reading.await {
                tracing::error!(%error, "reading the files again failed");
            }
        }
    });
    Ok(())
}

/// There is no hangup here.
#[cfg(not(unix))]
pub(crate) fn reload(_tls: Option<Tls>, _access: Access) -> std::io::Result<()> {
    Ok(())
}
