//! Handles of the user's own files and folders: a browser that has them lets a page read such files again later, which a
//! [`File`] does not outlive. One is kept for each seeded torrent, the file's own or its folder's, in the browser's database
//! (IndexedDB), the only place that takes them.
//!
//! What stands in there may be anything: another version's, what a crash left, what somebody wrote by hand. What is no handle
//! is none, and whatever fails means that the files have to be chosen once more.

use js_sys::{Array, Function, Object, Promise, Reflect};
use shared::InfoHash;
use shared::metainfo::Info;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemHandle, FileSystemHandleKind,
    IdbDatabase, IdbObjectStore, IdbRequest, IdbTransactionMode,
};

use crate::command::ChosenFile;

/// The database, and its only table: `<the tab's folder>/<info-hash>` → handle.
const DATABASE: &str = "enxame";
const TABLE: &str = "handles";

/// Raised when what is kept changes its form; a browser then runs `onupgradeneeded`.
const VERSION: u32 = 1;

/// Most handles that are kept, of all tabs together; the oldest tabs' go first.
const MOST: u32 = 500;

/// Most files taken from one folder. Each costs some hundred bytes in the torrent, and a whole disk must not keep the page
/// busy for ever.
pub const MOST_FILES: usize = 100_000;

/// Whether a page may read through a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    Granted,
    /// The user has to be asked, which takes a click.
    Prompt,
    /// No.
    Denied,
}

/// A torrent's place in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The torrent of the tab that has this folder in the store.
    pub fn new(folder: &str, info_hash: InfoHash) -> Self {
        Self(format!("{folder}/{info_hash}"))
    }
}

/// A handle as what [`ChosenFile`] carries.
pub fn source(handle: &FileSystemHandle) -> Promise {
    let value: &JsValue = handle;
    Promise::resolve(value)
}

/// Keeps a handle.
pub async fn keep(place: &Place, handle: &FileSystemHandle) {
    // Without it the files have to be chosen again, and nothing else is lost.
    drop(try_keep(place, handle).await);
}

async fn try_keep(place: &Place, handle: &FileSystemHandle) -> Result<(), JsValue> {
    let database = Database::open().await?;
    let table = database.table(IdbTransactionMode::Readwrite)?;
    let keys: Array = done(&table.get_all_keys()?).await?.unchecked_into();
    // They begin with the time at which the tab's folder was made, and come in order.
    for key in keys.iter().take((keys.length() + 1).saturating_sub(MOST) as usize) {
        table.delete(&key)?;
    }
    done(&table.put_with_key(handle, &JsValue::from_str(&place.0))?).await.map(drop)
}

/// The handle that is kept there, if there is one.
pub async fn find(place: &Place) -> Option<FileSystemHandle> {
    let database = Database::open().await.ok()?;
    let table = database.table(IdbTransactionMode::Readonly).ok()?;
    let found = done(&table.get(&JsValue::from_str(&place.0)).ok()?).await.ok()?;
    // Not by its class alone: what only looks like one is not one either.
    found.dyn_into::<FileSystemHandle>().ok()
}

/// Forgets a handle.
pub async fn forget(place: &Place) {
    let Ok(database) = Database::open().await else { return };
    let Ok(table) = database.table(IdbTransactionMode::Readwrite) else { return };
    if let Ok(request) = table.delete(&JsValue::from_str(&place.0)) {
        drop(done(&request).await);
    }
}

/// Forgets all handles of this tab's folder but these: what a crash left behind.
pub async fn keep_only(folder: &str, places: &[Place]) {
    drop(try_keep_only(folder, places).await);
}

async fn try_keep_only(folder: &str, places: &[Place]) -> Result<(), JsValue> {
    let database = Database::open().await?;
    let table = database.table(IdbTransactionMode::Readwrite)?;
    let keys: Array = done(&table.get_all_keys()?).await?.unchecked_into();
    for key in keys.iter() {
        let name = key.as_string();
        let is_ours = |name: &String| name.split_once('/').is_some_and(|(of, _)| of == folder);
        // A key that is no text was not made here.
        if name.as_ref().is_none_or(|name| is_ours(name) && !places.iter().any(|place| place.0 == *name)) {
            table.delete(&key)?;
        }
    }
    Ok(())
}

/// Whether the page may read through this handle. With `ask` the browser asks the user, if it has to; it does so only for some
/// seconds after a click.
pub async fn permission(handle: &FileSystemHandle, ask: bool) -> Permission {
    // Not in the bindings, since it is no standard yet.
    let method = if ask { "requestPermission" } else { "queryPermission" };
    let method =
        Reflect::get(handle, &method.into()).ok().and_then(|method| method.dyn_into::<Function>().ok());
    // A browser without the question has no answer but the reading itself.
    let Some(method) = method else { return Permission::Granted };
    let options = Object::new();
    // Setting a property of a fresh object cannot fail.
    drop(Reflect::set(&options, &"mode".into(), &"read".into()));
    let answer = match method.call1(handle, &options).map(JsCast::dyn_into::<Promise>) {
        Ok(Ok(promise)) => JsFuture::from(promise).await.ok().and_then(|answer| answer.as_string()),
        _ => None,
    };
    match answer.as_deref() {
        Some("granted") => Permission::Granted,
        Some("denied") => Permission::Denied,
        _ => Permission::Prompt,
    }
}

