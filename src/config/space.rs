//! Which of a user's spaces.

use std::fmt;

/// Which space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpaceSource {
    /// `space:`: the user's own space.
    Own,
    /// `space:CONTAINER_ID`: an individual space.
    Container(String),
    /// `team:GROUP_ID`: the space of a department or a group; which of the two is tried in this order if not given.
    Team {
        /// The department's or the group's id.
        group_id: String,
        /// Department or group.
        kind: Option<TeamKind>,
    },
    /// `sharedfolder:ID`.
    SharedFolder(String),
}

/// As `koofs mount` takes it, without the kind of a team, which is an option of its own.
impl fmt::Display for SpaceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpaceSource::Own => f.write_str("space:"),
            SpaceSource::Container(id) => write!(f, "space:{id}"),
            SpaceSource::Team { group_id, .. } => write!(f, "team:{group_id}"),
            SpaceSource::SharedFolder(id) => write!(f, "sharedfolder:{id}"),
        }
    }
}

/// What kind of team a team space belongs to (`team_type` of the API).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamKind {
    /// 0.
    Department,
    /// 2.
    Group,
}
