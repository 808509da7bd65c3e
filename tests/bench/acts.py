"""What is measured: a process of its own that uses a directory as a program would, and says as JSON how that went.

Run by the driver under a time limit: `python3 acts.py ACT JSON`. Nothing else of the bench touches a mount, so a hang is
the hang of this process alone. The clock surrounds what is measured and nothing more. Long reads compare both ends of every
piece as it comes (cheap, and a piece in the wrong place differs there); small ones are kept and compared whole after the
clock stopped; the first round of koofs compares every byte once more. Whatever is wrong ends the process with a message: a
wrong answer is never a fast one.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

READ_BYTES = 128 * 1024  # as cat and cp read
PERIOD = 1_048_583  # of the emulator's synthetic files (tests/emulator/pattern.rs)
MIB = 1 << 20
PROBE_BYTES = 64  # at either end of what one read brought


class Wrong(Exception):
    """What came is not what is served."""


class Act:
    """What an act knows: where it works, whom it asks for counters, and which process it watches."""

    def __init__(self, given):
        self.root = given["root"]
        self.control = given.get("control")
        self.pid = given.get("pid")
        self.scratch = given["scratch"]
        self.truth = given.get("truth")
        self.given = given
        self.patterns = {}
        self.measured = {}

    def path(self, name):
        return os.path.join(self.root, name) if name else self.root

    def say(self, **facts):
        self.measured.update(facts)

    # The emulator's side.

    def ask(self, path):
        with urllib.request.urlopen(self.control + path, timeout=30) as answer:
            return answer.read()

    def counters(self):
        return json.loads(self.ask("/emulator/counters?totals")) if self.control else {}

    def settle(self, least=0.0, most=1.0):
        """Waits until nothing is on its way: what comes too much is counted, too."""
        end = time.monotonic() + most
        time.sleep(least)
        while self.control and time.monotonic() < end:
            now = self.counters()
            if now["api_current"] == 0 and now["object_current"] == 0:
                return
            time.sleep(0.02)

    # The watched process's side.

    def usage(self):
        if not self.pid:
            return {}
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
            lines = dict(line.split(":", 1) for line in status)
        ticks = os.sysconf("SC_CLK_TCK")
        return {
            "cpu": (int(fields[11]) + int(fields[12])) / ticks,
            "peak": int(lines["VmHWM"].split()[0]) * 1024,
            "now": int(lines["VmRSS"].split()[0]) * 1024,
        }

    def clock(self, primed=False):
        """What is in the block is measured; requests count from the mount on, or from here if something came before."""
        return Clock(self, primed)

    # Reading.

    def pattern(self, name):
        """Two periods of what the synthetic file `name` holds."""
        if name not in self.patterns:
            query = urllib.parse.urlencode({"path": name, "offset": 0, "len": PERIOD})
            period = self.ask(f"/emulator/expected?{query}")
            self.patterns[name] = period if len(period) < PERIOD else period * 2
        return self.patterns[name]

    def compare(self, name, descriptor, start=0, end=None):
        """Every byte of this open file, against what is served: once more, if the driver asks for it."""
        if not self.given.get("thorough"):
            return
        right = self.pattern(name)
        end = os.fstat(descriptor).st_size if end is None else end
        at = start
        while at < end:
            got = os.pread(descriptor, min(MIB, end - at), at)
            if not got:
                raise Wrong(f"{name} ends at {at}, not at {end}")
            if got != right[at % PERIOD : at % PERIOD + len(got)]:
                raise Wrong(f"{name} is wrong between {at} and {at + len(got)}")
            at += len(got)

    def command(self, words, out="out", cwd=None):
        """Runs a command in the directory, its output to a file; the file's path."""
        path = os.path.join(self.scratch, out)
        with open(path, "wb") as output:
            done = subprocess.run(
                words, cwd=cwd or self.root, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C", "TZ": "UTC"}, check=False,
            )
        if done.returncode != 0 or done.stderr:
            raise Wrong(f"{' '.join(words)}: exit {done.returncode}: {done.stderr[:300].decode(errors='replace')}")
        return path


class Clock:
    """Time, requests and processor time of a block."""

    def __init__(self, act, primed):
        self.act = act
        self.primed = primed

    def __enter__(self):
        self.before = self.act.counters() if self.primed else {}
        self.usage = self.act.usage()
        self.start = time.perf_counter()
        return self

    def __exit__(self, kind, error, trace):
        seconds = time.perf_counter() - self.start
        if kind is not None:
            return
        # The driver's limit ends here; comparing may take longer.
        with open(os.path.join(self.act.scratch, "stopped"), "wb"):
            pass
        self.act.settle(least=0.1 if self.act.control else 0)
        usage = self.act.usage()
        self.act.say(seconds=seconds, before=self.before, after=self.act.counters())
        if usage:
            self.act.say(cpu=usage["cpu"] - self.usage["cpu"], peak=usage["peak"])


