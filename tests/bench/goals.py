"""What issues 4 and 5 ask for, against what was measured. Times are medians; `best rclone` is the fastest of the run."""

import statistics

ROUND_TRIP = 0.05
MIB = 1 << 20


class Seen:
    """The results of one profile."""

    def __init__(self, results):
        self.results = results

    def of(self, workload, contender):
        summary = self.results.get(workload, {}).get(contender)
        return summary if summary and summary.get("median") is not None else None

    def rclone(self, workload):
        """The fastest rclone; one that was cut has at least its limit."""
        found = []
        for name, summary in self.results.get(workload, {}).items():
            if name.startswith("rclone"):
                if summary.get("median") is not None:
                    found.append((summary["median"], "", summary))
                elif summary.get("cut"):
                    found.append((summary["cut"], "> ", summary))
        return min(found, key=lambda one: one[0], default=None)


def judged(results):
    """Lines of (profile, goal, measured, met or None if it was not measured)."""
    lines = []
    for profile, seen in ((name, Seen(found)) for name, found in results.items()):
        for goal, measure in GOALS[profile]:
            got = measure(seen)
            if got is not None:
                lines.append((profile, goal, *got))
    return lines


def share_of_downloader(least):
    def measure(seen):
        ours, theirs = seen.of("sequential", "koofs"), seen.of("sequential", "downloader")
        if not ours or not theirs:
            return None
        small = seen.of("sequential", "downloader-4M")
        part = theirs["median"] / ours["median"]
        text = f"{100 * part:.0f} %"
        if small:
            text += f" ({100 * small['median'] / ours['median']:.0f} % of the one with 4 MiB parts)"
        return text, part >= least
    return measure


def times_rclone(workload, least):
    def measure(seen):
        ours, best = seen.of(workload, "koofs"), seen.rclone(workload)
        if not ours or not best:
            return None
        times = best[0] / ours["median"]
        return f"{best[1]}{times:.1f} times ({best[1]}{best[0]:.2f} s : {ours['median']:.2f} s)", times >= least
    return measure


def at_most(workload, what, most, show, contender="koofs"):
    def measure(seen):
        ours = seen.of(workload, contender)
        if not ours:
            return None
        got = what(ours)
        if got is None:
            return None
        return show(got), got <= most
    return measure


def milliseconds(seconds):
    return f"{1000 * seconds:.1f} ms"


def mib(count):
    return f"{count / MIB:.0f} MiB"


def more(key):
    return lambda summary: summary["more"].get(key)


def over_least(workload, key, most, what):
    def measure(seen):
        ours = seen.of(workload, "koofs")
        if not ours:
            return None
        least = ours["least"].get(key)
        got = ours[key]
        return f"{got:g} {what}, the least is {least}", got <= least * most
    return measure


def warm_share(seen):
    ours, local = seen.of("warm", "koofs"), seen.of("warm", "local")
    if not ours or not local:
        return None
    part = local["median"] / ours["median"]
    return f"{100 * part:.0f} %", part >= 0.8


def less_processor(seen):
    ours, best = seen.of("sequential", "koofs"), seen.rclone("sequential")
    if not ours or not best or not best[2].get("cpu"):
        return None
    return f"{ours['cpu']:.2f} s : {best[2]['cpu']:.2f} s", ours["cpu"] < best[2]["cpu"]


def no_request(workload, contender="koofs"):
    def measure(seen):
        ours = seen.of(workload, contender)
        if not ours:
            return None
        got = ours["pages"] + ours["links"] + ours["gets"] + ours["others"]
        return f"{got:g} requests", got == 0
    return measure


def times_local(workload, most):
    def measure(seen):
        ours, local = seen.of(workload, "koofs"), seen.of(workload, "local")
        if not ours or not local:
            return None
        times = ours["median"] / local["median"]
        return f"{times:.2f} times ({milliseconds(ours['median'])} : {milliseconds(local['median'])})", times <= most
    return measure


def part_of(workload, contender, other, least):
    """How much of the speed of another."""
    def measure(seen):
        ours, theirs = seen.of(workload, contender), seen.of(workload, other)
        if not ours or not theirs:
            return None
        part = theirs["median"] / ours["median"]
        return f"{100 * part:.0f} % ({milliseconds(theirs['median'])} : {milliseconds(ours['median'])})", part >= least
    return measure


