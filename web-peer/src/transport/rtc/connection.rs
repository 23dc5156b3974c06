//! One `RTCPeerConnection` and its data channel: the browser's objects, the handlers set on them, and their release.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};
use gloo_timers::callback::Timeout;
use js_sys::{Array, ArrayBuffer, Function, Math, Reflect};
use shared::signal::{IceServer, SessionDescription};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelState,
    RtcDataChannelType, RtcIceGatheringState, RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent,
    RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use super::collect;
use super::description::Kind;
use super::outbox::Outbox;
use super::table::Table;
use super::{HIGH_WATER, LOW_WATER, MESSAGE_BYTES, RtcEnd, RtcError, RtcEvent, RtcId};
use crate::{browser_error, buffers};

/// A function that the browser calls.
type Handler = Closure<dyn Fn(JsValue)>;

thread_local! {
    /// A connection could be made on this page.
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the browser has the class, and its constructor works (a policy can make it throw).
pub(super) fn is_available() -> bool {
    if !has_class() {
        return false;
    }
    if WORKS.get() {
        return true;
    }
    match RtcPeerConnection::new() {
        Ok(peer) => {
            peer.close();
            WORKS.set(true);
            true
        }
        Err(error) => collect::is_too_many(&error),
    }
}

/// Naming a class that is missing throws, so it is looked up as a property.
fn has_class() -> bool {
    Reflect::get(&js_sys::global(), &"RTCPeerConnection".into()).is_ok_and(|class| class.is_function())
}

/// One connection.
pub(super) struct Connection {
    peer: RtcPeerConnection,
    channel: Option<RtcDataChannel>,
    outbox: Outbox,
    /// Bytes sent since the owner was last told of room.
    untold: usize,
    /// At how many bytes the browser says that its buffer has fallen.
    threshold: usize,
    /// Longest message that both sides take, in bytes.
    message_bytes: usize,
    pub(super) progress: Progress,
    handlers: Vec<Handler>,
    /// What waits for the browser's promises. Promises of a closed connection may never settle, so that the tasks would
    /// keep it for ever.
    tasks: Vec<AbortHandle>,
    gathering: Vec<Timeout>,
    connecting: Option<Timeout>,
    disconnected: Option<Timeout>,
}

/// How far a connection has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// We began it.
    pub(super) initiator: bool,
    /// There is a candidate.
    pub(super) has_candidate: bool,
    /// The local description is set, and candidates are being gathered.
    pub(super) gathering: bool,
    /// The local description was handed out.
    pub(super) described: bool,
    /// The answer was taken.
    pub(super) answered: bool,
    /// The channel has been open.
    pub(super) opened: bool,
}

impl Connection {
    /// Makes the browser's object, with handlers that tell `table`. None if the browser has too many just now, see
    /// [`collect`].
    pub(super) fn new(ice: &[IceServer], table: &Weak<Table>, id: RtcId) -> Result<Option<Self>, RtcError> {
        if !is_available() {
            return Err(RtcError::Unavailable);
        }
        let peer = match RtcPeerConnection::new_with_configuration(&configuration(ice)) {
            Ok(peer) => peer,
            Err(error) if collect::is_too_many(&error) => return Ok(None),
            Err(error) => return Err(RtcError::Refused(browser_error::sentence(&error))),
        };
        let mut connection = Self {
            peer,
            channel: None,
            outbox: Outbox::default(),
            untold: 0,
            threshold: 0,
            message_bytes: MESSAGE_BYTES,
            progress: Progress::default(),
            handlers: Vec::new(),
            tasks: Vec::new(),
            gathering: Vec::new(),
            connecting: None,
            disconnected: None,
        };
        let candidate = connection.handler(table, id, |table, id, event| {
            let event: &RtcPeerConnectionIceEvent = event.unchecked_ref();
            match event.candidate() {
                Some(_) => table.candidate(id),
                None => table.gathered(id),
            }
        });
        connection.peer.set_onicecandidate(Some(&candidate));
        let gathering = connection.handler(table, id, |table, id, _| table.gathering_changed(id));
        connection.peer.set_onicegatheringstatechange(Some(&gathering));
        let state = connection.handler(table, id, |table, id, _| table.state_changed(id));
        connection.peer.set_onconnectionstatechange(Some(&state));
        Ok(Some(connection))
    }

    /// The other side takes messages of so many bytes.
    pub(super) fn limit_messages(&mut self, longest: usize) {
        self.message_bytes = self.message_bytes.min(longest);
    }

    /// Makes the channel, as the initiator does.
    pub(super) fn make_channel(&mut self, table: &Weak<Table>, id: RtcId) {
        // Nobody reads the label. 40 hexadecimal digits are what WebTorrent's have.
        let label: String =
            (0..5).map(|_| format!("{:08x}", (Math::random() * 4_294_967_296.0) as u32)).collect();
        let channel = self.peer.create_data_channel(&label);
        self.use_channel(channel, table, id);
    }

