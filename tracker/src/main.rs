//! The command line of the tracker: see `tracker --help`.

mod program;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use program::options::{Options, Sources};
use program::signals;
use tracker::page::HOW_TO_BUILD;
use tracker::{Settings, listen};

fn main() -> ExitCode {
    let result = Options::read(&std::env::args_os().collect::<Vec<_>>()).and_then(|(options, sources)| {
        if options.check_config { check(&options, &sources) } else { start(&options) }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tracker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what would be used. Nothing is opened for writing, and the port is left alone.
fn check(options: &Options, sources: &Sources) -> anyhow::Result<()> {
    options.log().filter()?;
    options.settings()?;
    options.check_state()?;
    // Nobody may be reading: that is no reason to fail.
    let _ = writeln!(std::io::stdout(), "The configuration can be used.\n{sources}");
    Ok(())
}

fn start(options: &Options) -> anyhow::Result<()> {
    options.log().start()?;
    let mut settings = options.settings()?;
    settings.state = options.state()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options, settings))
}

async fn serve(options: &Options, settings: Settings) -> anyhow::Result<()> {
    let shutdown = signals::stop(settings.restart.clone()).context("cannot wait for ctrl-c")?;
    signals::reload(settings.tls.clone(), settings.access.clone()).context("cannot wait for a hangup")?;
    let listener = listen::bind(options.listen)?;
    let url = listen::page_url(listener.local_addr()?, settings.tls.is_some());
    if !settings.page.is_built() {
        eprintln!("The page has not been built yet: {HOW_TO_BUILD}. The WebSocket works.");
    }
    tracing::info!(%url, "listening");
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{url}").and_then(|()| stdout.flush());
    tracker::run(listener, settings, shutdown).await?;
    Ok(())
}