def first_costs(workload):
    """What keeping costs the first reading: the median of the pairs."""
    def measure(seen):
        first, without = seen.of(workload, "koofs-first"), seen.of(workload, "koofs")
        if not first or not without:
            return None
        pairs = [a["seconds"] / b["seconds"] for a, b in zip(first["all"], without["all"]) if "seconds" in a and "seconds" in b]
        if not pairs:
            return None
        times = statistics.median(pairs)
        return f"{times:.2f} times, pair by pair", times <= 1.05
    return measure


def never_slower(seen):
    slower, compared = [], 0
    for workload in seen.results:
        ours, best = seen.of(workload, "koofs"), seen.rclone(workload)
        if best and not best[1] and best[2].get("spoilt"):
            best = None
        if ours and best:
            compared += 1
            if ours["median"] > best[0]:
                slower.append(f"{workload} ({ours['median'] / best[0]:.2f} times its time)")
    if not compared:
        return None
    return "slower: " + ", ".join(slower) if slower else f"none of {compared} is", not slower


COMMON = [
    ("memory: at most the budget of 64 MiB + 64 MiB, 100 files at once",
     at_most("memory", lambda s: s["peak"], 128 * MIB, mib, "koofs-64M")),
    ("warm re-read: at least 80 % of the page cache of the local disk", warm_share),
    ("second find: no request", no_request("second-find")),
    ("second find: within 1.3 of a local directory", times_local("second-find", 1.3)),
    ("second grep: no request", no_request("second-grep")),
]

GOALS = {
    "wan": [
        ("sequential: at least 90 % of the downloader", share_of_downloader(0.9)),
        ("sequential: 1.5 times rclone at its best", times_rclone("sequential", 1.5)),
        ("first byte: at most 1.2 round trips", at_most("first-byte", lambda s: s["median"], 1.2 * ROUND_TRIP, milliseconds)),
        ("random 4 KiB: at most 1.2 round trips", at_most("random", lambda s: s["median"], 1.2 * ROUND_TRIP, milliseconds)),
        ("random 4 KiB: at most 256 KiB on the wire", at_most("random", more("wire KiB a read"), 256, lambda v: f"{v:.0f} KiB")),
        ("player: no read after the first three waits for more than a round trip (1.2 allowed)",
         at_most("player", more("longest wait after these ms"), 1200 * ROUND_TRIP, lambda v: f"{v:.1f} ms")),
        ("grep -r: 30 times faster than the best rclone", times_rclone("grep", 30)),
        ("grep -r: at most 1.05 GETs a file", over_least("grep", "gets", 1.05, "GETs")),
        ("find: 6 times faster than the best rclone", times_rclone("find", 6)),
        ("find: no directory listed twice", over_least("find", "pages", 1, "pages")),
        ("ls -lR: 6 times faster than the best rclone", times_rclone("ls-lR", 6)),
        ("ls -lR: no directory listed twice", over_least("ls-lR", "pages", 1, "pages")),
        ("first entry: one round trip (1.2 allowed)", at_most("first-entry", lambda s: s["median"], 1.2 * ROUND_TRIP, milliseconds)),
        ("every tenth at random: at most 10 % wasted", over_least("tenth", "gets", 1.1, "GETs")),
        ("remounted grep: no request", no_request("remount-grep", "koofs-second")),
        ("remounted grep: within 1.5 of a cold local directory", part_of("remount-grep", "koofs-second", "local-cold", 1 / 1.5)),
        ("remounted grep: under 0.8 s", at_most("remount-grep", lambda s: s["median"], 0.8, milliseconds, "koofs-second")),
        ("remounted find: no request", no_request("remount-find", "koofs-second")),
        ("remounted find: within 3 of a cold local directory", part_of("remount-find", "koofs-second", "local-cold", 1 / 3)),
        ("remounted sequential: no request", no_request("remount-sequential", "koofs-second")),
        ("remounted sequential: 80 % of the cold local disk", part_of("remount-sequential", "koofs-second", "local-cold", 0.8)),
        *((f"first {name}: within 1.05 of --no-cache", first_costs(f"remount-{name}")) for name in ("grep", "find", "sequential")),
        *COMMON,
    ],
    "lan": [
        ("sequential: at least 75 % of the downloader", share_of_downloader(0.75)),
        ("sequential: ahead of rclone at its best", times_rclone("sequential", 1)),
        ("sequential: less processor time than that rclone", less_processor),
        ("sequential: peak memory under 200 MiB", at_most("sequential", lambda s: s["peak"], 200 * MIB, mib)),
        ("no workload slower than rclone", never_slower),
        ("an entry of the tree: under 500 bytes", at_most("tree-memory", more("bytes an entry"), 500, lambda v: f"{v:.0f} bytes")),
        *COMMON,
    ],
}
