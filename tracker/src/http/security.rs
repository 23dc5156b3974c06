//! What every reply tells browsers to be careful with, first of all the page's content security policy: what they let it run,
//! load and ask.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The same as in the page itself (`www/index.html`, for whoever serves it without this tracker), and what only a header can
/// say: nobody shows it inside a page of theirs.
///
/// WebAssembly counts as evaluated code; nothing else is. Sockets go to whatever trackers the torrents name.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; \
    style-src 'self'; img-src 'self' data:; media-src 'self'; frame-src 'self'; manifest-src 'self'; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    // Files other than the page, too: each worker obeys the policy that its own script came with.
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Adds them to a reply.
pub(super) fn secure(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_the_same_of_itself() {
        let page = include_str!("../../../www/index.html");
        let said = page.split("<meta http-equiv=\"content-security-policy\" content=\"").nth(1).unwrap();
        let said = said.split('"').next().unwrap();
        assert_eq!(POLICY.strip_suffix("; frame-ancestors 'none'"), Some(said));
    }

    #[test]
    fn nothing_inside_the_page_is_a_script() {
        let page = include_str!("../../../www/index.html");
        for script in page.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap();
            assert!(tag.contains("src="), "{tag}");
        }
        let patterns = include_str!("../../../Trunk.toml");
        assert!(
            patterns.contains("pattern_script = '<meta "),
            "Trunk's own script would stand inside the page"
        );
        assert!(!page.contains(" style=") && !page.contains("<style"));
    }
}
