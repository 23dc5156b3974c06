//! Where the programs and packages are that `cargo xtask test` installs.

use std::path::PathBuf;

use crate::workspace_root;

/// `ENXAME_TOOLS_DIR`, else `target/tools` of the workspace.
fn tools_folder() -> PathBuf {
    std::env::var_os("ENXAME_TOOLS_DIR").map_or_else(|| workspace_root().join("target/tools"), PathBuf::from)
}

/// The npm packages that the tests meet; `node_modules` is in it.
pub fn npm_folder() -> PathBuf {
    tools_folder().join("npm")
}

/// geckodriver: the one on the `PATH`, else the one that was installed.
pub(crate) fn geckodriver() -> PathBuf {
    find_on_path("geckodriver").unwrap_or_else(|| tools_folder().join("bin/geckodriver"))
}

/// The first file of this name on `PATH`.
pub(crate) fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
