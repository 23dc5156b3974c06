//! What a file is, by its name: how the page shows it, and as what type it is given to the browser.
//!
//! Whoever made a torrent chose its names and bytes, and the browser takes what it shows for a part of this page. So a type
//! stands here only if a browser runs nothing in it: HTML, XML and scripts are text like any other, and SVG is an image,
//! which runs nothing as long as it is shown as one.

/// How the page shows a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// With a player.
    Video,
    /// With a player.
    Audio,
    /// As a picture.
    Image,
    /// With the browser's own viewer.
    Pdf,
    /// As plain text, whatever it means to a program.
    Text,
}

/// The type of a file that is not shown, only saved.
pub const UNKNOWN: &str = "application/octet-stream";

/// The type of text, whatever it means to a program.
const TEXT: &str = "text/plain; charset=utf-8";

/// Endings, without the dot and in small letters; kind; media type (RFC 6838).
const TYPES: &[(&[&str], Kind, &str)] = &[
    (&["mp4", "m4v"], Kind::Video, "video/mp4"),
    (&["webm"], Kind::Video, "video/webm"),
    (&["mkv"], Kind::Video, "video/x-matroska"),
    (&["mov"], Kind::Video, "video/quicktime"),
    (&["ogv"], Kind::Video, "video/ogg"),
    (&["mp3"], Kind::Audio, "audio/mpeg"),
    (&["m4a", "m4b"], Kind::Audio, "audio/mp4"),
    (&["aac"], Kind::Audio, "audio/aac"),
    (&["ogg", "oga", "opus"], Kind::Audio, "audio/ogg"),
    (&["flac"], Kind::Audio, "audio/flac"),
    (&["wav"], Kind::Audio, "audio/wav"),
    (&["weba"], Kind::Audio, "audio/webm"),
    (&["jpg", "jpeg"], Kind::Image, "image/jpeg"),
    (&["png", "apng"], Kind::Image, "image/png"),
    (&["gif"], Kind::Image, "image/gif"),
    (&["webp"], Kind::Image, "image/webp"),
    (&["avif"], Kind::Image, "image/avif"),
    (&["svg"], Kind::Image, "image/svg+xml"),
    (&["bmp"], Kind::Image, "image/bmp"),
    (&["ico"], Kind::Image, "image/x-icon"),
    (&["pdf"], Kind::Pdf, "application/pdf"),
    (
        &[
            "txt", "text", "md", "markdown", "rst", "log", "nfo", "srt", "vtt", "ass", "csv", "tsv", "json",
            "jsonl", "xml", "html", "htm", "xhtml", "css", "js", "mjs", "ts", "toml", "yaml", "yml", "ini",
            "conf", "cue", "m3u", "m3u8", "tex", "bib", "diff", "patch", "sh", "py", "rs", "c", "h", "cpp",
            "hpp", "java", "go", "rb", "php", "sql", "lua", "swift", "kt",
        ],
        Kind::Text,
        TEXT,
    ),
];

/// How the page shows a file with this path or name; `None` if it can only be saved.
pub fn kind(path: &str) -> Option<Kind> {
    entry(path).map(|(kind, _)| kind)
}

/// The type that a file with this path or name is given to the browser as.
pub fn content_type(path: &str) -> &'static str {
    entry(path).map_or(UNKNOWN, |(_, content_type)| content_type)
}

fn entry(path: &str) -> Option<(Kind, &'static str)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let found = TYPES.iter().find(|(endings, _, _)| endings.contains(&ending.as_str()));
    found.map(|(_, kind, content_type)| (*kind, *content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_ending_says_in_any_case_and_script() {
        assert_eq!(kind("férias/VÍDEO 1.MP4"), Some(Kind::Video));
        assert_eq!(kind("音楽.flac"), Some(Kind::Audio));
        assert_eq!(kind("a.b.Jpeg"), Some(Kind::Image));
        assert_eq!(kind("manual.pdf"), Some(Kind::Pdf));
        assert_eq!(kind("README.md"), Some(Kind::Text));
        for path in ["archive.zip", "program.exe", "mp4", "folder.mp4/file", "", ".", "a."] {
            assert_eq!(kind(path), None, "{path}");
            assert_eq!(content_type(path), UNKNOWN, "{path}");
        }
    }

    #[test]
    fn nothing_is_given_to_the_browser_as_a_document_that_runs() {
        for (endings, kind, content_type) in TYPES {
            let runs = ["html", "xml", "script", "css"].iter().any(|word| content_type.contains(word));
            // As an image it runs nothing; opened by itself the response's own policy forbids it.
            let is_svg = *content_type == "image/svg+xml" && *kind == Kind::Image;
            assert!(!runs || is_svg, "{content_type}");
            for ending in *endings {
                assert_eq!(*ending, ending.to_ascii_lowercase());
                let others =
                    TYPES.iter().flat_map(|(endings, _, _)| *endings).filter(|other| *other == ending);
                assert_eq!(others.count(), 1, "{ending} twice");
            }
        }
        assert_eq!(content_type("evil.html"), TEXT);
    }
}
