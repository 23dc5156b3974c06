//! The page as it is driven by recorded snapshots, without tracker or peers (`web-peer/examples/recorded.rs`): for screenshots.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tools;
use crate::workspace::{ROOT, TARGET, cargo, command, run, say};

/// Builds it into `target/recorded`, where the snapshots are, too. Gives the folder.
pub(crate) fn page() -> Result<PathBuf> {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    say("building the page that shows recorded snapshots");
    run(cargo().args(["build", "--package", "web-peer", "--example", "recorded", "--target", tools::WASM]))?;
    let folder = TARGET.join("recorded");
    let program = TARGET.join(tools::WASM).join("debug/examples/recorded.wasm");
    run(command(tools::program("wasm-bindgen"))
        .args(["--target", "web", "--no-typescript", "--out-dir"])
        .args([&folder, &program]))?;
    copy(&ROOT.join("www"), &folder)?;
    copy(&ROOT.join("e2e/recorded"), &folder.join("recorded"))?;
    let index = folder.join("index.html");
    let written = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    fs::write(&index, without_trunk(&written))
        .with_context(|| format!("cannot write {}", index.display()))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for file in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        let copied = to.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &copied).with_context(|| format!("cannot write {}", copied.display()))?;
    }
    Ok(())
}

/// `index.html` with what Trunk makes of it when this program is the page's.
fn without_trunk(index: &str) -> String {
    let mut written = String::new();
    let mut rest = index;
    while let Some((before, link)) = rest.split_once("<link") {
        written.push_str(before);
        let (link, after) = link.split_once("/>").unwrap_or((link, ""));
        let shown = link.replacen(" data-trunk", "", 1).replace("rel=\"css\"", "rel=\"stylesheet\"");
        // What is only for Trunk goes: programs, and files that are copied.
        let is_kept =
            !link.contains("data-trunk") || link.contains("rel=\"css\"") || link.contains("rel=\"icon\"");
        if is_kept {
            written.push_str(&format!("<link{shown}/>"));
        }
        rest = after;
    }
    written.push_str(rest);
    let program =
        "<meta name=\"program\" data-js=\"recorded.js\" data-wasm=\"recorded_bg.wasm\" />\n  </head>";
    written.replace("<script data-trunk ", "<script ").replacen("</head>", program, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_this_program_its_style_and_nothing_that_only_trunk_makes() {
        let page = without_trunk(include_str!("../../www/index.html"));
        for part in [
            "<link rel=\"stylesheet\" href=\"style.css\" />",
            "<link rel=\"icon\"",
            "<script src=\"boot.js\"></script>",
            "<script type=\"module\" src=\"start.js\"></script>",
            "data-js=\"recorded.js\"",
        ] {
            assert_eq!(page.matches(part).count(), 1, "{part}");
        }
        assert!(!page.contains("data-trunk") && !page.contains("rel=\"rust\""));
        assert!(page.trim_end().ends_with("</html>"));
    }
}
