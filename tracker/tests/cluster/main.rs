//! Many trackers as one. What is said of nodes holds wherever they meet, so each test of the first modules runs in memory
//! and in Redis:
//! - `backend`: who is told of whom, whose peer id it is, what expires; also in a Redis Cluster;
//! - `signalling`: announces, offers, answers and scrapes of clients of several nodes;
//! - `relaying`: channels between clients of two nodes;
//! - `visiting`: the same where nodes have public addresses, and clients go to each other's;
//! - `failing`: the others are out of reach, and come back;
//! - `servers`: a Redis Cluster of which a server is lost, or slots move; and Redis with TLS;
//! - `program`: as its owner runs it, with nodes that are killed and a Redis that is restarted.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::large_futures, reason = "helpers of tests are tests")]

/// Makes a test for each place where nodes can meet.
macro_rules! in_memory_and_in_redis {
    ($($name:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::World::memory()).await;
            })+
        }

        mod in_redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::World::redis().await).await;
            })+
        }
    };
}

mod backend;
#[path = "../server/client.rs"]
#[allow(dead_code, reason = "shared with the tests of one node, which use more of it")]
mod client;
mod failing;
mod place;
#[path = "../operations/program.rs"]
#[allow(dead_code, reason = "shared with the tests of one node, which use more of it")]
mod process;
mod program;
mod relaying;
mod servers;
mod signalling;
mod visiting;
