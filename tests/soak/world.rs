//! The service of a run: an emulator with a synthetic tree, and the model of what it had. Both change together, under one lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::checker::Hints;
use super::model::{Model, Place, TOP, Version, Window, join, split};
use super::plan::{Change, Run, SourceKind};
use crate::emulator::pattern::PERIOD;
use crate::emulator::tree::{Lookup, Source};
use crate::emulator::{Content, Emulator, EmulatorConfig, Entry, Replacement, Tree};

/// Names as people and programs give them; a number follows. No quotes and no control characters: complaints of programs
/// name files too, and write those in their own way.
const STEMS: [&str; 10] = ["file", "a b", "é", "字字", ".hidden", "-n", "x.tar.gz", "%2f", "UPPER", "😀"];
/// Sizes around the borders that the mount knows.
const ODD_SIZES: [u64; 14] = [0, 1, 7, 15, 16, 17, 4095, 4096, 4097, 65_536, 131_071, 131_072, 131_073, 262_145];
/// The file that changes often, at the top, and its size.
pub(crate) const HOT: &str = "hot";
const HOT_SIZE: u64 = 2 << 20;
/// A change of the tree does not take the last entries away.
const MIN_ENTRIES: usize = 60;

/// The service, and what it had.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    source: SourceKind,
    model: Mutex<Model>,
}

impl World {
    /// Starts the service of a run. The same seed makes the same tree.
    pub(crate) fn start(run: &Run, random: &mut fastrand::Rng) -> World {
        let emulator = Emulator::start(EmulatorConfig { knobs: run.knobs(), ..EmulatorConfig::default() });
        let world = World { emulator, source: run.source, model: Mutex::new(Model::new()) };
        world.fill(run, random);
        world
    }

    /// The tree that is mounted.
    fn tree(&self) -> &Tree {
        match self.source {
            SourceKind::Share => self.emulator.tree(),
            SourceKind::Space => &self.emulator.own().tree,
        }
    }

    /// What the service had. While it is held nothing changes.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an operation may see that began when `from` was the last refresh and ends now.
    pub(crate) fn window(&self, from: u64) -> Window {
        Window { from, to: self.model().now() }
    }

    /// Where the files begin in the pattern's table, for the children.
    pub(crate) fn hints(&self) -> Hints {
        let files = self.model().below(TOP);
        files.into_iter().filter_map(|place| place.file.map(|version| (place.path, version.shift))).collect()
    }

    fn version(&self, id: &str) -> Version {
        let Lookup::Found(node) = self.tree().lookup(id) else { panic!("no file {id}") };
        let object = self.tree().object(&node.object).unwrap();
        let Source::Pattern(seed) = object.source else { panic!("all content is a pattern") };
        Version { size: node.size, shift: seed % PERIOD, edited_ms: node.edited.as_millisecond() }
    }

    fn add(&self, model: &mut Model, folder: &str, name: &str, size: Option<u64>) -> String {
        let entry = size.map_or_else(|| Entry::folder(name), |size| Entry::file(name, size));
        let id = self.tree().add(folder, entry);
        model.add(folder, name, &id, size.map(|_| self.version(&id)));
        id
    }

    fn fill(&self, run: &Run, random: &mut fastrand::Rng) {
        let model = &mut *self.model();
        let mut folders = vec![TOP.to_owned()];
        for number in 0..run.folders {
            // Not deeper than a chain of half of them: mostly wide.
            let parent = folders[random.usize(..folders.len())].clone();
            let name = format!("{} {number}", STEMS[random.usize(..STEMS.len())]);
            folders.push(self.add(model, &parent, &name, None));
        }
        for number in 0..run.files {
            let parent = folders[random.usize(..folders.len())].clone();
            let name = format!("{}-{number}", STEMS[random.usize(..STEMS.len())]);
            self.add(model, &parent, &name, Some(a_size(random)));
        }
        // Many pages.
        let many = self.add(model, TOP, "many", None);
        for number in 0..run.many {
            self.add(model, &many, &format!("m{number:05}"), Some(random.u64(..200)));
        }
        self.add(model, TOP, HOT, Some(HOT_SIZE));
        for (number, size) in run.big_files.iter().enumerate() {
            let parent = folders[random.usize(..folders.len())].clone();
            self.add(model, &parent, &format!("big-{number}"), Some(*size));
        }
    }

