"""What tls.check says of files of certificates, by file and line: entries that cannot be read, chains with holes."""

import os
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from certs import Pair, name
from peers import connect

LINE = 3  # of the setting that names the file, in what write() writes


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """The host of all tests."""
    return module_host(tls_cfg=config(certs, certs.server_ec.cert, certs.server_ec.key))


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
    "indented BEGIN": (lambda a, b: a + "  " + b, [["warning", "{f}:{b}: ", "skipped", "hyphens"]]),
    "all of it indented": (lambda a, b: a + indent(b), [["warning", "{f}:{b}: ", "skipped"]]),
    "all of both indented": (lambda a, b: indent(a + b), [["error", "{f}:1: ", "skipped"]]),
    "four hyphens": (lambda a, b: a + b[1:], [["warning", "{f}:{b}: ", "skipped"]]),
    "dashes of a word processor": (lambda a, b: a + b.replace("-----", "\u2014\u2014-"), [["warning", "{f}:{b}: ", "skipped"]]),
    "BOM between": (lambda a, b: a + "\ufeff" + b, [["warning", "{f}:{b}: ", "skipped"]]),
    "joined without a line break": (lambda a, b: a.rstrip("\n") + b, [["error", "{f}:{e}: ", "on one line"]]),
    "no END": (lambda a, b: a.replace("-----END CERTIFICATE-----\n", "") + b, [["warning", "{f}:1: ", "no END line", "line {e}"]]),
    "indented END": (lambda a, b: a.replace("-----END", " -----END") + b, [["warning", "{f}:{e}: ", "indented"]]),
    "another END": (lambda a, b: a.replace("END CERT", "END A CERT") + b, [["error", "{f}:{e}: ", "does not match"]]),
    "cut": (lambda a, b: a + b[:-30], [["error", "{f}:{b}: ", "entry 2", "cut short"]]),
    "bad base64": (lambda a, b: a + b.replace("\nM", "\n@", 1), [["error", "{f}:{b}: ", "entry 2 is not a valid certificate"]]),
    "bad DER": (lambda a, b: "text\n" + a + b + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                [["error", "entry 3 is not a valid certificate"]]),
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


# -- chains ----------------------------------------------------------------------------------------------------------

WHERE = "http://ca.example.test/middle.der"


class Site:
    """Certificates of a public authority with an intermediate, and of private ones."""

    def __init__(self, certs):
        self.certs = certs
        published = x509.AuthorityInformationAccess([
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.example.test")),
            x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(WHERE))])
        self.root, self.middle, self.other = certs.ca, certs.intermediate, certs.other_ca
        self.leaf = certs.pair("public-leaf", name("public.example.test"), self.middle, extensions=[published])
        self.own = certs.pair("own-authority", name("own.example.test"), extensions=[published])
        self.quiet = certs.pair("quiet-leaf", name("quiet.example.test"), self.middle)
        self.below_root = certs.pair("published-below-root", name("below.example.test"), self.root, extensions=[published])
        self.below_other = certs.pair("published-below-other", name("private.example.test"), self.other, extensions=[published])
        crossed = certs.issue(self.middle.x509.subject, self.middle.private, self.other, ca=True)
        self.crossed = Pair("", "", crossed, self.middle.private)

    def text(self, *pairs):
        """A file of these certificates."""
        return lines_of(*(self.certs.pem(p.x509) for p in pairs))

    def line(self, *before):
        """The line of the BEGIN behind these."""
        return len(self.text(*before).splitlines()) + 1


@pytest.fixture(scope="module")
def site(certs):
    """The certificates of these tests."""
    return Site(certs)


