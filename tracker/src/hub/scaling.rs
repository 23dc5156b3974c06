//! What a second thread adds, without sockets: `cargo test --release -p tracker --lib -- --ignored scaling --nocapture`.
//!
//! Each thread speaks for its part of the clients of every swarm: it reads their messages out of JSON, has the hub decide, and
//! writes what waits for them as JSON. One shard is one lock for all, as it was once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shared::limits::MAX_OFFERS;

use super::tests::waiting;
use super::*;
use crate::outbox::Next;
use crate::page::Page;

const SWARMS: usize = 40;
const PEERS: usize = 50;
const OFFERS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

/// Some 900 bytes, with escapes as a browser's have them.
fn sdp() -> String {
    "a=candidate:2999745851 1 udp 2122260223 192.168.56.1 53410 typ host generation 0\\r\\n".repeat(11)
}

fn announce(swarm: usize, peer: usize, count: u64, sdp: &str) -> String {
    let offer = |n| {
        format!(
            r#"{{"offer":{{"type":"offer","sdp":"{sdp}"}},"offer_id":"{:020}"}}"#,
            count * MAX_OFFERS as u64 + n
        )
    };
    let offers: Vec<String> = (0..OFFERS as u64).map(offer).collect();
    format!(
        r#"{{"action":"announce","info_hash":"{swarm:020}","peer_id":"{peer:020}","left":1,"numwant":5,"offers":[{}]}}"#,
        offers.join(",")
    )
}

/// One client of a thread.
struct Speaker {
    connection: Connection,
    swarm: usize,
    peer: usize,
}

/// Messages a second that come out, with so many threads.
fn rate(shards: usize, threads: usize) -> f64 {
    let settings = Settings::new(Page::embedded());
    let queues = Arc::new(Queues::new(&settings.limits));
    let hub = Hub::with_shards(shards, &settings, Arc::default(), queues);
    let (ends, sum) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (hub, ends, sum) = (&hub, &ends, &sum);
            scope.spawn(move || {
                let speakers: Vec<Speaker> = (0..SWARMS * PEERS)
                    .filter(|n| n % threads == thread)
                    .map(|peer| Speaker { connection: hub.connect(), swarm: peer / PEERS, peer })
                    .collect();
                let (sdp, mut json, mut out, mut count) = (sdp(), Vec::new(), 0, 0);
                while !ends.load(Ordering::Relaxed) {
                    for speaker in &speakers {
                        count += 1;
                        let text = announce(speaker.swarm, speaker.peer, count, &sdp);
                        hub.handle(&speaker.connection, ToTracker::read(&text).unwrap(), Instant::now());
                        while let Some(next) = waiting(&speaker.connection.outbox) {
                            let Next::Signal(message) = next else { panic!("{next:?}") };
                            json.clear();
                            message.write_json(&mut json);
                            out += 1;
                        }
                    }
                }
                sum.fetch_add(out, Ordering::Relaxed);
            });
        }
        std::thread::sleep(TIME);
        ends.store(true, Ordering::Relaxed);
    });
    sum.into_inner() as f64 / TIME.as_secs_f64()
}

#[test]
#[ignore = "a measurement, of a release build on a machine with nothing else to do"]
fn scaling() {
    for shards in [1, SHARDS] {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            rates[0].push(rate(shards, 1));
            rates[1].push(rate(shards, 2));
        }
        let [one, two] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2]
        });
        println!("{shards:>2} shards: one thread {one:.0} messages a second, two {two:.0}: {:.2}", two / one);
    }
}
