//! Handles of the user's own files, in a real browser's database. The files are the origin's own, whose handles are of the same
//! kind.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use js_sys::{Function, Promise, Reflect, Uint8Array};
use shared::InfoHash;
use shared::metainfo::{Info, Layout};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::command::ChosenFile;
use web_peer::handles::{self, Permission, Place};
use web_peer::intake;
use web_sys::{
    FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemHandle, FileSystemWritableFileStream,
};

wasm_bindgen_test_configure!(run_in_browser);

async fn done<T: wasm_bindgen::JsCast>(promise: Promise) -> T {
    JsFuture::from(promise).await.unwrap().unchecked_into()
}

async fn root() -> FileSystemDirectoryHandle {
    done(web_sys::window().unwrap().navigator().storage().get_directory()).await
}

async fn folder(parent: &FileSystemDirectoryHandle, name: &str) -> FileSystemDirectoryHandle {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    done(parent.get_directory_handle_with_options(name, &options)).await
}

async fn write(parent: &FileSystemDirectoryHandle, name: &str, bytes: &[u8]) -> FileSystemFileHandle {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let file: FileSystemFileHandle = done(parent.get_file_handle_with_options(name, &options)).await;
    let stream: FileSystemWritableFileStream = done(file.create_writable()).await;
    done::<JsValue>(stream.write_with_js_u8_array(&Uint8Array::from(bytes)).unwrap()).await;
    done::<JsValue>(stream.close()).await;
    file
}

fn hash(number: u32) -> InfoHash {
    let mut hash = [7; 20];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    InfoHash::new(hash)
}

fn place(folder: &str, number: u32) -> Place {
    Place::new(folder, hash(number))
}

/// Puts whatever it is where handles are kept, as another version or a person might.
async fn put(key: &str, value: &JsValue) {
    let script = "return new Promise((done, failed) => {
            const opening = indexedDB.open('enxame');
            opening.onerror = failed;
            opening.onsuccess = () => {
                const request = opening.result.transaction('handles', 'readwrite').objectStore('handles').put(value, key);
                request.onsuccess = () => { opening.result.close(); done(); };
                request.onerror = failed;
            };
        })";
    let put = Function::new_with_args("key, value", script);
    done::<JsValue>(put.call2(&JsValue::NULL, &key.into(), value).unwrap().unchecked_into()).await;
}

async fn name_of(place: &Place) -> Option<String> {
    handles::find(place).await.map(|handle| handle.name())
}

#[wasm_bindgen_test]
async fn a_handle_is_found_again_until_it_is_forgotten() {
    let file: FileSystemHandle = write(&root().await, "kept.bin", b"kept").await.into();
    let (one, other) = (place("found", 1), place("found", 2));
    assert_eq!(name_of(&one).await, None);
    handles::keep(&one, &file).await;
    handles::keep(&other, &file).await;
    assert_eq!(name_of(&one).await.as_deref(), Some("kept.bin"));
    assert_eq!(handles::permission(&handles::find(&one).await.unwrap(), false).await, Permission::Granted);
    handles::forget(&one).await;
    assert_eq!(name_of(&one).await, None);
    assert_eq!(name_of(&other).await.as_deref(), Some("kept.bin"));
}

#[wasm_bindgen_test]
async fn what_is_no_handle_is_none_and_what_nobody_needs_goes() {
    let file: FileSystemHandle = write(&root().await, "swept.bin", b"swept").await.into();
    let [kept, left, foreign] = [place("swept", 1), place("swept", 2), place("other", 1)];
    for place in [&kept, &left, &foreign] {
        handles::keep(place, &file).await;
    }
    let nonsense = place("nonsense", 1);
    handles::keep(&nonsense, &file).await;
    for value in [JsValue::from_str("nonsense"), JsValue::NULL, js_sys::Object::new().into()] {
        put(&format!("nonsense/{}", hash(1)), &value).await;
        assert_eq!(name_of(&nonsense).await, None, "{value:?}");
    }
    handles::keep_only("swept", std::slice::from_ref(&kept)).await;
    assert!(name_of(&kept).await.is_some() && name_of(&foreign).await.is_some());
    assert_eq!(name_of(&left).await, None);
}

#[wasm_bindgen_test]
async fn a_folders_files_come_with_their_paths_and_one_source() {
    let top = folder(&root().await, "pasta").await;
    let below = folder(&top, "b").await;
    write(&top, "a.bin", b"a").await;
    write(&below, "ação.bin", b"four").await;
    let handle: FileSystemHandle = top.clone().into();
    let source = handles::source(&handle);
    let (mut files, complete) = handles::files(handle, &source).await;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let found = files.iter().map(|ChosenFile { path, file, .. }| (path.join("/"), file.size()));
    let expected = [("pasta/a.bin".to_owned(), 1.0), ("pasta/b/ação.bin".to_owned(), 4.0)];
    assert!(complete);
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(intake::source(&files).is_some());
    files[0].source = Some(handles::source(&below.into()));
    assert!(intake::source(&files).is_none(), "they come from two places");
    assert!(intake::source(&[]).is_none());
}

