//! From what the browser hands over (a selection, a drop) to files with their paths.

use std::collections::VecDeque;

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DataTransfer, DataTransferItem, File, FileList, FileSystemDirectoryEntry, FileSystemDirectoryReader,
    FileSystemEntry, FileSystemFileEntry,
};

use crate::command::ChosenFile;
use crate::handles::{self, MOST_FILES};
use crate::picker::Choice;

/// The files of a field (`<input type=file>`) or of a paste. Files of a chosen folder carry their path.
pub(super) fn from_list(list: &FileList) -> Vec<ChosenFile> {
    (0..list.length()).filter_map(|place| list.item(place)).map(chosen).collect()
}

fn chosen(file: File) -> ChosenFile {
    // Not in the bindings, since it is no standard; every browser has it.
    let path = Reflect::get(&file, &JsValue::from_str("webkitRelativePath")).ok();
    let path = path.and_then(|path| path.as_string()).unwrap_or_default();
    let mut path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if path.is_empty() {
        path.push(file.name());
    }
    ChosenFile { path, file, source: None }
}

/// The files that the user chooses in the browser's own window for files with handles, or for a folder. The second value says
/// whether everything could be read. `None` if nothing was chosen.
///
/// # Errors
/// What the browser threw.
pub(super) async fn picked(choice: Choice) -> Result<Option<(Vec<ChosenFile>, bool)>, JsValue> {
    let Some(chosen) = choice.ask().await? else { return Ok(None) };
    let mut files = Vec::new();
    let mut complete = true;
    for handle in chosen {
        let source = handles::source(&handle);
        let (found, all) = handles::files(handle, &source).await;
        files.extend(found);
        complete &= all;
    }
    Ok(Some((files, complete)))
}

/// One thing that was dropped.
enum Dropped {
    File(File),
    Entry(FileSystemEntry),
}

/// The handle of what was dropped, to be, where the browser has handles.
fn handle(item: &DataTransferItem) -> Option<Promise> {
    // Not in the bindings, since it is no standard yet.
    let method = Reflect::get(item, &JsValue::from_str("getAsFileSystemHandle")).ok()?;
    method.dyn_ref::<Function>()?.call0(item).ok()?.dyn_into().ok()
}

/// What was dropped, taken out of the event: the browser empties it as soon as the event has been handled. With each the path
/// that leads to it, and what becomes its handle.
pub(super) struct Drop(VecDeque<(Vec<String>, Dropped, Option<Promise>)>);

impl Drop {
    pub(super) fn of(transfer: &DataTransfer) -> Self {
        let items = transfer.items();
        let mut dropped = VecDeque::new();
        for place in 0..items.length() {
            let Some(item) = items.get(place).filter(|item| item.kind() == "file") else { continue };
            // Entries tell folders from files; where there is none (made by a script), the file itself will do.
            if let Ok(Some(entry)) = item.webkit_get_as_entry() {
                dropped.push_back((Vec::new(), Dropped::Entry(entry), handle(&item)));
            } else if let Ok(Some(file)) = item.get_as_file() {
                dropped.push_back((Vec::new(), Dropped::File(file), None));
            }
        }
        if let Some(files) = transfer.files().filter(|_| dropped.is_empty()) {
            dropped
                .extend(from_list(&files).into_iter().map(|one| (Vec::new(), Dropped::File(one.file), None)));
        }
        Self(dropped)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the folders through, in order. The second value says whether everything could be read.
    pub(super) async fn files(self) -> (Vec<ChosenFile>, bool) {
        let mut waiting = self.0;
        let mut files = Vec::new();
        let mut complete = true;
        while let Some((mut path, dropped, source)) = waiting.pop_front() {
            if files.len() >= MOST_FILES {
                return (files, false);
            }
            match dropped {
                Dropped::File(file) => {
                    path.push(file.name());
                    files.push(ChosenFile { path, file, source });
                }
                Dropped::Entry(entry) if entry.is_directory() => {
                    path.push(entry.name());
                    match children(entry.unchecked_ref()).await {
                        Ok(children) => {
                            let place = |child| (path.clone(), Dropped::Entry(child), source.clone());
                            let children = children.into_iter().map(place);
                            // In front, so that a folder's files stay together.
                            for child in children.rev() {
                                waiting.push_front(child);
                            }
                        }
                        Err(_) => complete = false,
                    }
                }
                Dropped::Entry(entry) => match file(entry.unchecked_ref()).await {
                    Ok(file) => {
                        path.push(entry.name());
                        files.push(ChosenFile { path, file, source });
                    }
                    Err(_) => complete = false,
                },
            }
        }
        (files, complete)
    }
}

async fn file(entry: &FileSystemFileEntry) -> Result<File, JsValue> {
    let found = JsFuture::from(Promise::new(&mut |resolve: Function, reject: Function| {
        entry.file_with_callback_and_callback(&resolve, &reject);
    }));
    found.await?.dyn_into()
}

/// Everything directly inside, as the disk lists it; the intake puts a folder's files in order.
async fn children(folder: &FileSystemDirectoryEntry) -> Result<Vec<FileSystemEntry>, JsValue> {
    let reader = folder.create_reader();
    let mut children: Vec<FileSystemEntry> = Vec::new();
    // Browsers hand over at most a hundred at a time; the end is an empty answer.
    loop {
        let some = some_children(&reader).await?;
        if some.is_empty() {
            break;
        }
        children.extend(some);
        if children.len() > MOST_FILES {
            break;
        }
    }
    Ok(children)
}

async fn some_children(reader: &FileSystemDirectoryReader) -> Result<Vec<FileSystemEntry>, JsValue> {
    let found = JsFuture::from(Promise::new(&mut |resolve: Function, reject: Function| {
        if let Err(error) = reader.read_entries_with_callback_and_callback(&resolve, &reject) {
            // A promise's own `reject` does not throw.
            let _ = reject.call1(&JsValue::UNDEFINED, &error);
        }
    }));
    let found: Array = found.await?.dyn_into()?;
    Ok(found.iter().map(JsCast::unchecked_into).collect())
}

/// Whether a drag carries files, which can be asked before it is dropped.
pub(super) fn carries_files(transfer: &DataTransfer) -> bool {
    transfer.types().iter().any(|kind| kind == "Files")
}
