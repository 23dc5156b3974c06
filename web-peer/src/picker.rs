//! The browser's own windows in which users choose files or a folder and give this page handles of them, where it has any.

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::FileSystemHandle;

use crate::browser_error;

/// What is to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Files to read: one or several.
    Files,
    /// A folder to read.
    Folder,
    /// A folder to write into.
    Target,
}

impl Choice {
    /// The function that opens the window.
    fn opener(self) -> &'static str {
        match self {
            Self::Files => "showOpenFilePicker",
            Self::Folder | Self::Target => "showDirectoryPicker",
        }
    }

    /// Whether the browser has such a window.
    pub fn is_offered(self) -> bool {
        web_sys::window().is_some_and(|window| Reflect::has(&window, &self.opener().into()).unwrap_or(false))
    }

    /// Opens the window, which takes a click; the handles of what was chosen. `None` if the user thought better of it, or if the
    /// browser would not give what they wanted: it tells neither from the other.
    ///
    /// # Errors
    /// What the browser threw.
    pub async fn ask(self) -> Result<Option<Vec<FileSystemHandle>>, JsValue> {
        let window = web_sys::window().ok_or("there is no window")?;
        let open: Function = Reflect::get(&window, &self.opener().into())?.dyn_into()?;
        let options = Object::new();
        match self {
            Self::Files => Reflect::set(&options, &"multiple".into(), &JsValue::TRUE)?,
            Self::Folder => true,
            Self::Target => Reflect::set(&options, &"mode".into(), &"readwrite".into())?,
        };
        let asked: Promise = open.call1(&window, &options)?.dyn_into()?;
        match JsFuture::from(asked).await {
            Ok(many) if self == Self::Files => {
                Ok(Some(Array::from(&many).iter().map(JsCast::unchecked_into).collect()))
            }
            Ok(one) => Ok(Some(vec![one.unchecked_into()])),
            Err(error) if browser_error::name(&error) == "AbortError" => Ok(None),
            Err(error) => Err(error),
        }
    }
}