def opened(act, name):
    return os.open(act.path(name), os.O_RDONLY | os.O_CLOEXEC)


def read_through(descriptor, right, start=0, end=None):
    """Reads as cat does; how many bytes came."""
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    os.lseek(descriptor, start, os.SEEK_SET)
    at = start
    while end is None or at < end:
        count = os.readv(descriptor, [view if end is None else view[: min(READ_BYTES, end - at)]])
        if count == 0:
            break
        spot, probe = at % PERIOD, min(PROBE_BYTES, count)
        last = spot + count - probe
        if buffer[:probe] != right[spot : spot + probe] or buffer[count - probe : count] != right[last : last + probe]:
            raise Wrong(f"wrong bytes between {at} and {at + count}")
        at += count
    return at - start


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what}: {got}, not {wanted}")


def at_once(works):
    """Runs functions in threads; the first failure of any is raised."""
    failed = []

    def run(work):
        try:
            work()
        except BaseException as error:  # whatever it is, it is told below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


# Reads.


def sequential(act):
    name, size = act.given["file"], act.given["size"]
    right = act.pattern(name)
    with act.clock():
        descriptor = opened(act, name)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        total = read_through(descriptor, right)
    expect("bytes", total, size)
    act.compare(name, descriptor)


def first_byte(act):
    folder = act.given["folder"]
    names = sorted(os.listdir(act.path(folder)))
    for name in names:
        os.stat(act.path(f"{folder}/{name}"))
    act.settle(least=0.3)
    # Of a known order, but not the one a walker would take.
    chosen = random.Random(7).sample(names, 7)
    times = []
    got = []

    def first_of(name):
        start = time.perf_counter()
        descriptor = opened(act, f"{folder}/{name}")
        byte = os.read(descriptor, 1)
        times.append(time.perf_counter() - start)
        got.append((name, byte))
        os.close(descriptor)

    with act.clock(primed=True):
        first_of(chosen[0])
    for name in chosen[1:]:
        first_of(name)
    act.say(seconds=times[0], more={"next six, median ms": 1000 * statistics.median(times[1:])})
    for name, byte in got:
        expect(f"first byte of {name}", byte, act.pattern(f"{folder}/{name}")[:1])


