//! What remotes of the configuration file stand for.

use super::file::{self, Place, Section};
use super::source::{TypedPath, TypedSource};

/// The source of the remote that `section` describes.
///
/// # Errors
/// One line about what is missing or wrong, with the place in the file.
pub(super) fn remote_source(section: &Section) -> Result<TypedPath, String> {
    let label = section.label(file::SOURCE);
    let text = section.value(file::SOURCE).and_then(|text| text.to_str());
    let text =
        text.ok_or_else(|| format!("{label}: missing; write source = \"space:\", or what else `koofs mount` takes"))?;
    match text.parse() {
        Ok(TypedPath { source: TypedSource::Remote(name), .. }) => {
            Err(format!("{label}: {name}: is no source that `koofs mount` knows; see koofs mount --help"))
        }
        parsed => parsed.map_err(|why| format!("{label}: {why}")),
    }
}

/// Why there is no remote at all: the file at `place` is not there.
pub(super) fn no_config_file(place: &Place) -> String {
    format!("there is no configuration file {}; koofs config --help shows one", place.path.display())
}