# Which certificates are in a file, the first one's key, and what is said of it; {1} is the line of the second BEGIN.
CHAINS = {
    "whole": ("leaf middle", []),
    "whole with root": ("leaf middle root", []),
    "private, below its root": ("below_root", []),  # the client's ca_list has that
    "its own authority, as Debian's package makes one": ("own", []),
    "nothing tells that one is missing": ("quiet", []),
    "signed twice over": ("leaf middle crossed", []),
    "signed twice over, the other way round": ("leaf crossed middle", []),
    "alone": ("leaf", [["warning", "{f}:1: ", "issuer, \"/O=Example/CN=Test Intermediate\", does not follow it", "unless that is a root",
                                      "certbot", WHERE]]),
    "below a root that is nowhere": ("below_other", [["warning", "{f}:1: the certificate of its issuer, ", "unless that is a root", WHERE]]),
    "with a stranger": ("leaf other", [["warning", "{f}:{1}: \"/O=Elsewhere/CN=Other Root\" did not sign", "CN=Test Intermediate"]]),
    "below the root, with a stranger": ("below_root other", [["warning", "{f}:{1}: ", "CN=Other Root", "did not sign"]]),
    "with two strangers": ("leaf other below_root", [["warning", "{f}:{1}: ", "did not sign", "1 more"]]),
    "whole with a stranger": ("leaf middle root other", [["warning", "{f}:{3}: ", "CN=Other Root", "did not sign", "remove it"]]),
    "twice": ("leaf leaf middle", [["warning", "{f}:{1}: ", "CN=public.example.test\" is in this file twice", "line 1"]]),
    "intermediate twice": ("leaf middle middle", [["warning", "{f}:{2}: ", "twice", "line {1}"]]),
    "twice, and nothing else": ("leaf leaf", [["warning", "{f}:{1}: ", "twice"], ["warning", "{f}:1: ", "does not follow it"]]),
    "root before the intermediate": ("leaf root middle", [["warning", "{f}:{1}: ", "CN=Test Root\" comes before", "line {2}"]]),
    "intermediate first": ("middle leaf", [["error", "{f}:{1}: the private key belongs to this certificate", "public.example.test",
                                            "number 2", "must be first"]]),
    "root and intermediate first": ("root middle leaf", [["error", "{f}:{2}: the private key belongs", "number 3"]]),
    "key of another": ("other root", [["error", "private key does not match the certificate in {f}"]]),
}


@pytest.mark.parametrize("case", CHAINS)
def test_chain(host, certs, site, case):
    """Each mistake has one message, with the line in the file; what is right, or may be, has none."""
    names, wanted = CHAINS[case]
    pairs = [getattr(site, n) for n in names.split()]
    path = certs.write("chain.pem", site.text(*pairs))
    owner = site.leaf if "leaf" in names.split() or case == "key of another" else pairs[0]
    host.write("tls.cfg", config(certs, path, owner.key))
    lines = {"abcdefgh"[n]: site.line(*pairs[:n]) for n in range(1, len(pairs))}
    assert_said(host, [[re.sub(r"\{(\d)\}", lambda m: "{" + "abcdefgh"[int(m[1])] + "}", w) for w in words] for words in wanted],
                f=path, **lines)


# The file beside cert.pem, what is in it, and whether it is named.
BESIDE = {
    "certbot": ("cert.pem", "fullchain.pem", "leaf middle", True),
    "certbot's archive": ("cert3.pem", "fullchain3.pem", "leaf middle", True),
    "acme.sh": ("sip.example.test.cer", "fullchain.cer", "leaf middle", True),
    "another name": ("server.crt", "fullchain.pem", "leaf middle", True),
    "of another certificate": ("cert.pem", "fullchain.pem", "quiet middle", False),
    "not full": ("cert.pem", "fullchain.pem", "leaf", False),
    "twice the same": ("cert.pem", "fullchain.pem", "leaf leaf", False),
}


@pytest.mark.parametrize("case", BESIDE)
def test_right_file_is_named(host, certs, site, tmp_path, case):
    """The file with the whole chain is named when it is there, and is that of this certificate."""
    ours, beside, names, named = BESIDE[case]
    (tmp_path / ours).write_text(site.text(site.leaf))
    (tmp_path / beside).write_text(site.text(*(getattr(site, n) for n in names.split())))
    host.write("tls.cfg", config(certs, tmp_path / ours, site.leaf.key))
    problems = said(host)
    assert len(problems) == 1 and f"{tmp_path / ours}:1: " in problems[0][1], problems
    assert (f"use {tmp_path / beside} instead" in problems[0][1]) == named, problems
    assert ("is missing" in problems[0][1]) == named and ("unless that is a root" in problems[0][1]) != named, problems


