//! The page in a real browser, without tracker or peers: what it shows of a snapshot, that new snapshots leave what
//! is on the screen in place, and that gestures become commands.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use engine::{
    ByteCounts, PeerSnapshot, PieceCounts, PieceState, Priority, Rates, State, TorrentSnapshot, Transport,
    WhyRelayed,
};
use leptos::prelude::{LocalStorage, Set, WriteSignal, signal_local};
use shared::InfoHash;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::command::Command;
use web_peer::journal::{Happening, Who};
use web_peer::snapshot::{
    Alert, AllTime, FileView, IceChoice, IceView, Invitation, Notes, RateHistory, RateLimits, RtcView,
    Snapshot, StorageKind, StorageView, StreamingView, TorrentTrackerView, TorrentView, TrackerKind,
    TrackerState, TrackerView, TransportMode, Trouble, Waiting,
};
use web_sys::{
    ClipboardEvent, ClipboardEventInit, DataTransfer, DragEvent, DragEventInit, Element, File, HtmlElement,
    HtmlInputElement, HtmlProgressElement,
};

wasm_bindgen_test_configure!(run_in_browser);

/// The page, mounted in an `#app` of its own, which is taken away at the end.
struct Page {
    app: HtmlElement,
    set_snapshot: WriteSignal<Snapshot, LocalStorage>,
    commands: Rc<RefCell<Vec<Command>>>,
}

impl Page {
    fn open(snapshot: Snapshot) -> Self {
        let document = document();
        let app: HtmlElement = document.create_element("div").unwrap().unchecked_into();
        app.set_id("app");
        document.body().unwrap().append_child(&app).unwrap();
        let (read, set_snapshot) = signal_local(snapshot);
        let commands = Rc::new(RefCell::new(Vec::new()));
        let sent = Rc::clone(&commands);
        web_peer::ui::mount(read, move |command| sent.borrow_mut().push(command));
        Self { app, set_snapshot, commands }
    }

    async fn show(&self, snapshot: Snapshot) {
        self.set_snapshot.set(snapshot);
        settle().await;
    }

    fn find(&self, test_id: &str) -> Option<HtmlElement> {
        let found = self.app.query_selector(&format!("[data-testid={test_id}]")).unwrap();
        found.map(JsCast::unchecked_into)
    }

    fn get(&self, test_id: &str) -> HtmlElement {
        self.find(test_id).unwrap_or_else(|| panic!("no {test_id}"))
    }

    fn all(&self, test_id: &str) -> Vec<HtmlElement> {
        let found = self.app.query_selector_all(&format!("[data-testid={test_id}]")).unwrap();
        (0..found.length()).map(|place| found.item(place).unwrap().unchecked_into()).collect()
    }

    fn text(&self, test_id: &str) -> String {
        self.get(test_id).text_content().unwrap()
    }

    fn taken(&self) -> Vec<String> {
        self.commands.borrow_mut().drain(..).map(|command| format!("{command:?}")).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.app.remove();
    }
}

fn document() -> web_sys::Document {
    web_sys::window().unwrap().document().unwrap()
}

/// Lets effects and promises run.
async fn settle() {
    gloo_timers::future::TimeoutFuture::new(0).await;
    gloo_timers::future::TimeoutFuture::new(0).await;
}

/// Waits until it is so; the test runner's own limit ends a wait in vain.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        gloo_timers::future::TimeoutFuture::new(5).await;
    }
}

fn nothing() -> Snapshot {
    Snapshot {
        tracker: TrackerView { url: "ws://localhost/ws".into(), state: TrackerState::Connected },
        storage: StorageView { kind: StorageKind::Private, limit: None },
        peer_id: "2d".repeat(20),
        limits: RateLimits::default(),
        polite_upload: None,
        rtc: RtcView {
            available: true,
            mode: TransportMode::Auto,
            ice: IceView::default(),
            open: 0,
            made: 0,
        },
        streaming: StreamingView::default(),
        torrents: Vec::new(),
        unlisted: Vec::new(),
        alerts: Vec::new(),
        invitations: Vec::new(),
    }
}

fn file(path: &str, verified: u64, length: u64) -> FileView {
    FileView { path: path.into(), length, verified, priority: Priority::Normal }
}

fn torrent(key: u32, state: State, verified: u64, total: u64) -> TorrentView {
    let hash = InfoHash::new([key as u8; 20]);
    let torrent = TorrentSnapshot {
        info_hash: hash,
        name: format!("file {key}"),
        state,
        bytes: ByteCounts { total, verified, ..ByteCounts::default() },
        rates: Rates::default(),
        pieces: PieceCounts { total: 10, have: (verified * 10 / total.max(1)) as u32 },
        peers: Vec::new(),
    };
    TorrentView {
        key,
        files: vec![file(&format!("file {key}"), verified, total)],
        trackers: vec![tracker("ws://localhost/ws")],
        link: format!("http://localhost/#{hash}"),
        magnet: format!("magnet:?xt=urn:btih:{hash}"),
        ..torrent.into()
    }
}

fn peer(transport: Transport) -> PeerSnapshot {
    PeerSnapshot {
        id: "2d".repeat(20),
        client: "Enxame 0.1.0".into(),
        transport,
        why_relayed: None,
        introduced: false,
        am_choking: false,
        am_interested: true,
        peer_choking: false,
        peer_interested: false,
        snubbed: false,
        optimistic: false,
        progress: 0.5,
        rates: Rates { down: 1_000_000.0, up: 0.0 },
        downloaded: 0,
        uploaded: 0,
    }
}

fn relayed(why: WhyRelayed) -> PeerSnapshot {
    PeerSnapshot { why_relayed: Some(why), ..peer(Transport::Relay) }
}

