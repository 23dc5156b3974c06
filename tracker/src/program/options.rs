//! Every setting of the program: its flag, its variable, and its key in the configuration file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use shared::signal::{check_relay_url, parse_ice_servers};
use tracker::access::{Access, AccessFiles};
use tracker::address::{Networks, ProxyHeader};
use tracker::cluster::{ClusterSettings, HEARTBEAT, Place, Redis};
use tracker::settings::{ANNOUNCE_INTERVAL, DRAIN_TIME, PING_INTERVAL, RECONNECT_WITHIN};
use tracker::state::State;
use tracker::tls::Tls;
use tracker::{Page, Settings};

use super::file;
use super::limits::LimitOptions;
use super::log::{Format, LogSettings, Rotation};
use super::quantity::Period;

/// Headings of the help.
const TLS: &str = "TLS";
const ACCESS: &str = "Who may come";
const RESTART: &str = "Restart";
const CLUSTER: &str = "Many trackers";

const EXAMPLES: &str = "\
Examples:
  tracker
      on port 8000, with the page that was built in, for this machine and its network
  tracker --listen 127.0.0.1:8000
      for this machine alone
  tracker --listen [::]:443 --tls-cert cert.pem --tls-key key.pem --state tracker.redb
      on the internet; read docs/OPERATIONS.md first
  tracker --listen 127.0.0.1:8000 --trusted-proxies 127.0.0.1
      behind a proxy on this machine
  tracker --listen [::]:8000 --cluster redis://10.0.0.5
      one of many that share their swarms; each has the same --cluster
  tracker --config /etc/enxame/tracker.toml --check-config
      only reads the configuration and says whether it can be used