def test_odd_neighbours_are_not_read(host, certs, site, tmp_path):
    """Nobody waits for a pipe that is called fullchain.pem."""
    (tmp_path / "cert.pem").write_text(site.text(site.leaf))
    os.mkfifo(tmp_path / "fullchain.pem")
    host.write("tls.cfg", config(certs, tmp_path / "cert.pem", site.leaf.key))
    assert_said(host, [["warning", "cert.pem:1: ", "does not follow it", WHERE]])


def test_chain_that_ca_list_completes(host, certs, site):
    """A certificate that is alone is shown with what ca_list has: nothing is missing, but where that does not count."""
    both = certs.write("middle-and-root.pem", site.text(site.middle, site.root))
    alone, twice = certs.write("alone.pem", site.text(site.leaf)), certs.write("double.pem", site.text(site.leaf, site.leaf))
    host.write("tls.cfg", config(certs, alone, site.leaf.key, ca_list=both))
    assert_said(host, [])
    host.write("tls.cfg", config(certs, twice, site.leaf.key, ca_list=both))
    assert_said(host, [["warning", "twice"], ["warning", f"tls.cfg:{LINE}: certificate: {twice}:1: ", "append it from the trusted"]])


@pytest.mark.parametrize("setting", ["ca_list", "ca_path"])
def test_root_elsewhere_in_the_configuration(host, certs, site, tmp_path, setting):
    """An issuer whose address is known and that another section trusts as a root is not asked for."""
    (tmp_path / "root.pem").write_text(site.text(site.other))
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    where = tmp_path / "root.pem" if setting == "ca_list" else tmp_path
    alone = certs.write("private.pem", site.text(site.below_other))
    host.write("tls.cfg", config(certs, alone, site.below_other.key) + f"\n[client:127.0.0.1:9]\n{setting} = {where}\n")
    assert_said(host, [])


def test_issuer_elsewhere_in_the_configuration(host, certs, site):
    """Another section's file has the intermediate that this one lacks."""
    whole, alone = certs.write("whole.pem", site.text(site.leaf, site.middle)), certs.write("quiet.pem", site.text(site.quiet))
    named = f"[server:any]\nserver_name = public.example.test\ncertificate = {whole}\nprivate_key = {site.leaf.key}\n"
    host.write("tls.cfg", config(certs, alone, site.quiet.key) + named)
    assert_said(host, [["warning", f"tls.cfg:{LINE}: certificate: {alone}:1: ", f"append it from {whole}:{site.line(site.leaf)}"]])


def test_chain_is_told_of_once(host, certs, site):
    """Many sections with one file, and with their own trust: the first that is in need of it is named, and no other."""
    both = certs.write("middle-and-root.pem", site.text(site.middle, site.root))
    alone = certs.write("alone.pem", site.text(site.leaf))
    sections = "".join(f"[server:any]\nserver_name = n{i}.test\ncertificate = {alone}\nprivate_key = {site.leaf.key}\n{more}"
                       for i, more in enumerate([f"ca_list = {both}\n", "", f"ca_list = {site.root.cert}\n", ""]))
    text = config(certs, certs.server_ec.cert, certs.server_ec.key) + sections
    line = text.splitlines().index("server_name = n1.test") + 2
    host.write("tls.cfg", text)
    assert_said(host, [["warning", f"tls.cfg:{line}: certificate: {alone}:1: ", "is missing"]])
    host.rpc("tls.reload")
    assert_said(host, [["warning", f"tls.cfg:{line}: certificate: {alone}:1: ", "is missing"]])


def test_chains_of_a_client_and_of_the_second_kind(host, certs, site):
    """They are looked at as well."""
    alone = certs.write("alone.pem", site.text(site.leaf))
    rsa = certs.server_rsa
    text = (f"[server:default]\n{rsa.section(certificate2=alone, private_key2=site.leaf.key)}"
            f"[client:default]\n{site.quiet.section(certificate=certs.write('c.pem', site.text(site.quiet, site.other)))}")
    host.write("tls.cfg", text)
    assert_said(host, [["warning", "tls.cfg:5: certificate2: ", "does not follow it"], ["warning", "tls.cfg:9: certificate: ", "did not sign"]])
