//! The environment as it was when the process started: our variables, and the secrets, which are taken out of it.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::fmt;

use super::settings::{ALL, SECRETS, SecretSetting, Setting};

/// Where the configuration file is looked for, and where the cache is. `CACHE_DIRECTORY` is systemd's (systemd.exec(5)).
const PLACES: [&str; 4] = ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CACHE_DIRECTORY", "HOME"];

/// Those of them that a user has, and that a service of the system has not.
const OF_USERS: [&str; 3] = ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME"];

unsafe extern "C" {
    /// environ(7).
    static environ: *const *mut c_char;
}

/// The variables of KooFS. An empty variable counts as not set.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

/// Names only: some values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// What `variables` say. Others than ours and those that tell where files are looked for are left out.
    pub fn of<K: Into<OsString>, V: Into<OsString>>(variables: impl IntoIterator<Item = (K, V)>) -> Environment {
        let settings = ALL.iter().map(|setting| setting.variable());
        let secrets = SECRETS.iter().map(|secret| secret.variable());
        let ours: Vec<String> = settings.chain(secrets).chain(PLACES.map(str::to_owned)).collect();
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into().into_string().ok()?, value)));
        let named = named.filter(|(name, _)| ours.contains(name)).map(|(name, value)| (name, value.into()));
        Environment { variables: named.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// Reads the environment of this process and takes the secrets out of it, so that no child process inherits them.
    ///
    /// `/proc/PID/environ` shows the memory in which the kernel laid the environment down (proc(5)), whatever `environ`
    /// points to later: the values are overwritten there too, a second one of the same name as well. Between exec and this
    /// call they can be read by this user and by root.
    ///
    /// # Safety
    /// To be called before the process has a second thread: nobody else may be reading the environment.
    pub unsafe fn take() -> Environment {
        let taken = Environment::of(std::env::vars_os());
        for secret in SECRETS {
            let name = secret.variable();
            // SAFETY: no other thread reads or changes the environment (the caller's promise).
            unsafe {
                overwrite(&name);
                std::env::remove_var(&name);
            }
        }
        taken
    }

    /// The same without a user and a home directory, as at boot: for what must not depend on who calls it by hand.
    pub(super) fn at_boot(&self) -> Environment {
        let mut variables = self.variables.clone();
        variables.retain(|name, _| !OF_USERS.contains(&name.as_str()));
        Environment { variables }
    }

    /// The variable `name`.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }

    /// The variable of `setting`.
    pub(super) fn setting(&self, setting: &Setting) -> Option<&OsStr> {
        self.variable(&setting.variable())
    }

    /// The variable that holds `secret` itself.
    pub(super) fn secret(&self, secret: &SecretSetting) -> Option<&OsStr> {
        self.variable(&secret.variable())
    }
}

/// Writes zeros over the value of every entry `name=value`.
///
/// # Safety
/// As for [`Environment::take`].
unsafe fn overwrite(name: &str) {
    // SAFETY: `environ` is null or an array that ends with a null, of texts in writable memory of this process which end with
    // NUL (environ(7)); only bytes before that are written. Nobody changes it meanwhile (the caller's promise).
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let text = *entry;
            let value =
                CStr::from_ptr(text).to_bytes().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(len) = value.map(<[u8]>::len) {
                std::ptr::write_bytes(text.add(name.len() + 1), 0, len);
            }
            entry = entry.add(1);
        }
    }
}
