//! Large swarms in virtual time: `cargo xtask bench sim`. Prints a table, and draws completion over time and cost over the
//! number of peers into the folder that is its argument.

#![expect(clippy::unwrap_used, reason = "a figure that cannot be taken ends the program")]

#[path = "../tests/swarm/agenda.rs"]
mod agenda;
#[path = "../tests/swarm/cost.rs"]
mod cost;
#[path = "../tests/swarm/parcel.rs"]
mod parcel;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/swarm/scenario.rs"]
mod scenario;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/swarm/traffic.rs"]
mod traffic;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/swarm/world/mod.rs"]
mod world;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use cost::{most_memory, processor_time};
use scenario::{LIMIT, UNEVEN, flash_crowd, leechers, lower_bound, median, over_bound, times, wasted_share};
use world::Setting;

/// One swarm's curve.
struct Curve {
    peers: usize,
    times: Vec<f64>,
    bound: f64,
    ratio: f64,
    /// Processor time for a virtual second and peer, in milliseconds.
    cost: f64,
}

fn main() {
    // Cargo gives benchmarks an argument of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let folder = PathBuf::from(words.first().map_or(".", String::as_str));
    let sizes: Vec<usize> = match words.get(1) {
        Some(most) => [10, 100, 1000].into_iter().filter(|size| *size <= most.parse().unwrap()).collect(),
        None => vec![10, 100, 1000],
    };
    println!(
        "flash crowds: one seeder, all others at once; 32 MiB in pieces of 128 KiB, lines of 1 MiB/s up and 4 down"
    );
    println!(
        "| leechers | bound | first | median | last | last over bound | wasted | messages | processor time | memory so far |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut curves = Vec::new();
    for size in sizes {
        let (start, before) = (Instant::now(), processor_time());
        let mut world = flash_crowd(Setting::default(), size, UNEVEN);
        let all = leechers(&world);
        world.complete(&all, LIMIT);
        // Where the system does not tell the processor's time, the clock's.
        let took = processor_time().zip(before).map(|(after, before)| after.saturating_sub(before));
        let took = took.unwrap_or_else(|| start.elapsed()).as_secs_f64();
        let times = times(&world, &all);
        let bound = lower_bound(&world).as_secs_f64();
        println!(
            "| {size} | {bound:.1} s | {:.1} s | {:.1} s | {:.1} s | {:.3} | {:.2} % | {} | {took:.1} s | {} |",
            times[0],
            median(&times),
            times[times.len() - 1],
            over_bound(&world),
            wasted_share(&world) * 100.0,
            world.messages,
            memory()
        );
        eprintln!("{size} leechers: trace {:016x}", world.trace());
        let cost = took * 1000.0 / world.now.as_duration().as_secs_f64() / size as f64;
        curves.push(Curve { peers: size, ratio: over_bound(&world), times, bound, cost });
    }
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("sim-completion.svg", completion(&curves)), ("sim-cost.svg", costs(&curves))] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        println!("{}", path.display());
    }
}

/// The most that this process has held, as far as the system says.
fn memory() -> String {
    most_memory().map_or_else(|| "?".into(), |bytes| format!("{} MiB", bytes >> 20))
}

const COLOURS: [&str; 3] = ["#1b7f79", "#c8553d", "#5b4b8a"];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;

/// A picture with both axes; what is inside is added to it.
fn picture(title: &str, below: &str) -> String {
    let (right, bottom) = (WIDTH - MARGIN, HEIGHT - MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"14\">{title}</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{below}</text>\n\
         <path d=\"M{MARGIN} {MARGIN}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\n",
        HEIGHT - 8.0
    )
}

/// Share of the peers that are complete, over the time since they came, in multiples of the lower bound.
fn completion(curves: &[Curve]) -> String {
    let most = curves.iter().map(|curve| curve.ratio).fold(1.0, f64::max) * 1.05;
    let x = |ratio: f64| MARGIN + ratio / most * (WIDTH - 2.0 * MARGIN);
    let y = |share: f64| HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
    let mut svg = picture("Share of the leechers that have the file", "time, in lower bounds");
    let _ = writeln!(
        svg,
        "<path d=\"M{0:.1} {MARGIN}V{1}\" stroke=\"gray\" stroke-dasharray=\"4\"/><text x=\"{0:.1}\" y=\"{2}\" text-anchor=\"middle\">1</text>",
        x(1.0),
        HEIGHT - MARGIN,
        HEIGHT - MARGIN + 16.0
    );
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let mut path = format!("M{:.1} {:.1}", x(0.0), y(0.0));
        let step = (curve.times.len() / 200).max(1);
        for (done, time) in
            curve.times.iter().enumerate().filter(|(n, _)| n % step == 0 || n + 1 == curve.times.len())
        {
            let _ = write!(
                path,
                "H{:.1}V{:.1}",
                x(time / curve.bound),
                y((done + 1) as f64 / curve.times.len() as f64)
            );
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
    }
    legend(&mut svg, curves, |curve| format!("{} leechers: last at {:.3}", curve.peers, curve.ratio));
    svg + "</svg>\n"
}

/// What a peer costs to simulate for a virtual second, over the number of peers (both logarithmic).
fn costs(curves: &[Curve]) -> String {
    let most = curves.iter().map(|curve| curve.cost).fold(0.1, f64::max) * 1.2;
    let x = |peers: usize| MARGIN + (peers as f64).log10() / 3.2 * (WIDTH - 2.0 * MARGIN);
    let y = |cost: f64| HEIGHT - MARGIN - cost / most * (HEIGHT - 2.0 * MARGIN);
    let mut svg = picture("Processor time for a peer and a second, ms", "leechers (logarithmic)");
    let mut path = String::new();
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let letter = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{:.1} {:.1}", x(curve.peers), y(curve.cost));
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>",
            x(curve.peers),
            y(curve.cost)
        );
    }
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"gray\"/>");
    legend(&mut svg, curves, |curve| format!("{} leechers: {:.3} ms", curve.peers, curve.cost));
    svg + "</svg>\n"
}

fn legend(svg: &mut String, curves: &[Curve], words: impl Fn(&Curve) -> String) {
    for (n, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
        let y = MARGIN + 16.0 * (n as f64 + 1.0);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{}</text>",
            MARGIN + 12.0,
            words(curve)
        );
    }
}
