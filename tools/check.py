#!/usr/bin/python3
"""Runs the stages of the tests that are named and counts: style, unit, asan, tsan, fuzz, server, core, deb, and debian-13 or the
like, which is "core" in another Debian system. The last line of its output is `N passed, N failed, N skipped`. Something that
could not be built or that died counts as failed. Ends with 0 when nothing failed and something passed.

The stages with a host wait for most of their time. So they run beside the others, on two tracks; what a stage says is then
printed when it ends."""

import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as ET

import house

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join("build", "check")
UNIT_SECONDS = 2400  # for one program, and none takes a tenth of it on a machine of its own
FUZZ_SECONDS = 10
HANG_SECONDS = 60  # no input takes a hundredth of it
SYSTEM_SECONDS = 600  # for another Debian system, from nothing, and the core of the tests in it
LONGEST_FUNCTION = 100  # in tests; the module's own are shorter (tools/house.py)
JOBS = os.cpu_count() or 1
MAKE = ["make", "--no-print-directory", "-s", f"-j{JOBS}"]
LONG_PROGRAMS = ["test_faults", "test_faults_heap", "test_heap"]  # begin first, so that none is left alone at the end
PYTESTS = 2 * JOBS  # processes; most tests wait for most of their time
CORE = ["test_demo.py", "test_differential.py", "test_reload.py",
        *(f"test_load.py::test_{name}" for name in (
            "5000_connections_200_at_a_time", "resumption_under_load", "every_allocator",
            "100_handshakes_at_once_then_the_client_is_killed", "three_register_streams"))]

C_FILES = ["*.c", "*.h", *[f"{room}/**/*.[ch]" for room in house.ROOMS], "test/**/*.c", "test/**/*.h", "bench/*.c", "bench/*.h"]
VERSION_CONDITION = re.compile(r"OPENSSL_VERSION_(NUMBER|MAJOR|MINOR|PATCH|PREREQ)|VERSIONVAL")
PROMISE = re.compile(r"\b(TODO|FIXME|XXX|(?i:not implemented))\b")
# cppcheck does not see the headers of the host and of OpenSSL: the defines are what the code asks of them. It takes
# what snprintf() writes for something read, so uninitialised memory is left to the compiler and to valgrind; and it
# knows no mmap() of -1.
CPPCHECK = ["cppcheck", "--quiet", "--error-exitcode=1", "--inline-suppr", "--std=c11", "--library=posix",
            "--library=openssl", "--enable=warning,performance,portability", "--suppress=missingInclude",
            "--suppress=readdirCalled", "--suppress=uninitvar", "--suppress=ctuuninitvar", "--suppress=ctunullpointer",
            "--suppress=invalidFunctionArg:test/unit/*", "--suppress=normalCheckLevelMaxBranches",
            "--suppress=nullPointerOutOfMemory:test/*", "--suppress=nullPointerArithmeticOutOfMemory:test/*", "-DOPENSSL_VERSION_NUMBER=0x30000000L", "-DVERSIONVAL=5006003",
            "-D__has_include(x)=0", "-I."]
CLANG_FORMAT = 14  # newer ones lay out some places otherwise


class Stopped(Exception):
    """Somebody has pressed Ctrl-C."""


STOPPED, PRINTING = threading.Event(), threading.Lock()


class Count:
    """How many passed, failed and were skipped, and the words about it: printed at once, or `kept` until flush()."""

    def __init__(self, kept=None):
        self.passed = self.failed = self.skipped = 0
        self.kept = kept

    def say(self, text):
        """Prints a text, or keeps it."""
        if self.kept is None:
            print(text, flush=True)
        else:
            self.kept.append(text)

    def flush(self):
        """Prints what was kept, in one piece."""
        with PRINTING:
            print("\n".join(self.kept or []), flush=True)

    def one(self, name, complaint):
        """Counts one check; `complaint` is what it found, nothing when it passed."""
        if complaint:
            self.failed += 1
            self.say(f"{name}: FAILED\n{complaint.rstrip()}")
        else:
            self.passed += 1
            self.say(f"{name}: passed")

    def skip(self, name, why):
        """Counts one check that can't be made here."""
        self.skipped += 1
        self.say(f"{name}: skipped: {why}")

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(command, **options):
    """Runs a command; returns (exit status, what it printed)."""
    if STOPPED.is_set():
        raise Stopped
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              check=False, **options)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return -1, (late.stdout or b"").decode(errors="replace") + f"\nended after {late.timeout} s"
    except FileNotFoundError:
        return 127, f"{command[0]} is not installed: run make deps-check"


def c_files():
    return sorted(name for pattern in C_FILES for name in glob.glob(pattern, recursive=True))


def read_lines(name):
    with open(name, encoding="utf-8") as file:
        return file.read().splitlines()


