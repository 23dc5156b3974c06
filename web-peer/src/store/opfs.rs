//! The origin private file system as this crate uses it: folders, small files read and written whole, and one large
//! file open for reading and writing at any place. Only in workers: pages cannot have the synchronous handles.

use std::time::Duration;

use js_sys::{ArrayBuffer, IteratorNext, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemReadWriteOptions, FileSystemRemoveOptions,
    FileSystemSyncAccessHandle, StorageManager,
};

use super::protocol::StoreError;
use crate::browser_error;

/// How long a file that another worker still holds is waited for: the worker of the page before a reload lets go of
/// its files when the browser gets round to ending it.
const HELD_RETRY: Duration = Duration::from_millis(50);
/// Times that it is tried: two seconds in all.
const HELD_TRIES: u32 = 40;

/// What a browser threw, sorted.
pub(super) fn failure(error: &JsValue) -> StoreError {
    if browser_error::name(error) == "QuotaExceededError" {
        StoreError::Full
    } else {
        StoreError::Browser(browser_error::sentence(error))
    }
}

async fn resolved<T: JsCast>(promise: js_sys::Promise) -> Result<T, JsValue> {
    let value = JsFuture::from(promise).await?;
    // Unchecked: it is the type that the standard gives the promise, and the classes differ between contexts.
    Ok(value.unchecked_into())
}

/// The root folder. `None` where there is none: no secure context, or the browser refuses, as some do in private
/// windows.
pub(super) async fn root() -> Option<FileSystemDirectoryHandle> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let storage: StorageManager = Reflect::get(&navigator, &"storage".into()).ok()?.dyn_into().ok()?;
    Reflect::get(&storage, &"getDirectory".into()).ok().filter(JsValue::is_function)?;
    resolved(storage.get_directory()).await.ok()
}

/// A folder in a folder, made if it is not there.
pub(super) async fn folder(
    parent: &FileSystemDirectoryHandle,
    name: &str,
) -> Result<FileSystemDirectoryHandle, StoreError> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    let opened = resolved(parent.get_directory_handle_with_options(name, &options)).await;
    opened.map_err(|error| failure(&error))
}

/// A folder in a folder, if it is there.
pub(super) async fn existing_folder(
    parent: &FileSystemDirectoryHandle,
    name: &str,
) -> Option<FileSystemDirectoryHandle> {
    resolved(parent.get_directory_handle(name)).await.ok()
}

/// The names of the folders in a folder.
pub(super) async fn folders(parent: &FileSystemDirectoryHandle) -> Vec<String> {
    let entries = parent.entries();
    let mut names = Vec::new();
    while let Ok(next) = entries.next()
        && let Ok(next) = resolved::<IteratorNext>(next).await
        && !next.done()
    {
        let entry: js_sys::Array = next.value().unchecked_into();
        let kind = Reflect::get(&entry.get(1), &"kind".into()).ok().and_then(|kind| kind.as_string());
        if kind.as_deref() == Some("directory") {
            names.extend(entry.get(0).as_string());
        }
    }
    names
}

/// Deletes a file or a folder with all that is in it; there being none is fine.
pub(super) async fn remove(parent: &FileSystemDirectoryHandle, name: &str) -> Result<(), StoreError> {
    let options = FileSystemRemoveOptions::new();
    options.set_recursive(true);
    for attempt in 1.. {
        let Err(error) = JsFuture::from(parent.remove_entry_with_options(name, &options)).await else {
            break;
        };
        match browser_error::name(&error).as_str() {
            "NotFoundError" => break,
            "NoModificationAllowedError" | "InvalidStateError" if attempt < HELD_TRIES => {
                gloo_timers::future::sleep(HELD_RETRY).await;
            }
            _ => return Err(failure(&error)),
        }
    }
    Ok(())
}

async fn file_handle(
    parent: &FileSystemDirectoryHandle,
    name: &str,
    create: bool,
) -> Result<FileSystemFileHandle, JsValue> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    resolved(parent.get_file_handle_with_options(name, &options)).await
}

