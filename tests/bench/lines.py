"""Lines of different make: the same work over each, by koofs, rclone at its best, and a plain downloader with a constant number.

The emulator makes lines that pace bytes in different ways, behind 50 ms before each answer; the program `line` makes real ones, with
handshakes, slow start and queues, between two network namespaces (needs root). On a real line this process enters the clients'
namespace, and whatever it starts is there too; the emulators are put into the servers'.
"""

import ctypes
import os
import re
import subprocess

import data
import driver
import owned
import report
import workloads as catalogue
from driver import progress, say

MIB = 1 << 20
CLONE_NEWNET = 0x40000000
FAR = "198.18.0.2"
PART = 4 * MIB
CONSTANTS = (4, 16, 56)
DOWNLOADERS = tuple(f"downloader-{number}" for number in CONSTANTS)
CONTENDERS = {
    "koofs": "koofs mount",
    "rclone": "rclone mount of the same files by WebDAV, --vfs-read-chunk-streams 16 --vfs-read-chunk-size 4M --buffer-size 0, all "
              "cache times 1 h, no pacing",
    **{name: f"no filesystem, {name.split('-')[1]} connections that take parts of 4 MiB in turn; a part that is refused waits 0.1 s"
       for name in DOWNLOADERS},
}
# What a line of the emulator is if it does not say otherwise.
PLAIN = {
    "api_latency": 0, "object_latency": 0, "connect_latency": 0, "bandwidth": 0, "total_bandwidth": 0, "burst": 0, "bandwidth_spread": 1,
    "slow_beyond": 0, "stop_every": 0, "stop_time": 0.2, "object_parallel_limit": 0, "large_pages": "honoured", "walk_file": "works",
    "name_filter": "exact",
}
FAR_AWAY = {"api_latency": 0.05, "object_latency": 0.05}
EACH = {**FAR_AWAY, "bandwidth": 25_000_000}
READS, ALL = ("sequential", "seek"), ("sequential", "seek", "first-name", "names", "known", "find", "chains", "grep", "space-names", "space-find")


class Line:
    """A line: what it is, the knobs or the real line's options, the file that is read in sequence, and the works that it tells about."""

    def __init__(self, says, knobs=None, real=None, tls=False, file="whole", works=ALL):
        self.says, self.real, self.tls, self.file, self.works = says, real, tls, file, works
        self.knobs = {**PLAIN, **(knobs or {})}


LINES = {
    "none": Line("no delay"),
    "smooth": Line("50 ms a request, 25 MB/s a connection", EACH),
    "bursts": Line("50 ms a request, 25 MB/s a connection in bursts of 1 MB", {**EACH, "burst": 1_000_000}, works=READS),
    "bottleneck-10": Line("50 ms a request, 10 MB/s for all connections", {**FAR_AWAY, "total_bandwidth": 10_000_000}, file="least", works=READS),
    "bottleneck-100": Line("50 ms a request, 100 MB/s for all connections", {**FAR_AWAY, "total_bandwidth": 100_000_000}, file="part", works=READS),
    "refusing": Line("50 ms a request, 25 MB/s a connection, 503 above 16 requests at a time", {**EACH, "object_parallel_limit": 16},
                     works=(*READS, "grep")),
    "uneven": Line("50 ms a request, 25 to 2.5 MB/s a connection", {**EACH, "bandwidth_spread": 10}, file="part", works=READS),
    "crowded": Line("50 ms a request, 25 MB/s a connection up to 8 requests at a time, (8/n)² of it for n", {**EACH, "slow_beyond": 8},
                    file="part", works=READS),
    "stops": Line("50 ms a request, 25 MB/s a connection, which stops for 200 ms every 8 MB or so", {**EACH, "stop_every": 8_000_000},
                  works=READS),
    "real-20": Line("a real round trip of 20 ms", real=["--round-trip", "20ms"]),
    "real-50": Line("a real round trip of 50 ms", real=["--round-trip", "50ms"]),
    "real-200": Line("a real round trip of 200 ms", real=["--round-trip", "200ms"], file="part"),
    "real-20-tls": Line("a real round trip of 20 ms, TLS", real=["--round-trip", "20ms"], tls=True),
    "real-50-tls": Line("a real round trip of 50 ms, TLS", real=["--round-trip", "50ms"], tls=True),
    "real-200-tls": Line("a real round trip of 200 ms, TLS", real=["--round-trip", "200ms"], tls=True, file="part"),
    "real-50-queue": Line("a real round trip of 50 ms, 10 MB/s for all behind a queue of 100 ms",
                          real=["--round-trip", "50ms", "--rate", "10M", "--queue", "100ms"], file="least", works=READS),
    "real-50-loss": Line("a real round trip of 50 ms, one packet in a thousand is lost",
                         real=["--round-trip", "50ms", "--loss", "0.1", "--seed", "7"], file="part", works=READS),
}
WORKS = ALL


