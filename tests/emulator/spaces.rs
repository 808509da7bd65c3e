//! The spaces behind a login: whose they are, what they hold, and the folders that are shared out of them.
//!
//! Owns: the spaces' ids, states and trees. Knows no calls. One short lock per space, for its state.

use super::lock;
use super::tree::Tree;
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// User id of the one user there is, unless a knob says otherwise.
pub const USER_ID: &str = "1880000000000000001";
/// Container of the user's own space.
pub const OWN: &str = "IAADemulatorOwnSpace0add2fea594e4e75b2424041548";
/// Container of the user's second space, which `space/{ownerId}` shows only when it is named.
pub const SECOND: &str = "IAADemulatorSecond00add2fea594e4e75b2424041548A";
/// Container of the department's space.
pub const DEPARTMENT: &str = "IAAEemulatorDepartmt0add2fea594e4e75b2424041548";
/// Container of the group's space.
pub const GROUP: &str = "IAAGemulatorGroup0000add2fea594e4e75b2424041548";
/// Container of somebody else, out of which a folder is shared with the user.
pub const FAMILY: &str = "IAADemulatorFamily000add2fea594e4e75b2424041548";
/// Team id of the department.
pub const DEPARTMENT_ID: &str = "1750000000000000010";
/// Team id of the group.
pub const GROUP_ID: &str = "1750000000000000020";
/// Id of the shared folder.
pub const SHARED_FOLDER_ID: &str = "1950000000000000030";
/// Name of the folder at the top of [`FAMILY`] that is shared, as long as nobody says otherwise.
pub const SHARED_FOLDER_NAME: &str = "holidays";

/// What a space is (the `type` of `space/{ownerId}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceKind {
    /// Of a department, type 0.
    Department,
    /// Of a person, type 1.
    Individual,
    /// Of a group, type 2.
    Group,
}

impl SpaceKind {
    /// Its number in `type` and `team_type`.
    pub fn number(self) -> u64 {
        match self {
            Self::Department => 0,
            Self::Individual => 1,
            Self::Group => 2,
        }
    }
}

/// How a space is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceState {
    /// Well.
    Active,
    /// 13000412.
    NotActive,
    /// 13000301, as if it never was.
    Missing,
    /// 13000410 for the user.
    Forbidden,
}

/// What may change about a space.
#[derive(Clone, Debug)]
pub struct SpaceSettings {
    /// How it is doing.
    pub state: SpaceState,
    /// `capacity`, in GB.
    pub capacity_gb: u64,
    /// `spaceUsed`, in whatever unit it is.
    pub used: u64,
}

/// A space.
#[derive(Debug)]
pub struct Space {
    /// Whose it is.
    pub kind: SpaceKind,
    /// Its id.
    pub container: String,
    /// The user's id, or the team's.
    pub owner: String,
    /// The team's name.
    pub name: String,
    /// What is in it. Made with `Tree::…_of(container)`, so that no two spaces share ids.
    pub tree: Tree,
    settings: Mutex<SpaceSettings>,
}

impl Space {
    /// An active space of 100 GB with what is in `tree`.
    pub fn new(kind: SpaceKind, container: &str, owner: &str, name: &str, tree: Tree) -> Self {
        let settings = Mutex::new(SpaceSettings { state: SpaceState::Active, capacity_gb: 100, used: 91_966_408 });
        let (container, owner, name) = (container.to_owned(), owner.to_owned(), name.to_owned());
        Self { kind, container, owner, name, tree, settings }
    }

    /// An empty one.
    pub fn empty(kind: SpaceKind, container: &str, owner: &str, name: &str) -> Self {
        Self::new(kind, container, owner, name, Tree::synthetic_of(container))
    }

    /// This one with a directory in it.
    ///
    /// # Errors
    /// It is not a directory that can be read.
    pub fn serving(self, directory: &Path) -> io::Result<Self> {
        Ok(Self { tree: Tree::directory_of(&self.container, directory)?, ..self })
    }

    /// How it is now.
    pub fn settings(&self) -> SpaceSettings {
        lock(&self.settings).clone()
    }

    /// Changes how it is, for all calls from now on.
    pub fn change(&self, change: impl FnOnce(&mut SpaceSettings)) {
        change(&mut lock(&self.settings));
    }

    /// Id of the directory at its top (section 8.1).
    pub fn root_file(&self) -> String {
        format!("DEUI7pa0C24Aroot{}", self.container)
    }
}

/// A folder that is shared out of a space the user has no other way into (section 8.3).
#[derive(Clone, Debug)]
pub struct SharedFolder {
    /// Value of `x-hw-share-folder-id`.
    pub id: String,
    /// Its name in `sharefolder/list`.
    pub name: String,
    /// The space it is in.
    pub container: String,
    /// Where it is there: names separated by slashes.
    pub path: String,
    /// 0 normal, 1 deleted.
    pub status: u8,
}

/// Everything behind the login.
#[derive(Debug)]
pub struct Spaces {
    /// The spaces; the first individual one is the user's own.
    pub all: Vec<Space>,
    /// The shared folders.
    pub shared_folders: Vec<SharedFolder>,
}

impl Default for Spaces {
    /// Five empty spaces: the user's own, a second one, a department, a group, and somebody else's with a shared folder.
    fn default() -> Self {
        let family = Space::empty(SpaceKind::Individual, FAMILY, "1880000000000000002", "");
        family.tree.add("", super::tree::Entry::folder(SHARED_FOLDER_NAME));
        Self {
            all: vec![
                Space::empty(SpaceKind::Individual, OWN, USER_ID, ""),
                Space::empty(SpaceKind::Individual, SECOND, USER_ID, ""),
                Space::empty(SpaceKind::Department, DEPARTMENT, DEPARTMENT_ID, "Engineering"),
                Space::empty(SpaceKind::Group, GROUP, GROUP_ID, "Chess club"),
                family,
            ],
            shared_folders: vec![SharedFolder {
                id: SHARED_FOLDER_ID.to_owned(),
                name: SHARED_FOLDER_NAME.to_owned(),
                container: FAMILY.to_owned(),
                path: SHARED_FOLDER_NAME.to_owned(),
                status: 0,
            }],
        }
    }
}

impl Spaces {
    /// The space with this container.
    pub fn get(&self, container: &str) -> Option<&Space> {
        self.all.iter().find(|space| space.container == container)
    }

    /// Serves a directory as the space with this container, or as the shared folder's if it is [`FAMILY`].
    ///
    /// # Errors
    /// It is not a directory that can be read.
    pub fn serve(&mut self, container: &str, directory: &Path) -> io::Result<()> {
        if let Some(at) = self.all.iter().position(|space| space.container == container) {
            let space = self.all.remove(at).serving(directory)?;
            self.all.insert(at, space);
        }
        Ok(())
    }

    /// What cannot work.
    ///
    /// # Errors
    /// Says what.
    pub fn check(&self) -> Result<(), String> {
        for (index, space) in self.all.iter().enumerate() {
            if space.tree.place() != space.container {
                return Err(format!("space {}: make its tree with Tree::…_of(its container)", space.container));
            }
            if self.all[..index].iter().any(|other| other.container == space.container) {
                return Err(format!("space {} is there twice", space.container));
            }
        }
        match self.shared_folders.iter().find(|folder| self.get(&folder.container).is_none()) {
            Some(folder) => Err(format!("shared folder {}: there is no space {}", folder.id, folder.container)),
            None => Ok(()),
        }
    }
}
