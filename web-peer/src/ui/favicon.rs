//! The tab's icon: while something is being downloaded, a ring that closes.

use leptos::prelude::*;

/// Shows the percentage, from now on; the page's own icon while there is none.
pub(super) fn favicon(downloaded: Memo<Option<u64>>) {
    // Where there is no such link, there is nothing to change.
    let Some(link) = document().query_selector("link[rel=icon]").ok().flatten() else { return };
    // Made anew with each language: then the page's own icon is what was kept.
    const OWN: &str = "data-own";
    let own = link.get_attribute(OWN).or_else(|| link.get_attribute("href")).unwrap_or_default();
    // Known attributes of an element that is there: cannot fail.
    let _ = link.set_attribute(OWN, &own);
    let link = StoredValue::new_local(link);
    // A memo: it runs only when the percentage is another.
    Effect::new(move |_| {
        let href = downloaded.get().map_or_else(|| own.clone(), address);
        link.with_value(|link| link.set_attribute("href", &href).ok());
    });
}

/// The drawing as an address, so that nothing is asked of anybody.
fn address(percent: u64) -> String {
    // Of what stands in it, only these mean something else in an address.
    let drawing = drawing(percent).replace('%', "%25").replace('#', "%23").replace('"', "'");
    format!("data:image/svg+xml,{drawing}")
}

/// A ring around the swarm's hexagon, closed at 100. Its colours are seen on light and on dark tabs.
fn drawing(percent: u64) -> String {
    // Of a ring that is not begun nothing would be drawn but its round end.
    let ends = percent.clamp(1, 100);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\" fill=\"none\">\
         <circle cx=\"16\" cy=\"16\" r=\"13\" stroke=\"#8a8270\" stroke-opacity=\".45\" stroke-width=\"5\"/>\
         <circle cx=\"16\" cy=\"16\" r=\"13\" stroke=\"#e8a317\" stroke-width=\"5\" pathLength=\"100\" \
         stroke-dasharray=\"{ends} 100\" transform=\"rotate(-90 16 16)\"/>\
         <path fill=\"#b8730a\" d=\"M16 9.5l5.6 3.25v6.5L16 22.5l-5.6-3.25v-6.5z\"/></svg>"
    )
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn the_ring_closes_with_the_percentage_and_the_address_needs_nobody() {
        for (percent, dashes) in [(0, "'1 100'"), (37, "'37 100'"), (100, "'100 100'"), (900, "'100 100'")] {
            let address = address(percent);
            assert!(address.starts_with("data:image/svg+xml,<svg xmlns='http:"), "{address}");
            assert!(address.contains(&format!("stroke-dasharray={dashes}")), "{address}");
            assert!(!address.contains(['#', '"', '\n']), "{address}");
        }
    }
}