class Sizes(data.Sizes):
    """How much of everything: a gibibyte where it comes fast."""

    def __init__(self, quick):
        super().__init__(quick)
        self.files = {"whole": 64 * MIB, "part": 16 * MIB, "least": 16 * MIB} if quick else {
            "whole": 1024 * MIB, "part": 256 * MIB, "least": 64 * MIB}

    def files_spec(self):
        return ",".join(f"{name}=1x{size}" for name, size in self.files.items())


def works_of(line, sizes):
    """The works that a line tells about."""
    big = {"file": f"{line.file}/file-00000.bin", "size": sizes.files[line.file]}
    names = {"folder": "names", "count": sizes.names}
    mounts = ("koofs", "rclone")
    all_works = (
        ("sequential", f"{big['size'] // MIB} MiB in sequence", "reads", "sequential", (*mounts, *(() if line.tls else DOWNLOADERS)), big),
        ("seek", "head, tail, then 4 MiB from the middle", "reads", "seek", mounts, big),
        ("first-name", f"first name of {sizes.names}", "names", "first_entry", mounts, names),
        ("names", f"all names of {sizes.names}", "names", "listing", mounts, names),
        ("known", f"stat of one known path among {sizes.names}", "names", "stat_known", mounts, names),
        ("find", "find over 242 directories, 30 deep", "deep", "find", mounts, {}),
        ("chains", "find over 242 directories in eight chains of 29", "chains", "find", mounts, {}),
        ("grep", "grep -r over the small files", "small", "grep", mounts, {}),
        ("space-names", f"all names of {sizes.names} in a space", "space-names", "listing", ("koofs",), names),
        ("space-find", "find over a space of 6,500 entries", "forest", "find", ("koofs",), {}),
    )
    made = [catalogue.Workload(name, title, at, act, contenders, AnyLine(120), given) for name, title, at, act, contenders, given in all_works]
    return [work for work in made if work.name in line.works]