    /// Changes the tree; says how.
    pub(crate) fn change(&self, change: Change, random: &mut fastrand::Rng) -> String {
        let model = &mut *self.model();
        let places = by_path(model.below(TOP));
        let all: Vec<&Place> = places.values().filter(|place| ![TOP, HOT].contains(&place.path.as_str())).collect();
        let files: Vec<&Place> = all.iter().copied().filter(|place| place.file.is_some()).collect();
        let folders: Vec<&Place> = places.values().filter(|place| place.file.is_none()).collect();
        let any = |random: &mut fastrand::Rng| *random.choice(&all).unwrap();
        let file = |random: &mut fastrand::Rng| *random.choice(&files).unwrap();
        let folder = |random: &mut fastrand::Rng| *random.choice(&folders).unwrap();
        let fresh = |random: &mut fastrand::Rng, folder: &str| loop {
            let name = format!("{}+{}", STEMS[random.usize(..STEMS.len())], random.u16(..1000));
            if !places.contains_key(&join(folder, &name)) {
                break name;
            }
        };
        let inside = |path: &str, of: &str| path == of || path.starts_with(&format!("{of}/"));
        match change {
            Change::AddFile | Change::AddFolder => {
                let parent = folder(random);
                let name = fresh(random, &parent.path);
                let size = (change == Change::AddFile).then(|| a_size(random));
                self.add(model, &parent.id, &name, size);
                format!("add {:?} of {size:?}", join(&parent.path, &name))
            }
            Change::Remove | Change::Recycle => {
                // Files mostly: a folder may be half of the tree.
                let victim = if random.u8(..4) == 0 { any(random) } else { file(random) };
                let is_much = places.keys().filter(|path| inside(path, &victim.path)).count() * 8 > places.len();
                if is_much || all.len() < MIN_ENTRIES {
                    return format!("{change:?} nothing");
                }
                if change == Change::Remove {
                    self.tree().remove(&victim.id)
                } else {
                    self.tree().recycle(&victim.id)
                }
                let (parent, name) = split(&victim.path);
                model.remove(&places[parent].id, name);
                format!("{change:?} {:?}", victim.path)
            }
            Change::Rename => {
                let victim = any(random);
                let (parent, name) = split(&victim.path);
                let new = fresh(random, parent);
                self.tree().rename(&victim.id, new.as_str());
                let parent = &places[parent].id;
                model.rename(parent, name, parent, &new);
                format!("rename {:?} to {new:?}", victim.path)
            }
            Change::Move => {
                let (victim, to) = (any(random), folder(random));
                let (parent, name) = split(&victim.path);
                if inside(&to.path, &victim.path) || places.contains_key(&join(&to.path, name)) {
                    return "move nothing".to_owned();
                }
                self.tree().move_to(&victim.id, &to.id);
                model.rename(&places[parent].id, name, &to.id, name);
                format!("move {:?} to {:?}", victim.path, to.path)
            }
            Change::Replace(how) => {
                let victim = file(random);
                let old = victim.file.unwrap();
                // As long as before, too: then only its time tells.
                let size = if random.bool() { old.size } else { a_size(random) };
                let id = self.tree().replace(&victim.id, Content::Pattern(size), how);
                let version = self.version(&id);
                if how == Replacement::NewId {
                    let (parent, name) = split(&victim.path);
                    model.replace_id(&places[parent].id, name, &id, version);
                } else {
                    model.replace(&id, version);
                }
                format!("replace {:?} of {} by {size} ({how:?})", victim.path, old.size)
            }
            Change::Overwrite => {
                let victim = file(random);
                self.tree().overwrite(&victim.id, Content::Pattern(victim.file.unwrap().size));
                model.replace(&victim.id, self.version(&victim.id));
                format!("overwrite {:?}", victim.path)
            }
        }
    }
}

impl World {
    /// Changes the file that changes often; its time as well, if that does not stay the same.
    pub(crate) fn change_hot(&self, same_time: bool) -> String {
        let model = &mut *self.model();
        let place = by_path(model.below(TOP)).remove(HOT).unwrap();
        if same_time {
            self.tree().overwrite(&place.id, Content::Pattern(HOT_SIZE));
        } else {
            self.tree().replace(&place.id, Content::Pattern(HOT_SIZE), Replacement::SameObject);
        }
        model.replace(&place.id, self.version(&place.id));
        format!("hot, same time: {same_time}")
    }
}

fn by_path(places: Vec<Place>) -> BTreeMap<String, Place> {
    places.into_iter().map(|place| (place.path.clone(), place)).collect()
}

/// Mostly small, sometimes odd, seldom some MiB.
fn a_size(random: &mut fastrand::Rng) -> u64 {
    match random.u8(..20) {
        0..6 => ODD_SIZES[random.usize(..ODD_SIZES.len())],
        6..18 => random.u64(..40_000),
        18 => random.u64(..1 << 20),
        _ => random.u64(..3 << 20),
    }
}