#[wasm_bindgen_test]
async fn a_file_that_is_gone_is_told_by_its_absence() {
    let root = root().await;
    let file: FileSystemHandle = write(&root, "gone.bin", b"gone").await.into();
    done::<JsValue>(root.remove_entry("gone.bin")).await;
    let (files, complete) = handles::files(file.clone(), &handles::source(&file)).await;
    assert!(files.is_empty() && !complete);
}

#[wasm_bindgen_test]
async fn no_more_than_so_many_are_kept_and_the_oldest_tabs_go_first() {
    let file: FileSystemHandle = write(&root().await, "many.bin", b"many").await.into();
    // No other test's folder comes before this in the order of keys.
    let first = place("0", 0);
    handles::keep(&first, &file).await;
    for number in 1..=500 {
        handles::keep(&place("1", number), &file).await;
    }
    assert_eq!(name_of(&first).await, None);
    assert!(name_of(&place("1", 500)).await.is_some());
    handles::keep_only("1", &[]).await;
    assert_eq!(name_of(&place("1", 500)).await, None);
}

#[wasm_bindgen_test]
async fn leave_is_what_the_browser_says_it_is() {
    let file: FileSystemHandle = write(&root().await, "leave.bin", b"leave").await.into();
    let says = |method: &str, answer: &str| {
        let said = Function::new_no_args(answer);
        Reflect::set(&file, &method.into(), &said).unwrap();
    };
    for (answer, expected) in [
        ("return Promise.resolve('granted')", Permission::Granted),
        ("return Promise.resolve('denied')", Permission::Denied),
        ("return Promise.resolve('prompt')", Permission::Prompt),
        ("return Promise.reject(new Error())", Permission::Prompt),
        ("throw new Error()", Permission::Prompt),
        ("return 5", Permission::Prompt),
    ] {
        says("queryPermission", answer);
        says("requestPermission", "throw new Error()");
        assert_eq!(handles::permission(&file, false).await, expected, "{answer}");
        says("requestPermission", answer);
        assert_eq!(handles::permission(&file, true).await, expected, "{answer}");
    }
}

#[wasm_bindgen_test]
async fn of_a_folder_that_comes_back_nothing_is_looked_at_but_the_torrents_files() {
    let top = folder(&root().await, "volta").await;
    let below = folder(&folder(&top, "b").await, "c").await;
    for (parent, name) in [(&top, "a.bin"), (&below, "d.bin"), (&below, "e.bin"), (&top, "new.bin")] {
        write(parent, name, name.as_bytes()).await;
    }
    let info = |paths: &[&str]| {
        let files = paths.iter().map(|path| (path.split('/').map(str::to_owned).collect(), 5)).collect();
        let pieces = vec![[0; 20]; (paths.len() * 5).div_ceil(65_536)];
        Info::create("outro nome", &Layout::Folder(files), 65_536, &pieces, false).unwrap()
    };
    // Listing a folder is what walks it.
    let walks = Function::new_no_args(
        "window.walked = 0;
        for (const name of ['values', 'entries', 'keys']) {
            const own = FileSystemDirectoryHandle.prototype[name];
            FileSystemDirectoryHandle.prototype[name] = function () { window.walked += 1; return own.call(this); };
        }",
    );
    walks.call0(&JsValue::NULL).unwrap();
    let handle: FileSystemHandle = top.into();
    let source = handles::source(&handle);
    let paths = ["a.bin", "b/c/d.bin", "b/c/e.bin"];
    let files = handles::files_of(&info(&paths), &handle, &source).await.unwrap();
    let found: Vec<_> =
        files.iter().map(|ChosenFile { path, file, .. }| (path.join("/"), file.size())).collect();
    assert_eq!(found, paths.map(|path| (format!("volta/{path}"), 5.0)));
    assert_eq!(Reflect::get(&web_sys::window().unwrap(), &"walked".into()).unwrap(), 0.0);
    assert!(intake::source(&files).is_some());
    for gone in [["a.bin", "b/c/x.bin"], ["a.bin", "b/x/d.bin"], ["a.bin", "b/c"], ["a.bin/x", "b"]] {
        assert!(handles::files_of(&info(&gone), &handle, &source).await.is_none(), "{gone:?}");
    }
}
