"""Trust anchors: those with OpenSSL's trust attributes (BEGIN TRUSTED CERTIFICATE), and those that anchor nothing."""

import os
import ssl
import subprocess

import pytest

from certs import DAY, NOW, Pair, name
from peers import connect, refused


def trusted(certs, filename, pair, *attributes):
    """The first certificate of PAIR as OpenSSL writes it with trust attributes."""
    done = subprocess.run(["openssl", "x509", "-in", pair.cert, "-trustout", *attributes], stdout=subprocess.PIPE, check=True)
    assert b"BEGIN TRUSTED CERTIFICATE" in done.stdout
    return certs.write(filename, done.stdout)


def hashed(certs, name, path):
    """A folder with this file in it under its hashed name, as "openssl rehash" would make it."""
    folder = certs.path(name)
    os.makedirs(folder, exist_ok=True)
    subject = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-subject_hash"], stdout=subprocess.PIPE, check=True)
    link = os.path.join(folder, subject.stdout.decode().strip() + ".0")
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(path, link)
    return folder


def serving(certs, **more):
    """A tls.cfg whose server demands certificates."""
    pair = certs.server_ec.section(verify_certificate="yes", require_certificate="yes", **more)
    return f"[server:default]\n{pair}\n[client:default]\nmethod = TLSv1.2+\n"


# -- trust attributes ------------------------------------------------------------------------------------------------

# Attributes of the root, and whether a client's certificate below it is verified.
ATTRIBUTES = {
    "none": ([], True),
    "a name": (["-setalias", "our root"], True),
    "for clients": (["-addtrust", "clientAuth"], True),
    "for all": (["-addtrust", "anyExtendedKeyUsage"], True),
    "not for clients": (["-addreject", "clientAuth"], False),
    "not for servers": (["-addreject", "serverAuth"], True),
    "for all but clients": (["-addtrust", "anyExtendedKeyUsage", "-addreject", "clientAuth"], False),
    "for servers": (["-addtrust", "serverAuth"], False),
    "for mail": (["-addtrust", "emailProtection"], False),
}


@pytest.mark.parametrize("module", ["ours", "packaged"])
@pytest.mark.parametrize("case", ATTRIBUTES)
def test_attributes_of_an_authority(start_host, certs, case, module):
    """ca_list and ca_path take them, and they mean the same as in the packaged module: OpenSSL's rules.

    That one wants a plain certificate in the same ca_list, too.
    """
    attributes, good = ATTRIBUTES[case]
    root = trusted(certs, "trusted-root.pem", certs.ca, *attributes)
    with open(root, "rb") as a, open(certs.client_self_signed.cert, "rb") as b:
        both = certs.write("trusted-and-plain.pem", a.read() + b.read())
    for name, setting in ("ca_list", both), ("ca_path", hashed(certs, "trusted-folder", root)):
        if name == "ca_path" and case not in ("none", "not for clients", "for servers"):
            continue
        host = start_host(module=module, tls_cfg=serving(certs, **{name: setting}))
        assert refused(host.port(), pair=certs.client_good, ca=certs.ca.cert) != good, (name, setting)
        assert refused(host.port(), pair=certs.client_wrong_ca, ca=certs.ca.cert)
        host.stop()


@pytest.mark.parametrize("module", ["ours", "packaged"])
def test_server_certificate_with_attributes(start_host, certs, module):
    """Peers get the plain certificate, without what is ours alone; also what is behind it in the file."""
    pair = certs.server_chained
    path = trusted(certs, "trusted-server.pem", pair, "-addreject", "serverAuth", "-setalias", "ours")
    with open(path, "a", encoding="ascii") as f:
        f.write(certs.pem(certs.intermediate.x509).decode())
    host = start_host(module=module, modparams=Pair(path, pair.key, pair.x509, pair.private).params())
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.tls.getpeercert(True) == ssl.PEM_cert_to_DER_cert(certs.pem(pair.x509).decode())
        assert client.ask().status == 200


@pytest.mark.parametrize("purpose, good", [("clientAuth", True), ("serverAuth", False)])
def test_intermediate_that_is_trusted_itself(start_host, certs, purpose, good):
    """It needs no root for the purpose that it is trusted for."""
    middle = trusted(certs, "trusted-intermediate.pem", certs.intermediate, "-addtrust", purpose)
    host = start_host(tls_cfg=serving(certs, ca_list=middle))
    assert refused(host.port(), pair=certs.client_no_chain, ca=certs.ca.cert) != good
    assert refused(host.port(), pair=certs.client_good, ca=certs.ca.cert)


