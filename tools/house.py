#!/usr/bin/python3
"""Looks whether the sources keep to the plan of the house (CONTRIBUTING.md): what may include what, by the one list in tls.h;
where the TLS library may be named; how long a function may be; and what it may be called. Prints one line for each place that
does not, and ends with 1 when there is one. A folder as its argument: that copy of the sources."""

import os
import re
import sys

ROOMS = ("connection", "crypto", "heap", "host", "material", "settings")
LIBRARY = "crypto/openssl"  # what knows the TLS library, and what nothing else includes
LIBRARY_NAMES = re.compile(r"<openssl/|\b(SSL|X509|EVP|BIO|ERR|ASN1|OSSL|OPENSSL|CRYPTO|COMP|RAND|PEM|NID|GEN|TLSEXT)_\w|\b(SSL|X509|BIO|STACK_OF|ssl_st|x509_st)\b")
LONGEST_FUNCTION = 45
HOST_NAMES = {"mod_register"}  # the host looks for it by this name
FUNCTION = re.compile(r"^(?!static\b|typedef\b|extern\b)[A-Za-z_][\w \*]*?\b(\w+)\([^;]*$")


class House:
    """The sources below a folder."""

    def __init__(self, top):
        self.top = top
        self.files = sorted(self.find())
        self.lines = {name: self.read(name) for name in self.files}

    def find(self):
        for name in os.listdir(self.top):
            if re.fullmatch(r"tls\w*\.[ch]", name):
                yield name
        for room in ROOMS:
            for folder, _, names in os.walk(os.path.join(self.top, room)):
                for name in names:
                    if name.endswith((".c", ".h")):
                        yield os.path.relpath(os.path.join(folder, name), self.top)

    def read(self, name):
        with open(os.path.join(self.top, name), encoding="utf-8") as file:
            return file.read().splitlines()

    def code(self, name):
        """Its lines without comments, and with empty strings."""
        text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', "\n".join(self.lines[name]))
        return re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.S).splitlines()

    def order(self):
        """The list in tls.h: {file without its ending: place, the lowest first}."""
        head = "\n".join(self.lines["tls.h"]).split("*/")[0]
        names = [word for line in re.findall(r"^ \*   (\S.*)$", head, re.M) for word in line.split()]
        return {name: place for place, name in enumerate(names)}


def stem(name):
    return os.path.splitext(name)[0]


def wrong_includes(house):
    order = house.order()
    for name in house.files:
        if stem(name) not in order:
            yield f"{name}:1: it is not in the order of the files, in tls.h"
    for name in sorted(order):
        if not any(stem(file) == name for file in house.files):
            yield f"tls.h:1: there is no {name}"
    for name in house.files:
        for number, line in enumerate(house.lines[name], 1):
            found = re.match(r'#include "([^"]+)"', line)
            if not found or found[1] not in house.lines:
                continue
            other = found[1]
            if order.get(stem(other), 0) > order.get(stem(name), 0):
                yield f"{name}:{number}: it includes {other}, which stands above it (the order is in tls.h)"
            if other.startswith(LIBRARY) and not name.startswith(LIBRARY):
                yield f"{name}:{number}: it includes {other}; outside {LIBRARY} there is only crypto/crypto.h"


def library_outside(house):
    for name in house.files:
        if name.startswith(LIBRARY):
            continue
        for number, line in enumerate(house.code(name), 1):
            if found := LIBRARY_NAMES.search(line):
                yield f"{name}:{number}: {found[0]}: the TLS library is known only in {LIBRARY}"


def long_functions(house):
    """A function's body stands between a line of `{` and one of `}`: the layout that clang-format keeps."""
    for name in house.files:
        start = None
        for number, line in enumerate(house.lines[name], 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start > LONGEST_FUNCTION:
                    yield f"{name}:{start}: a function of {number - start} lines; {LONGEST_FUNCTION} is the limit"
                start = None


def numbers_of(word):
    """It, its singular and its plural."""
    return {word, word + "s", word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("y") + "ies"}


def allowed_prefixes(house, name):
    folder, file = os.path.split(stem(name))
    words = numbers_of(file.removeprefix("tls_"))
    header = f"{stem(name)}.h"
    if header in house.lines:
        words |= set(re.findall(r"^struct tls_(\w+)(?: \{|;)", "\n".join(house.code(header)), re.M))
    if folder:
        words |= numbers_of(folder.split("/")[0]) | numbers_of(os.path.basename(folder))
    return tuple(f"tls_{word}_" for word in words if word) + tuple(f"tls_{word}" for word in words if word)


def wrong_names(house):
    """A function that others may call is called after its file, its folder, or a struct of its header; those of the seam are called as
    crypto.h says."""
    seam = set(re.findall(r"\b(tls_\w+)\(", "\n".join(house.code("crypto/crypto.h"))))
    for name in house.files:
        if not name.endswith(".c"):
            continue
        lines = house.code(name)
        for number, line in enumerate(lines, 1):
            found = FUNCTION.match(line)
            if not found or found[1] in seam | HOST_NAMES or line.endswith(";"):
                continue
            prefixes = allowed_prefixes(house, name)
            if not any(found[1] == prefix or (prefix.endswith("_") and found[1].startswith(prefix)) for prefix in prefixes):
                yield f"{name}:{number}: {found[1]}() is called after neither its file, nor its folder, nor a struct of its header"


RULES = (wrong_includes, library_outside, long_functions, wrong_names)


def complaints(top):
    house = House(top)
    return [line for rule in RULES for line in rule(house)]


if __name__ == "__main__":
    found_lines = complaints(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    print("\n".join(found_lines) or "the house is in order")
    sys.exit(1 if found_lines else 0)
