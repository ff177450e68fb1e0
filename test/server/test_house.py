"""What keeps the plan of the house (tools/house.py) sees what it is there for, in a copy of the sources."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from host import ROOMS, TOP


def complaints(tree):
    """What it says of the sources in `tree`, by line; each begins with a place."""
    done = subprocess.run([sys.executable, "-B", f"{TOP}/tools/house.py", str(tree)], stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == (0 if lines == ["the house is in order"] else 1)
    return [] if done.returncode == 0 else lines


@pytest.fixture(name="tree")
def fixture_tree(tmp_path):
    """The module's sources."""
    for room in ROOMS:
        shutil.copytree(f"{TOP}/{room}", tmp_path / room)
    for name in os.listdir(TOP):
        if re.fullmatch(r"tls\w*\.[ch]", name):
            shutil.copy(f"{TOP}/{name}", tmp_path / name)
    return tmp_path


def put(tree, name, text):
    """Adds lines to the end of a file; returns the number of the first."""
    before = (tree / name).read_text(encoding="utf-8")
    (tree / name).write_text(f"{before}{text}\n", encoding="utf-8")
    return before.count("\n") + 1


def test_order(tree):
    """The house as it is."""
    assert complaints(tree) == []


BREAKS = [
    ("connection/queue.c", '#include "tls_server.h"', r"it includes tls_server\.h, which stands above it"),
    ("heap/lock.c", '#include "tls_mem.h"', r"it includes tls_mem\.h, which stands above it"),
    ("tls_rpc.c", '#include "crypto/openssl/compat.h"', r"outside crypto/openssl there is only crypto/crypto\.h"),
    ("tls_domain.c", "#include <openssl/ssl.h>", r"<openssl/: the TLS library is known only in crypto/openssl"),
    ("connection/list.c", "static void *x(void)\n{\n\treturn SSL_new(0);\n}", r"SSL_n\w*: the TLS library is known only"),
    ("settings/report.h", "struct x509_st;", r"x509_st: the TLS library is known only"),
    ("material/pem.c", "int tls_queue_length(void)\n{\n\treturn 0;\n}", r"tls_queue_length\(\) is called after neither its file"),
    ("host/clock.c", "static void x(void)\n{\n" + "\t;\n" * 45 + "}", r"a function of 46 lines; 45 is the limit"),
    ("material/new.c", "", r"it is not in the order of the files, in tls\.h"),
]


@pytest.mark.parametrize("name, text, said", BREAKS, ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(BREAKS)])
def test_break(tree, name, text, said):
    """Each rule, broken once: the place is named, and nothing else is complained of."""
    if not (tree / name).exists():
        (tree / name).write_text("", encoding="utf-8")
    at = put(tree, name, text)
    found = complaints(tree)
    assert len(found) == 1 and re.search(said, found[0]), found
    number = int(re.fullmatch(rf"{re.escape(name)}:(\d+): .*", found[0])[1])
    assert number == 1 or at <= number <= at + text.count("\n")


def test_include_turned_round(tree):
    """The lower of two files gets an include of the upper one, in the place of the other way round."""
    upper, lower = tree / "connection/deadline.c", tree / "connection/failure.c"
    line = '#include "connection/failure.h"\n'
    assert line in upper.read_text(encoding="utf-8") and complaints(tree) == []
    text = lower.read_text(encoding="utf-8")
    lower.write_text(text.replace(line, line + '#include "connection/deadline.h"\n', 1), encoding="utf-8")
    [found] = complaints(tree)
    assert re.match(r"connection/failure\.c:\d+: it includes connection/deadline\.h, which stands above it", found), found


def test_file_that_has_gone(tree):
    """The order may not name what is not there."""
    (tree / "host/clock.c").unlink()
    (tree / "host/clock.h").unlink()
    assert "tls.h:1: there is no host/clock" in complaints(tree)