A configuration file is TOML. Its keys are the flags without the dashes:
  listen = \"0.0.0.0:8000\"
  ice-servers = [\"stun:stun.example.org:3478\"]
A variable goes before the file, and a flag before both.";

/// Introduces peers to each other, relays between them, and serves the page.
///
/// The page, the WebSocket (at any path; `/ws` is the usual one), `/health`, `/stats` and `/metrics` share one port. The first line
/// on standard output is the page's address.
#[derive(Debug, Parser)]
#[command(name = "tracker", version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Read settings from this TOML file; variables and flags go before it.
    #[arg(long, env = "ENXAME_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Read the whole configuration, say whether it can be used and where each setting comes from, and end.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Address and port to listen on; port 0 takes a free one.
    ///
    /// The default is reached from this machine (http://localhost:8000/) and from others in its network, over IPv6 and
    /// IPv4. 127.0.0.1:8000 is reached from this machine alone.
    #[arg(long, env = "ENXAME_LISTEN", value_name = "ADDR:PORT", default_value = "[::]:8000")]
    pub(crate) listen: SocketAddr,

    /// Serve the page in this folder, instead of the one that was built into the program.
    #[arg(long, env = "ENXAME_PAGE", value_name = "DIR")]
    page: Option<PathBuf>,

    /// ICE servers that pages use to find direct ways: addresses between commas, like `stun:stun.example.org:3478`, or a
    /// JSON list of `RTCIceServer` objects (TURN needs its `username` and `credential`), or `none`.
    ///
    /// Pages get the list with its credentials from this tracker. Without this setting they use their own list.
    #[arg(long, env = "ENXAME_ICE_SERVERS", value_name = "LIST", hide_env_values = true)]
    ice_servers: Option<String>,

    /// The server's certificate, PEM, with those that vouch for it behind it: the port then speaks https and wss. It is read
    /// again at SIGHUP.
    #[arg(long, env = "ENXAME_TLS_CERT", value_name = "FILE", help_heading = TLS)]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, PEM.
    #[arg(long, env = "ENXAME_TLS_KEY", value_name = "FILE", help_heading = TLS)]
    tls_key: Option<PathBuf>,

    /// Proxies that are believed when they say for whom they ask: networks between commas, like `127.0.0.1,10.0.0.0/8`.
    #[arg(long, env = "ENXAME_TRUSTED_PROXIES", value_name = "NETWORKS", default_value = "", help_heading = ACCESS)]
    trusted_proxies: Networks,

    /// The header in which they say it: `x-forwarded-for` or `forwarded`. The other one is not read.
    #[arg(long, env = "ENXAME_PROXY_HEADER", value_name = "NAME", default_value_t, help_heading = ACCESS)]
    proxy_header: ProxyHeader,

    /// Who may read `/metrics` and `/stats`: networks between commas; anybody if there is none.
    #[arg(long, env = "ENXAME_METRICS_FROM", value_name = "NETWORKS", default_value = "", help_heading = ACCESS)]
    metrics_from: Networks,

    /// Serve only the torrents in this file: an info-hash of 40 digits on each line, read again at SIGHUP.
    #[arg(long, env = "ENXAME_ALLOW_LIST", value_name = "FILE", help_heading = ACCESS)]
    allow_list: Option<PathBuf>,

    /// Do not serve the torrents in this file; like the list of those that are.
    #[arg(long, env = "ENXAME_DENY_LIST", value_name = "FILE", help_heading = ACCESS)]
    deny_list: Option<PathBuf>,

    /// Pages that may use this tracker: origins between commas, like `self,https://example.org`, where `self` is the page
    /// that the tracker serves; all if there is none.
    #[arg(long, env = "ENXAME_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',', help_heading = ACCESS)]
    allowed_origins: Vec<String>,

    /// Be private: clients must show one of the tokens in this file, one on each line, read again at SIGHUP.
    ///
    /// A token stands at the end of an address (`/?token=…` for the page, which then remembers it, `/ws?token=…` for a
    /// WebSocket), or in `Authorization: Bearer`.
    #[arg(long, env = "ENXAME_TOKENS", value_name = "FILE", help_heading = ACCESS)]
    tokens: Option<PathBuf>,

    /// Keep how often each torrent was completed, and lifetime totals, in this file.
    #[arg(long, env = "ENXAME_STATE", value_name = "FILE")]
    state: Option<PathBuf>,

    /// Be one of many trackers that share their swarms: the address of the Redis (or Valkey, version 7 or newer) where they
    /// meet, like `redis://:password@10.0.0.5:6379/0`, `rediss://redis.example.org` with TLS, or `redis+unix:///run/redis/redis.sock`.
    /// Of a Redis Cluster one server is enough; several stand between commas.
    #[arg(long, env = "ENXAME_CLUSTER", value_name = "URL", hide_env_values = true, help_heading = CLUSTER)]
    cluster: Option<String>,

    /// Believe a Redis with TLS (`rediss://`) if a certificate of this file, PEM, vouches for it, instead of those that the system
    /// knows.
    #[arg(long, env = "ENXAME_CLUSTER_CA", value_name = "FILE", help_heading = CLUSTER)]
    cluster_ca: Option<PathBuf>,

    /// Time between two signs of life of this node; the others take it for gone after three.
    #[arg(long, env = "ENXAME_CLUSTER_HEARTBEAT", value_name = "TIME", default_value_t = Period(HEARTBEAT), help_heading = CLUSTER)]
    cluster_heartbeat: Period,

    /// Address at which clients of the other nodes reach this one, like `wss://node1.example.org/ws`: they come here for relay
    /// channels to this node's peers, whose bytes then do not go through Redis.
    #[arg(long, env = "ENXAME_PUBLIC_URL", value_name = "URL", help_heading = CLUSTER)]
    public_url: Option<String>,

    /// Time over which clients spread when a restart (SIGTERM) tells them to connect anew.
    #[arg(long, env = "ENXAME_RECONNECT_WITHIN", value_name = "TIME", default_value_t = Period(RECONNECT_WITHIN), help_heading = RESTART)]
    reconnect_within: Period,

    /// Time that those who still relay get before a restart ends the program.
    #[arg(long, env = "ENXAME_DRAIN_TIME", value_name = "TIME", default_value_t = Period(DRAIN_TIME), help_heading = RESTART)]
    drain_time: Period,

    /// Time for which connections are still accepted after SIGTERM, while `/health` says `draining`, so that a balancer can
    /// notice.
    #[arg(long, env = "ENXAME_DRAIN_DELAY", value_name = "TIME", default_value_t = Period(Duration::ZERO), help_heading = RESTART)]
    drain_delay: Period,

    /// Time between two announces that clients are asked for; who is silent for twice as long is forgotten.
    #[arg(long, env = "ENXAME_ANNOUNCE_INTERVAL", value_name = "TIME", default_value_t = Period(ANNOUNCE_INTERVAL))]
    announce_interval: Period,

    /// Time between two pings to a client; who gives no sign of life for two of them is disconnected.
    #[arg(long, env = "ENXAME_PING_INTERVAL", value_name = "TIME", default_value_t = Period(PING_INTERVAL))]
    ping_interval: Period,

    /// Write the log to this file as well; it is appended to.
    #[arg(long, env = "ENXAME_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// When to begin a new log file; the date (and the hour) is then added to its name.
    #[arg(long, env = "ENXAME_LOG_ROTATION", value_name = "WHEN", default_value = "never")]
    log_rotation: Rotation,

    /// Log files to keep, where new ones are begun; the oldest are removed.
    #[arg(long, env = "ENXAME_LOG_KEEP", value_name = "COUNT", default_value = "14")]
    log_keep: NonZeroUsize,

    /// How to write the log: for people, or one JSON object a line.
    #[arg(long, env = "ENXAME_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: Format,

    /// How much to log: error, warn, info, debug or trace; or for each part, like `warn,tracker=debug`.
    #[arg(long, env = "ENXAME_LOG", value_name = "LEVEL", default_value = "info")]
    log: String,

    #[command(flatten)]
    limits: LimitOptions,
}

