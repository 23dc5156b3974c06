//! The tracker under load: `cargo xtask bench tracker [announces|aquatic|memory|relay]`, and `cargo xtask soak`.
//!
//! Servers run as processes of their own on one core, all clients in this process on another, so that what is told for each core is
//! what one core does. Beside ours, in the same run and with the same clients: aquatic_ws and bittorrent-tracker, and for the relay
//! a bare forwarder. Rounds go in turns, and medians count.
//!
//! - `announces`: replies, offers and answers a second;
//! - `aquatic`: the same with the clients of aquatic's load test, over TLS;
//! - `idle`: memory of connections and channels that do nothing;
//! - `relays`: bytes a second;
//! - `soak`: many clients that come and go for a long time, and what is left of them;
//! - `socket`, `servers`, `bare`, `machine`: clients, servers, and what they run on.

mod announces;
mod aquatic;
mod bare;
mod idle;
mod machine;
mod relays;
mod servers;
mod soak;
mod socket;

use anyhow::{Context, Result, bail};

use servers::{Certificate, Kind, SERVER_CORE, Server};

/// Times that each figure is taken; the median counts.
const ROUNDS: usize = 3;

/// Connections that announce.
const CLIENTS: [usize; 3] = [200, 1000, 10_000];

/// Connections of aquatic's load test.
const AQUATIC_CLIENTS: [usize; 2] = [200, 1000];

/// Connections that do nothing.
const IDLE: usize = 10_000;

/// Pairs that relay.
const PAIRS: [usize; 3] = [1, 10, 100];

/// File handles that are not connections.
const OTHER_FILES: u64 = 64;

/// Servers that are measured beside ours.
const TRACKERS: [Kind; 3] = [Kind::Ours, Kind::Aquatic, Kind::BittorrentTracker];

fn main() -> Result<()> {
    // Cargo says `--bench` to every benchmark.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let open_files = machine::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words == ["bare"] {
        return runtime.block_on(bare::serve());
    }
    let is_pinned = machine::cores() > 1 && machine::pin(SERVER_CORE + 1);
    match words.as_slice() {
        ["soak", rest @ ..] => runtime.block_on(soak::run(&soak::Plan::parse(rest)?)),
        words => {
            let is_ours_alone = words.contains(&"ours");
            let kinds = if is_ours_alone { &TRACKERS[..1] } else { &TRACKERS };
            let words: Vec<&str> = words.iter().copied().filter(|word| *word != "ours").collect();
            println!(
                "{} cores, {}; {} files may be open",
                machine::cores(),
                if is_pinned { "servers on one, clients on another" } else { "not pinned" },
                open_files.map_or_else(|| "who knows how many".to_owned(), |files| files.to_string()),
            );
            let room = open_files.map_or(usize::MAX, |files| {
                usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
            });
            // The last needs programs that ours alone does not.
            let all = ["announces", "memory", "relay", "aquatic"];
            let all = if is_ours_alone { &all[..3] } else { &all };
            for word in if words.is_empty() { all } else { &words[..] } {
                match *word {
                    "announces" => runtime.block_on(announces(kinds, room))?,
                    "aquatic" => aquatic_clients(is_ours_alone)?,
                    "memory" => runtime.block_on(memory(kinds, room))?,
                    "relay" => runtime.block_on(relay())?,
                    other => bail!(
                        "there is no figure {other:?}: announces, aquatic, memory, relay, each with `ours` for ours alone"
                    ),
                }
            }
            Ok(())
        }
    }
}