fn tracker(url: &str) -> TorrentTrackerView {
    TorrentTrackerView {
        url: url.into(),
        state: TrackerState::Connected,
        own: url == "ws://localhost/ws",
        kind: Some(TrackerKind::Enxame),
        complete: 3,
        incomplete: 41,
        failure: None,
    }
}

fn with(torrents: Vec<TorrentView>) -> Snapshot {
    Snapshot { torrents, ..nothing() }
}

fn same(one: &Element, other: &Element) -> bool {
    one.is_same_node(Some(other))
}

#[wasm_bindgen_test]
async fn a_new_snapshot_changes_the_texts_and_leaves_the_elements_and_the_focus() {
    let page = Page::open(with(vec![torrent(1, State::Downloading, 100, 1000)]));
    settle().await;
    let (row, bar, pause) = (page.get("torrent"), page.get("progress"), page.get("pause"));
    pause.focus().unwrap();
    assert_eq!(bar.clone().unchecked_into::<HtmlProgressElement>().value(), 0.1);

    let mut further = torrent(1, State::Downloading, 500, 1000);
    further.torrent.peers = vec![peer(Transport::Relay)];
    page.show(with(vec![further.clone(), torrent(2, State::Seeding, 5, 5)])).await;

    let rows = page.app.query_selector_all("[data-testid=torrent]").unwrap();
    assert_eq!(rows.length(), 2);
    // Newest first: the old row is the last, and it is the very same element.
    assert!(same(&row, rows.item(1).unwrap().unchecked_ref()));
    assert!(row.contains(Some(&bar)) && row.contains(Some(&pause)));
    assert_eq!(bar.unchecked_into::<HtmlProgressElement>().value(), 0.5);
    assert!(same(&document().active_element().unwrap(), &pause));

    let peer_row = page.get("peer");
    assert_eq!(peer_row.get_attribute("data-transport").as_deref(), Some("relay"));
    further.torrent.peers[0].rates.down = 2_000_000.0;
    page.show(with(vec![further])).await;
    assert!(same(&peer_row, &page.get("peer")));
    assert_eq!(page.app.query_selector_all("[data-testid=torrent]").unwrap().length(), 1);
}

#[wasm_bindgen_test]
async fn the_automation_contract_names_what_a_row_shows() {
    let page = Page::open(with(vec![torrent(7, State::Seeding, 1000, 1000)]));
    settle().await;
    let hash = "07".repeat(20);
    let row = page.get("torrent");
    assert_eq!(row.get_attribute("data-info-hash").as_deref(), Some(hash.as_str()));
    assert_eq!(row.get_attribute("data-state").as_deref(), Some("seeding"));
    assert_eq!(page.text("info-hash").trim(), hash);
    for test_id in
        ["progress", "copy-link", "save", "pause", "remove", "add-input", "add-button", "file-input"]
    {
        assert!(page.find(test_id).is_some(), "{test_id}");
    }

    for test_id in ["save", "pause", "remove"] {
        page.get(test_id).click();
    }
    let hash = format!("InfoHash({hash})");
    assert_eq!(page.taken(), [format!("Save({hash})"), format!("Pause({hash})"), format!("Remove({hash})")]);
}

#[wasm_bindgen_test]
async fn the_same_button_pauses_and_resumes() {
    let page = Page::open(with(vec![torrent(1, State::Downloading, 1, 10)]));
    settle().await;
    let button = page.get("pause");
    let before = button.text_content();
    page.show(with(vec![torrent(1, State::Paused, 1, 10)])).await;
    assert!(same(&button, &page.get("pause")));
    assert_ne!(button.text_content(), before);
    button.click();
    assert_eq!(page.taken(), [format!("Resume(InfoHash({}))", "01".repeat(20))]);
}

#[wasm_bindgen_test]
async fn a_torrent_that_is_being_hashed_shows_no_hash_and_can_be_taken_out_by_its_row() {
    let mut hashing = torrent(9, State::Hashing, 3, 10);
    hashing.torrent.info_hash = InfoHash::new([0; 20]);
    hashing.link.clear();
    hashing.files.clear();
    let page = Page::open(with(vec![hashing]));
    settle().await;
    assert!(
        page.find("info-hash").is_none() && page.find("copy-link").is_none() && page.find("save").is_none()
    );
    assert!(!page.get("torrent").has_attribute("data-info-hash"));
    assert_eq!(page.get("progress").unchecked_into::<HtmlProgressElement>().value(), 0.3);
    page.get("remove").click();
    assert_eq!(page.taken(), ["RemoveRow(9)"]);
}

#[wasm_bindgen_test]
async fn nothing_can_be_saved_before_it_is_complete() {
    let page = Page::open(with(vec![torrent(1, State::Downloading, 5, 10)]));
    settle().await;
    assert!(page.get("save").has_attribute("disabled"));
    page.show(with(vec![torrent(1, State::Seeding, 10, 10)])).await;
    assert!(!page.get("save").has_attribute("disabled"));
}

#[wasm_bindgen_test]
async fn a_file_of_several_is_saved_by_its_place() {
    let mut folder = torrent(1, State::Seeding, 10, 10);
    folder.files = ["a/1", "a/2"].map(|path| file(path, 5, 5)).into();
    let page = Page::open(with(vec![folder]));
    settle().await;
    let files = page.app.query_selector_all("[data-testid=save-file]").unwrap();
    files.item(1).unwrap().unchecked_into::<HtmlElement>().click();
    assert_eq!(page.taken(), [format!("SaveFile(InfoHash({}), 1)", "01".repeat(20))]);
}

