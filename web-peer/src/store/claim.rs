//! Which folder is this tab's. Tabs of one origin share the private file system, and a tab is a peer, so each has a
//! folder of its own, `enxame/<id>`, for as long as it holds the lock `enxame-store-<id>`. The lock and not the
//! folder says whose it is: a folder whose lock is free was left by a tab that is gone, and may be adopted.

use js_sys::{Date, Math};
use shared::order::sorted;
use web_sys::FileSystemDirectoryHandle;

use super::locks::{self, HeldLock, Patience};
use super::opfs;
use super::protocol::StoreError;

/// The folder that has all stores.
const ROOT: &str = "enxame";

/// How long a tab that was reloaded waits for its folder: the page before it may be just ending, and lets go when the
/// browser gets round to it. A duplicated tab asks for the folder of its original, and waits so long in vain.
const RELOAD_PATIENCE: Patience = Patience::Millis(1_000);

/// A folder that is this tab's until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    /// The folder's name.
    pub(super) id: String,
    /// The folder.
    pub(super) folder: FileSystemDirectoryHandle,
    #[expect(dead_code, reason = "held, not used")]
    lock: HeldLock,
}

/// Takes a folder: the preferred one, else the newest with content that nobody holds, else a new one. Empty ones that
/// nobody holds are deleted. `None` where there is no private file system, or one that cannot be written.
pub(super) async fn claim(preferred: Option<&str>) -> Option<Claim> {
    let root = opfs::folder(&opfs::root().await?, ROOT).await.ok()?;
    let claim = match reclaim(&root, preferred).await {
        Some(claim) => claim,
        None => match adopt(&root).await {
            Some(claim) => claim,
            None => found(&root).await?,
        },
    };
    works(&claim.folder).await.ok()?;
    Some(claim)
}

fn lock_name(id: &str) -> String {
    format!("enxame-store-{id}")
}

async fn enter(root: &FileSystemDirectoryHandle, id: String, lock: HeldLock) -> Option<Claim> {
    let folder = opfs::folder(root, &id).await.ok()?;
    Some(Claim { id, folder, lock })
}

async fn reclaim(root: &FileSystemDirectoryHandle, preferred: Option<&str>) -> Option<Claim> {
    // It comes from the tab's session storage, where a person may have written anything.
    let id = preferred.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    let lock = locks::take(&lock_name(id), RELOAD_PATIENCE).await?;
    enter(root, id.to_owned(), lock).await
}

async fn adopt(root: &FileSystemDirectoryHandle) -> Option<Claim> {
    // They begin with the time at which they were made.
    let ids = sorted(opfs::folders(root).await);
    let mut adopted = None;
    for id in ids.into_iter().rev() {
        let Some(lock) = locks::take(&lock_name(&id), Patience::None).await else { continue };
        let Some(folder) = opfs::existing_folder(root, &id).await else { continue };
        if opfs::folders(&folder).await.is_empty() {
            // Held by nobody, so in nobody's way; another tab's turn will come if it fails now.
            drop(opfs::remove(root, &id).await);
        } else if adopted.is_none() {
            adopted = Some(Claim { id, folder, lock });
        }
    }
    adopted
}

async fn found(root: &FileSystemDirectoryHandle) -> Option<Claim> {
    let id = format!("{:011x}{:08x}", Date::now() as u64, (Math::random() * f64::from(u32::MAX)) as u32);
    let lock = locks::take(&lock_name(&id), Patience::None).await?;
    enter(root, id, lock).await
}

/// Whether files in this folder can be opened and written. Some browsers give a private window a file system that
/// refuses it.
async fn works(folder: &FileSystemDirectoryHandle) -> Result<(), StoreError> {
    const PROBE: &str = "probe";
    opfs::write(folder, PROBE, b"?").await?;
    opfs::remove(folder, PROBE).await
}