impl Options {
    /// Reads the command line, the environment, and the configuration file if one is named. Ends the program where
    /// clap does: at `--help`, `--version`, and flags that cannot be used.
    pub(crate) fn read(arguments: &[OsString]) -> anyhow::Result<(Self, Sources)> {
        let command = Self::command();
        let given = command.clone().get_matches_from(arguments);
        let Some(path) = given.get_one::<PathBuf>("config") else {
            return Ok((Self::from_arg_matches(&given)?, Sources::new(&command, &given, &[])));
        };
        let from_file = file::flags(path, &command, &given)?;
        let all = arguments.iter().chain(&from_file);
        let merged = command.clone().try_get_matches_from(all).map_err(|error| {
            // What the flags say was fine on its own. The first line is the sentence; the rest is about usage.
            let text = error.to_string();
            let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            anyhow::anyhow!("{}: {sentence}", path.display())
        })?;
        Ok((Self::from_arg_matches(&merged)?, Sources::new(&command, &given, &from_file)))
    }

    pub(crate) fn log(&self) -> LogSettings<'_> {
        LogSettings {
            level: &self.log,
            format: self.log_format,
            file: self.log_file.as_deref(),
            rotation: self.log_rotation,
            keep: self.log_keep.get(),
        }
    }

    /// What a tracker is to run with.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let page = match &self.page {
            Some(folder) => Page::from_folder(folder)?,
            None => Page::embedded(),
        };
        let mut settings = Settings::new(page);
        // A variable that is set to nothing is not set.
        if let Some(list) = self.ice_servers.as_deref().filter(|list| !list.trim().is_empty()) {
            settings.ice = Some(parse_ice_servers(list).context("`--ice-servers` cannot be used")?);
        }
        settings.announce_interval = self.announce_interval.0;
        settings.ping_interval = self.ping_interval.0;
        for (name, period) in [
            ("announce-interval", self.announce_interval),
            ("ping-interval", self.ping_interval),
            ("cluster-heartbeat", self.cluster_heartbeat),
        ] {
            if period.0.is_zero() {
                bail!("`--{name}` must be longer than nothing");
            }
        }
        if let Some(name) = self.limits.zero_rate() {
            bail!("`--{name}` must be more than nothing: `--max-channels 0` is how not to relay");
        }
        settings.tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::load(certificate, key)?),
            (None, None) => None,
            _ => bail!("`--tls-cert` and `--tls-key` go together"),
        };
        let files = AccessFiles {
            allow: self.allow_list.clone(),
            deny: self.deny_list.clone(),
            tokens: self.tokens.clone(),
        };
        settings.access = Access::load(files, self.origins()?)?;
        settings.proxies = self.trusted_proxies.clone();
        settings.proxy_header = self.proxy_header;
        settings.metrics_from = self.metrics_from.clone();
        settings.reconnect_within = self.reconnect_within.0;
        settings.drain_time = self.drain_time.0;
        settings.drain_delay = self.drain_delay.0;
        settings.limits = self.limits.limits();
        // As above.
        if let Some(url) = self.cluster.as_deref().filter(|url| !url.trim().is_empty()) {
            let authority = self.cluster_ca.as_deref().map(|path| {
                std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
            });
            let redis = Redis::with_authority(url.trim(), authority.transpose()?.as_deref())
                .context("`--cluster` cannot be used")?;
            let mut cluster = ClusterSettings::new(Place::Redis(redis), self.cluster_heartbeat.0);
            cluster.public_url = self.public_url()?;
            settings.cluster = Some(cluster);
        } else {
            let alone =
                [("public-url", self.public_url()?.is_some()), ("cluster-ca", self.cluster_ca.is_some())];
            if let Some((name, _)) = alone.into_iter().find(|(_, is_given)| *is_given) {
                bail!("`--{name}` is for one of many: it needs `--cluster`");
            }
        }
        Ok(settings)
    }

    /// Opens the state file, if there is to be one.
    pub(crate) fn state(&self) -> anyhow::Result<Option<State>> {
        Ok(self.state.as_deref().map(State::open).transpose()?)
    }

    /// Whether the state file could be opened or made. It may be in use.
    pub(crate) fn check_state(&self) -> anyhow::Result<()> {
        let folder =
            self.state.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        match folder.filter(|folder| !folder.is_dir()) {
            Some(folder) => bail!("there is no folder {} for the state file", folder.display()),
            None => Ok(()),
        }
    }

    fn public_url(&self) -> anyhow::Result<Option<String>> {
        let url = self.public_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        let checked = |url: &str| {
            let wrong = |wrong| {
                anyhow::anyhow!(
                    "`--public-url` cannot be used: {wrong}; one is written like wss://node1.example.org/ws"
                )
            };
            check_relay_url(url).map(|_| url.to_owned()).map_err(wrong)
        };
        url.map(checked).transpose()
    }

    fn origins(&self) -> anyhow::Result<Vec<String>> {
        let origins =
            self.allowed_origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty());
        let origins: Vec<String> = origins.map(str::to_owned).collect();
        if let Some(wrong) = origins.iter().find(|origin| *origin != "self" && !origin.contains("://")) {
            bail!(
                "`--allowed-origins`: {wrong:?} is no origin; one is written like https://example.org, or self"
            );
        }
        Ok(origins)
    }
}