#[wasm_bindgen_test]
async fn upload_is_switched_off_for_one_torrent_or_for_all_and_that_is_said() {
    let mut seeder = torrent(1, State::Seeding, 10, 10);
    let page = Page::open(with(vec![seeder.clone()]));
    settle().await;
    assert!(page.text("state").contains("sharing"));
    page.get("torrent-upload-off").click();
    let limits = "RateLimits { up: None, down: None, upload_off: true }";
    let hash = "01".repeat(20);
    assert_eq!(page.taken(), [format!("SetTorrentLimits(InfoHash({hash}), {limits})")]);
    page.get("upload-off").click();
    assert_eq!(page.taken(), [format!("SetLimits({limits})")]);
    (seeder.limits.upload_off, seeder.upload_off) = (true, true);
    page.show(with(vec![seeder])).await;
    assert!(page.text("state").contains("upload is off"), "{}", page.text("state"));
    assert!(page.text("waiting").contains("nobody gets anything"));
    assert!(page.get("torrent-upload-off").unchecked_into::<HtmlInputElement>().checked());
}

#[wasm_bindgen_test]
async fn a_check_is_ordered_once_it_makes_sense_and_what_came_of_it_is_said() {
    let mut view = TorrentView { readable: false, ..torrent(1, State::Error, 0, 10) };
    let page = Page::open(with(vec![view]));
    settle().await;
    let check = page.get("check");
    let is_idle = || check.get_attribute("aria-disabled").as_deref() == Some("true");
    assert!(is_idle(), "nothing can be read");
    check.click();
    assert!(page.taken().is_empty());
    view = torrent(1, State::Seeding, 10, 10);
    page.show(with(vec![view.clone()])).await;
    let said = page.get("checked");
    let is_out_of_the_way = || said.matches(":empty").unwrap();
    assert!(!said.hidden() && is_out_of_the_way(), "screen readers wait for what it says");
    page.get("options").set_attribute("open", "").unwrap();
    check.focus().unwrap();
    check.click();
    assert_eq!(page.taken(), [format!("Check(InfoHash({}))", "01".repeat(20))]);
    view.torrent.state = State::Hashing;
    view.torrent.bytes.verified = 4;
    page.show(with(vec![view.clone()])).await;
    check.click();
    assert!(is_idle() && page.taken().is_empty(), "one at a time");
    assert!(same(&document().active_element().unwrap(), &check), "the focus stays");
    assert_eq!(page.get("progress").unchecked_into::<HtmlProgressElement>().value(), 0.4);
    view.torrent.state = State::Downloading;
    view.checked = Some(1234);
    page.show(with(vec![view])).await;
    assert!(page.text("checked").contains("1,234 pieces were not right"), "{}", page.text("checked"));
    assert!(same(&said, &page.get("checked")) && !is_out_of_the_way() && !is_idle());
}

#[wasm_bindgen_test]
async fn the_share_ratio_and_what_the_torrent_file_says_are_shown_as_text() {
    let mut view = torrent(1, State::Seeding, 10, 10);
    let page = Page::open(with(vec![view.clone()]));
    settle().await;
    assert!(page.text("ratio").is_empty());
    let note = page.get("torrent-comment").parent_element().unwrap();
    assert!(note.unchecked_into::<HtmlElement>().hidden());
    view.all_time = AllTime { downloaded: 1000, uploaded: 1257 };
    view.notes = Notes {
        comment: Some("<b>a \u{202e}b</b>".into()),
        created_by: Some("feito à mão".into()),
        creation_date: Some(1_700_000_000),
    };
    page.show(with(vec![view.clone()])).await;
    assert!(page.text("ratio").contains("1.25"), "{}", page.text("ratio"));
    assert_eq!(page.text("torrent-comment"), "<b>a \u{202e}b</b>");
    assert_eq!(page.text("torrent-created-by"), "feito à mão");
    assert!(page.text("torrent-created").contains("2023"), "{}", page.text("torrent-created"));
    view.notes.creation_date = Some(i64::MIN);
    page.show(with(vec![view])).await;
    assert!(page.text("torrent-created").is_empty());
}

#[wasm_bindgen_test]
async fn what_waits_and_what_is_wrong_is_said_and_alerts_can_be_dismissed() {
    let mut stuck = torrent(1, State::Downloading, 1, 10);
    stuck.waiting = Some(Waiting::Peers);
    let alert = Alert { id: 4, trouble: Trouble::NotATorrent { text: "olá".into() } };
    let page = Page::open(Snapshot { alerts: vec![alert], ..with(vec![stuck.clone()]) });
    settle().await;
    assert!(!page.text("waiting").is_empty());
    assert!(page.text("alert").contains("olá"));
    page.get("dismiss").click();
    assert_eq!(page.taken(), ["Dismiss(4)"]);

    stuck.waiting = None;
    stuck.trouble = Some(Trouble::DiskFull);
    page.show(with(vec![stuck])).await;
    assert!(page.find("waiting").is_none() && page.find("dismiss").is_none());
    assert!(page.get("torrent").contains(Some(&page.get("alert"))));
}

#[wasm_bindgen_test]
async fn the_form_adds_what_was_typed_and_keeps_it_only_when_it_is_no_torrent() {
    let page = Page::open(nothing());
    settle().await;
    let field: HtmlInputElement = page.get("add-input").unchecked_into();
    let hash = "ab".repeat(20);
    field.set_value(&format!(" {hash} "));
    page.get("add-button").click();
    assert_eq!(page.taken(), [format!("Add({hash:?})")]);
    assert_eq!(field.value(), "");

    field.set_value("hello");
    page.get("add-button").click();
    assert_eq!(page.taken(), ["Add(\"hello\")"]);
    assert_eq!(field.value(), "hello");

    field.set_value("   ");
    page.get("add-button").click();
    assert!(page.taken().is_empty());
}

fn transfer_of(files: &[(&str, &str)], text: &str) -> DataTransfer {
    let transfer = DataTransfer::new().unwrap();
    for (name, content) in files {
        let parts = js_sys::Array::of1(&JsValue::from_str(content));
        let file = File::new_with_str_sequence(&parts, name).unwrap();
        transfer.items().add_with_file(&file).unwrap();
    }
    if !text.is_empty() {
        transfer.set_data("text/plain", text).unwrap();
    }
    transfer
}

