//! How much memory this process may count on: the machine's, and the limit of its control group.

use std::fs;
use std::path::Path;

/// Bytes of RAM in this machine; `None` where `/proc` does not say.
pub(super) fn ram_bytes() -> Option<u64> {
    parse_mem_total(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// The smallest memory limit of our control group and those above it, in bytes; `None` without one. Both hierarchies are
/// asked, as both may be mounted (cgroups(7)).
pub(super) fn cgroup_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(limit_file).filter_map(|(top, group, file)| smallest_limit(top, group, file)).min()
}

/// Where the limit of one line of `/proc/self/cgroup` stands: the hierarchy's directory, the group below it, the file's name.
fn limit_file(line: &str) -> Option<(&'static str, &str, &'static str)> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    match controllers {
        "" => Some(("/sys/fs/cgroup", group, "memory.max")),
        _ if controllers.split(',').any(|name| name == "memory") => {
            Some(("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"))
        }
        _ => None,
    }
}

/// Every group on the way from `group` to `top` limits us. Inside a container the upper ones may be hidden, and `group` may
/// be named from outside: what cannot be read is skipped.
fn smallest_limit(top: &str, group: &str, file: &str) -> Option<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    let limits = group.ancestors().map(|ancestor| Path::new(top).join(ancestor).join(file));
    limits.filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok()).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn parse_mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mem_total_is_in_bytes() {
        assert_eq!(parse_mem_total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24 << 20));
        assert_eq!(parse_mem_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn cgroup_line_names_its_limit() {
        assert_eq!(limit_file("0::/a/b"), Some(("/sys/fs/cgroup", "/a/b", "memory.max")));
        let v1 = Some(("/sys/fs/cgroup/memory", "/x:y", "memory.limit_in_bytes"));
        assert_eq!(limit_file("4:hugetlb,memory:/x:y"), v1);
        assert_eq!(limit_file("9:name=systemd:/"), None);
        assert_eq!(limit_file(""), None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(ram_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