/// Where the settings come from that are not the usual ones: each with its key.
#[derive(Debug)]
pub(crate) struct Sources(Vec<(String, &'static str)>);

impl Sources {
    fn new(command: &clap::Command, given: &ArgMatches, from_file: &[OsString]) -> Self {
        let mut sources = Vec::new();
        for argument in command.get_arguments() {
            let Some(key) = argument.get_long() else { continue };
            let in_file = from_file.iter().any(|flag| {
                let flag = flag.to_string_lossy();
                flag.strip_prefix("--")
                    .and_then(|flag| flag.split_once('='))
                    .is_some_and(|(name, _)| name == key)
            });
            // Not of every argument there is a source: `--help` is none that can be asked about.
            let source = match given.try_contains_id(argument.get_id().as_str()) {
                Ok(true) => given.value_source(argument.get_id().as_str()),
                _ => None,
            };
            match source {
                Some(ValueSource::CommandLine) => sources.push((key.to_owned(), "flag")),
                Some(ValueSource::EnvVariable) => sources.push((key.to_owned(), "variable")),
                _ if in_file => sources.push((key.to_owned(), "file")),
                _ => {}
            }
        }
        Self(sources)
    }
}

impl std::fmt::Display for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, source) in &self.0 {
            writeln!(f, "{key}: by a {source}")?;
        }
        write!(f, "All other settings are the usual ones.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_variable_named_after_its_flag() {
        for argument in Options::command().get_arguments() {
            let Some(key) =
                argument.get_long().filter(|key| !["check-config", "help", "version"].contains(key))
            else {
                continue;
            };
            let variable = format!("ENXAME_{}", key.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }
}
