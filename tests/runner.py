"""Builds the tree and runs its tests; ./test is the way to call it.

One folder per preset below build/, as with cmake by hand; logs and results below build/test. Each test program runs in a
session of its own and carries MARK in its environment, so that what a killed run left behind can be found and ended.
"""

import concurrent.futures
import fcntl
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
OUT = BUILD / "test"
CORES = os.cpu_count() or 1
MARK = f"FZGW_TEST_ROOT={ROOT}"
SIM_SEEDS = int(os.environ.get("FZGW_SIM_SEEDS", "2000"))
FUZZ_SECONDS = int(os.environ.get("FZGW_FUZZ_SECONDS", "4"))
PHASES = ("checks", "unit", "sim", "fuzz", "selinux", "attack", "interop")
# parts that run only when they are named
ON_REQUEST = ("guest",)
# ctest labels that are not part of the unit phase
OTHER_LABELS = {"checks", "attack", "interop", "bench", "guest"}
BINARIES = ("bin/firezone-gateway", "libexec/firezone-gateway/firezone-gateway-helper",
            "libexec/firezone-gateway/firezone-gateway-worker")


class Results:
    """What passed, failed and was skipped. Failures are printed as they come."""

    def __init__(self):
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.lock = threading.Lock()

    def add(self, name, status, detail=""):
        with self.lock:
            self.counts[status] += 1
            if status == "failed":
                print(f"FAILED {name}", flush=True)
                for line in detail.strip().splitlines()[-60:]:
                    print(f"    {line}", flush=True)
            elif status == "skipped":
                print(f"skipped {name}: {detail.strip()}", flush=True)

    def closing_line(self):
        line = f"{self.counts['passed']} passed, {self.counts['failed']} failed"
        return line + (f", {self.counts['skipped']} skipped" if self.counts["skipped"] else "")