    /// Takes the other side's first channel, as the answerer does.
    pub(super) fn expect_channel(&mut self, table: &Weak<Table>, id: RtcId) {
        let found = self.handler(table, id, |table, id, event| {
            let event: &RtcDataChannelEvent = event.unchecked_ref();
            table.channel_came(id, event.channel());
        });
        self.peer.set_ondatachannel(Some(&found));
    }

    /// Whether there is a channel, open or not.
    pub(super) fn has_channel(&self) -> bool {
        self.channel.is_some()
    }

    /// Whether the channel can be sent to.
    pub(super) fn is_open(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.ready_state() == RtcDataChannelState::Open)
    }

    /// Sets up the channel of this connection.
    pub(super) fn use_channel(&mut self, channel: RtcDataChannel, table: &Weak<Table>, id: RtcId) {
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        let open = self.handler(table, id, |table, id, _| table.opened(id));
        channel.set_onopen(Some(&open));
        let message = self.handler(table, id, |table, id, event| {
            let data = event.unchecked_ref::<MessageEvent>().data();
            match data.dyn_ref::<ArrayBuffer>() {
                Some(buffer) => table.received(id, buffers::taken(buffer)),
                None => table.end(id, RtcEnd::Text),
            }
        });
        channel.set_onmessage(Some(&message));
        let low = self.handler(table, id, |table, id, _| table.drained(id));
        channel.set_onbufferedamountlow(Some(&low));
        let close = self.handler(table, id, |table, id, _| table.end(id, RtcEnd::ByPeer));
        channel.set_onclose(Some(&close));
        self.channel = Some(channel);
    }

    /// A function for the browser, kept until this connection is released.
    fn handler(
        &mut self,
        table: &Weak<Table>,
        id: RtcId,
        act: impl Fn(&Rc<Table>, RtcId, &JsValue) + 'static,
    ) -> Function {
        let table = table.clone();
        let handler = Handler::new(move |event: JsValue| {
            if let Some(table) = table.upgrade() {
                act(&table, id, &event);
            }
        });
        let function = handler.as_ref().unchecked_ref::<Function>().clone();
        self.handlers.push(handler);
        function
    }

    /// Queues bytes and gives the browser what it takes.
    ///
    /// # Errors
    /// What the browser throws; the connection is then of no use.
    pub(super) fn send(&mut self, bytes: Bytes) -> Result<(), JsValue> {
        self.untold += bytes.len();
        self.outbox.push(bytes);
        self.flush()
    }

    /// The buffer has fallen to its threshold: gives the browser more. Returns whether there is room to be told of.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub(super) fn drained(&mut self) -> Result<bool, JsValue> {
        self.untold = 0;
        self.flush()?;
        Ok(self.room() > 0)
    }

    /// Gives the browser what waits, up to the mark, and asks to be told when to go on. An owner who counts what it sends
    /// believes that its room shrinks, so it is told often enough, and in the end when nothing is left.
    fn flush(&mut self) -> Result<(), JsValue> {
        let Some(channel) = &self.channel else { return Ok(()) };
        let mut buffered = channel.buffered_amount() as usize;
        while buffered < HIGH_WATER
            && let Some(message) = self.outbox.next(self.message_bytes)
        {
            // The browser copies it out of our memory, and nothing else does.
            channel.send_with_u8_array(&message)?;
            buffered += message.len();
        }
        // The event comes when the buffer falls to the threshold from above it.
        let threshold = match buffered {
            // There is more to give it then.
            _ if buffered > LOW_WATER => LOW_WATER,
            // It may never rise above the mark, while its owner sends on and on.
            _ if self.untold >= LOW_WATER => buffered.saturating_sub(1),
            _ => 0,
        };
        if threshold != self.threshold {
            self.threshold = threshold;
            channel.set_buffered_amount_low_threshold(threshold as u32);
        }
        Ok(())
    }

    /// Bytes that can be sent without waiting here.
    pub(super) fn room(&self) -> usize {
        let Some(channel) = &self.channel else { return 0 };
        HIGH_WATER.saturating_sub(channel.buffered_amount() as usize + self.outbox.len())
    }

    /// Starts to make our description: an offer, or the answer to `offer`. The table hears of its success or its end.
    pub(super) fn describe(&mut self, offer: Option<SessionDescription>, table: &Weak<Table>, id: RtcId) {
        let peer = self.peer.clone();
        let table = table.clone();
        self.start(async move {
            let made = make_description(&peer, offer).await;
            let Some(table) = table.upgrade() else { return };
            match made {
                Ok(()) => table.gathering_began(id),
                Err(end) => table.end(id, end),
            }
        });
    }

    /// Starts to take the answer.
    pub(super) fn accept(&mut self, answer: SessionDescription, table: &Weak<Table>, id: RtcId) {
        let peer = self.peer.clone();
        let table = table.clone();
        self.start(async move {
            if let Err(end) = set_remote(&peer, Kind::Answer, &answer).await
                && let Some(table) = table.upgrade()
            {
                table.end(id, end);
            }
        });
    }

    fn start(&mut self, task: impl Future<Output = ()> + 'static) {
        let (handle, registration) = AbortHandle::new_pair();
        self.tasks.push(handle);
        spawn_local(async move {
            // Aborted is as good as ended: the connection is released.
            let _ = Abortable::new(task, registration).await;
        });
    }

    /// Our description as it stands, if there is one.
    pub(super) fn local_sdp(&self) -> Option<String> {
        self.peer.local_description().map(|description| description.sdp())
    }

    pub(super) fn has_gathered(&self) -> bool {
        self.peer.ice_gathering_state() == RtcIceGatheringState::Complete
    }

    pub(super) fn state(&self) -> RtcPeerConnectionState {
        self.peer.connection_state()
    }

    /// Hands out the description `after` this time, if it has not been until then.
    pub(super) fn describe_after(&mut self, after: Duration, table: &Weak<Table>, id: RtcId) {
        self.gathering.push(timer(after, table, move |table| table.gathered(id)));
    }

    /// Ends the connection if it is not open in time.
    pub(super) fn time_connecting(&mut self, after: Duration, table: &Weak<Table>, id: RtcId) {
        self.connecting = Some(timer(after, table, move |table| table.not_in_time(id)));
    }

    pub(super) fn stop_connecting(&mut self) {
        self.connecting = None;
    }

    /// Has the table look again after this time whether it is still disconnected. Nothing new if it will already.
    pub(super) fn time_disconnected(&mut self, after: Duration, table: &Weak<Table>, id: RtcId) {
        if self.disconnected.is_none() {
            self.disconnected = Some(timer(after, table, move |table| table.still_disconnected(id)));
        }
    }

    pub(super) fn stop_disconnected(&mut self) {
        self.disconnected = None;
    }

    /// Closes everything. The browser calls nothing of ours after this.
    pub(super) fn release(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.peer.set_onicecandidate(None);
        self.peer.set_onicegatheringstatechange(None);
        self.peer.set_onconnectionstatechange(None);
        self.peer.set_ondatachannel(None);
        if let Some(channel) = &self.channel {
            channel.set_onopen(None);
            channel.set_onmessage(None);
            channel.set_onbufferedamountlow(None);
            channel.set_onclose(None);
            channel.close();
        }
        self.peer.close();
        // One of our handlers may be what is running: they are dropped when it has returned.
        spawn_local(async move { drop(self) });
    }
}

