//! Has the tracker built anew when the page was: release builds hold the page.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Debug builds read the page at run time. While there is no page, cargo takes the missing folder for a change, and
    // a debug build would start over each time.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=../dist");
    }
}