def test_whole_chain_with_attributes(start_host, certs):
    """The authorities of a chain, too, and a certificate that is alone and completed from ca_list."""
    pair = certs.server_chained
    leaf = trusted(certs, "trusted-leaf.pem", pair, "-addtrust", "serverAuth")
    middle = trusted(certs, "trusted-middle.pem", certs.intermediate, "-addtrust", "serverAuth")
    with open(leaf, "rb") as a, open(middle, "rb") as b, open(certs.ca.cert, "rb") as root:
        middle_text = b.read()
        whole = certs.write("trusted-chain.pem", a.read() + middle_text)
        anchors = certs.write("trusted-anchors.pem", middle_text + root.read())
    for more in {"certificate": whole}, {"certificate": leaf, "ca_list": anchors}:
        host = start_host(modparams=pair.params(**more))
        with connect(host.port(), ca=certs.ca.cert) as client:
            assert client.ask().status == 200
        host.stop()


# -- anchors that anchor nothing -------------------------------------------------------------------------------------

class Authorities:
    """Roots and what is below them; `crossed` is the intermediate under another root's signature."""

    def __init__(self, certs):
        self.certs = certs
        self.root, self.middle, self.other, self.leaf = certs.ca, certs.intermediate, certs.other_ca, certs.client_good
        self.deep_leaf, self.pinned = certs.client_chained, certs.client_self_signed
        self.lower = certs.pair("lower", name("Lower"), self.middle, ca=True)
        crossed = certs.issue(self.middle.x509.subject, self.middle.private, self.other, ca=True)
        self.crossed = Pair("", "", crossed, self.middle.private)
        crossed = certs.issue(self.root.x509.subject, self.root.private, self.other, ca=True)
        self.crossed_root = Pair("", "", crossed, self.root.private)
        self.old = certs.pair("old-root", name("Old Root"), ca=True, start=NOW - 30 * DAY, end=NOW - DAY)
        self.future = certs.pair("future-root", name("Future Root"), ca=True, start=NOW + DAY)
        self.below_old = certs.pair("below-old", name("Below Old"), self.old, ca=True)

    def text(self, names, sep=""):
        """A file of these."""
        return sep.join(self.certs.pem(getattr(self, n).x509).decode() for n in names.split())

    def line(self, names, n):
        """The line of the BEGIN of the N-th of these."""
        return len(self.text(" ".join(names.split()[:n])).splitlines()) + 1


@pytest.fixture(scope="module")
def authorities(certs):
    """The certificates of these tests."""
    return Authorities(certs)


@pytest.fixture(scope="module")
def host(module_host, certs):
    """The host whose tls.check is asked."""
    return module_host(tls_cfg=serving(certs, ca_list=certs.ca.cert))


def said(host):
    """What tls.check finds, as texts; all of them are warnings."""
    problems = host.rpc("tls.check")["problems"]
    assert all(p["severity"] == "warning" for p in problems), problems
    return [p["text"] for p in problems]


# What is in ca_list, and which entries are told of, in this order, with words.
ANCHORS = {
    "root": ("root", []),
    "root twice": ("root root", []),
    "root and intermediate": ("root middle", []),
    "the other way round": ("middle root", []),
    "a long way": ("lower middle root", []),
    "root and its leaf": ("leaf root", []),
    "certificate that is its own authority": ("pinned", []),
    "under two roots, of which one is there": ("crossed middle root", []),
    "root that another has signed, too": ("crossed_root root", []),
    "old root among others": ("old root", []),
    "below an old root": ("below_old old root", []),
    "leaf": ("leaf", [(0, "CN=client-good", "not a CA certificate", "Test Root")]),
    "intermediate": ("middle", [(0, "CN=Test Intermediate", "an intermediate certificate", "no root", "Test Root")]),
    "intermediate and its leaf": ("middle deep_leaf", [(0, "Test Intermediate"), (1, "client-chained")]),
    "intermediates": ("middle lower", [(0, "Test Intermediate"), (1, "Lower", "Test Intermediate")]),
    "root signed by another alone": ("crossed_root", [(0, "Test Root", "Other Root")]),
    "beside a good one": ("other middle", [(1, "Test Intermediate")]),
    "old root alone": ("old", [(0, "Old Root", "has expired", "current root")]),
    "old and future": ("old future", [(0, "Old Root", "has expired or is not valid yet")]),
}