fn drag(kind: &str, target: &Element, transfer: &DataTransfer) -> DragEvent {
    let init = DragEventInit::new();
    init.set_bubbles(true);
    init.set_cancelable(true);
    init.set_data_transfer(Some(transfer));
    let event = DragEvent::new_with_event_init_dict(kind, &init).unwrap();
    target.dispatch_event(&event).unwrap();
    event
}

fn paste(target: &Element, transfer: &DataTransfer) -> ClipboardEvent {
    let init = ClipboardEventInit::new();
    init.set_bubbles(true);
    init.set_cancelable(true);
    init.set_clipboard_data(Some(transfer));
    let event = ClipboardEvent::new_with_event_init_dict("paste", &init).unwrap();
    target.dispatch_event(&event).unwrap();
    event
}

#[wasm_bindgen_test]
async fn files_dropped_anywhere_are_seeded_and_the_page_shows_that_they_may_be() {
    let page = Page::open(nothing());
    settle().await;
    let veil = page.app.query_selector(".drop-veil").unwrap().unwrap();
    let transfer = transfer_of(&[("olá.txt", "hello"), ("b.txt", "")], "");
    assert!(drag("dragover", &page.app, &transfer).default_prevented());
    settle().await;
    assert!(veil.class_list().contains("shown"));
    assert!(drag("drop", &page.app, &transfer).default_prevented());
    until(|| !page.commands.borrow().is_empty()).await;
    assert!(!veil.class_list().contains("shown"));
    let commands = page.commands.borrow();
    let [Command::Seed(files, _)] = commands.as_slice() else { panic!("{commands:?}") };
    let paths: Vec<_> = files.iter().map(|chosen| chosen.path.clone()).collect();
    assert_eq!(paths, [["olá.txt"], ["b.txt"]]);
    assert_eq!(files[0].file.size(), 5.0);
}

#[wasm_bindgen_test]
async fn a_pasted_hash_is_added_other_text_fills_the_field_and_fields_keep_their_own_pastes() {
    let page = Page::open(nothing());
    settle().await;
    let hash = "cd".repeat(20);
    assert!(paste(&page.app, &transfer_of(&[], &format!("{hash}\n"))).default_prevented());
    assert_eq!(page.taken(), [format!("Add({hash:?})")]);

    let field: HtmlInputElement = page.get("add-input").unchecked_into();
    paste(&page.app, &transfer_of(&[], "not a hash"));
    assert!(page.taken().is_empty());
    assert_eq!(field.value(), "not a hash");

    assert!(!paste(&field, &transfer_of(&[], &hash)).default_prevented());
    assert!(page.taken().is_empty());

    paste(&page.app, &transfer_of(&[("a.png", "x")], ""));
    assert!(page.taken()[0].starts_with("Seed("));
}

#[wasm_bindgen_test]
async fn switching_the_language_changes_every_word_and_the_address_without_loading_the_page_anew() {
    let page = Page::open(with(vec![torrent(1, State::Seeding, 1_500_000, 1_500_000)]));
    settle().await;
    let root = document().document_element().unwrap();
    let before = (root.get_attribute("lang").unwrap(), page.text("state"));
    page.get("language").click();
    settle().await;
    let after = (root.get_attribute("lang").unwrap(), page.text("state"));
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
    let address = web_sys::window().unwrap().location().search().unwrap();
    assert!(address.contains(&format!("lang={}", after.0)), "{address}");

    // Numbers follow the language: a comma in Portuguese, a point in English.
    let number = |language: &str| if language == "en" { "1.5" } else { "1,5" };
    assert!(page.text("torrent").contains(number(&after.0)));
    page.get("language").click();
    settle().await;
    assert!(page.text("torrent").contains(number(&before.0)));
}

fn write(field: &HtmlElement, text: &str) {
    js_sys::Reflect::set(field, &"value".into(), &text.into()).unwrap();
    field.dispatch_event(&web_sys::Event::new("input").unwrap()).unwrap();
}

#[wasm_bindgen_test]
async fn each_relayed_peer_says_why_in_words_of_its_own_and_direct_ones_have_nothing_to_say() {
    let mut with_peers = torrent(1, State::Downloading, 1, 10);
    let mut said = Vec::new();
    let page = Page::open(nothing());
    for why in [
        WhyRelayed::Trying,
        WhyRelayed::NoPath,
        WhyRelayed::NoAnswer,
        WhyRelayed::Lost,
        WhyRelayed::NotHere,
        WhyRelayed::SwitchedOff,
        WhyRelayed::NotThere,
        WhyRelayed::TooMany,
        WhyRelayed::Refused,
    ] {
        with_peers.torrent.peers = vec![relayed(why)];
        page.show(with(vec![with_peers.clone()])).await;
        let words = page.get("why-relayed");
        assert!(!words.hidden());
        let words = words.text_content().unwrap().trim().to_owned();
        assert!(words.contains(' ') && !said.contains(&words), "{why:?}: {words}");
        said.push(words);
    }
    with_peers.torrent.peers = vec![peer(Transport::Direct)];
    page.show(with(vec![with_peers])).await;
    assert_eq!(page.get("peer").get_attribute("data-transport").as_deref(), Some("direct"));
    assert!(page.get("why-relayed").hidden());
}

