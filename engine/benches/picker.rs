//! What the picker costs as torrents grow: choosing a piece, a HAVE, a peer that comes, a peer that leaves.
//!
//! 200 peers are linked: 40 that have everything, 80 with a random half, 80 with a random fiftieth. Every piece is on offer.
//! The table in docs/STRATEGY.md comes from here: `cargo bench -p engine --bench picker`.

#![allow(missing_docs, reason = "what criterion's macros make has none")]

#[path = "../src/api.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the picker is the engine's own, so its source is included here"
)]
mod api;
#[path = "../src/picker.rs"]
#[allow(dead_code, unused_imports, reason = "the picker is the engine's own, so its source is included here")]
mod picker;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use picker::Picker;
use shared::Geometry;
use shared::wire::Bitfield;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const PEERS: usize = 200;

struct Scene {
    geometry: Geometry,
    picker: Picker,
    peers: Vec<Bitfield>,
    rng: Rng,
}

/// Each piece with this probability.
fn some(geometry: Geometry, share: f64, rng: &mut Rng) -> Bitfield {
    let mut has = Bitfield::none(geometry.piece_count());
    for piece in geometry.pieces() {
        if rng.f64() < share {
            has.insert(piece);
        }
    }
    has
}

fn scene(pieces: u32) -> Scene {
    let geometry = Geometry::new(u64::from(pieces) << 18, 1 << 18).expect("within limits");
    let mut rng = Rng::with_seed(1);
    let mut picker = Picker::new(geometry);
    geometry.pieces().for_each(|piece| picker.offer(piece));
    let shares = [1.0, 0.5, 0.5, 0.02, 0.02];
    let peers: Vec<_> = (0..PEERS).map(|peer| some(geometry, shares[peer % 5], &mut rng)).collect();
    peers.iter().for_each(|has| picker.peer_joined(has));
    Scene { geometry, picker, peers, rng }
}

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for pieces in SIZES {
        let Scene { picker, peers, mut rng, geometry } = scene(pieces);
        for (name, peer) in [("from a seeder", 0), ("from one with half", 1), ("from one with a fiftieth", 3)]
        {
            group.bench_function(BenchmarkId::new(name, pieces), |bencher| {
                bencher.iter(|| black_box(picker.rarest(black_box(&peers[peer]), None, &mut rng)));
            });
        }
        // The worst case: half of the pieces are rare, and this peer has all of the others.
        let mut picker = Picker::new(geometry);
        geometry.pieces().for_each(|piece| picker.offer(piece));
        let mut common = Bitfield::none(pieces);
        geometry.pieces().skip(pieces as usize / 2).for_each(|piece| {
            common.insert(piece);
        });
        picker.peer_joined(&Bitfield::all(pieces));
        (1..PEERS).for_each(|_| picker.peer_joined(&common));
        group.bench_function(BenchmarkId::new("from one that lacks all that is rare", pieces), |bencher| {
            bencher.iter(|| black_box(picker.rarest(black_box(&common), None, &mut rng)));
        });
        geometry.pieces().skip(pieces as usize / 2).for_each(|piece| picker.withdraw(piece));
        group.bench_function(BenchmarkId::new("from one that has nothing on offer", pieces), |bencher| {
            bencher.iter(|| black_box(picker.rarest(black_box(&common), None, &mut rng)));
        });
    }
    group.finish();
}

fn have(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("have");
    for pieces in SIZES {
        let Scene { mut picker, mut rng, geometry, .. } = scene(pieces);
        group.bench_function(BenchmarkId::from_parameter(pieces), |bencher| {
            bencher.iter(|| {
                // Got and lost again, so that the counts stay where they are: this is twice the cost of a HAVE.
                if let Some(piece) = geometry.piece(rng.u32(0..pieces)) {
                    picker.peer_got(piece);
                    picker.peer_lost(piece);
                }
            });
        });
    }
    group.finish();
}

/// A peer comes, or leaves; the other half of the round trip is not measured.
fn join_and_leave(criterion: &mut Criterion) {
    for (name, peer) in [("a seeder", 0), ("one with half", 1), ("one with a fiftieth", 3)] {
        let mut group = criterion.benchmark_group(name);
        for pieces in SIZES {
            let Scene { mut picker, peers, .. } = scene(pieces);
            let has = &peers[peer];
            let cell = std::cell::RefCell::new(&mut picker);
            group.bench_function(BenchmarkId::new("joins", pieces), |bencher| {
                let leave = || cell.borrow_mut().peer_left(has);
                bencher.iter_batched(leave, |()| cell.borrow_mut().peer_joined(has), BatchSize::PerIteration);
            });
            group.bench_function(BenchmarkId::new("leaves", pieces), |bencher| {
                let join = || cell.borrow_mut().peer_joined(has);
                bencher.iter_batched(join, |()| cell.borrow_mut().peer_left(has), BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = pick, have, join_and_leave
}
criterion_main!(benches);
