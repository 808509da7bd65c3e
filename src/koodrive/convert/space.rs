//! Spaces and shared folders.

use super::field::text;
use crate::koodrive::error::{BadField, bad};
use crate::koodrive::wire::{Scalar, SharedFolder, SpaceInfo, StatsAnswer};
use crate::remote::{Capacity, SubtreeSize};

/// The largest capacity that is believed, in bytes: 2^53, beyond any space, and exact in every program that reads `statfs`.
const MAX_CAPACITY_BYTES: u64 = 1 << 53;

/// A space as a list or a call about it tells.
#[derive(Clone, Debug)]
pub(in crate::koodrive) struct Space {
    /// The group's id, in a list of teams.
    pub(in crate::koodrive) id: Option<String>,
    pub(in crate::koodrive) name: Option<String>,
    pub(in crate::koodrive) container_id: Option<String>,
    /// 0 department, 1 individual, 2 group.
    pub(in crate::koodrive) type_code: Option<i128>,
    /// None where the service does not tell.
    pub(in crate::koodrive) capacity: Option<Capacity>,
}

/// `type` of an individual space (8.1).
const INDIVIDUAL: i128 = 1;

impl Space {
    /// Whether it is a person's, as far as the service tells.
    pub(in crate::koodrive) fn is_individual(&self) -> bool {
        self.type_code.is_none_or(|code| code == INDIVIDUAL)
    }
}

/// SpaceInfo and similar objects. `capacity` is in GB (8.2); the unit of `spaceUsed` is not documented, and samples fit bytes.
/// Values out of range are set to the nearest value in range.
pub(in crate::koodrive) fn space(info: SpaceInfo) -> Result<Space, BadField> {
    let filled = |value, field| text(value, field).map(|text| text.filter(|text| !text.is_empty()));
    let number = |value: &Scalar| value.integer().ok().flatten();
    let capacity = number(&info.capacity).filter(|gb| *gb > 0).map(|gb| {
        let total_bytes = u64::try_from(gb).unwrap_or(u64::MAX).saturating_mul(1 << 30).min(MAX_CAPACITY_BYTES);
        let used = number(&info.space_used).unwrap_or(0).clamp(0, i128::from(total_bytes));
        Capacity { total_bytes, used_bytes: u64::try_from(used).unwrap_or(total_bytes) }
    });
    Ok(Space {
        id: filled(info.id, "id")?,
        name: filled(info.group_name, "groupName")?,
        container_id: filled(info.container_id, "containerId")?,
        type_code: number(&info.kind),
        capacity,
    })
}

/// How much is below a directory. Nothing stands for a number that is missing.
pub(in crate::koodrive) fn stats(answer: &StatsAnswer) -> Result<SubtreeSize, BadField> {
    let number = |value: &Scalar, field: &str| {
        let number = value.integer().ok().flatten().and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| bad(field, "not a number of entries"))
    };
    let directories = number(&answer.sub_dir_count, "subDirCount")?;
    Ok(SubtreeSize { directories, files: number(&answer.sub_file_count, "subFileCount")? })
}

/// A shared folder (8.3).
pub(in crate::koodrive) struct Folder {
    pub(in crate::koodrive) id: Option<String>,
    pub(in crate::koodrive) name: Option<String>,
    pub(in crate::koodrive) container_id: Option<String>,
    pub(in crate::koodrive) root_id: Option<String>,
    pub(in crate::koodrive) is_deleted: bool,
}

/// ShareFolder, checked.
pub(in crate::koodrive) fn folder(folder: SharedFolder) -> Result<Folder, BadField> {
    let filled = |value, field| text(value, field).map(|text| text.filter(|text| !text.is_empty()));
    Ok(Folder {
        id: filled(folder.id, "sharefolder.id")?,
        name: filled(folder.name, "sharefolder.name")?,
        container_id: filled(folder.container_id, "sharefolder.containerId")?,
        root_id: filled(folder.share_folder_file_id, "sharefolder.shareFolderFileId")?,
        is_deleted: matches!(folder.status.integer(), Ok(Some(1))),
    })
}
