"""What is served: synthetic files for reads and names, and generated directories for trees, the same on every machine."""

import json
import math
import os
import random
import shutil

MIB = 1 << 20
SEED = 20250501
# Part of the directory's name: data of another making is another directory.
VERSION = 1


class Sizes:
    """How much of everything."""

    def __init__(self, quick):
        self.big = 64 * MIB if quick else 1024 * MIB
        self.eighth = 8 * MIB if quick else 128 * MIB
        self.hundredth = MIB if quick else 16 * MIB
        self.tops, self.middles, self.leaves = (2, 3, 3) if quick else (10, 4, 5)
        self.small_folders, self.small_files = (8, 25) if quick else (8, 500)
        self.names, self.many_names = (1_000, 2_000) if quick else (20_000, 100_000)
        self.million_folders, self.million_files = (10, 1_000) if quick else (10, 100_000)
        self.random_reads = 50 if quick else 200
        self.steady = 4 * MIB if quick else 24 * MIB
        self.key = "quick" if quick else "full"

    def reads(self):
        return f"big=1x{self.big},eight=8x{self.eighth},hundred=100x{self.hundredth}"

    def listings(self):
        return f"names={self.names}x4096,many={self.many_names}x4096"

    def million(self):
        return ",".join(f"folder-{index}={self.million_files}x64" for index in range(self.million_folders))


def words_of(dice):
    """A text to cut files from: lines like those of sources and notes, 1 MiB of them."""
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    vocabulary = ["".join(dice.choices(letters, weights=range(27, 1, -1), k=dice.randint(2, 10))) for _ in range(3000)]
    lines, total = [], 0
    while total < MIB:
        line = " ".join(dice.choices(vocabulary, k=dice.randint(3, 14)))
        lines.append(line)
        total += len(line) + 1
    return lines


def small_files(root, sizes):
    """Text files of 1 to 12 KiB; every tenth holds the word that is looked for."""
    dice = random.Random(SEED)
    lines = words_of(dice)
    for folder in range(sizes.small_folders):
        place = os.path.join(root, f"folder-{folder}")
        os.makedirs(place)
        for index in range(sizes.small_files):
            want, text, at = dice.randint(1024, 12 * 1024), [], dice.randrange(len(lines))
            left = want
            while left > 0:
                line = lines[at % len(lines)]
                text.append(line)
                left -= len(line) + 1
                at += 1
            if index % 10 == 3:
                text[len(text) // 2] += " needle"
            # Cut to the size, but for the last line's end.
            body = "\n".join(text)[: want - 1].encode() + b"\n"
            if index % 10 == 3 and b"needle" not in body:
                body = b"needle\n" + body[7:]
            with open(os.path.join(place, f"note-{index:04}.txt"), "wb") as file:
                file.write(body)


def folders(root, sizes):
    """A tree of folders three deep, with a few small files each, and now and then more than fit a page."""
    dice = random.Random(SEED + 1)
    made = 0

    def fill(place):
        nonlocal made
        os.makedirs(place)
        made += 1
        for index in range(130 if made % 25 == 0 else dice.randint(4, 15)):
            with open(os.path.join(place, f"file-{index:03}.dat"), "wb") as file:
                file.write(b"x" * dice.randint(1, 200))

    for top in range(sizes.tops):
        fill(os.path.join(root, f"top-{top:02}"))
        for middle in range(sizes.middles):
            fill(os.path.join(root, f"top-{top:02}", f"middle-{middle}"))
            for leaf in range(sizes.leaves):
                fill(os.path.join(root, f"top-{top:02}", f"middle-{middle}", f"leaf-{leaf}"))


def filled(root):
    """Makes folders with four or five small files: 1,110 in the first 242."""
    made = []

    def fill(*names):
        place = os.path.join(root, *names)
        os.makedirs(place)
        for index in range(5 if len(made) < 142 else 4):
            with open(os.path.join(place, f"file-{index}.dat"), "wb") as file:
                file.write(b"x" * (1 + index))
        made.append(place)

    return fill


def deep(root, sizes):
    """242 folders: a tree of 215 that is three deep, and one chain that goes on to 30."""
    fill = filled(root)
    fill("top-7")
    for middle in range(4):
        fill("top-7", f"middle-{middle}")
    for top in range(7):
        fill(f"top-{top}")
        for middle in range(5):
            fill(f"top-{top}", f"middle-{middle}")
            for leaf in range(5 if middle else 4):
                fill(f"top-{top}", f"middle-{middle}", f"leaf-{leaf}")
    names = ["top-3", "middle-2", "leaf-1"]
    while len(names) < 30:
        names.append(f"level-{len(names):02}")
        fill(*names)


def chains(root, sizes):
    """242 folders: two with four chains of 29 each, and four beside them."""
    fill = filled(root)
    for top in ("top-0", "top-1"):
        fill(top)
        for beside in range(4):
            fill(top, f"beside-{beside}")
        for chain in range(4):
            names = [top]
            for level in range(29):
                names.append(f"chain-{chain}" if level == 0 else f"level-{level:02}")
                fill(*names)


def forest(root, sizes):
    """A space of 6,500 entries: 500 folders with 12 small files each."""
    for top in range(20):
        for name in (f"top-{top:02}", *(os.path.join(f"top-{top:02}", f"folder-{index:02}") for index in range(24))):
            place = os.path.join(root, name)
            os.makedirs(place)
            for index in range(12):
                with open(os.path.join(place, f"file-{index:02}.dat"), "wb") as file:
                    file.write(b"x" * (1 + index))


def generated(home, sizes):
    """The directories, made once: name to path."""
    place = os.path.join(home, f"data-{VERSION}-{sizes.key}")
    made = {"small": small_files, "folders": folders, "deep": deep, "chains": chains, "forest": forest}
    for name, make in made.items():
        target = os.path.join(place, name)
        if not os.path.isdir(target):
            # Whole or not at all.
            half = f"{target}.{os.getpid()}"
            shutil.rmtree(half, ignore_errors=True)
            make(half, sizes)
            os.rename(half, target)
    return {name: os.path.join(place, name) for name in made}


def facts(root):
    """The least that a walk and a read of everything must ask for."""
    pages = files = full = folders_seen = size = 0
    for at, below, names in os.walk(root):
        pages += max(1, math.ceil((len(below) + len(names)) / 100))
        folders_seen += 1
        files += len(names)
        for name in names:
            bytes_here = os.path.getsize(os.path.join(at, name))
            full += bytes_here > 0
            size += bytes_here
    return {"pages": pages, "folders": folders_seen, "files": files, "full": full, "bytes": size}


if __name__ == "__main__":
    import sys

    print(json.dumps({name: facts(path) for name, path in generated(sys.argv[1], Sizes(False)).items()}))
