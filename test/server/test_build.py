"""The build: for which host, with how many words, and what each stage of the tests wants to be installed."""

import os
import re
import shutil
import subprocess

import pytest

from host import ROOMS, TOP, host_modules_folder, host_program, host_version, module_sources

SECONDS = 300
OURS = ("MAKE", "MFLAGS", "CFLAGS", "CC", "KAMAILIO", "V")


def run(folder, *words, env=(), status=0):
    """Runs a command in a folder, without the marks of a make that runs the tests; returns what it printed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    done = subprocess.run(words, cwd=folder, env={**kept, **dict(env)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    assert done.returncode == status, f"{words} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def headers():
    """The host's headers that the checkout was built with."""
    folder = subprocess.run(["make", "-s", "--eval", "ask: ; @echo $(HOST_DIR)", "ask"], cwd=TOP, stdout=subprocess.PIPE,
                            text=True, timeout=SECONDS, check=True).stdout.strip()
    return os.path.join(TOP, folder, "src")


@pytest.fixture(scope="module", name="tree")
def fixture_tree(tmp_path_factory):
    """A copy of what is built, with the module that the checkout has."""
    tree = tmp_path_factory.mktemp("tree")
    for name in os.listdir(TOP):
        if name in ("Makefile", "mk", "tools", "tls.so", *ROOMS) or name.endswith((".c", ".h")):
            copy = shutil.copytree if os.path.isdir(f"{TOP}/{name}") else shutil.copy
            copy(f"{TOP}/{name}", tree / name)
    return tree


class Second:
    """A second host: the first one, but at another place, with modules of its own, and of another version. 6.1's version is compiled
    into the module, which the first one would refuse then."""

    def __init__(self, folder, another_version=True):
        self.program, self.modules = str(folder / "kamailio"), str(folder / "the second's modules")
        self.version = ".".join(str(n) for n in (*host_version()[:2], 99 if another_version else host_version()[2]))
        text = f"""#!/bin/sh
case $1 in
-[vh]) ;;
*) exec {host_program()} "$@" ;;
esac
{host_program()} "$1" 2>&1 | sed -e 's|^\\(version: *[^ ]* \\)[0-9][0-9.]*|\\1{self.version}|' \\
	-e "s|{host_modules_folder()}|{self.modules}|g"
"""
        with open(os.open(self.program, os.O_CREAT | os.O_WRONLY, 0o755), "w", encoding="utf-8") as f:
            f.write(text)

    def given(self, how):
        """(words for make, environment) that name this host."""
        variables = {"KAMAILIO": self.program, "KAMAILIO_SRC": headers()}
        return ([f"{k}={v}" for k, v in variables.items()], {}) if how == "words" else ([], variables)


@pytest.fixture(name="second")
def fixture_second(tmp_path):
    folder = tmp_path / "a second 'host'"
    folder.mkdir()
    return Second(folder)


BOTH_WAYS = pytest.mark.parametrize("how", ["words", "environment"])


# -- for which host ------------------------------------------------------------------------------------------------------

@BOTH_WAYS
def test_install_goes_to_the_host_that_was_named(tree, second, tmp_path, how):
    """Where that one has its modules, and not where the installed one has."""
    words, env = second.given(how)
    stage = tmp_path / "stage"
    run(tree, "make", "-o", "tls.so", "install", f"DESTDIR={stage}", *words, env=env)
    assert [os.path.join(where, n) for where, _, names in os.walk(stage) for n in names] == [f"{stage}{second.modules}/tls/tls.so"]


@BOTH_WAYS
def test_headers_are_of_the_host_that_was_named(tree, second, how):
    """In a folder of its own, named after its version and its place."""
    words, env = second.given(how)
    before = set(os.listdir(tree / "build")) if (tree / "build").exists() else set()
    run(tree, "make", "host-headers", *words, env=env)
    [folder] = set(os.listdir(tree / "build")) - before
    assert re.fullmatch(rf"host-{second.version}-[0-9a-f]{{32}}", folder)
    with open(tree / "build" / folder / "cflags", encoding="utf-8") as f:
        assert f"-isystem build/{folder}/src" in f.read()


def test_the_installed_host_by_its_name(tree):
    """Naming the host that would be found anyway changes nothing."""
    ask = ["--eval", "ask: ; @echo $(HOST_DIR)", "ask"]
    found = run(tree, "make", "-s", *ask)
    assert found == run(tree, "make", "-s", f"KAMAILIO={host_program()}", *ask)
    assert found.strip() == "build/host-" + ".".join(str(n) for n in host_version())


