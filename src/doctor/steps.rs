//! The steps, in order.

use super::examination::Examination;
use super::finding::Found;
use super::{content, listing, opening, walk};

/// One step. What it needs of others it finds in the examination; without that it is left out.
pub(super) struct Step {
    /// For people.
    pub(super) name: &'static str,
    /// Which sections of src/koodrive/API.md it settles.
    pub(super) section: &'static str,
    pub(super) run: fn(&mut Examination<'_>) -> Found,
}

const fn step(name: &'static str, section: &'static str, run: fn(&mut Examination<'_>) -> Found) -> Step {
    Step { name, section, run }
}

/// Every step. The first opens the source.
pub(super) const STEPS: &[Step] = &[
    step("name lookup", "1", opening::name_lookup),
    step("connection", "1", opening::connection),
    step("clock", "2", opening::clock),
    step("opening", "3, 5, 6", opening::opening),
    step("share", "5.6", opening::share),
    step("a page", "5.4, 6.1", listing::page),
    step("forms", "12", listing::shapes),
    step("cursors", "5.4, 12", listing::cursors),
    step("page sizes", "5.4, 6.1", listing::page_sizes),
    step("fileName", "5.4, 6.1", listing::file_name),
    step("known path", "5.4, 6.1", listing::known_path),
    step("sort order", "5.4", listing::sort_order),
    step("both ends", "5.4", listing::both_ends),
    step("listed links", "12, 14", content::listed_links),
    step("links", "10.1, 10.2", content::links),
    step("ranges", "10.3", content::ranges),
    step("suffix", "10.3", content::suffix),
    step("one byte", "10.3", content::one_byte),
    step("ETag", "10.3", content::etag),
    step("If-Match", "10.3", content::if_match),
    step("thumbnail", "10.4", content::thumbnail),
    step("gzip", "2", content::gzip),
    step("statsDir", "6.7", walk::count),
    step("walkFile", "6.6", walk::walk),
    step("df", "8.2", opening::space),
    step("throttling", "9", content::throttling),
];