def random_reads(act):
    name, size, count = act.given["file"], act.given["size"], act.given["reads"]
    spots = random.Random(act.given["seed"])
    offsets = [spots.randrange(size // 4096) * 4096 for _ in range(count)]
    times, got = [], []
    descriptor = opened(act, name)
    with act.clock():
        for offset in offsets:
            start = time.perf_counter()
            data = os.pread(descriptor, 4096, offset)
            times.append(time.perf_counter() - start)
            got.append(data)
    sent = act.measured["after"]["object_bytes_sent"]
    total = act.measured["seconds"]
    act.say(
        seconds=statistics.median(times),
        more={
            "p95 ms": 1000 * statistics.quantiles(times, n=20)[-1],
            "max ms": 1000 * max(times),
            "all, s": total,
            "wire KiB a read": sent / 1024 / count,
        },
    )
    right = act.pattern(name)
    for offset, data in zip(offsets, got):
        expect(f"4 KiB at {offset}", data == right[offset % PERIOD : offset % PERIOD + 4096], True)


def player(act):
    name, size = act.given["file"], act.given["size"]
    rate = act.given["rate"]
    right = act.pattern(name)
    descriptor = opened(act, name)
    waits, got = [], []

    def read(offset, length):
        start = time.perf_counter()
        data = b""
        while len(data) < length:
            part = os.pread(descriptor, length - len(data), offset + len(data))
            if not part:
                break
            data += part
        waits.append(time.perf_counter() - start)
        got.append((offset, length, data))

    middle, step = size // 2 + 12_345, 256 * 1024
    with act.clock():
        read(0, MIB)
        read(size - MIB, MIB)
        for at in range(0, 8 * MIB, MIB):
            read(middle + at, MIB)
        # From here on as fast as it is shown.
        began = time.perf_counter()
        for at in range(0, act.given["steady"], step):
            late = began + at / rate - time.perf_counter()
            if late > 0:
                time.sleep(late)
            read(middle + 8 * MIB + at, step)
    act.say(
        seconds=sum(waits),
        more={
            "head ms": 1000 * waits[0],
            "tail ms": 1000 * waits[1],
            "middle ms": 1000 * waits[2],
            "longest wait after these ms": 1000 * max(waits[3:]),
            "longest wait of the steady part ms": 1000 * max(waits[10:]),
        },
    )
    for offset, length, data in got:
        expect(f"{length} bytes at {offset}", data == right[offset % PERIOD : offset % PERIOD + length], True)


def seek(act):
    """As a player begins: the head, the tail, then 4 MiB from the middle."""
    name, size = act.given["file"], act.given["size"]
    right = act.pattern(name)
    pieces = ((0, 64 * 1024), (size - 64 * 1024, 64 * 1024), (size // 2 + 12_345, 4 * MIB))
    waits, got = [], []
    descriptor = opened(act, name)
    with act.clock(primed=True):
        for offset, length in pieces:
            start = time.perf_counter()
            at = offset
            while at < offset + length:
                data = os.pread(descriptor, min(READ_BYTES, offset + length - at), at)
                if not data:
                    raise Wrong(f"{name} ends at {at}")
                got.append((at, data))
                at += len(data)
            waits.append(1000 * (time.perf_counter() - start))
    act.say(more={"head ms": waits[0], "tail ms": waits[1], "middle ms": waits[2]})
    for at, data in got:
        expect(f"{len(data)} bytes at {at}", data == right[at % PERIOD : at % PERIOD + len(data)], True)


def readers_of_files(act):
    folder, size = act.given["folder"], act.given["size"]
    names = [f"{folder}/file-{index:05}.bin" for index in range(act.given["count"])]
    opens, totals = {}, {}

    def read(name):
        opens[name] = opened(act, name)
        totals[name] = read_through(opens[name], act.pattern(name))

    for name in names:
        act.pattern(name)
    with act.clock():
        at_once([lambda name=name: read(name) for name in names])
    for name in names:
        expect(name, totals[name], size)
        act.compare(name, opens[name])


def readers_of_one(act):
    name, size, count = act.given["file"], act.given["size"], act.given["count"]
    part = size // count
    right = act.pattern(name)
    totals = []

    def read(index):
        descriptor = opened(act, name)
        totals.append(read_through(descriptor, right, index * part, (index + 1) * part))
        os.close(descriptor)

    first = opened(act, name)
    with act.clock():
        at_once([lambda index=index: read(index) for index in range(count)])
    expect("bytes", sum(totals), part * count)
    act.compare(name, first)


def warm(act):
    name, size = act.given["file"], act.given["size"]
    right = act.pattern(name)
    # Local files are not below a directory of the share.
    at = name if act.pid else os.path.basename(name)

    def read():
        descriptor = opened(act, at)
        total = read_through(descriptor, right)
        os.close(descriptor)
        expect("bytes", total, size)

    def asked():
        return act.counters().get("object_bytes_sent", 0)

    read()
    act.settle(least=0.2)
    times, cold = [], []
    with act.clock(primed=True):
        for _ in range(5):
            before = asked()
            start = time.perf_counter()
            read()
            took = time.perf_counter() - start
            (times if asked() == before else cold).append(took)
    # A kernel may page out what it thinks is idle; a peer may forget what it read. A read that needed the line is no warm one,
    # unless there is no other.
    act.say(
        seconds=statistics.median(times or cold),
        more={"GiB/s": size / statistics.median(times or cold) / (1 << 30), "of 5 reads needed the line": len(cold)},
    )
    act.compare(name, opened(act, at))


# Trees.


def sorted_lines(path):
    with open(path, "rb") as file:
        return sorted(file.read().splitlines())


def long_listing(path):
    """Names and sizes of the files in the output of ls -l."""
    found = []
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(b"-"):
                fields = line.split(maxsplit=8)
                found.append((fields[8].rstrip(b"\n"), int(fields[4])))
    return sorted(found)


def same_output(act, words, compare):
    """One command, cold; what it says is what it says of the directory that is served."""
    with act.clock():
        got = act.command(words)
    compare_output(act, words, got, compare)


def compare_output(act, words, got, compare):
    right = act.command(words, out="right", cwd=act.truth)
    if compare(got) != compare(right):
        raise Wrong(f"{' '.join(words)} says something else than of the directory that is served")


def find(act):
    same_output(act, ["find", "."], sorted_lines)


def ls_recursive(act):
    same_output(act, ["ls", "-lR", "."], long_listing)


def disk_usage(act):
    with act.clock():
        got = act.command(["du", "-s", "."])
    with open(got, encoding="ascii") as file:
        kilobytes = int(file.read().split()[0])
    sizes = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(act.truth) for name in names)
    if kilobytes * 1024 < sizes:
        raise Wrong(f"du -s says {kilobytes} KiB of {sizes} bytes")


GREP = ["grep", "-rF", "-e", "needle", "."]
RIPGREP = ["rg", "-j", "16", "--no-config", "-uuu", "--no-heading", "-N", "-F", "-e", "needle", "."]


def grep(act):
    same_output(act, GREP, sorted_lines)


def ripgrep(act):
    same_output(act, RIPGREP, sorted_lines)


def tar(act):
    words = ["sh", "-c", "tar cf - . | wc -c"]
    same_output(act, words, sorted_lines)


def copy(act):
    target = os.path.join(act.scratch, "copy")
    with act.clock():
        act.command(["cp", "-r", ".", target])
    act.command(["diff", "-r", act.truth, target], cwd="/")


def first_entry(act):
    folder = act.path(act.given["folder"])
    os.stat(folder)
    act.settle(least=0.2)
    with act.clock(primed=True):
        entries = os.scandir(folder)
        first = next(entries)
    expect("name", first.name.startswith("file-"), True)
    entries.close()


def stat_known(act):
    """A path that is known before anything was listed."""
    index = 2 * act.given["count"] // 3
    path = act.path(f"{act.given['folder']}/file-{index:05}.bin")
    with act.clock():
        found = os.stat(path)
    expect("size", found.st_size, 4096)


def listing(act):
    folder = act.path(act.given["folder"])
    with act.clock():
        names = [entry.name for entry in os.scandir(folder)]
    expect("names", sorted(names), [f"file-{index:05}.bin" for index in range(act.given["count"])])


def ls_long(act):
    folder = act.path(act.given["folder"])
    with act.clock():
        got = act.command(["ls", "-l", folder])
    found = long_listing(got)
    expect("entries", len(found), act.given["count"])
    expect("names and sizes", found, sorted((f"file-{index:05}.bin".encode(), 4096) for index in range(len(found))))


def second_find(act):
    words = ["find", "."]
    got = act.command(words)
    act.settle(least=0.3)
    times = []
    with act.clock(primed=True):
        for _ in range(10):
            start = time.perf_counter()
            act.command(words, out="again")
            times.append(time.perf_counter() - start)
    act.say(seconds=statistics.median(times))
    compare_output(act, words, got, sorted_lines)
    expect("the last find", sorted_lines(os.path.join(act.scratch, "again")), sorted_lines(got))


def second_grep(act):
    act.command(GREP)
    act.settle(least=0.3)
    with act.clock(primed=True):
        got = act.command(GREP)
    compare_output(act, GREP, got, sorted_lines)


def tenth_at_random(act):
    names = []
    for at, _, files in os.walk(act.root):
        names.extend(os.path.relpath(os.path.join(at, name), act.root) for name in files)
    names.sort()
    chosen = names[::10]
    random.Random(11).shuffle(chosen)
    act.settle(least=0.3)
    got = {}
    with act.clock(primed=True):
        for name in chosen:
            with open(act.path(name), "rb", buffering=0) as file:
                got[name] = file.readall()
        time.sleep(0.3)
    asked = len(chosen)
    act.say(seconds=act.measured["seconds"] - 0.3, more={"files asked for": asked})
    for name, data in got.items():
        with open(os.path.join(act.truth, name), "rb") as file:
            expect(name, data == file.read(), True)


def tree_memory(act):
    count = 0
    act.settle(least=0.2)
    before = act.usage()["now"]
    with act.clock():
        for at, folders, names in os.walk(act.root):
            count += len(folders) + len(names)
    expect("entries", count, act.given["count"])
    each = (act.usage()["now"] - before) / count
    act.say(more={"bytes an entry": each})


ACTS = {
    "sequential": sequential, "first_byte": first_byte, "random_reads": random_reads, "player": player, "seek": seek,
    "readers_of_files": readers_of_files, "readers_of_one": readers_of_one, "warm": warm, "find": find,
    "ls_recursive": ls_recursive, "disk_usage": disk_usage, "grep": grep, "ripgrep": ripgrep, "tar": tar, "copy": copy,
    "first_entry": first_entry, "stat_known": stat_known, "listing": listing, "ls_long": ls_long, "second_find": second_find,
    "second_grep": second_grep, "tenth_at_random": tenth_at_random, "tree_memory": tree_memory,
}


def main():
    act = Act(json.loads(sys.argv[2]))
    try:
        ACTS[sys.argv[1]](act)
    except (Wrong, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(act.measured))


if __name__ == "__main__":
    main()