/// Acts after this time, if the table is still there and the timer is.
pub(super) fn timer(after: Duration, table: &Weak<Table>, act: impl FnOnce(&Rc<Table>) + 'static) -> Timeout {
    let table = table.clone();
    Timeout::new(u32::try_from(after.as_millis()).unwrap_or(u32::MAX), move || {
        if let Some(table) = table.upgrade() {
            act(&table);
        }
    })
}

fn configuration(ice: &[IceServer]) -> RtcConfiguration {
    let servers = Array::new();
    for server in ice {
        let entry = RtcIceServer::new();
        entry.set_urls(&server.urls.iter().map(|url| JsValue::from_str(url)).collect::<Array>());
        if let Some(username) = &server.username {
            entry.set_username(username);
        }
        if let Some(credential) = &server.credential {
            entry.set_credential(credential);
        }
        servers.push(&entry);
    }
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&servers);
    configuration
}

async fn make_description(peer: &RtcPeerConnection, offer: Option<SessionDescription>) -> Result<(), RtcEnd> {
    let made = match &offer {
        None => JsFuture::from(peer.create_offer()).await.map_err(|error| refused(&error))?,
        Some(offer) => {
            set_remote(peer, Kind::Offer, offer).await?;
            JsFuture::from(peer.create_answer()).await.map_err(|error| bad_description(&error))?
        }
    };
    let set = JsFuture::from(peer.set_local_description(made.unchecked_ref())).await;
    set.map(drop).map_err(|error| if offer.is_some() { bad_description(&error) } else { refused(&error) })
}

async fn set_remote(
    peer: &RtcPeerConnection,
    kind: Kind,
    description: &SessionDescription,
) -> Result<(), RtcEnd> {
    let init = RtcSessionDescriptionInit::new(match kind {
        Kind::Offer => RtcSdpType::Offer,
        Kind::Answer => RtcSdpType::Answer,
    });
    init.set_sdp(&description.sdp);
    let set = JsFuture::from(peer.set_remote_description(&init)).await;
    set.map(drop).map_err(|error| bad_description(&error))
}

fn refused(error: &JsValue) -> RtcEnd {
    RtcEnd::Refused(browser_error::sentence(error))
}

/// The browser's sentence quotes the line that it did not like, so only the error's name goes further.
fn bad_description(error: &JsValue) -> RtcEnd {
    log::debug!("the browser refused a description: {}", browser_error::sentence(error));
    RtcEnd::BadDescription(browser_error::name(error))
}

/// Tells the owner.
pub(super) type OnEvent = Box<dyn Fn(RtcId, RtcEvent)>;