@pytest.mark.parametrize("case", ANCHORS)
def test_anchors(host, certs, authorities, case):
    """What can anchor nothing is told of, with its line, once; what is right, or does no harm, is not."""
    names, wanted = ANCHORS[case]
    path = certs.write("anchors.pem", authorities.text(names))
    for more in "", f"[server:any]\nserver_name = again.test\n{certs.server_ec.section(ca_list=path, verify_client='on')}":
        host.write("tls.cfg", serving(certs, ca_list=path) + more)
        texts = said(host)
        assert len(texts) == len(wanted), texts
        for text, (n, *words) in zip(texts, wanted):
            assert f"tls.cfg:7: ca_list: {path}:{authorities.line(names, n)}: " in text and all(w in text for w in words), text


def test_root_in_the_other_setting(host, certs, authorities):
    """ca_list and ca_path count together; in a folder the file is named."""
    middle = certs.write("anchor-middle.pem", authorities.text("middle"))
    folder = hashed(certs, "anchor-folder", authorities.root.cert)
    host.write("tls.cfg", serving(certs, ca_list=middle, ca_path=folder))
    assert not said(host)
    folder = hashed(certs, "anchor-folder2", middle)
    host.write("tls.cfg", serving(certs, ca_list=authorities.other.cert, ca_path=folder))
    assert [t for t in said(host) if f"tls.cfg:8: ca_path: {folder}/" in t and ".0:1: \"/O=Example/CN=Test Int" in t]


@pytest.mark.parametrize("rules", [{"verify_certificate": "no", "require_certificate": "no"},
                                   {"verify_client": "optional_no_ca", "verify_certificate": "no", "require_certificate": "no"}])
def test_anchors_that_nobody_is_verified_by(host, certs, authorities, rules):
    """There an intermediate may be in ca_list to complete the server's own chain."""
    middle = certs.write("anchor-middle.pem", authorities.text("middle"))
    rest = "\n[client:default]\nmethod = TLSv1.2+\n"
    host.write("tls.cfg", "[server:default]\n" + certs.server_ec.section(ca_list=middle, **rules) + rest)
    assert not said(host)
    strict = "[server:any]\nserver_name = strict.test\n" + certs.server_ec.section(ca_list=middle, verify_client="on")
    host.write("tls.cfg", "[server:default]\n" + certs.server_ec.section(ca_list=middle, **rules) + rest + strict)
    assert len(said(host)) == 1 and "Test Intermediate" in said(host)[0]


@pytest.mark.parametrize("attributes, told", [
    ([], False), (["-addtrust", "clientAuth"], False), (["-addreject", "clientAuth"], False),
    (["-addtrust", "emailProtection"], True), (["-addreject", "anyExtendedKeyUsage"], True),
    (["-addreject", "clientAuth", "-addreject", "serverAuth"], True)])
def test_attributes_that_leave_nothing(host, certs, attributes, told):
    """A root whose attributes let it be one for neither purpose is none; one for one purpose may be meant so."""
    host.write("tls.cfg", serving(certs, ca_list=trusted(certs, "useless-root.pem", certs.ca, *attributes)))
    texts = said(host)
    assert len(texts) == (1 if told else 0), texts
    assert all("CN=Test Root" in t and "trust attributes" in t for t in texts), texts


def test_intermediate_that_is_trusted_is_no_trouble(host, certs, authorities):
    """It anchors by its attributes, and so does what is below it."""
    middle = trusted(certs, "trusted-middle2.pem", certs.intermediate, "-addtrust", "clientAuth")
    with open(middle, "a", encoding="ascii") as f:
        f.write(authorities.text("lower"))
    host.write("tls.cfg", serving(certs, ca_list=middle))
    assert not said(host)


def test_many_useless_anchors(host, certs, authorities):
    """Five are named, and how many more there are."""
    text = "".join(certs.pem(certs.issue(name(f"Useless {i}"), certs.intermediate.private, certs.intermediate, ca=True)).decode()
                   for i in range(20))
    host.write("tls.cfg", serving(certs, ca_list=certs.write("useless.pem", text + authorities.text("other"))))
    texts = said(host)
    assert len(texts) == 6 and "15 more" in texts[-1], texts


def test_bundle_of_the_system(host, certs):
    """Debian's own has nothing to be told of; it is read once, and judged once, for all sections."""
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    sections = "".join(f"[server:any]\nserver_name = n{i}.test\n{certs.server_ec.section(ca_list=bundle, verify_client='on')}"
                       for i in range(50))
    host.write("tls.cfg", serving(certs, ca_list=bundle) + sections)
    assert not said(host)
