//! What a second thread adds, without sockets: `cargo test --release -p tracker --lib -- --ignored scaling --nocapture`.
//!
//! Each thread speaks for its part of the clients of every swarm: it has the hub decide about their announces, and takes out what
//! waits for them; with `words`, it reads the announces out of JSON as well, and writes as JSON what it takes out. One shard is
//! one lock for all, as it was once. A hub for each thread is what nobody can surpass: they share nothing but the machine.
//!
//! How fast it is depends on what else the machine does; how long the threads stand still, because the other has the lock that
//! they want, does not: it is all their time but that on a processor, and that in which they were ready for one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::tests::waiting;
use super::*;
use crate::outbox::Next;
use crate::page::Page;

const SWARMS: usize = 40;
const PEERS: usize = 50;
const OFFERS: u64 = 5;
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

fn announce(swarm: usize, peer: usize, count: u64) -> String {
    // Some 900 bytes, with escapes as a browser's have them.
    let sdp =
        "a=candidate:2999745851 1 udp 2122260223 192.168.56.1 53410 typ host generation 0\\r\\n".repeat(11);
    let offer = |n| {
        let id = count * OFFERS + n;
        format!(r#"{{"offer":{{"type":"offer","sdp":"{sdp}"}},"offer_id":"{id:020}"}}"#)
    };
    let offers: Vec<String> = (0..OFFERS).map(offer).collect();
    format!(
        r#"{{"action":"announce","info_hash":"{swarm:020}","peer_id":"{peer:020}","left":1,"numwant":5,"offers":[{}]}}"#,
        offers.join(",")
    )
}

/// One client of a thread, and what it says again and again.
struct Speaker {
    connection: Connection,
    text: String,
    message: ToTracker,
}

impl Speaker {
    fn new(hub: &Hub, peer: usize) -> Self {
        let text = announce(peer / PEERS, peer, peer as u64);
        Self { connection: hub.connect(), message: ToTracker::read(&text).unwrap(), text }
    }
}

/// Time of this thread on a processor, and ready for one.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().unwrap());
    Duration::from_nanos(numbers.next().unwrap() + numbers.next().unwrap())
}

/// What some threads made.
#[derive(Default)]
struct Made {
    messages: AtomicU64,
    /// All their time, and that in which they stood still, in microseconds.
    time: AtomicU64,
    still: AtomicU64,
}

/// Messages a second that come out, and the part of their time that the threads stood still. They use these hubs in turn.
fn measure(hubs: &[Hub], threads: usize, words: bool) -> (f64, f64) {
    let (ends, made) = (AtomicBool::new(false), Made::default());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (hub, ends, made) = (&hubs[thread % hubs.len()], &ends, &made);
            scope.spawn(move || {
                let mine = (0..SWARMS * PEERS).filter(|n| n % threads == thread);
                let speakers: Vec<Speaker> = mine.map(|peer| Speaker::new(hub, peer)).collect();
                let (mut json, mut messages) = (Vec::new(), 0);
                let (began, spent) = (Instant::now(), busy());
                while !ends.load(Ordering::Relaxed) {
                    for Speaker { connection, text, message } in &speakers {
                        let message = if words { ToTracker::read(text).unwrap() } else { message.clone() };
                        hub.handle(connection, message, Instant::now());
                        while let Some(next) = waiting(&connection.outbox) {
                            let Next::Signal(message) = next else { panic!("{next:?}") };
                            if words {
                                json.clear();
                                message.write_json(&mut json);
                            }
                            messages += 1;
                        }
                    }
                }
                let (time, busy) = (began.elapsed(), busy() - spent);
                made.messages.fetch_add(messages, Ordering::Relaxed);
                made.time.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
                made.still.fetch_add(time.saturating_sub(busy).as_micros() as u64, Ordering::Relaxed);
            });
        }
        std::thread::sleep(TIME);
        ends.store(true, Ordering::Relaxed);
    });
    let Made { messages, time, still } = made;
    let time = time.into_inner() as f64;
    (messages.into_inner() as f64 / (time / 1e6 / threads as f64), still.into_inner() as f64 / time)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "a measurement, not a test"]
fn scaling() {
    let settings = Settings::new(Page::embedded());
    let hub = |shards| {
        let queues = Arc::new(Queues::new(&settings.limits));
        Hub::with_shards(shards, &settings, Arc::default(), queues)
    };
    let kinds = [("one lock", 1, 1), ("32 shards", 1, SHARDS), ("a hub each", 2, SHARDS)];
    for words in [false, true] {
        let mut rates = kinds.map(|_| [Vec::new(), Vec::new()]);
        let mut still = kinds.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (kind, (_, hubs, shards)) in kinds.into_iter().enumerate() {
                let hubs = || (0..hubs).map(|_| hub(shards)).collect::<Vec<_>>();
                rates[kind][0].push(measure(&hubs(), 1, words).0);
                let (rate, part) = measure(&hubs(), 2, words);
                rates[kind][1].push(rate);
                still[kind].push(part);
            }
        }
        for (((name, ..), rates), still) in kinds.into_iter().zip(rates).zip(still) {
            let [one, two] = rates.map(median);
            println!(
                "{name}, words {words}: one thread {one:.0} messages a second, two {two:.0}: {:.2}; stood still {:.0} % of the time",
                two / one,
                median(still) * 100.0,
            );
        }
    }
}