class AnyLine(dict):
    """A limit that is the same on every line."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def __missing__(self, _line):
        return self.seconds


class RealLine:
    """A running `line`, in whose clients' namespace this process is until it is closed."""

    def __init__(self, tools, options):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.process = owned.start([tools.line, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            places, said = {}, []
            for text in self.process.stdout:
                said.append(text)
                fields = text.split()
                if fields == ["ready"]:
                    break
                places[fields[0]] = fields[1]
            else:
                raise driver.Failed(f"no line: {''.join(said).strip()}")
            self.far = places["far"]
            near = os.open(places["near"], os.O_RDONLY | os.O_CLOEXEC)
            enter(near)
            os.close(near)
        except BaseException:
            self.close()
            raise

    def close(self):
        """Home again; the line ends, and its namespaces with the last who is inside. What it says has passed."""
        enter(self.home)
        os.close(self.home)
        owned.end(self.process, 5)
        return self.process.stdout.read().strip()


def enter(namespace):
    """This thread, and whatever it starts, into a network namespace."""
    if owned.LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class LineBench(driver.Bench):
    """A run over lines."""

    profiles = {name: {"knobs": line.knobs} for name, line in LINES.items()}

    def __init__(self, options, tools):
        super().__init__(options, tools)
        self.sizes = Sizes(options.quick)
        self.catalogue = []
        self.line_name, self.line, self.real = None, None, None

    def close(self):
        super().close()
        self.leave()

    def leave(self):
        """Ends what is of one line."""
        for emulator in self.emulators.values():
            emulator.close()
        self.emulators.clear()
        os.environ.pop("SSL_CERT_FILE", None)
        if self.real:
            passed = self.real.close()
            self.real = None
            if any(int(number) for number in re.findall(r"(\d+) overrun", passed)):
                progress(f"  this machine was too slow for the line: {passed}")

    def emulator(self, name):
        if name not in self.emulators:
            arguments = {
                "reads": ["--synthetic", self.sizes.files_spec()],
                "names": ["--synthetic", f"names={self.sizes.names}x4096"],
                "space-names": ["--synthetic-space", f"names={self.sizes.names}x4096"],
                "forest": ["--space", self.places["forest"]],
            }.get(name) or [self.places[name]]
            prefix = ()
            if self.real:
                prefix = ("nsenter", f"--net={self.real.far}", "--")
                arguments += ["--listen", f"{FAR}:0", "--i-know-this-is-a-test-server"]
            if self.line.tls:
                arguments += ["--tls", "--ca-out", self.ca(name)]
            self.emulators[name] = driver.Emulator(self.tools, self.work, f"{self.line_name}-{name}", arguments, prefix)
        if self.line.tls:
            # Each has an authority of its own; whoever is started from now on trusts this one, and so do we.
            os.environ["SSL_CERT_FILE"] = self.ca(name)
        return self.emulators[name]

    def ca(self, name):
        return os.path.join(self.work, f"{self.line_name}-{name}.pem")

    def mount_words(self, _workload, contender, emulator, path):
        if contender == "koofs":
            words = [self.tools.koofs, "mount", "-f", "--no-cache", "--endpoint", emulator.url, "--allow-http", "--allow-private-links"]
            if self.line.tls:
                words += ["--ca-file", os.environ["SSL_CERT_FILE"]]
            name = next(name for name, one in self.emulators.items() if one is emulator)
            if name in ("space-names", "forest"):
                token = os.path.join(self.work, "token")
                with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(emulator.post("/emulator/auth/mint"))
                words += ["--token-file", token, "--user-id", emulator.user, *self.options.koofs_option, "space:"]
            else:
                words += ["--agent", driver.AGENT, *self.options.koofs_option, f"share:{emulator.code}"]
            return [*words, path]
        return [self.tools.rclone, "mount", ":webdav:", path, "--config", "", "--cache-dir", os.path.join(self.work, "rclone-cache"),
                "--webdav-url", emulator.dav, "--webdav-vendor", "other", "--webdav-pacer-min-sleep", "0s", "--read-only",
                "--vfs-read-chunk-streams", "16", "--vfs-read-chunk-size", "4M", "--buffer-size", "0",
                "--dir-cache-time", "1h", "--attr-timeout", "1h", "--poll-interval", "0"]

    def parts(self, contender, profile, size):
        return int(contender.split("-")[1]), PART

    def all(self):
        results = {}
        try:
            for name in self.options.line:
                self.line_name, self.line = name, LINES[name]
                if self.line.real and os.geteuid() != 0:
                    progress(f"  {name} is left out: network namespaces need root")
                    continue
                results[name] = {}
                works = [work for work in works_of(self.line, self.sizes) if not self.options.only or work.name in self.options.only]
                if not works:
                    continue
                self.catalogue += [work for work in works if work.name not in {one.name for one in self.catalogue}]
                try:
                    if self.line.real:
                        self.real = RealLine(self.tools, self.line.real)
                    for work in works:
                        results[name][work.name] = {"title": work.title, "contenders": self.measure(work, name)}
                finally:
                    self.leave()
        except KeyboardInterrupt:
            progress("interrupted: what was measured so far follows")
        return results

    def tell(self, where, results, took):
        driver.print_machine(self, where, took)
        for name, found in results.items():
            if found:
                say(f"\n## {name}: {LINES[name].says}\n")
                say(table(found))
        say()
        for name, what in CONTENDERS.items():
            say(f"- {name}: {what}")
        say("- lists: listing requests (100 entries each, up to 1,000 in a space; WebDAV lists a whole directory). API KiB: bodies of the API's "
            "answers as sent. Peer times of trees are of their own protocol.")
        lines = list(judged(results))
        if lines and not self.options.quick:
            say("\n## What was to be reached\n")
            say(report.goals(lines))
        # The driver looks for failures below the contenders.
        for found in results.values():
            for work in found:
                found[work] = found[work]["contenders"]
        return lines


HEAD = ("work", "contender", "median", "min – max", "runs", "to koofs", "lists", "links", "GETs", "API KiB", "wire MiB", "also")


def table(found):
    lines = [report.row(*HEAD), report.row(*["---"] * 2, *["---:"] * 9, "---")]
    for work in found.values():
        contenders = work["contenders"]
        for name, summary in contenders.items():
            median = summary.get("median")
            shown = f"> {summary['cut']:g} s" if median is None and summary.get("cut") else report.seconds(median)
            spread = f"{report.seconds(summary['min'])} – {report.seconds(summary['max'])}" if median is not None else "–"
            api = summary.get("api")
            lines.append(report.row(
                work["title"] if name == next(iter(contenders)) else "", name, shown, spread, summary.get("runs", 0),
                report.ratio(summary, contenders.get("koofs")), *(report.count(summary.get(key)) for key in ("pages", "links", "gets")),
                "–" if api is None else f"{api / 1024:.0f}", report.size(summary.get("wire")), report.also(summary)))
    return "\n".join(lines)


# Seconds of issue 11: line, work, at most.
GOALS = (
    ("bursts", "sequential", 2.0), ("real-50", "seek", 0.6), ("real-50", "first-name", 0.1), ("real-50", "names", 5.5),
    ("real-50", "space-names", 1.2), ("real-50", "known", 0.15), ("real-50", "find", 2.0), ("real-50", "space-find", 0.6),
    ("real-50", "grep", 3.5), ("none", "find", 0.16),
)


def judged(results):
    """Lines of (line, goal, measured, met)."""
    def median(line, work, contender):
        return results.get(line, {}).get(work, {}).get("contenders", {}).get(contender, {}).get("median")

    for line in results:
        ours, rclone = median(line, "sequential", "koofs"), median(line, "sequential", "rclone")
        constants = {number: median(line, "sequential", f"downloader-{number}") for number in CONSTANTS}
        constants = {number: time for number, time in constants.items() if time}
        if ours and constants:
            best = min(constants, key=constants.get)
            part = constants[best] / ours
            yield line, "in sequence at least 85 % of the best constant", f"{100 * part:.0f} % of {best} connections", part >= 0.85
        if ours and rclone:
            yield line, "in sequence faster than rclone at its best", f"{rclone / ours:.2f} times", ours < rclone
    for line, work, most in GOALS:
        ours = median(line, work, "koofs")
        if ours:
            yield line, f"{results[line][work]['title']}: {report.seconds(most)}", report.seconds(ours), ours <= most


def run(options):
    """The bench of lines; the exit code."""
    return driver.run(options, LineBench)
