"""What tls.check says of files of certificates, by file and line: entries that cannot be read, chains with holes."""

import pytest

from peers import connect

LINE = 3  # of the setting that names the file, in what write() writes


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """The host of all tests."""
    return module_host(tls_cfg=config(certs, certs.server_ec.cert, certs.server_ec.key))


@pytest.fixture
def host(shared):
    """The same, still there after the test."""
    shared.revive()
    yield shared
    shared.check_alive()


def config(certs, cert, key, **more):
    """A tls.cfg whose server has this pair, which its line LINE names, and a client that trusts our root."""
    rest = "".join(f"{k} = {v}\n" for k, v in more.items())
    return (f"[server:default]\nmethod = TLSv1.2+\ncertificate = {cert}\nprivate_key = {key}\n{rest}\n"
            f"[client:default]\nmethod = TLSv1.2+\nca_list = {certs.ca.cert}\n")


def said(host):
    """What tls.check finds, as (severity, text)."""
    return [(p["severity"], p["text"]) for p in host.rpc("tls.check")["problems"]]


def assert_said(host, wanted, **values):
    """tls.check says as many things as WANTED has, each with its words, in this order; {NAME} in them is VALUES'."""
    problems = said(host)
    expected = [[part.format(**values) for part in words] for words in wanted]
    assert len(problems) == len(expected), problems
    for (severity, text), (kind, *words) in zip(problems, expected):
        assert severity == kind and all(w in text for w in words), (severity, text, kind, words)


def lines_of(*objects):
    """The PEM text of these certificates and keys."""
    return "".join(o if isinstance(o, str) else o.decode() for o in objects)


# -- entries ---------------------------------------------------------------------------------------------------------

def indent(text):
    """Every line of it."""
    return "".join(f"  {line}\n" for line in text.splitlines())


# What a file is made of (A: the server's certificate, B: the intermediate), and what is said of it. {f} is the file,
# {b} the line of the second BEGIN where it would be, {e} that of the first END.
ENTRIES = {
    "good": (lambda a, b: a + b, []),
    "text around": (lambda a, b: "text\n\n" + a + "more text\n" + b + "and more\n", []),
    "CRLF": (lambda a, b: (a + b).replace("\n", "\r\n"), []),
    "BOM": (lambda a, b: "\ufeff" + a + b, []),
    "blanks behind lines": (lambda a, b: (a + b).replace("-----\n", "-----  \n"), []),
    "lines of 2000 letters": (lambda a, b: "".join(
        f"-----BEGIN CERTIFICATE-----\n{''.join(x.splitlines()[1:-1])}\n-----END CERTIFICATE-----\n" for x in (a, b)), []),
    "no line break at the end": (lambda a, b: (a + b).rstrip("\n"), []),
    "commented out": (lambda a, b: a + b + "".join(f"#{line}\n" for line in b.splitlines()), []),
    "indented BEGIN": (lambda a, b: a + "  " + b, [["warning", "{f}:{b}: ", "passed over", "hyphens"]]),
    "all of it indented": (lambda a, b: a + indent(b), [["warning", "{f}:{b}: ", "passed over"]]),
    "all of both indented": (lambda a, b: indent(a + b), [["error", "{f}:1: ", "passed over"]]),
    "four hyphens": (lambda a, b: a + b[1:], [["warning", "{f}:{b}: ", "passed over"]]),
    "dashes of a word processor": (lambda a, b: a + b.replace("-----", "\u2014\u2014-"), [["warning", "{f}:{b}: ", "passed over"]]),
    "BOM between": (lambda a, b: a + "\ufeff" + b, [["warning", "{f}:{b}: ", "passed over"]]),
    "joined without a line break": (lambda a, b: a.rstrip("\n") + b, [["error", "{f}:{e}: ", "on one line"]]),
    "no END": (lambda a, b: a.replace("-----END CERTIFICATE-----\n", "") + b, [["warning", "{f}:1: ", "no END line", "line {e}"]]),
    "indented END": (lambda a, b: a.replace("-----END", " -----END") + b, [["warning", "{f}:{e}: ", "indented"]]),
    "another END": (lambda a, b: a.replace("END CERT", "END A CERT") + b, [["error", "{f}:{e}: ", "does not match"]]),
    "cut": (lambda a, b: a + b[:-30], [["error", "{f}:{b}: ", "entry 2", "cut short"]]),
    "bad base64": (lambda a, b: a + b.replace("\nM", "\n@", 1), [["error", "{f}:{b}: ", "entry 2 is not a good certificate"]]),
    "bad DER": (lambda a, b: "text\n" + a + b + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                [["error", "entry 3 is not a good certificate"]]),
    "UTF-16": (lambda a, b: (a + b).encode("utf-16"), [["error", "{f}: ", "UTF-16"]]),
    "carriage returns": (lambda a, b: (a + b).replace("\n", "\r"), [["error", "{f}: ", "carriage returns"]]),
    "a request": (lambda a, b: a.replace("CERTIFICATE", "CERTIFICATE REQUEST"), [["error", "{f}:1: ", "CERTIFICATE REQUEST"]]),
}


@pytest.mark.parametrize("case", ENTRIES)
@pytest.mark.parametrize("setting", ["certificate", "ca_list"])
def test_entries(host, certs, setting, case):
    """What is wrong with an entry has its line; what other programs take in silence, or refuse without a line, is said."""
    make, wanted = ENTRIES[case]
    first = certs.server_chained if setting == "certificate" else certs.ca
    a, b = certs.pem(first.x509).decode(), certs.pem(certs.intermediate.x509).decode()
    path = certs.write("entries.pem", make(a, b))
    pair = certs.server_chained
    host.write("tls.cfg", config(certs, path, pair.key) if setting == "certificate" else
               config(certs, certs.server_ec.cert, certs.server_ec.key, ca_list=path, verify_certificate="yes"))
    count = len(a.splitlines())
    for severity, text in said(host):
        assert f"tls.cfg:{LINE if setting == 'certificate' else 5}: {setting}: {path}" in text, (severity, text)
    assert_said(host, wanted, f=path, e=count, b=count + 1)
    if wanted and wanted[0][0] == "warning":  # it is said again when nothing has changed, by whatever setting
        host.rpc("tls.reload")
        host.write("tls.cfg", "# a line more\n" + content(host.path("tls.cfg")))
        assert_said(host, [[*wanted[0], "tls.cfg:{n}: "]], f=path, e=count, b=count + 1, n=(LINE if setting == "certificate" else 5) + 1)


def content(path):
    """What a file holds."""
    with open(path, encoding="utf-8") as f:
        return f.read()


def test_binary_file(host, certs):
    """A file in DER is told from one that is no certificate."""
    host.write("tls.cfg", config(certs, certs.malformed["der"], certs.server_ec.key))
    assert_said(host, [["error", "no certificate in PEM form", "DER", "openssl x509"]])


def test_entries_around_a_bad_line_are_read(host, certs):
    """Where the END is missing or indented, other programs lose the next entry: here it goes out with the chain."""
    a, b = (certs.pem(c.x509).decode() for c in (certs.server_chained, certs.intermediate))
    for bad in (a.replace("-----END", " -----END"), a.replace("-----END CERTIFICATE-----\n", "")):
        host.write("tls.cfg", config(certs, certs.write("lines.pem", bad + b), certs.server_chained.key))
        host.rpc("tls.reload")
        with connect(host.port(), ca=certs.ca.cert) as client:
            assert client.ask().status == 200
