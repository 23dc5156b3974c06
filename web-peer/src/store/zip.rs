//! The page's end of a zip that the storage worker makes while it is read.

use std::rc::Rc;

use js_sys::ArrayBuffer;

use super::protocol::ToStorage;
use super::{Inner, Store, StoreError, unexpected};
use crate::dedicated::{Message, part};
use crate::store::protocol::FromStorage;

/// A zip that is being made. Dropping it ends that.
pub struct Zip {
    inner: Rc<Inner>,
    number: u32,
}

impl Zip {
    pub(super) fn new(inner: Rc<Inner>, number: u32) -> Self {
        Self { inner, number }
    }

    /// The next bytes, up to about 512 KiB; `None` at the end. One at a time: what is asked while another question is open
    /// is answered behind it.
    ///
    /// # Errors
    /// As [`Store::file_blob`].
    pub fn next(&self) -> impl Future<Output = Result<Option<ArrayBuffer>, StoreError>> + use<> {
        let store = Store { inner: self.inner.clone() };
        let reply = store.request(&ToStorage::ZipNext { zip: self.number }, Vec::new());
        async move {
            let Message { body, parts } = reply.await?;
            let FromStorage::Loaded = body else { return Err(unexpected()) };
            let buffer: ArrayBuffer = part(&parts, 0).ok_or_else(unexpected)?;
            Ok((buffer.byte_length() > 0).then_some(buffer))
        }
    }
}

impl Drop for Zip {
    fn drop(&mut self) {
        // Nobody waits for the answer.
        drop(
            self.inner.worker.request::<_, FromStorage>(&ToStorage::ZipEnd { zip: self.number }, Vec::new()),
        );
    }
}
