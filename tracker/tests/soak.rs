//! The soak of `cargo xtask soak`, short and with few clients: they come, announce themselves, relay and leave, and nothing is left.
#![allow(clippy::unwrap_used, dead_code, reason = "shared with the benchmark, which uses more of it")]
#![cfg(target_os = "linux")]

#[path = "../benches/load/announces.rs"]
mod announces;
#[path = "../benches/load/machine.rs"]
mod machine;
#[path = "../benches/load/servers.rs"]
mod servers;
#[path = "../benches/load/soak.rs"]
mod soak;
#[path = "../benches/load/socket.rs"]
mod socket;

use std::time::Duration;

#[tokio::test]
async fn nobody_and_nothing_is_left_of_those_who_came_and_went() {
    let plan = soak::Plan { clients: 100, rounds: 2, round: Duration::from_secs(3) };
    soak::run(&plan).await.unwrap();
}
