//! A finished file goes to where the browser puts downloads, or a whole torrent into a folder that the user chooses.

use gloo_timers::callback::Timeout;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, Document, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemWritableFileStream, HtmlAnchorElement, HtmlIFrameElement, Url,
};

use crate::browser_error;
use crate::picker::Choice;

/// Milliseconds that the blob's address stays good: the browser resolves it when the download begins, which a person
/// may first have to allow.
const ADDRESS_LIFE_MS: u32 = 10 * 60 * 1000;

/// Names that are tried for a folder that is there already, at most.
const MOST_NAMES: u32 = 1000;

/// Has the browser download this blob under this name, which may be in any script. The browser reads it piece by piece;
/// it is never in memory as a whole.
///
/// # Errors
/// What the browser threw.
pub fn download(blob: &Blob, name: &str) -> Result<(), JsValue> {
    let anchor: HtmlAnchorElement = document()?.create_element("a")?.unchecked_into();
    let address = Url::create_object_url_with_blob(blob)?;
    anchor.set_href(&address);
    anchor.set_download(name);
    anchor.click();
    Timeout::new(ADDRESS_LIFE_MS, move || {
        // Only a malformed address is refused.
        drop(Url::revoke_object_url(&address));
    })
    .forget();
    Ok(())
}

/// Has the browser download what the service worker answers at this address. In a frame, since browsers do not ask a service
/// worker for what a link with `download` leads to, and this page must not be left.
///
/// # Errors
/// What the browser threw.
pub fn navigate(address: &str) -> Result<(), JsValue> {
    let document = document()?;
    let frame: HtmlIFrameElement = document.create_element("iframe")?.unchecked_into();
    frame.set_hidden(true);
    frame.set_src(address);
    document.body().ok_or("there is no body")?.append_child(&frame)?;
    Timeout::new(ADDRESS_LIFE_MS, move || frame.remove()).forget();
    Ok(())
}

/// A folder on the user's disk.
pub struct Folder(FileSystemDirectoryHandle);

impl Folder {
    /// Asks the user for one; `None` if they think better of it.
    ///
    /// # Errors
    /// What the browser threw.
    pub async fn choose() -> Result<Option<Self>, JsValue> {
        let chosen = Choice::Target.ask().await?.and_then(|chosen| chosen.into_iter().next());
        Ok(chosen.map(|folder| Self(folder.unchecked_into())))
    }

    /// A new folder in it with this name, or with the first of `name (2)`, `name (3)`, … that is free: nothing that is there is
    /// overwritten.
    ///
    /// # Errors
    /// What the browser threw.
    pub async fn fresh(&self, name: &str) -> Result<Self, JsValue> {
        let mut free = name.to_owned();
        for number in 2..MOST_NAMES {
            match JsFuture::from(self.0.get_directory_handle(&free)).await {
                Err(error) if browser_error::name(&error) == "NotFoundError" => break,
                // A file of this name is in the way just as well.
                Err(error) if browser_error::name(&error) != "TypeMismatchError" => return Err(error),
                _ => free = format!("{name} ({number})"),
            }
        }
        self.folder(&free).await
    }

    /// Writes a file below it, in these folders. The browser reads the blob piece by piece, and puts the file in its place
    /// when it is whole.
    ///
    /// # Errors
    /// What the browser threw; for a name that the system does not take, too.
    pub async fn write(&self, folders: &[String], name: &str, blob: &Blob) -> Result<(), JsValue> {
        let mut folder = Self(self.0.clone());
        for name in folders {
            folder = folder.folder(name).await?;
        }
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let file = JsFuture::from(folder.0.get_file_handle_with_options(name, &options)).await?;
        let file: FileSystemFileHandle = file.unchecked_into();
        let stream = JsFuture::from(file.create_writable()).await?;
        let stream: FileSystemWritableFileStream = stream.unchecked_into();
        JsFuture::from(stream.write_with_blob(blob)?).await?;
        JsFuture::from(stream.close()).await?;
        Ok(())
    }

    async fn folder(&self, name: &str) -> Result<Self, JsValue> {
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let made = JsFuture::from(self.0.get_directory_handle_with_options(name, &options)).await?;
        Ok(Self(made.unchecked_into()))
    }
}

fn document() -> Result<Document, JsValue> {
    let document = web_sys::window().and_then(|window| window.document());
    document.ok_or_else(|| JsValue::from_str("there is no document"))
}