class Runner:
    """Starts programs and can end all of them."""

    def __init__(self):
        self.running = set()
        self.lock = threading.Lock()
        self.stopping = False

    def run(self, command, timeout, log, env=None, cwd=ROOT):
        """Run to the end; (exit status, output). A program past its time is killed with its session.

        The output goes to a file: a pipe would stay open as long as any descendant holds it.
        """
        environment = dict(os.environ, LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        name, value = MARK.split("=", 1)
        environment[name] = value
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as output, self.lock:
            if self.stopping:
                return 1, "stopped"
            child = subprocess.Popen([str(word) for word in command], cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            self.running.add(child)
        try:
            status, late = child.wait(timeout), ""
        except subprocess.TimeoutExpired:
            self.kill(child)
            child.wait()
            status, late = 1, f"\nkilled after {timeout} s\n"
        with self.lock:
            self.running.discard(child)
        return status, log.read_text(errors="replace") + late

    @staticmethod
    def kill(child):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self, number, _frame):
        # The handler may have interrupted a holder of the lock: take no lock here.
        self.stopping = True
        for child in list(self.running):
            self.kill(child)
        print(f"stopped by {signal.Signals(number).name}", flush=True)


def end_leftovers():
    """End what an earlier, killed run of this tree left running."""
    own = os.getpid()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        try:
            if MARK.encode() in (entry / "environ").read_bytes().split(b"\0"):
                print(f"ending process {entry.name} of an earlier run", flush=True)
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


class Tests:
    def __init__(self):
        self.results = Results()
        self.runner = Runner()
        self.built = {}

    # Building

    def build(self, preset):
        """Configure and build once per run; whether all of it was built."""
        if preset not in self.built:
            self.built[preset] = self.build_now(preset)
        return self.built[preset]

    def build_now(self, preset):
        folder = BUILD / preset
        log = OUT / f"build-{preset}.log"
        started = time.monotonic()
        configure = ["cmake", "--preset", preset, f"-DCMAKE_INSTALL_PREFIX={folder / 'stage'}"]
        status, text = self.runner.run(configure, 300, log)
        if " is not there" in text:
            self.results.add(f"configure {preset}", "failed", text)
        if status == 0:
            # All that can be built is built and tested, whatever else is broken.
            target = ["--target", "fuzzers"] if preset == "fuzz" else []
            status, text = self.runner.run(["cmake", "--build", folder, *target, "--", "-k", "0", "-j", CORES], 1200, log)
        if status == 0 and preset != "fuzz":
            status, text = self.runner.run(["cmake", "--install", folder], 120, log)
        print(f"built {preset} in {time.monotonic() - started:.0f} s", flush=True)
        # Without the lines on what was built well, which come after the errors as well.
        text = re.sub(r"^\[\d+/\d+\] (?:Building|Linking|Checking).*\n", "", text, flags=re.M)
        self.results.add(f"build {preset}", "failed" if status else "passed", text)
        return status == 0

    # Phases

    def checks(self):
        here = ROOT / "tests/checks"
        self.build("release")
        self.build("asan")
        for name in ("rooms.py", "sizes.py", "parsers.py", "words.py", "format.sh"):
            self.single(f"checks/{name}", [here / name], 300)
        self.single("checks/shell.sh", [here / "shell.sh"], 300, skip=77)
        self.single("checks/sansio.py", [here / "sansio.py", BUILD / "asan"], 120)
        self.single("checks/elf.py", [here / "elf.py", *[BUILD / "release/stage" / name for name in BINARIES]], 120)
        self.tidy()
        self.analyzer()
        self.pytest("checks", here, 600)

    def sources(self, preset):
        """Compile commands of our own files, tests left out; none when the preset is not configured."""
        database = BUILD / preset / "compile_commands.json"
        if not database.is_file():
            self.results.add(f"checks {preset}", "failed", f"build/{preset} is not configured")
            return []
        found = {}
        for entry in json.loads(database.read_text()):
            path = pathlib.Path(entry["file"]).relative_to(ROOT)
            if path.parts[0] in ("ipc", "privileged", "unprivileged"):
                found[path] = entry
        return sorted(found.items())

    def tidy(self):
        """clang-tidy, one result for each file."""
        def one(item):
            path, entry = item
            command = ["clang-tidy", "-p", BUILD / "asan", "--quiet", "--warnings-as-errors=*", entry["file"]]
            self.single(f"checks/clang-tidy {path}", command, 300)

        self.each(one, self.sources("asan"))

    def analyzer(self):
        """gcc -fanalyzer, one result for each file; without link-time optimisation, which would put it off."""
        def one(item):
            path, entry = item
            words = [word for word in shlex.split(entry["command"]) if "lto" not in word]
            words[words.index("-o") + 1] = "/dev/null"
            self.single(f"checks/analyzer {path}", [*words, "-fanalyzer"], 300, entry["directory"])

        self.each(one, self.sources("release"))

    def unit(self):
        for preset in ("release", "asan"):
            self.build(preset)
            self.ctest(preset)
        self.pytest("portal", ROOT / "tests/portal", 300)

    def ctest(self, preset):
        status, text = self.runner.run(["ctest", "--test-dir", BUILD / preset, "--show-only=json-v1"], 60,
                                       OUT / f"ctest-{preset}.log")
        try:
            tests = json.loads(text[text.index("{"):])["tests"] if status == 0 else []
        except ValueError:
            tests = []
        if not tests:
            self.results.add(f"unit {preset}", "failed", f"no tests in build/{preset}\n{text}")
        self.each(lambda test: self.unit_program(preset, test), [test for test in tests if wanted(test)])

    def unit_program(self, preset, test):
        """One program; each case of a cmocka program counts."""
        name = f"{preset}/{test['name']}"
        command = test.get("command", [])
        if not command or not os.access(command[0], os.X_OK):
            self.results.add(name, "failed", "is not built")
            return
        folder = OUT / "unit" / preset / test["name"]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        env = {"CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": str(folder / "%g.xml")}
        status, text = self.runner.run(command, 300, folder / "log", env, BUILD / preset)
        cases = [case for file in sorted(folder.glob("*.xml")) for case in junit_cases(file)]
        for case, result, detail in cases:
            self.results.add(f"{name}/{case}", result, f"{detail}\n{text}" if result == "failed" else detail)
        if status and not any(result == "failed" for _, result, _ in cases):
            self.results.add(name, "failed", f"exit status {status}\n{text}")
        elif not cases:
            self.results.add(name, "passed")

    def sim(self):
        """Random scenarios of the whole network after those that failed once; each counts."""
        self.build("release")
        command = [ROOT / "tests/sim/run", "--seeds", SIM_SEEDS, "--shrink"]
        status, text = self.runner.run(command, 600, OUT / "sim.log", {"SIM": str(BUILD / "release/tests/sim/sim")})
        counts = re.search(r"^(\d+) scenarios, (\d+) failed$", text, flags=re.M)
        failures = re.findall(r"^FAILED (seed \d+: .*\n(?:(?!FAILED seed|traffic at ).*\n)*)", text, flags=re.M)
        print("\n".join(line for line in text.splitlines() if line.startswith(("traffic at ", "processor "))), flush=True)
        for failure in failures:
            self.results.add(f"sim/{failure.split(':')[0]}", "failed", failure)
        if not counts or int(counts[2]) != len(failures) or bool(status) != bool(failures):
            self.results.add("sim", "failed", text)
        elif counts:
            for _ in range(int(counts[1]) - int(counts[2])):
                self.results.add("sim/scenario", "passed")

    def fuzz(self):
        self.build("fuzz")
        targets = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
        if not targets:
            self.results.add("fuzz", "failed", "no targets in tests/fuzz")
        self.each(self.fuzz_target, targets)

    def fuzz_target(self, target):
        program = BUILD / "fuzz/tests/fuzz" / target
        if not os.access(program, os.X_OK):
            self.results.add(f"fuzz/{target}", "failed", "is not built")
            return
        corpus, crashes = BUILD / "fuzz/corpus" / target, BUILD / "fuzz/crashes"
        seeds = ROOT / "tests/fuzz/seeds" / target.removeprefix("fuzz_")
        corpus.mkdir(parents=True, exist_ok=True)
        crashes.mkdir(exist_ok=True)
        command = [program, corpus, *([seeds] if seeds.is_dir() else []), f"-max_total_time={FUZZ_SECONDS}",
                   "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={crashes}/{target}-"]
        self.single(f"fuzz/{target}", command, FUZZ_SECONDS + 120)

    def selinux(self):
        self.pytest("selinux", ROOT / "selinux", 600)

    def attack(self):
        self.build("release")
        self.pytest("attack", ROOT / "tests/attack", 900)

    def interop(self):
        """With the release build, and with the sanitizers' build: then every run of the gateway is searched for leaks.

        Both at a time, each in a network of its own: they mostly wait. What takes long is run once.
        """
        for preset in ("release", "asan"):
            self.build(preset)
        self.each(self.interop_with, ("release", "asan"))

    def interop_with(self, preset):
        # Real programs and real seconds on a shared machine: what fails alone gets a second try, and is named.
        chosen = ["-m", "not long" if preset == "asan" else "long or not changes"]
        self.pytest(f"interop {preset}", ROOT / "tests/interop", 1000, preset, second_try=3, chosen=chosen)

    def guest(self):
        self.build("release")
        self.pytest("guest", ROOT / "tests/guest", 1200, second_try=1)

    # Ways to run

    def each(self, what, items):
        with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
            list(pool.map(what, items))

    def single(self, name, command, timeout, cwd=ROOT, skip=None):
        """One program is one test: 0 passes, anything else but @skip fails."""
        status, text = self.runner.run(command, timeout, OUT / "log" / (re.sub(r"\W+", "-", name) + ".log"), cwd=cwd)
        self.results.add(name, {0: "passed", skip: "skipped"}.get(status, "failed"), text)

    def pytest(self, name, folder, timeout, preset="release", second_try=0, chosen=()):
        """Up to @second_try failed cases are tried once more; both results are shown, the second one counts."""
        report = OUT / f"{name.replace(' ', '-')}.xml"
        cache = report.with_suffix(".cache")
        shutil.rmtree(cache, ignore_errors=True)
        status, text, cases = self.pytest_once(folder, timeout, preset, report, ["-o", f"cache_dir={cache}", *chosen])
        failed = [case for case in cases if case[1] == "failed"]
        if 0 < len(failed) <= second_try:
            for case, _, detail in failed:
                lines = [line for line in detail.splitlines() if line.strip()]
                print(f"second try for {name}/{case}: {lines[-1].strip() if lines else 'failed'}", flush=True)
            again = self.pytest_once(folder, timeout, preset, report.with_suffix(".again.xml"),
                                     ["-o", f"cache_dir={cache}", "--last-failed", *chosen])[2]
            second = {case: (case, result, detail) for case, result, detail in again}
            cases = [second.get(case[0], case) for case in cases]
            status = any(result == "failed" for _, result, _ in cases)
        for case, result, detail in cases:
            self.results.add(f"{name}/{case}", result, detail)
        if not cases or (status and not any(result == "failed" for _, result, _ in cases)):
            self.results.add(name, "failed", f"pytest ended with {status}\n{text}")

    def pytest_once(self, folder, timeout, preset, report, extra):
        report.unlink(missing_ok=True)
        command = ["/usr/bin/python3", "-m", "pytest", "-q", f"--junitxml={report}", *extra, folder]
        env = {"FZGW_PRESET": preset, "FZGW_LAB": preset, "FZGW_BUILD": str(BUILD / preset),
               "FZGW_HELPER": str(BUILD / preset / "privileged/firezone-gateway-helper")}
        status, text = self.runner.run(command, timeout, report.with_suffix(".log"), env)
        return status, text, junit_cases(report)

    def phase(self, name):
        if self.runner.stopping:
            return
        print(f"== {name}", flush=True)
        started, before = time.monotonic(), dict(self.results.counts)
        getattr(self, name)()
        after = self.results.counts
        print(f"== {name}: {after['passed'] - before['passed']} passed, {after['failed'] - before['failed']} failed "
              f"in {time.monotonic() - started:.0f} s", flush=True)


def wanted(test):
    labels = next((entry["value"] for entry in test.get("properties", []) if entry["name"] == "LABELS"), [])
    return not OTHER_LABELS & set(labels)


def junit_cases(file):
    """(name, status, detail) of each case in a report of pytest or cmocka; none when it cannot be read."""
    try:
        top = xml.etree.ElementTree.parse(file).getroot()
    except (OSError, xml.etree.ElementTree.ParseError):
        return []
    cases = []
    for case in top.iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped")
        name = ".".join(part for part in (case.get("classname"), case.get("name")) if part)
        if bad:
            cases.append((name, "failed", "\n".join(child.text or child.get("message") or "" for child in bad)))
        elif skipped is not None:
            cases.append((name, "skipped", skipped.get("message") or ""))
        else:
            cases.append((name, "passed", ""))
    return cases


def main(words):
    names = [word for word in words if word != "all"] or list(PHASES)
    unknown = [name for name in names if name not in PHASES + ON_REQUEST]
    if unknown:
        print(f"test: no part is called {unknown[0]}; there are {', '.join(PHASES + ON_REQUEST)} and all", file=sys.stderr)
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another ./test in this tree", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        end_leftovers()
        tests = Tests()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, tests.runner.stop)
        for name in names:
            tests.phase(name)
    if tests.runner.stopping:
        tests.results.add("run", "failed", "was stopped")
    print(tests.results.closing_line(), flush=True)
    return 1 if tests.results.counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
