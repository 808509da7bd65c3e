//! The texts of `--help` that are not options. 80 columns.

/// The version, and of a build that was told it, the commit that it is of.
pub(super) const VERSION: &str = match option_env!("KOOFS_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

pub(super) const EXIT_CODES: &str = "\x1b[1mExit codes:\x1b[0m
  0  done; mount: the mount answers (-f: it has ended as it was asked to)
  1  failed; one line on standard error says why (config check: its findings)
  2  the command line, the environment or the configuration makes no sense
  3  the service refuses the password, the token or the access code: trying the
     same again may lock the account or the share

\x1b[1mNetwork:\x1b[0m
  Proxies: HTTPS_PROXY, ALL_PROXY and NO_PROXY; never for this host itself.
  A private certificate authority: --ca-file. Certificates are always checked.";

pub(super) const MOUNT: &str = "\x1b[1mExamples:\x1b[0m
  koofs mount --agent CARRIER --endpoint intl share:180001 /mnt/share
  koofs mount --agent CARRIER 'https://HOST/cloudfile/#/sharelink/i/180001' /mnt
  koofs mount --endpoint intl --token-file ~/.token --user-id 17 space: ~/drive
  koofs mount --token-command 'pass kd' --user-id 17 --endpoint cn team:42 ~/team
  koofs mount work:/reports ~/reports        # [remotes.work], see koofs config

Each option may stand in the environment or, with `_` for `-`, in the
configuration file. The first of flag, environment, the remote's table and
[defaults] is right. Quote a link for the shell. Proxies: HTTPS_PROXY, NO_PROXY.

Secrets are never given on the command line, where every user could read them,
but in files that only you can read, or in variables, which are removed at once.";

pub(super) const HELPER: &str = "\x1b[1mOptions behind -o:\x1b[0m
  all of `koofs mount` (see koofs mount --help), with `-` or `_`; ro, defaults,
  noexec, auto, user, _netdev, nofail, x-… and the like, as mount(8) has them.
  The mount is read-only and has nosuid, nodev and noatime in any case.

\x1b[1mExamples:\x1b[0m
  mount -t koofs work: /srv/koodrive -o ro,allow_other
  work: /srv/koodrive koofs ro,allow_other,_netdev,nofail 0 0     # /etc/fstab

As root, remotes are looked for in /etc/koofs/config.toml, or where -o config=
says; as another user, in their own configuration file first.

\x1b[1mExit codes:\x1b[0m
  0  the mount answers, or was there already
  1  the options or the configuration make no sense
  2  the system has no process or memory left
 32  the mount failed; one line on standard error says why";

pub(super) const LS: &str = "\x1b[1mExamples:\x1b[0m
  koofs ls --agent CARRIER --endpoint intl share:180001
  koofs ls -lh --agent CARRIER 'https://HOST/cloudfile/#/sharelink/i/180001'
  koofs ls -l work:/Reports/2025     # as well: space:/Reports, team:42/Reports
  koofs ls --json work: | jq -r 'select(.type == \"file\") | .name'

--json prints one object on a line, as its page arrives: \"name\" (text), \"type\"
(\"file\" or \"directory\"), \"size\" (bytes), \"modified\" (RFC 3339 or null).";

pub(super) const DOCTOR: &str = "\x1b[1mExamples:\x1b[0m
  koofs doctor --agent CARRIER 'https://HOST/cloudfile/#/sharelink/i/180001'
  koofs doctor --report doctor.txt work:

A line is a step: ✓ as a mount wants it, ! a mount works without it, ✗ a mount
does not work, - left out and why; then its sections of src/koodrive/API.md,
what was seen and what follows. At most 60 requests, 2 MB and two minutes. No
line has a name, an id, a link or a secret: a report is fit for an issue.

\x1b[1mExit codes:\x1b[0m
  0  a mount will work
  1  it will not, or not for all files
  3  the service refuses the password, the token or the access code";

pub(super) const SPACES: &str = "\x1b[1mExamples:\x1b[0m
  koofs spaces --endpoint intl --token-file ~/.token --user-id 17
  koofs spaces --json work:

A line is a source as `koofs mount` takes it, used and total size, and its name.
--json prints one object on a line: \"source\", \"name\" (text), \"used\" and \"total\"
(bytes or null).";

pub(super) const CONFIG: &str = "\x1b[1mThe file:\x1b[0m
  # ~/.config/koofs/config.toml, or else /etc/koofs/config.toml; or --config
  # FILE, or KOOFS_CONFIG
  [defaults]
  endpoint = \"intl\"
  ttl = \"10m\"

  [remotes.work]                        # koofs mount work:/reports ~/reports
  source = \"space:\"                     # whatever `koofs mount` takes
  account = \"0010000000000\"
  password_file = \"work.password\"       # beside this file; only you can read it
  agent = \"CARRIER\"

  [remotes.photos]
  source = \"share:180001\"
  agent = \"CARRIER\"
  access_code_file = \"~/.photos\"

Keys are the options of `koofs mount`, with `_` for `-`. No secret belongs in it.";

pub(super) const CACHE: &str = "\x1b[1mExamples:\x1b[0m
  koofs cache                         # size, pieces, least recent use, source
  koofs cache clear share:180001      # or as koofs cache shows it
  koofs cache clear                   # everything
  koofs cache verify                  # exit code 1 if something was damaged

Each may be done while a mount uses the cache: what is gone is read anew.";

pub(super) const STATUS: &str = "\x1b[1mExamples:\x1b[0m
  koofs status                        # all of your mounts, one on a line
  koofs status ~/share                # all of one mount
  koofs status --json ~/share | jq .requests.listing

--watch says it again every second. The mount answers from memory, also while
the service cannot be reached. Its owner may ask, and root with --allow-other.

--json has, beside figures that explain themselves: \"state\" (alive, dead, silent,
private), \"requests\" by what they were for (\"p50_us\" and \"p99_us\": microseconds
to the answer, for content to its first byte; \"errors\" by kind), \"cache\" (hits,
misses, and late ones, which the disk did not answer in time), \"errors\" (what
programs were answered), \"users\" (the five processes that have read most: opened
files and directories, bytes asked for, and how many reads had to wait; what the
kernel has in its cache is not asked for), \"fetching\" (path, offset, length,
milliseconds).";

pub(super) const WARM: &str = "\x1b[1mExamples:\x1b[0m
  koofs warm --data ~/share/Reports   # all of it, to be read without a network
  koofs warm ~/share                  # the tree only, for find and ls
  koofs warm --data --pin ~/share/Maps   # to stay, whatever is read besides
  koofs warm --unpin ~/share/Maps

What is on disk already is not asked for again, so it goes on where it was
interrupted. Exit code 1 if something is not kept: it says what and why. What is
kept stays until it is the least recently used and --cache-size is reached.
With --pin it stays until --unpin: up to nine tenths of --cache-size. Unpin the
mountpoint to take off all pins of the source, also those of files that have
changed or were deleted since.";

pub(super) const REFRESH: &str = "\x1b[1mExamples:\x1b[0m
  koofs refresh ~/share               # everything
  koofs refresh ~/share/Reports       # that directory and all below it

What changed in the service shows at once, and not only when the time of --ttl
is over. SIGHUP to the mount's process refreshes everything. Open files keep
the version they were opened at.";