/// The file of this handle, or all files below this folder as they are now, `source` with each. The second value says whether
/// everything could be read.
pub async fn files(handle: FileSystemHandle, source: &Promise) -> (Vec<ChosenFile>, bool) {
    let mut waiting = vec![(Vec::new(), handle)];
    let mut files = Vec::new();
    let mut complete = true;
    while let Some((mut path, handle)) = waiting.pop() {
        if files.len() >= MOST_FILES {
            return (files, false);
        }
        path.push(handle.name());
        if handle.kind() == FileSystemHandleKind::Directory {
            match children(handle.unchecked_ref()).await {
                Ok(children) => waiting.extend(children.into_iter().map(|child| (path.clone(), child))),
                Err(_) => complete = false,
            }
        } else {
            match JsFuture::from(handle.unchecked_ref::<FileSystemFileHandle>().get_file()).await {
                Ok(file) => {
                    let file = file.unchecked_into::<File>();
                    files.push(ChosenFile { path, file, source: Some(source.clone()) });
                }
                Err(_) => complete = false,
            }
        }
    }
    (files, complete)
}

/// The files of this torrent, which has its names from this file or folder, `source` with each. What else lies in the folder by now
/// is not looked at, however much it is. `None` unless each file is there under the name that it has in the torrent.
pub async fn files_of(info: &Info, handle: &FileSystemHandle, source: &Promise) -> Option<Vec<ChosenFile>> {
    if !info.is_folder() || handle.kind() != FileSystemHandleKind::Directory {
        return None;
    }
    // The folders on the way to the last file, outermost first: neighbours share most of theirs.
    let mut way: Vec<(String, FileSystemDirectoryHandle)> = Vec::new();
    let mut files = Vec::new();
    for file in info.files() {
        let (name, folders) = file.path.split_last()?;
        let shared = way.iter().zip(folders).take_while(|((at, _), folder)| at == *folder).count();
        way.truncate(shared);
        let folder_at = |way: &[(String, FileSystemDirectoryHandle)]| match way.last() {
            Some((_, folder)) => folder.clone(),
            None => handle.clone().unchecked_into(),
        };
        for folder in &folders[shared..] {
            let found = JsFuture::from(folder_at(&way).get_directory_handle(folder)).await.ok()?;
            way.push((folder.clone(), found.unchecked_into()));
        }
        let found = JsFuture::from(folder_at(&way).get_file_handle(name)).await.ok()?;
        let found = JsFuture::from(found.unchecked_into::<FileSystemFileHandle>().get_file()).await.ok()?;
        let path = std::iter::once(handle.name()).chain(file.path.iter().cloned()).collect();
        files.push(ChosenFile { path, file: found.unchecked_into(), source: Some(source.clone()) });
    }
    Some(files)
}

/// Everything directly inside, in whatever order.
async fn children(folder: &FileSystemDirectoryHandle) -> Result<Vec<FileSystemHandle>, JsValue> {
    let entries = folder.values();
    let mut children = Vec::new();
    while children.len() <= MOST_FILES {
        let next: js_sys::IteratorNext = JsFuture::from(entries.next()?).await?.unchecked_into();
        if next.done() {
            break;
        }
        children.push(next.value().unchecked_into());
    }
    Ok(children)
}

/// The database, closed when this is dropped, so that it is never in the way of another version's.
struct Database(IdbDatabase);

impl Database {
    async fn open() -> Result<Self, JsValue> {
        let window = web_sys::window().ok_or("there is no window")?;
        let factory = window.indexed_db()?.ok_or("there is no database")?;
        let request = factory.open_with_u32(DATABASE, VERSION)?;
        let opening = request.clone();
        let upgrade = Closure::<dyn FnMut()>::new(move || {
            let Ok(database) = opening.result().map(JsCast::unchecked_into::<IdbDatabase>) else { return };
            // If it cannot be made, using it fails.
            drop(database.create_object_store(TABLE));
        });
        request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
        let opened = done(&request).await;
        request.set_onupgradeneeded(None);
        opened.map(|database| Self(database.unchecked_into()))
    }

    fn table(&self, mode: IdbTransactionMode) -> Result<IdbObjectStore, JsValue> {
        self.0.transaction_with_str_and_mode(TABLE, mode)?.object_store(TABLE)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Waits by itself for what is under way.
        self.0.close();
    }
}

/// What a request gives, once it does.
async fn done(request: &IdbRequest) -> Result<JsValue, JsValue> {
    let ended = Promise::new(&mut |resolve: Function, reject: Function| {
        request.set_onsuccess(Some(&resolve));
        request.set_onerror(Some(&reject));
    });
    JsFuture::from(ended).await.map_err(|_| JsValue::from_str("the database fails"))?;
    request.result()
}
