//! The bare limit of direct links: a data channel between two pages, and nothing else.

use anyhow::{Context, Result};
use e2e::{BrowserOptions, Site, Tab};
use serde_json::json;

const PAGE: &str = include_str!("channel.html");
/// How a bare channel is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Bytes of a message.
    pub(crate) message: u64,
    /// Most bytes that wait in the sender's buffer.
    pub(crate) high_water: u64,
}

/// The ways to try: the best of them is the limit. The last is how our own transport does it.
pub(crate) const MANNERS: [Manner; 3] = [
    Manner { message: 16 << 10, high_water: 64 << 10 },
    Manner { message: 64 << 10, high_water: 64 << 10 },
    Manner { message: (64 << 10) + 16, high_water: 256 << 10 },
];

/// Two pages, each in a browser of its own, with a data channel between them.
pub(crate) struct Channel {
    from: Tab,
    to: Tab,
    _site: Site,
}

impl Channel {
    /// Opens both, and the channel.
    pub(crate) async fn open() -> Result<Self> {
        let site = Site::start(vec![("/", "text/html; charset=utf-8", PAGE.into())]).await?;
        let options = BrowserOptions::default();
        let (from, to) = tokio::try_join!(Tab::start(&options), Tab::start(&options))?;
        let url = site.url("/");
        tokio::try_join!(from.load(&url), to.load(&url))?;
        let offer = from.call("offer", vec![]).await?;
        let answer = to.call("answer", vec![offer]).await?;
        from.call("accept", vec![answer]).await?;
        Ok(Self { from, to, _site: site })
    }

    /// Its two tabs.
    pub(crate) fn tabs(&self) -> [&Tab; 2] {
        [&self.from, &self.to]
    }

    /// Seconds that `total` bytes take in this manner, first byte to last.
    pub(crate) async fn seconds(&self, total: u64, manner: Manner) -> Result<f64> {
        let Manner { message, high_water } = manner;
        self.to.call("expect", vec![json!(total)]).await?;
        self.from.call("send", vec![json!(total), json!(message), json!(high_water)]).await?;
        let took = self.to.call("received", vec![]).await?;
        Ok(took.as_f64().context("the bare page gives no time")? / 1000.0)
    }
}