#[wasm_bindgen_test]
async fn the_reason_changes_in_place_and_an_introduction_has_its_mark_with_its_meaning_said_once() {
    let other = |id: u8, introduced| PeerSnapshot {
        id: format!("{id:02x}").repeat(20),
        introduced,
        ..peer(Transport::Direct)
    };
    let mut view = torrent(1, State::Downloading, 1, 10);
    view.torrent.peers = vec![relayed(WhyRelayed::Trying), other(1, false), other(2, true), other(3, true)];
    let page = Page::open(with(vec![view.clone()]));
    settle().await;
    let marked: Vec<bool> = page.all("introduced").iter().map(|mark| !mark.hidden()).collect();
    assert_eq!(marked, [false, false, true, true]);
    let legend = |page: &Page| {
        let lines = page.app.query_selector_all(".legend:not([hidden])").unwrap();
        (0..lines.length()).map(|line| lines.item(line).unwrap().text_content().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(legend(&page).len(), 3);

    let (row, before) = (page.get("peer"), page.text("why-relayed"));
    view.torrent.peers = vec![relayed(WhyRelayed::NoPath), other(1, false)];
    page.show(with(vec![view.clone()])).await;
    assert!(same(&row, &page.get("peer")));
    assert_ne!(page.text("why-relayed"), before);
    let plain = legend(&page);
    assert_eq!(plain.len(), 2);

    // Behind a TURN server it would not be true that nothing is between the two.
    let mut turn = with(vec![view]);
    turn.rtc.ice.urls = vec!["turn:turn.example.org".into()];
    page.show(turn).await;
    let turned = legend(&page);
    assert!(turned[0].contains("TURN") && !plain[0].contains("TURN"));
    assert_eq!(turned[1], plain[1]);
}

#[wasm_bindgen_test]
async fn each_tracker_of_a_torrent_has_its_line() {
    let foreign = TorrentTrackerView {
        kind: Some(TrackerKind::WebTorrent),
        failure: Some("<b>not allowed</b>".into()),
        ..tracker("wss://tracker.example.org:7443/secret/announce")
    };
    let mut view = torrent(1, State::Downloading, 1, 10);
    view.trackers = vec![tracker("ws://localhost/ws"), foreign.clone()];
    let page = Page::open(with(vec![view.clone()]));
    settle().await;
    let lines = page.all("torrent-tracker");
    let [own, other] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    assert!(own.has_attribute("data-own") && !other.has_attribute("data-own"));
    assert_eq!(other.get_attribute("data-state").as_deref(), Some("connected"));
    let words = |line: &HtmlElement| line.text_content().unwrap();
    // The summary names those out of reach, and nothing while there are none.
    let lost = || page.app.query_selector(".trackers .lost").unwrap().unwrap().text_content().unwrap();
    assert_eq!(lost(), "");
    assert!(words(own).contains("41") && words(own).contains('3'));
    // Its host alone, the whole address when pointed at; and what it says is text.
    assert!(words(other).contains("tracker.example.org:7443") && !words(other).contains("secret"));
    assert!(
        other.query_selector("[title=\"wss://tracker.example.org:7443/secret/announce\"]").unwrap().is_some()
    );
    assert!(words(other).contains("<b>not allowed</b>"));

    // Out of reach, what it counted earlier is not news.
    view.trackers = vec![
        tracker("ws://localhost/ws"),
        TorrentTrackerView { state: TrackerState::Unreachable, failure: None, ..foreign },
    ];
    page.show(with(vec![view.clone()])).await;
    assert!(same(other, &page.all("torrent-tracker")[1]));
    assert_eq!(other.get_attribute("data-state").as_deref(), Some("unreachable"));
    assert!(!words(other).contains("41") && !words(other).contains("allowed"));
    assert!(lost().contains('1'));

    view.trackers.clear();
    page.show(with(vec![view])).await;
    assert!(page.get("trackers").hidden());
}

#[wasm_bindgen_test]
async fn waiting_for_trackers_says_whether_one_or_several_are_out_of_reach_or_only_not_reached_yet() {
    let lost = |url: &str, state| TorrentTrackerView { state, ..tracker(url) };
    let mut view = torrent(1, State::Downloading, 1, 10);
    view.waiting = Some(Waiting::Tracker);
    let page = Page::open(nothing());
    let mut said = Vec::new();
    for trackers in [
        vec![lost("ws://a/", TrackerState::Unreachable)],
        vec![lost("ws://a/", TrackerState::Unreachable), lost("ws://b/", TrackerState::Unreachable)],
        vec![lost("ws://a/", TrackerState::Unreachable), lost("ws://b/", TrackerState::Connecting)],
    ] {
        view.trackers = trackers;
        page.show(with(vec![view.clone()])).await;
        let words = page.text("waiting");
        assert!(!said.contains(&words), "{words}");
        said.push(words);
    }
}

#[wasm_bindgen_test]
async fn ways_that_are_closed_are_said_once_and_open_ones_are_not() {
    let page = Page::open(nothing());
    settle().await;
    assert!(page.find("transport-notice").is_none());
    for (mode, available, word) in [
        (TransportMode::Relay, true, "transport=relay"),
        (TransportMode::Direct, true, "transport=direct"),
        (TransportMode::Auto, false, "WebRTC"),
        (TransportMode::Direct, false, "WebRTC"),
    ] {
        let rtc = RtcView { mode, available, ..nothing().rtc };
        page.show(Snapshot { rtc, ..with(vec![torrent(1, State::Seeding, 1, 1)]) }).await;
        assert_eq!(page.all("transport-notice").len(), 1);
        assert!(page.text("transport-notice").contains(word));
    }
    page.show(nothing()).await;
    assert!(page.find("transport-notice").is_none());
}

#[wasm_bindgen_test]
async fn ice_servers_are_shown_saved_and_given_back_to_the_tracker_and_what_is_wrong_is_said_beside_them() {
    let ice = IceView { urls: vec!["stun:stun.example.org".into()], chosen_by: IceChoice::Tracker };
    let page = Page::open(Snapshot { rtc: RtcView { ice, ..nothing().rtc }, ..nothing() });
    settle().await;
    let chosen_by = || page.get("ice-in-force").get_attribute("data-chosen-by");
    assert!(page.text("ice-in-force").contains("stun:stun.example.org"));
    assert_eq!(chosen_by().as_deref(), Some("tracker"));
    let (field, save, reset) = (page.get("ice-input"), page.get("ice-save"), page.get("ice-reset"));
    assert!(save.has_attribute("disabled") && reset.has_attribute("disabled"));

    write(&field, " http://example.org ");
    settle().await;
    save.click();
    settle().await;
    assert!(page.taken().is_empty());
    let alert = page.get("alert");
    assert!(page.get("connection-settings").contains(Some(&alert)));
    assert!(page.text("connection-settings").contains("http://example.org"));

    write(&field, " stun:a.example:3478,stun:b.example\n");
    save.click();
    settle().await;
    assert_eq!(page.taken(), ["SetIce(Some(\"stun:a.example:3478,stun:b.example\"))"]);
    assert!(page.find("alert").is_none());

    let ice = IceView { urls: Vec::new(), chosen_by: IceChoice::User };
    page.show(Snapshot { rtc: RtcView { ice, ..nothing().rtc }, ..nothing() }).await;
    assert_eq!(chosen_by().as_deref(), Some("user"));
    assert!(!page.text("ice-in-force").contains("stun:"));
    reset.click();
    assert_eq!(page.taken(), ["SetIce(None)"]);
}

#[wasm_bindgen_test]
async fn an_alert_about_ice_servers_has_its_sentence_and_its_details() {
    let trouble = Trouble::BadIceServers { detail: "\"x\" is no ICE server's address".into() };
    let page = Page::open(Snapshot { alerts: vec![Alert { id: 1, trouble }], ..nothing() });
    settle().await;
    assert!(page.text("alert").contains("ICE") && !page.text("alert").contains("address"));
    let alert = page.app.query_selector(".alert").unwrap().unwrap();
    assert!(alert.text_content().unwrap().contains("\"x\" is no ICE server's address"));
}

/// Ten thousand pieces: each state has its colour where it belongs, and a whole map is drawn well within the time in which the
/// page still answers (100 ms), however often it changes.
#[wasm_bindgen_test]
async fn the_map_of_ten_thousand_pieces_shows_each_and_keeps_up() {
    const PIECES: usize = 10_000;
    let with_have = |have: usize| {
        let mut view = torrent(1, State::Downloading, 100, 1000);
        view.piece_states = (0..PIECES)
            .map(|piece| match piece {
                _ if piece < have => PieceState::Have,
                _ if piece < have + 100 => PieceState::InFlight,
                _ => PieceState::Missing { peers: 1 },
            })
            .collect();
        with(vec![view])
    };
    let page = Page::open(with_have(1_000));
    settle().await;
    // The tokens of style.css, which is not here.
    for (name, colour) in [("have", "#010203"), ("flight", "#040506"), ("rare", "#070809")] {
        page.app.style().set_property(&format!("--piece-{name}"), colour).unwrap();
    }
    let fold = page.get("piece-map");
    fold.set_attribute("open", "").unwrap();
    let canvas: web_sys::HtmlCanvasElement = page.get("piece-canvas").unchecked_into();
    let context: web_sys::CanvasRenderingContext2d =
        canvas.get_context("2d").unwrap().unwrap().unchecked_into();
    let ratio = web_sys::window().unwrap().device_pixel_ratio();
    let side = f64::from(canvas.height()) / ratio;
    assert!(side > 0.0);
    let has = |colour: [u8; 3]| {
        let (width, height) = (f64::from(canvas.width()), f64::from(canvas.height()));
        let pixels = context.get_image_data(0.0, 0.0, width, height).unwrap().data().0;
        pixels.chunks(4).filter(|pixel| pixel[..3] == colour).count()
    };
    until(|| has([1, 2, 3]) > 0).await;
    let (have, flight, rare) = (has([1, 2, 3]), has([4, 5, 6]), has([7, 8, 9]));
    // A tenth, a hundredth, and the rest, but for what a screen's pixels round away.
    assert!(
        (9..=11).contains(&(have / flight)) && (80..=100).contains(&(rare / flight)),
        "{have} {flight} {rare}"
    );
    let label = canvas.get_attribute("aria-label").unwrap();
    assert!(label.contains("1,000") && label.contains("8,900"), "{label}");

    let clock = web_sys::window().unwrap().performance().unwrap();
    let mut fastest = f64::INFINITY;
    for step in 0..10 {
        let start = clock.now();
        page.show(with_have(2_000 + step * 100)).await;
        fastest = fastest.min(clock.now() - start);
    }
    // The fastest, since whatever else the machine does is no fault of the map.
    assert!(fastest < 100.0, "a change of the map took {fastest} ms");
    until(|| has([1, 2, 3]) > 2 * have).await;
}

/// A `Notification` that answers as told and remembers what was shown, instead of the browser's.
const NOTIFICATIONS: &str = "
    window.shown = [];
    window.Notification = class { constructor(title) { window.shown.push(title); } close() {} };
    window.Notification.permission = 'default';
    window.Notification.requestPermission = async () => (window.Notification.permission = window.answer);
    document.hasFocus = () => false;";

fn shown() -> Vec<String> {
    let shown = js_sys::Reflect::get(&web_sys::window().unwrap(), &"shown".into()).unwrap();
    js_sys::Array::from(&shown).iter().map(|title| title.as_string().unwrap()).collect()
}

fn answer(permission: &str) {
    js_sys::Reflect::set(&web_sys::window().unwrap(), &"answer".into(), &permission.into()).unwrap();
}

#[wasm_bindgen_test]
async fn who_asked_for_it_is_notified_once_of_each_download_that_becomes_complete() {
    js_sys::eval(NOTIFICATIONS).unwrap();
    let storage = web_sys::window().unwrap().local_storage().unwrap().unwrap();
    storage.remove_item("enxame.notify").unwrap();
    let coming = |verified| {
        let state = if verified == 10 { State::Seeding } else { State::Downloading };
        let mut coming = torrent(1, state, verified, 10);
        coming.torrent.bytes.downloaded = verified;
        with(vec![coming, torrent(2, state, verified, 10)])
    };
    let page = Page::open(coming(1));
    settle().await;
    page.show(coming(10)).await;
    assert!(shown().is_empty(), "nobody asked for it");

    answer("denied");
    let field: HtmlInputElement = page.get("notify").unchecked_into();
    field.click();
    until(|| !page.text("notify-says").is_empty()).await;
    assert!(!field.checked());
    js_sys::eval("window.Notification.permission = 'default'").unwrap();
    answer("granted");
    field.click();
    until(|| storage.get_item("enxame.notify").unwrap().is_some()).await;
    settle().await;
    assert!(field.checked() && page.text("notify-says").is_empty());
    page.show(coming(1)).await;
    page.show(coming(10)).await;
    page.show(coming(10)).await;
    // Of the second nothing was fetched: it was here.
    assert_eq!(shown(), ["\u{2068}file 1\u{2069} is complete."]);

    // What comes while the tab is in front is seen there.
    js_sys::eval("document.hasFocus = () => true").unwrap();
    page.show(coming(1)).await;
    page.show(coming(10)).await;
    assert_eq!(shown().len(), 1);
    drop(page);

    // It is still wanted after a reload, unless the browser has changed its mind.
    let page = Page::open(coming(1));
    settle().await;
    assert!(page.get("notify").unchecked_into::<HtmlInputElement>().checked());
    drop(page);
    js_sys::eval("window.Notification.permission = 'denied'").unwrap();
    let page = Page::open(coming(1));
    settle().await;
    assert!(!page.get("notify").unchecked_into::<HtmlInputElement>().checked());
    storage.remove_item("enxame.notify").unwrap();
    js_sys::eval("delete document.hasFocus").unwrap();
}

#[wasm_bindgen_test]
async fn the_icon_closes_a_ring_while_something_comes_and_is_the_pages_own_again_afterwards() {
    let link = document().create_element("link").unwrap();
    link.set_attribute("rel", "icon").unwrap();
    link.set_attribute("href", "own.svg").unwrap();
    document().head().unwrap().append_child(&link).unwrap();
    let href = || link.get_attribute("href").unwrap();
    let page = Page::open(with(vec![torrent(1, State::Downloading, 1, 10)]));
    settle().await;
    assert!(href().starts_with("data:image/svg+xml,") && href().contains("'10 100'"), "{}", href());
    // There and back: it is made anew with the language.
    for _ in 0..2 {
        page.get("language").click();
        settle().await;
    }
    page.show(with(vec![torrent(1, State::Downloading, 5, 10)])).await;
    assert!(href().contains("'50 100'"), "{}", href());
    page.show(with(vec![torrent(1, State::Seeding, 10, 10)])).await;
    assert_eq!(href(), "own.svg");
    link.remove();
}

#[wasm_bindgen_test]
async fn the_chart_of_rates_is_drawn_while_it_is_open_and_says_what_it_shows() {
    let mut moving = torrent(1, State::Downloading, 1, 10);
    let page = Page::open(with(vec![moving.clone()]));
    settle().await;
    assert!(page.get("rate-chart").hidden(), "nothing has moved");
    moving.history = RateHistory { step: 2, down: vec![0, 10_000], up: vec![5_000, 0] };
    page.show(with(vec![moving])).await;
    let chart = page.get("rate-chart");
    let drawn = || chart.query_selector("path.down").unwrap().unwrap().get_attribute("d").unwrap();
    assert!(!chart.hidden() && drawn().is_empty());
    chart.set_attribute("open", "").unwrap();
    until(|| !drawn().is_empty()).await;
    assert_eq!(drawn(), "M28 200L29 0");
    let label = chart.query_selector("[role=img]").unwrap().unwrap().get_attribute("aria-label").unwrap();
    assert!(label.contains("5.0 kB/s came on average and 10.0 kB/s at most"), "{label}");
}

#[wasm_bindgen_test]
async fn the_log_is_written_while_it_is_open_and_what_others_say_is_text() {
    let who = |client: &str| Who::new(&"2d".repeat(20), client);
    let mut logged = torrent(1, State::Downloading, 1, 10);
    let page = Page::open(with(vec![logged.clone()]));
    settle().await;
    let fold = page.get("journal");
    assert!(fold.hidden(), "nothing has happened");
    logged.journal.add(1_000, Happening::Relayed { who: who("<b>mean</b>") });
    logged.journal.add(2_000, Happening::Choked { who: who("") });
    logged.journal.add(3_000, Happening::Choked { who: who("") });
    page.show(with(vec![logged.clone()])).await;
    assert!(!fold.hidden() && page.all("journal-line").is_empty(), "it is closed");

    fold.set_attribute("open", "").unwrap();
    until(|| page.all("journal-line").len() == 2).await;
    let lines = page.all("journal-line");
    let words: Vec<_> = lines.iter().map(|line| line.text_content().unwrap()).collect();
    assert!(words[0].contains("Unknown client (…2d2d) serves others first"), "{words:?}");
    assert!(words[0].ends_with("(2 times)"), "{words:?}");
    assert!(words[1].contains("\u{2068}<b>mean</b>\u{2069} (…2d2d) is linked"), "{words:?}");
    assert!(fold.query_selector("b").unwrap().is_none());
    let time = lines[0].query_selector("time").unwrap().unwrap();
    assert!(time.text_content().unwrap().contains("1970"), "what is long ago has its day");

    // What is new comes first, and what was there is left as it is.
    logged.journal.add(4_000, Happening::FirstPiece);
    page.show(with(vec![logged])).await;
    let now = page.all("journal-line");
    assert!(now.len() == 3 && same(&now[1], &lines[0]) && same(&now[2], &lines[1]));
    fold.remove_attribute("open").unwrap();
    until(|| page.all("journal-line").is_empty()).await;
}

#[wasm_bindgen_test]
async fn a_link_that_was_opened_waits_for_an_answer() {
    let magnet = format!("magnet:?xt=urn:btih:{}", "ab".repeat(20));
    let invitation = |id, name: &str, size| Invitation {
        id,
        info_hash: "ab".repeat(20),
        name: name.into(),
        size,
        magnet: magnet.clone(),
    };
    let page = Page::open(nothing());
    settle().await;
    let invited = Snapshot {
        invitations: vec![invitation(3, "", None), invitation(4, "<i>x</i>", Some(2_000_000))],
        ..nothing()
    };
    page.show(invited.clone()).await;
    let words: Vec<_> = page.all("invitation").iter().map(|card| card.text_content().unwrap()).collect();
    assert!(words[0].contains("“\u{2068}<i>x</i>\u{2069}”") && words[0].contains("2.0 MB"), "{words:?}");
    assert!(words[1].contains(&"ab".repeat(20)), "{words:?}");
    assert!(page.taken().is_empty(), "nothing is done before it is answered");
    for (button, expected) in [
        ("accept", format!("Add({magnet:?})")),
        ("accept-choose", format!("AddToChoose({magnet:?})")),
        ("decline", "Decline(4)".to_owned()),
    ] {
        page.get(button).click();
        assert_eq!(page.taken(), [expected]);
    }
    page.show(nothing()).await;
    assert!(page.all("invitation").is_empty());
}

/// Puts a function of these lines in the place of the browser's own, until it is dropped.
struct Instead(&'static str, JsValue);

impl Instead {
    fn of(name: &'static str, body: &str) -> Self {
        let window = web_sys::window().unwrap();
        let own = js_sys::Reflect::get(&window, &name.into()).unwrap();
        js_sys::Reflect::set(&window, &name.into(), &js_sys::Function::new_no_args(body)).unwrap();
        Self(name, own)
    }
}

impl Drop for Instead {
    fn drop(&mut self) {
        js_sys::Reflect::set(&web_sys::window().unwrap(), &self.0.into(), &self.1).unwrap();
    }
}

#[wasm_bindgen_test]
async fn files_that_are_needed_again_are_chosen_in_the_torrents_own_row() {
    let picked = "return navigator.storage.getDirectory()
        .then((root) => root.getFileHandle('again.bin', { create: true })).then((handle) => [handle]);";
    let _window = Instead::of("showOpenFilePicker", picked);
    let needs = |in_folder| TorrentView {
        waiting: Some(Waiting::Files),
        in_folder,
        ..torrent(1, State::Paused, 0, 10)
    };
    let page = Page::open(with(vec![needs(false)]));
    settle().await;
    assert!(page.find("folder-again").is_none());
    page.get("file-again").focus().unwrap();
    page.get("file-again").click();
    until(|| !page.commands.borrow().is_empty()).await;
    {
        let commands = page.commands.borrow();
        let [Command::ChooseAgain(hash, files)] = commands.as_slice() else { panic!("{commands:?}") };
        assert_eq!((*hash, files.len()), (InfoHash::new([1; 20]), 1));
        assert!(files[0].path == ["again.bin"] && files[0].source.is_some());
    }
    page.show(with(vec![torrent(1, State::Seeding, 10, 10)])).await;
    assert!(page.find("file-again").is_none());
    assert!(same(&document().active_element().unwrap(), &page.get("torrent")), "the focus is not lost");
    page.show(with(vec![needs(true)])).await;
    assert!(page.find("file-again").is_none() && page.find("folder-again").is_some());
}

#[wasm_bindgen_test]
async fn a_folder_that_the_browsers_window_does_not_give_can_be_chosen_another_way() {
    let closed = "return Promise.reject(new DOMException('it contains system files', 'AbortError'))";
    let (_files, _folder) =
        (Instead::of("showOpenFilePicker", closed), Instead::of("showDirectoryPicker", closed));
    let page = Page::open(nothing());
    settle().await;
    page.get("file-input").click();
    settle().await;
    assert!(page.find("folder-other-way").is_none(), "any file can be chosen");
    page.get("folder-input").click();
    until(|| page.find("folder-other-way").is_some()).await;
    let field: HtmlInputElement = page.get("folder-other-way").unchecked_into();
    assert_eq!(js_sys::Reflect::get(&field, &"webkitdirectory".into()).unwrap(), true);
    let transfer = transfer_of(&[("a.bin", "x")], "");
    field.set_files(transfer.files().as_ref());
    field.dispatch_event(&web_sys::Event::new("change").unwrap()).unwrap();
    assert!(page.taken()[0].starts_with("Seed("), "what is chosen so is seeded like anything else");
}

#[wasm_bindgen_test]
async fn what_was_chosen_or_dropped_is_seeded_though_the_language_changes_meanwhile() {
    let slow = "return new Promise((done) => { window.choose = () => navigator.storage.getDirectory()
        .then((root) => root.getFileHandle('slow.bin', { create: true })).then((handle) => done([handle])); });";
    let _window = Instead::of("showOpenFilePicker", slow);
    let page = Page::open(with(vec![torrent(1, State::Hashing, 1, 10)]));
    settle().await;
    page.get("file-input").click();
    drag("drop", &page.app, &transfer_of(&[("a.txt", "hello")], ""));
    // There and back, so that other tests find the language that they expect.
    for _ in 0..2 {
        page.get("language").click();
        settle().await;
    }
    let choose: js_sys::Function =
        js_sys::Reflect::get(&web_sys::window().unwrap(), &"choose".into()).unwrap().unchecked_into();
    choose.call0(&JsValue::UNDEFINED).unwrap();
    until(|| page.commands.borrow().len() == 2).await;
    let taken = page.taken();
    assert!(taken.iter().all(|command| command.starts_with("Seed(")), "{taken:?}");
    assert_eq!(page.get("torrent").get_attribute("data-state").as_deref(), Some("hashing"));
}