async fn announces(kinds: &[Kind], room: usize) -> Result<()> {
    println!("\nannounces with five offers, every offer answered; medians of {ROUNDS} rounds in turns");
    println!(
        "connections  server               messages/s   a core   core   latency, ms: half, 99 of 100, longest   MiB"
    );
    for clients in CLIENTS {
        let clients = clients.min(room);
        let servers = kinds.iter().map(|kind| Server::start(*kind)).collect::<Result<Vec<_>>>()?;
        let mut rounds: Vec<Vec<announces::Figures>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                let figures = announces::measure(server, clients);
                rounds.push(figures.await.with_context(|| server.kind.name())?);
            }
        }
        for (server, rounds) in servers.iter().zip(rounds) {
            let of = |figure: fn(&announces::Figures) -> f64| median(rounds.iter().map(figure).collect());
            println!(
                "{clients:>11}  {:<19}  {:>10.0}   {:>6.0}   {:>4.2}   {:>18.1}  {:>9.1}  {:>7.1}   {:>3.0}",
                server.kind.name(),
                of(|round| round.rate),
                of(|round| round.rate_per_core),
                of(|round| round.core),
                of(|round| round.latency[0]),
                of(|round| round.latency[1]),
                of(|round| round.latency[2]),
                of(|round| round.memory as f64) / f64::from(1 << 20),
            );
        }
    }
    Ok(())
}

fn aquatic_clients(is_ours_alone: bool) -> Result<()> {
    let kinds = if is_ours_alone { &[Kind::Ours][..] } else { &[Kind::Ours, Kind::Aquatic] };
    println!("\naquatic_ws_load_test over TLS; medians of {ROUNDS} rounds in turns");
    println!("connections  server               messages/s   a core   core");
    let certificate = Certificate::new()?;
    for clients in AQUATIC_CLIENTS {
        let mut rounds: Vec<Vec<aquatic::Figures>> = kinds.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            // Anew each time: its clients announce themselves in swarms of their own, and the last ones are not forgotten soon.
            for (kind, rounds) in kinds.iter().zip(&mut rounds) {
                let server = Server::start_tls(*kind, &certificate)?;
                rounds.push(aquatic::measure(&server, clients).with_context(|| kind.name())?);
            }
        }
        for (kind, rounds) in kinds.iter().zip(rounds) {
            let of = |figure: fn(&aquatic::Figures) -> f64| median(rounds.iter().map(figure).collect());
            println!(
                "{clients:>11}  {:<19}  {:>10.0}   {:>6.0}   {:>4.2}",
                kind.name(),
                of(|round| round.rate),
                of(|round| round.rate_per_core),
                of(|round| round.core),
            );
        }
    }
    Ok(())
}

async fn memory(kinds: &[Kind], room: usize) -> Result<()> {
    let clients = IDLE.min(room);
    println!("\nmemory, {clients} connections that have announced themselves once");
    for kind in kinds {
        let server = Server::start(*kind)?;
        let bytes = idle::connection(&server, clients).await.with_context(|| kind.name())?;
        println!("{:<19}  {bytes:>7.0} bytes for each", kind.name());
    }
    let server = Server::start(Kind::Ours)?;
    println!("a relay channel      {:>7.0} bytes", idle::channel(&server).await?);
    Ok(())
}

async fn relay() -> Result<()> {
    println!(
        "\nrelay, medians of {ROUNDS} rounds in turns; MiB/s, and MiB for a second of the server's core"
    );
    println!("pairs   frame    tracker    bare   ratio     a core:  tracker    bare   ratio");
    let servers = [Server::start(Kind::Ours)?, Server::start(Kind::Bare)?];
    for pairs in PAIRS {
        for frame in relays::FRAMES {
            let mut rounds = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (server, rounds) in servers.iter().zip(&mut rounds) {
                    let figures = relays::measure(server, pairs, frame);
                    rounds.push(figures.await.with_context(|| server.kind.name())?);
                }
            }
            let of = |figure: fn(&relays::Figures) -> f64| {
                let of = |rounds: &[relays::Figures]| median(rounds.iter().map(figure).collect());
                [of(&rounds[0]) / f64::from(1 << 20), of(&rounds[1]) / f64::from(1 << 20)]
            };
            let ([tracker, bare], [core, bare_core]) =
                (of(|round| round.rate), of(|round| round.rate_per_core));
            println!(
                "{pairs:>5}  {:>2} KiB   {tracker:>8.0}  {bare:>6.0}   {:>5.2}             {core:>8.0}  {bare_core:>6.0}   {:>5.2}",
                frame / 1024,
                tracker / bare,
                core / bare_core,
            );
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