/// A small file's bytes; `None` if there is no such file or it cannot be read.
pub(super) async fn read(parent: &FileSystemDirectoryHandle, name: &str) -> Option<Vec<u8>> {
    let handle = file_handle(parent, name, false).await.ok()?;
    let file: Blob = resolved(handle.get_file()).await.ok()?;
    let buffer: ArrayBuffer = resolved(file.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// Writes a small file whole. It reaches the disk when the system gets round to it: whoever reads such a file can tell
/// whether it is good, and waiting for the disk would take longer than all the rest of adding a torrent.
pub(super) async fn write(
    parent: &FileSystemDirectoryHandle,
    name: &str,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let file = OpenFile::open(parent, name).await?;
    file.write_at(0, &Uint8Array::from(bytes))?;
    file.set_size(bytes.len() as u64)
}

/// A file that is open for reading and writing, and is closed when this is dropped. Nobody else can open it
/// meanwhile.
#[derive(Debug)]
pub(super) struct OpenFile {
    handle: FileSystemFileHandle,
    access: FileSystemSyncAccessHandle,
}

impl OpenFile {
    /// Opens a file, made if it is not there. One that another worker still holds is waited for.
    pub(super) async fn open(parent: &FileSystemDirectoryHandle, name: &str) -> Result<Self, StoreError> {
        let handle = file_handle(parent, name, true).await.map_err(|error| failure(&error))?;
        if !Reflect::get(&handle, &"createSyncAccessHandle".into()).is_ok_and(|method| method.is_function()) {
            return Err(StoreError::Browser("this browser has no synchronous file handles".into()));
        }
        let mut tries = 1;
        loop {
            match resolved(handle.create_sync_access_handle()).await {
                Ok(access) => return Ok(Self { handle, access }),
                Err(error) => {
                    let name = browser_error::name(&error);
                    let held = name == "NoModificationAllowedError" || name == "InvalidStateError";
                    if !held || tries == HELD_TRIES {
                        return Err(failure(&error));
                    }
                    tries += 1;
                    gloo_timers::future::sleep(HELD_RETRY).await;
                }
            }
        }
    }

    /// Its length in bytes.
    pub(super) fn size(&self) -> Result<u64, StoreError> {
        self.access.get_size().map(|size| size as u64).map_err(|error| failure(&error))
    }

    /// Cuts it, or lengthens it with zeros.
    pub(super) fn set_size(&self, size: u64) -> Result<(), StoreError> {
        self.access.truncate_with_f64(size as f64).map_err(|error| failure(&error))
    }

    /// Writes all of these bytes at this place.
    pub(super) fn write_at(&self, offset: u64, bytes: &Uint8Array) -> Result<(), StoreError> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(offset as f64);
        let written = self
            .access
            .write_with_js_u8_array_and_options(bytes, &options)
            .map_err(|error| failure(&error))?;
        // The standard has a short write throw; browsers have been seen to only report it. Nothing but want of room
        // cuts a write short.
        if written < f64::from(bytes.length()) { Err(StoreError::Full) } else { Ok(()) }
    }

    /// Fills `bytes` from this place; whether there were so many.
    pub(super) fn read_at(&self, offset: u64, bytes: &Uint8Array) -> Result<bool, StoreError> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(offset as f64);
        let read = self.access.read_with_js_u8_array_and_options(bytes, &options);
        read.map(|read| read >= f64::from(bytes.length())).map_err(|error| failure(&error))
    }

    /// Has everything that was written reach the disk.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.access.flush().map_err(|error| failure(&error))
    }

    /// The file as it is now, for reading elsewhere. What is written later makes it unreadable.
    pub(super) async fn snapshot(&self) -> Result<File, StoreError> {
        resolved(self.handle.get_file()).await.map_err(|error| failure(&error))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.access.close();
    }
}