def complaint_of(command):
    status, output = run(command)
    return output or f"ended with {status}" if status else ""


def layout_errors(names):
    """One line for each file that clang-format would change: the places themselves are many and say little."""
    output = complaint_of(["clang-format", "--dry-run", "-Werror", *names])
    places = [line.split(":")[0] for line in output.splitlines() if "[-Wclang-format-violations]" in line]
    found = [f"{name}: {places.count(name)} places" for name in sorted(set(places))]
    return "\n".join(found + ["make format puts them right"]) if found else output


def check_layout(count, names):
    version = re.search(r"version (\d+)", run(["clang-format", "--version"])[1])
    if version and int(version[1]) != CLANG_FORMAT:
        count.skip("layout (clang-format)", f"this is version {version[1]}, the layout is that of {CLANG_FORMAT} (Debian 12)")
    else:
        count.one("layout (clang-format)", layout_errors(names))


def lines_matching(pattern, names):
    return "\n".join(f"{name}:{number}: {line.strip()}" for name in names
                     for number, line in enumerate(read_lines(name), 1) if pattern.search(line))


def long_functions(names):
    """A function's body stands between a line of `{` and one of `}`: the layout that clang-format keeps."""
    found = []
    for name in names:
        start = None
        for number, line in enumerate(read_lines(name), 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start > LONGEST_FUNCTION:
                    found.append(f"{name}:{start}: a function of {number - start} lines; {LONGEST_FUNCTION} is the limit")
                start = None
    return "\n".join(found)


def python_errors(names):
    found = []
    for name in names:
        try:
            compile("\n".join(read_lines(name)) + "\n", name, "exec")
        except SyntaxError as error:
            found.append(str(error))
    return "\n".join(found)


def documented_commands(name):
    """Runs the shell blocks of a document, in order, in an empty folder; says what failed."""
    blocks = re.findall(r"^```sh\n(.*?)^```", "\n".join(read_lines(name)), re.M | re.S)
    with tempfile.TemporaryDirectory(prefix="tls-doc-") as folder:
        status, output = run(["bash", "-euo", "pipefail", "-c", "".join(blocks)], cwd=folder, timeout=300)
    return output if status else "" if blocks else f"{name} has no ```sh block"


def check_style(count):
    names = c_files()
    module = [name for name in names if not name.startswith(("test/", "bench/"))]
    checked = [name for name in names if not name.endswith(".h")]
    scripts = glob.glob("tools/*.sh") + glob.glob("test/**/*.sh", recursive=True) + [".ci/run"]
    python = sorted(glob.glob("tools/*.py") + glob.glob("test/**/*.py", recursive=True) + glob.glob("bench/*.py"))
    check_layout(count, names)
    count.one("cppcheck", complaint_of(CPPCHECK + checked))
    count.one("version conditions only in the two compat.h",
              lines_matching(VERSION_CONDITION, [name for name in module if os.path.basename(name) != "compat.h"]))
    count.one("no promises in the sources", lines_matching(PROMISE, names))
    count.one("length of functions", long_functions(names))
    count.one("the plan of the house", "\n".join(house.complaints(TOP)))
    count.one("shell syntax", "".join(complaint_of(["bash", "-n", name]) for name in scripts))
    count.one("python syntax", python_errors(python))
    count.one("commands of doc/certificates.md", documented_commands("doc/certificates.md"))


def count_tap(output, status):
    """Counts what a cmocka program said in TAP. A test that the plan names and that gave no result has failed, and
    so has the program itself when it ended badly without saying that a test did."""
    count = Count()
    planned = 0
    for line in output.splitlines():
        if plan := re.fullmatch(r"1\.\.(\d+)", line):
            planned += int(plan[1])
        elif result := re.match(r"(ok|not ok) ([1-9]\d*) - ?|(ok|not ok) ([1-9]\d*)", line):
            if "# SKIP" in line:
                count.skipped += 1
            elif line.startswith("ok"):
                count.passed += 1
            else:
                count.failed += 1
    count.failed += max(0, planned - count.passed - count.failed - count.skipped)
    if (status != 0 and count.failed == 0) or planned == 0:
        count.failed += 1
    return count


def run_side_by_side(function, arguments):
    """Calls the function with each argument, JOBS of them at a time; yields (argument, result) as they end."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        running = {pool.submit(function, argument): argument for argument in arguments}
        for done in concurrent.futures.as_completed(running):
            yield running[done], done.result()


def build_programs(goal, programs):
    """Makes them all. Returns {program: what was said of one that could not be made}."""
    if run([*MAKE, "-k", goal])[0] == 0:
        return {}
    made = {program: run([*MAKE, program]) for program in programs}
    return {program: output or f"make ended with {status}" for program, (status, output) in made.items() if status}


def check_unit_variant(count, variant, names="test_*"):
    found = {os.path.basename(source)[:-2] for source in glob.glob(f"test/unit/{names}.c")}
    if not found:
        count.one(f"{variant} tests", f"no test/unit/{names}.c found")
    ordered = [name for name in LONG_PROGRAMS if name in found] + sorted(found - set(LONG_PROGRAMS))
    failures = build_programs(f"{variant}-programs", [f"build/{variant}/{name}" for name in ordered])
    for program, output in failures.items():
        count.one(f"{variant} {os.path.basename(program)}", output)
    programs = [f"build/{variant}/{name}" for name in ordered if f"build/{variant}/{name}" not in failures]
    for program, (ended, output) in run_side_by_side(run_unit_program, programs):
        tests = count_tap(output, ended)
        if tests.failed:
            count.say(f"{output.rstrip()}\n{program} ended with {ended}")
        count.say(f"{variant} {os.path.basename(program)}: {tests}")
        count.add(tests)


def run_unit_program(program):
    return run([program], timeout=UNIT_SECONDS, env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP"))


def run_fuzzer(program):
    """Runs every input that it has, then new ones for FUZZ_SECONDS. Returns (exit status, what it printed)."""
    subject = os.path.basename(program).removeprefix("fuzz_")
    corpus = f"test/fuzz/corpus/{subject}"
    if not os.listdir(corpus):
        return 1, f"no inputs in {corpus}"
    options = [f"-timeout={HANG_SECONDS}", f"-artifact_prefix={RESULTS}/fuzz_{subject}-"]
    options += [f"-dict={words}" for words in glob.glob(f"test/fuzz/{subject}.dict")]
    began = time.monotonic()
    status, output = run([program, *options, "-runs=0", corpus], timeout=UNIT_SECONDS)
    if status:
        return status, output
    seconds = FUZZ_SECONDS + int(time.monotonic() - began)  # it counts from its start, but runs them all again first
    with tempfile.TemporaryDirectory(prefix="tls-fuzz-") as found:
        return run([program, *options, f"-max_total_time={seconds}", found, corpus], timeout=UNIT_SECONDS)


def check_fuzz(count):
    """`make fuzz` goes on longer."""
    programs = [f"build/fuzz/{os.path.basename(source)[:-2]}" for source in sorted(glob.glob("test/fuzz/fuzz_*.c"))]
    failures = build_programs("fuzz-programs", programs)
    for program, output in failures.items():
        count.one(f"fuzz {os.path.basename(program)}", output)
    for program, (status, output) in run_side_by_side(run_fuzzer, [p for p in programs if p not in failures]):
        name = os.path.basename(program)
        inputs = len(os.listdir(f"test/fuzz/corpus/{name.removeprefix('fuzz_')}"))
        runs = re.search(r"^Done (\d+) runs", output, re.M)
        count.one(f"fuzz {name}, {inputs} inputs" + (f", {runs[1]} runs" if runs else ""),
                  (output or f"ended with {status}") if status else "")


def count_junit(path, status):
    count = Count()
    try:
        suites = list(ET.parse(path).getroot().iter("testsuite"))
    except (OSError, ET.ParseError):
        suites = []
    for suite in suites:
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        count.failed += bad
        count.skipped += skipped
        count.passed += max(0, int(suite.get("tests", 0)) - bad - skipped)
    if status != 0 and count.failed == 0:  # also: no test found, or pytest itself died
        count.failed += 1
    return count


def check_pytest(count, stage, targets, tests, processes=PYTESTS):
    """Makes the targets, then runs the tests (files, folders or single ones) with pytest, in so many processes side by side; a file's
    tests stay together. A process that dies has failed."""
    status, output = run([*MAKE, *targets])
    if status:
        count.one(f"{stage} tests", f"{output}the module could not be built")
        return
    path = os.path.join(RESULTS, f"{stage}.xml")
    if os.path.exists(path):
        os.remove(path)
    command = [sys.executable, "-B", "-m", "pytest", "-q", f"--junitxml={path}", "-n", str(processes), "--dist", "loadfile",
               *os.environ.get("PYTEST_ARGS", "").split(), *tests]
    how = {"stdin": subprocess.DEVNULL, "check": False, "env": dict(os.environ, PYTHONDONTWRITEBYTECODE="1")}
    if count.kept is None:
        ended = subprocess.run(command, **how)
    else:
        log = f"{RESULTS}/{stage}.log"  # who does not want to wait can look there
        with open(log, "wb") as out:
            ended = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, **how)
        with open(log, encoding="utf-8", errors="replace") as told:
            count.say(told.read().rstrip())
    count.add(count_junit(path, ended.returncode))


def run_until(end, command, log):
    """Runs a command, with all that it starts ended at `end` (by time.monotonic()); its output goes to the file `log`, too.
    Returns (exit status, what it printed); None as the status when the time was over."""
    with open(log, "wb") as out:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        while started.poll() is None and time.monotonic() < end and not STOPPED.wait(0.2):
            pass
        status = started.poll()
        if status is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    with open(log, encoding="utf-8", errors="replace") as told:
        return status, told.read()


def check_system(count, system):
    """The core of the tests of the server in another Debian system (tools/check-hosts.sh), which is made for them below build. Where
    there can be none, or not in time, that is skipped, and why is told: it depends on the machine and on the network."""
    name, end = f"Debian {system}, the core", time.monotonic() + SYSTEM_SECONDS
    if os.getuid() != 0:
        return count.skip(name, "only root can make another system")
    enter = ["tools/debian.sh", "run", system]
    for step, command in (("deps", ["tools/deps.sh", "systems"]), ("system", ["tools/debian.sh", "make", system]),
                          ("packages", [*enter, "tools/deps.sh", "core"]), ("headers", [*enter, "make", "-s", "host-headers"])):
        status, output = run_until(end, command, f"{RESULTS}/debian-{system}-{step}.log")
        if status is None:
            run(["tools/debian.sh", "remove", system])  # half made as it is, it would not do for the next time
            return count.skip(name, f"not ready within {SYSTEM_SECONDS} s")
        if status:
            return count.skip(name, f"can't be made here: {reason(output)}")
    status, output = run_until(end, ["env", "CORE=1", "tools/check-hosts.sh", system], f"{RESULTS}/debian-{system}.log")
    if status is None:
        return count.skip(name, f"not done within {SYSTEM_SECONDS} s")
    count.say("\n".join(output.splitlines()[-5:] if status == 0 else output.splitlines()))
    counts = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
    passed, failed, skipped = map(int, counts[-1] if counts else (0, 1, 0))
    count.passed, count.failed, count.skipped = count.passed + passed, count.failed + failed, count.skipped + skipped
    return None


def reason(output):
    """The line of a failed command's output that says why: the last one of our own tools, else the last one."""
    lines = [line for line in output.splitlines() if line.strip()] or ["no word why"]
    return next((line for line in reversed(lines) if line.startswith("tls: ")), lines[-1])


STAGES = {
    "style": check_style,
    "unit": lambda count: check_unit_variant(count, "unit"),
    "asan": lambda count: check_unit_variant(count, "asan"),
    "tsan": lambda count: check_unit_variant(count, "tsan", "test_heap"),  # see TSAN_TESTS in mk/check.mk
    "fuzz": check_fuzz,
    "server": lambda count: check_pytest(count, "server", ["all", "bench-programs"], ["test"]),
    # what "server" has about starting and running, loads, reloads and differences from the packaged module
    "core": lambda count: check_pytest(count, "core", ["all", "bench-programs"], [f"test/server/{name}" for name in CORE]),
    # what it has about the package
    "deb": lambda count: check_pytest(count, "deb", ["all"], ["test/server/test_install.py", "test/server/test_package.py"]),
}
WITH_HOST = ("server", "core", "deb")


def stage(name):
    """What to call for the stage of that name; None when there is none."""
    if name.startswith("debian-"):
        return lambda count: check_system(count, name.removeprefix("debian-"))
    return STAGES.get(name)


def run_stage(name, kept):
    """Runs one stage; returns its count."""
    began, count = time.monotonic(), Count(kept)
    count.say(f"== {name}")
    try:
        stage(name)(count)
    except Stopped:
        raise
    except Exception:  # pylint: disable=broad-except
        count.one(name, traceback.format_exc())
    count.say(f"{name}: {count} in {time.monotonic() - began:.0f} s")
    if kept is not None:
        count.flush()
    return count


def run_track(names, keep):
    """Runs these stages one after the other; returns their counts."""
    return [run_stage(name, [] if keep else None) for name in names]


def main(names):
    if not names or not all(map(stage, names)):
        print(f"usage: check.py {'|'.join(STAGES)}|debian-SYSTEM ...", file=sys.stderr)
        return 2
    os.chdir(TOP)
    os.makedirs(RESULTS, exist_ok=True)
    began, total = time.monotonic(), Count()
    run([*MAKE, "-j1", "build/obj/flags"])  # what all builds look at; if it fails, they tell
    tracks = [[name for name in names if (name in WITH_HOST) == with_host] for with_host in (True, False)]
    tracks = [track for track in tracks if track]
    with concurrent.futures.ThreadPoolExecutor(len(tracks)) as pool:
        running = [pool.submit(run_track, track, len(tracks) > 1) for track in tracks]
        try:
            for track in running:
                for count in track.result():
                    total.add(count)
        except KeyboardInterrupt:
            STOPPED.set()
            raise
    if len(names) > 1:
        print(f"all in {time.monotonic() - began:.0f} s")
    print(total, flush=True)
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("tls: stopped before the tests were done")