def test_build_says_for_which_host_it_is(tree, tmp_path):
    """The program that was named, and its version; twice, and the second time nothing is compiled."""
    second = Second(tmp_path, another_version=host_version()[:2] < (6, 1))
    words, _ = second.given("words")
    said = run(tree, "make", "-j2", "CFLAGS=-O0", *words)
    assert said.splitlines()[-1] == f"tls.so is ready for the host {second.program} {second.version}"
    check_quiet(tree, said)
    assert "tls.so" not in run(tree, "make", "-j2", "CFLAGS=-O0", *words)


# -- with how many words ---------------------------------------------------------------------------------------------------

def check_quiet(tree, said):
    """One short line a file, one for the module, and the last; before them, what was looked for."""
    sources = set(module_sources(str(tree)))
    lines = said.splitlines()
    assert {f"CC {name}" for name in sources} <= set(lines) and lines[-2] == "LD tls.so"
    assert len(lines) == len(sources) + 2, said


@pytest.fixture(scope="module", name="quick")
def fixture_quick(tree, tmp_path_factory):
    """The copy, with the sources of all programs, and an environment whose compilers only make empty files."""
    for name in ("bench", "test"):
        shutil.copytree(f"{TOP}/{name}", tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(tree, "make", "-s", "host-headers", "KAMAILIO_SRC=" + headers())
    folder = tmp_path_factory.mktemp("compilers")
    for name in ("gcc", "clang"):
        with open(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o755), "w", encoding="ascii") as f:
            f.write('#!/bin/bash\n[ "${*: -1}" != - ] || exec cat >/dev/null\nwhile [ $# -gt 1 ]; do [ "$1" != -o ] || : >"$2"; shift; done\n')
    return tree, {"PATH": f"{folder}:{os.environ['PATH']}", "KAMAILIO_SRC": headers()}


PROGRAMS = [
    ("floor", "CC floor\n"),
    ("turns", "CC turns\n"),
    ("fuzz/fuzz_compress", "CC fuzz/test/fuzz/fuzz_compress.c\nCC fuzz/crypto/openssl/pair.c\nCC fuzz/host/child.c\nCC fuzz/test/unit/fake_host.c\nLD fuzz/fuzz_compress\n"),
    ("unit/test_limit", "CC unit/test/unit/test_limit.c\nCC unit/connection/limit.c\nCC unit/tls_shared.c\nCC unit/test/unit/fake_host.c\nLD unit/test_limit\n"),
    ("asan/test_pem", "CC asan/test/unit/test_pem.c\nCC asan/material/pem.c\nLD asan/test_pem\n"),
]


@pytest.mark.parametrize("program, said", PROGRAMS, ids=[name for name, _ in PROGRAMS])
def test_quiet_programs(quick, program, said):
    """The same for the other programs; V=1 shows the commands, and no short line; make -s says nothing."""
    tree, env = quick
    path = f"build/{program}"
    assert run(tree, "make", path, env=env) == said

    def again(*more):
        os.remove(tree / path)
        return run(tree, "make", *more, path, env=env)

    told = again("V=1")
    assert re.search(rf"^(gcc|clang) .*-o {path} ", told, re.M | re.S) and not re.search(r"^(CC|LD) ", told, re.M)
    assert again("-s") == ""


# -- what is installed for a stage ---------------------------------------------------------------------------------------

STAGES = ("style", "unit", "asan", "tsan", "fuzz", "server")
PACKAGE_TOOLS = {"debhelper", "lintian"}


def wanted(what):
    return run(TOP, "tools/deps.sh", "list", what).split()


def test_a_stage_installs_what_it_needs():
    """The tests without a server want a compiler, the headers and their own library: nothing of the package, of the judges, of browsers."""
    sets = {name: set(wanted(name)) for name in (*STAGES, "check", "run")}
    unit = {"make", "gcc", "libc6-dev", "libssl-dev", "zlib1g-dev", "kamailio", "python3", "libcmocka-dev"}
    assert sets["unit"] == sets["asan"] == sets["tsan"] == unit
    assert sets["style"] == {"make", "python3", "openssl", "cppcheck", "clang-format"}
    assert sets["fuzz"] - unit == {"clang", "libclang-rt-dev"}
    assert sets["server"] >= PACKAGE_TOOLS | {"testssl.sh", "python3-pytest", "valgrind"}
    assert sets["check"] == set().union(*(sets[name] for name in STAGES)) >= sets["run"]


@pytest.mark.parametrize("stage", STAGES)
def test_make_asks_for_the_packages_of_its_stage(stage):
    """make check-STAGE installs that set, and no other."""
    told = run(TOP, "make", "-n", f"check-{stage}")
    assert re.findall(r"tools/deps\.sh (.*)", told) == [stage]
    assert re.findall(r"tools/deps\.sh (.*)", run(TOP, "make", "-n", "check")) == ["check"]


def test_list_of_nothing():
    assert "usage: deps.sh" in run(TOP, "tools/deps.sh", "list", "nothing", status=2)
