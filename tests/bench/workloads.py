"""The workloads: what is done, with which data, by whom, how long it may take, and the least it must ask for."""

from dataclasses import dataclass, field

MIB = 1 << 20

READERS = ("koofs", "rclone", "rclone-streams")
WALKERS = ("koofs", "rclone", "rclone-cached")
REMOUNTED = ("koofs", "koofs-first", "koofs-second", "local-cold")


@dataclass
class Workload:
    name: str
    title: str
    data: str
    act: str
    contenders: tuple
    # Seconds after which a run is cut, by profile.
    limits: dict
    given: dict = field(default_factory=dict)
    # The least possible: pages of listings, GETs, bytes.
    least: dict = field(default_factory=dict)
    profiles: tuple = ("wan", "lan")
    # Whose first run is the only one.
    once: bool = False
    group: str = "reads"


def limits(wan, lan):
    return {"wan": wan, "lan": lan}


def workloads(sizes, facts):
    """All of them. `facts` are data.facts of the generated directories."""
    big = {"file": "big/file-00000.bin", "size": sizes.big}
    small, folders = facts["small"], facts["folders"]
    small_all = {"pages": small["pages"], "gets": small["full"], "bytes": small["bytes"]}
    small_once = {"pages": 0, "gets": 0, "bytes": 0}
    walk = {"pages": folders["pages"], "gets": 0, "bytes": 0}
    name_pages, many_pages = -(-sizes.names // 100), -(-sizes.many_names // 100)
    reads = [
        Workload(
            "sequential", f"cold sequential read of {sizes.big // MIB} MiB", "reads", "sequential",
            (*READERS, "downloader", "downloader-4M"), limits(120, 60), big, {"pages": 2, "bytes": sizes.big},
        ),
        Workload(
            "first-byte", "time to first byte, link known", "reads", "first_byte", READERS, limits(30, 30),
            {"folder": "hundred"}, {"pages": 0, "gets": 1},
        ),
        Workload(
            "random", f"{sizes.random_reads} random reads of 4 KiB, the median one", "reads", "random_reads", READERS,
            limits(120, 60), {**big, "reads": sizes.random_reads, "seed": 3},
            {"pages": 2, "gets": sizes.random_reads, "bytes": sizes.random_reads * 4096},
        ),
        Workload(
            "player", "head, tail, middle, then steady: all waits together", "reads", "player", READERS, limits(60, 60),
            {**big, "steady": sizes.steady, "rate": 8e6}, {"pages": 2, "bytes": 10 * MIB + sizes.steady},
        ),
        Workload(
            "eight-files", f"8 readers on 8 files of {sizes.eighth // MIB} MiB", "reads", "readers_of_files", READERS,
            limits(120, 60), {"folder": "eight", "count": 8, "size": sizes.eighth},
            {"pages": 2, "bytes": 8 * sizes.eighth},
        ),
        Workload(
            "one-file", f"8 readers on one file of {sizes.big // MIB} MiB, an eighth each", "reads", "readers_of_one",
            READERS, limits(120, 60), {**big, "count": 8}, {"pages": 2, "bytes": sizes.big},
        ),
        Workload(
            "warm", f"warm re-read of {sizes.big // MIB} MiB", "reads", "warm", (*READERS, "local"), limits(180, 90), big,
            {"pages": 0, "gets": 0, "bytes": 0},
        ),
        Workload(
            "memory", f"100 open files of {sizes.hundredth // MIB} MiB read at once", "reads", "readers_of_files",
            ("koofs", "koofs-64M", "rclone", "rclone-streams"), limits(120, 60),
            {"folder": "hundred", "count": 100, "size": sizes.hundredth}, {"pages": 2, "bytes": 100 * sizes.hundredth},
        ),
    ]
    trees = [
        Workload("find", f"cold find over {folders['folders']} directories", "folders", "find", WALKERS, limits(60, 60), {}, walk),
        Workload("ls-lR", "cold ls -lR of the same", "folders", "ls_recursive", WALKERS, limits(60, 60), {}, walk),
        Workload("du", "cold du -s of the same", "folders", "disk_usage", WALKERS, limits(60, 60), {}, walk),
        Workload(
            "second-find", "find again, within the TTL", "folders", "second_find", ("koofs", "rclone-cached", "local"),
            limits(60, 60), {}, small_once,
        ),
        Workload("grep", f"grep -r over {small['files']} files of 1 to 12 KiB", "small", "grep", WALKERS, limits(300, 90), {}, small_all),
        Workload("rg", "rg -j 16 over the same", "small", "ripgrep", WALKERS, limits(120, 60), {}, small_all),
        Workload("tar", "tar cf - | wc -c of the same", "small", "tar", WALKERS, limits(60, 60), {}, small_all),
        Workload("cp", "cp -r of the same", "small", "copy", WALKERS, limits(60, 60), {}, small_all),
        Workload(
            "second-grep", "grep -r again, within the TTL", "small", "second_grep", ("koofs", "local"), limits(300, 60), {},
            small_once,
        ),
        Workload(
            "tenth", "every tenth file at random", "small", "tenth_at_random", ("koofs", "rclone-cached"), limits(120, 60),
            {}, {"pages": 0, "gets": -(-small["full"] // 10)},
        ),
        Workload(
            "first-entry", f"first entry of {sizes.names}", "listings", "first_entry", WALKERS, limits(60, 60),
            {"folder": "names"}, {"pages": 1, "gets": 0},
        ),
        Workload(
            "listing", f"all entries of {sizes.names}", "listings", "listing", WALKERS, limits(60, 60),
            {"folder": "names", "count": sizes.names}, {"pages": 1 + name_pages, "gets": 0},
        ),
        Workload(
            "ls-l", f"ls -l of {sizes.many_names} entries", "listings", "ls_long", WALKERS, limits(180, 120),
            {"folder": "many", "count": sizes.many_names}, {"pages": 1 + many_pages, "gets": 0},
        ),
        Workload(
            "tree-memory", f"memory of a tree of {sizes.million_folders * sizes.million_files} entries", "million",
            "tree_memory", ("koofs",), limits(300, 300), {"count": sizes.million_folders * (1 + sizes.million_files)},
            {"pages": 1 + sizes.million_folders * -(-sizes.million_files // 100), "gets": 0},
            profiles=("lan",), once=True,
        ),
    ]
    for workload in trees:
        workload.group = "trees"
    remounts = [
        Workload("remount-grep", f"grep -r over {small['files']} files, before and after a remount", "small", "grep", REMOUNTED, limits(60, 60), {},
                 small_once, profiles=("wan",), group="remount"),
        Workload("remount-find", f"find over {folders['folders']} directories, before and after a remount", "folders", "find", REMOUNTED,
                 limits(60, 60), {}, small_once, profiles=("wan",), group="remount"),
        Workload("remount-sequential", f"sequential read of {sizes.big // MIB} MiB, before and after a remount", "reads", "sequential", REMOUNTED,
                 limits(120, 60), big, small_once, profiles=("wan",), group="remount"),
    ]
    return reads + trees + remounts


CONTENDERS = {
    "koofs": "koofs mount --no-cache",
    "koofs-first": "koofs mount --cache-dir, the cache empty",
    "koofs-second": "the same, mounted again with what the first has kept; nothing of that in memory",
    "koofs-64M": "koofs mount --memory 64M",
    "rclone": "rclone mount, as it is (WebDAV)",
    "rclone-streams": "rclone mount --vfs-read-chunk-streams 16 --vfs-read-chunk-size 4M, no pacing",
    "rclone-cached": "rclone mount --dir-cache-time 1h --attr-timeout 1h --poll-interval 0, no pacing",
    "downloader": "tests/bench/downloader.rs: no filesystem, each connection one part of the file",
    "downloader-4M": "the same, taking parts of 4 MiB in turn",
    "local": "a file or directory on the local disk, in the page cache",
    "local-cold": "the same on the disk that the cache is on, nothing of it in memory",
}
