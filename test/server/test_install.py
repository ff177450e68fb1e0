"""make install and make uninstall: where the module goes, and a module of another host."""

import os
import re
import subprocess

import pytest

from host import TOP, host_modules_folder

SECONDS = 200
ELSEWHERE = "lib/kamailio/modules/tls/tls.so"


def command(*words):
    """Runs a command of the checkout, without the marks of a make that runs the tests; returns its status and words."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "CFLAGS", "CC"))}
    done = subprocess.run(words, cwd=TOP, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    return done.returncode, done.stdout


def make(target, *variables):
    status, said = command("make", target, *variables)
    assert status == 0, said
    return said


def files_below(folder):
    return [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]


@pytest.mark.parametrize("variables, place, loaded", [
    ([], f"{host_modules_folder()}/tls/tls.so", "tls/tls.so"),
    (["prefix=/opt/sip"], f"/opt/sip/{ELSEWHERE}", f"/opt/sip/{ELSEWHERE}"),
    (["exec_prefix=/opt/x"], f"/opt/x/{ELSEWHERE}", f"/opt/x/{ELSEWHERE}"),
    (["prefix=/opt/sip", "libdir=/opt/lib64"], "/opt/lib64/kamailio/modules/tls/tls.so", None),
    (["MODULES_DIR=/srv/modules"], "/srv/modules/tls/tls.so", "/srv/modules/tls/tls.so"),
])
def test_place(tmp_path, variables, place, loaded):
    """One file, where DESTDIR, prefix, exec_prefix and libdir say; uninstall takes it, and its folder, away."""
    stage = tmp_path / "a folder"
    said = make("install", f"DESTDIR={stage}", *variables)
    assert files_below(stage) == [f"{stage}{place}"]
    assert f'loadmodule "{loaded or place}"' in said
    with open(f"{stage}{place}", "rb") as installed, open(f"{TOP}/tls.so", "rb") as built:
        assert installed.read() == built.read()
    make("uninstall", f"DESTDIR={stage}", *variables)
    assert not files_below(stage)
    assert not os.path.exists(f"{stage}{os.path.dirname(place)}")
    assert "There is no" in make("uninstall", f"DESTDIR={stage}", *variables)


def test_uninstall_leaves_the_rest(tmp_path):
    """Files that are not ours stay, and so does their folder."""
    make("install", f"prefix={tmp_path}")
    other = tmp_path / "lib/kamailio/modules/tls/other.so"
    other.write_text("theirs", encoding="ascii")
    make("uninstall", f"prefix={tmp_path}")
    assert files_below(tmp_path) == [str(other)]


def test_module_of_another_host(tmp_path):
    """A module that the host would refuse is not installed, and the words say for which host it is."""
    with open(f"{TOP}/tls.so", "rb") as f:
        built = f.read()
    version = re.search(rb"kamailio (\d+\.\d+\.)(\d+) \(\w+/\w+\)\0", built)
    other = version[0].replace(version[1] + version[2], version[1] + (b"9" if version[2] != b"9" else b"8"))
    (tmp_path / "tls.so").write_bytes(built.replace(version[0], other))
    status, said = command("tools/install.sh", "add", str(tmp_path / "modules"), str(tmp_path / "tls.so"))
    assert status == 1
    assert f"built for {other[:-1].decode()}, and the host is {version[0][:-1].decode()}" in said
    assert not os.path.exists(tmp_path / "modules")
    status, said = command("tools/host.sh", "compare", str(tmp_path / "tls.so"))
    assert status == 0 and f"was built for {other[:-1].decode()}" in said
    assert command("tools/host.sh", "compare", f"{TOP}/tls.so") == (0, "")


def test_packaged_file_stays(tmp_path):
    """What a package owns is not overwritten and not removed."""
    folder = tmp_path / "path"
    folder.mkdir()
    query = folder / "dpkg-query"
    query.write_text("#!/bin/sh\necho \"somebody's: $2\"\n", encoding="ascii")
    query.chmod(0o755)
    for action in (["add", str(tmp_path), f"{TOP}/tls.so"], ["remove", str(tmp_path)]):
        status, said = command("env", f"PATH={folder}:{os.environ['PATH']}", "tools/install.sh", *action)
        assert status == 1 and "belongs to the package somebody's" in said
