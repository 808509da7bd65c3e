"""What a second mount is worth: the first reading, which is kept on disk, the one after a remount, and a local directory, all cold.

The caches and the local copies lie on a small filesystem of their own, an image that is mounted anew before each run: nothing of it is in
memory then, neither bytes nor names, and nobody else's caches are dropped. Where that takes rights that we do not have, the page cache of the
files is given up instead; their names stay in memory.
"""

import os
import shutil
import subprocess

import owned

MIB = 1 << 20
# Each round keeps what it has read until the end: deleted files make new ones slow for half a minute on ext4.
ROOM = 1.3
NAMES = ("koofs-first", "koofs-second", "local-cold")


def quiet(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


class ColdDisk:
    """A directory whose content is forgotten by the kernel on demand."""

    def __init__(self, work, room):
        self.path = os.path.join(work, "cold")
        os.makedirs(self.path)
        self.loop = None
        image = os.path.join(work, "cold.img")
        with open(image, "wb") as file:
            file.truncate(room)
        if os.geteuid() == 0 and quiet("mkfs.ext4", "-q", "-F", image) is not None:
            # Past the page cache of the image, which would still have everything.
            self.loop = quiet("losetup", "--show", "-f", "--direct-io=on", image)
        if self.loop and quiet("mount", self.loop, self.path) is None:
            self.detach()

    def turn_cold(self):
        if self.loop:
            for words in (["umount", self.path], ["mount", self.loop, self.path]):
                subprocess.run(words, stdin=subprocess.DEVNULL, check=True)
            return
        for at, _, names in os.walk(self.path):
            for name in names:
                descriptor = os.open(os.path.join(at, name), os.O_RDONLY)
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)

    def detach(self):
        quiet("losetup", "-d", self.loop)
        self.loop = None

    def close(self):
        if self.loop:
            owned.unmount(self.path)
            self.detach()


class Remounts:
    """The runs of a bench that keep something on disk."""

    def __init__(self, bench):
        self.bench = bench
        self.disk = None
        self.kept = {}
        self.runs = 0

    def place(self, *names):
        if not self.disk:
            room = (self.bench.options.rounds + 2) * ROOM * (self.bench.sizes.big + 256 * MIB)
            self.disk = ColdDisk(self.bench.work, int(room))
        return os.path.join(self.disk.path, *names)

    def options(self, workload, contender):
        """How koofs is mounted: by the first with an empty cache, by the second with the one before."""
        if contender == "koofs-first":
            self.runs += 1
            self.kept[workload.name] = self.place(f"cache-{self.runs}")
        directory = self.kept.get(workload.name)
        if not directory:
            raise RuntimeError("koofs-second needs koofs-first")
        self.disk.turn_cold()
        # A tenth of what is free, as it is by default, would be too little here.
        return ["--cache-dir", directory, "--cache-size", str(2 * self.bench.sizes.big + 256 * MIB)]

    def local(self, workload, profile):
        bench = self.bench
        root = self.place(f"local-{workload.data}")
        if not os.path.exists(root):
            if workload.act == "sequential":
                path = os.path.join(root, workload.given["file"])
                os.makedirs(os.path.dirname(path))
                bench.local_copy(path, workload)
            else:
                shutil.copytree(bench.places[workload.data], root)
        self.disk.turn_cold()
        return bench.act(workload, workload.limits[profile], {"root": root, "control": bench.emulator(workload.data).url})

    def close(self):
        if self.disk:
            self.disk.close()


def in_order(names):
    """The second after the first, whose cache it has."""
    if "koofs-first" in names and "koofs-second" in names and names.index("koofs-second") < names.index("koofs-first"):
        names = [name for name in names if name != "koofs-second"]
        names.insert(names.index("koofs-first") + 1, "koofs-second")
    return names
