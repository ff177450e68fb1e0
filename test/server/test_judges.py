"""Judges from outside: what scanners find in the default configuration, and clients of three families of libraries.

testssl takes most of a minute, so its runs are begun together and their results are looked at last.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest

import sip
from host import TOP
from peers import gnutls_client, openssl_client, program

pytestmark = pytest.mark.timeout(900)

SUITES = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
STRONG = ["ECDHE-{0}-AES256-GCM-SHA384", "ECDHE-{0}-CHACHA20-POLY1305", "ECDHE-{0}-AES128-GCM-SHA256"]
# What OpenSSL's own list adds at Debian's security level: for phones that know no better.
BLOCK_MODES = ["ECDHE-{0}-AES256-SHA384", "ECDHE-{0}-AES128-SHA256", "ECDHE-{0}-AES256-SHA", "ECDHE-{0}-AES128-SHA"]
RSA_ALONE = ["AES256-GCM-SHA384", "AES128-GCM-SHA256", "AES256-SHA256", "AES128-SHA256", "AES256-SHA", "AES128-SHA"]
GROUPS = {"x25519", "x448", "secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)", "secp521r1 (NIST P-521)"}


def ciphers(kind, strict=False):
    """What TLS 1.2 is to offer with a key of this kind."""
    names = [n for n in STRONG if "CHACHA20" not in n] if strict else STRONG + BLOCK_MODES
    return {name.format("ECDSA" if kind == "ec" else "RSA") for name in names} | set(
        RSA_ALONE if kind == "rsa" and not strict else [])


@pytest.fixture(scope="module")
def hosts(module_host, certs):
    """{name: host}: the default configuration with each kind of key, and the stricter profile."""
    return {"ec": module_host(modparams=certs.server_ec.params()), "rsa": module_host(modparams=certs.server_rsa.params()),
            "strict": module_host(modparams=certs.server_ec.params(security_profile="rfc9325"))}


# -- testssl -------------------------------------------------------------------------------------------------------

# Protocols and every known weakness; kinds of ciphers, forward secrecy and what only RSA can have with the RSA key.
ASKED = {"ec": ["-p", "-U"], "rsa": ["-s", "-f", "-BB", "-J"], "strict": ["-s", "-L"]}


def scan(host, name, folder):
    """One run of testssl: {id: [(severity, finding)]}."""
    path = os.path.join(folder, name + ".json")
    done = subprocess.run([program("testssl", "testssl.sh"), "--quiet", "--color", "0", "--warnings", "off", "-n", "none",
                           "--jsonfile", path, *ASKED[name], f"127.0.0.1:{host.port()}"], cwd=folder, timeout=800,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert os.path.exists(path), done.stdout.decode(errors="replace")[-2000:]
    found = {}
    with open(path, encoding="utf-8") as f:
        for entry in json.load(f):
            found.setdefault(entry["id"], []).append((entry["severity"], entry["finding"]))
    return found


@pytest.fixture(scope="module", autouse=True)
def scans(request, hosts, tmp_path_factory):
    """{name: future of what testssl found}, begun before the first test if there will be somebody who asks."""
    if not any("testssl" in item.name for item in request.session.items):
        yield {}
        return
    with concurrent.futures.ThreadPoolExecutor(len(ASKED)) as pool:
        yield {name: pool.submit(scan, hosts[name], name, str(tmp_path_factory.mktemp(name))) for name in ASKED}


# -- clients of three families ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def wolfssl(tmp_path_factory):
    """A small client with wolfSSL: returns what it printed and its exit status. None where there is no wolfSSL."""
    if not os.path.exists("/usr/include/wolfssl/ssl.h"):
        return None
    path = str(tmp_path_factory.mktemp("wolfssl") / "client")
    source = os.path.join(TOP, "test", "lib", "client_wolfssl.c")
    subprocess.run(["cc", "-O1", "-o", path, source, "-lwolfssl"], check=True)

    def run(port, version, ca, pair=None):
        words = [path, str(port), version, ca, *((pair.cert, pair.key) if pair else ())]
        done = subprocess.run(words, input=sip.request(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                              check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    return run


def ask_openssl(port, version, ca, _wolfssl):
    output = openssl_client(port, "-tls" + version.replace(".", "_"), "-CAfile", ca, "-verify_return_error")
    return "Verify return code: 0 (ok)" in output, output


def ask_gnutls(port, version, ca, _wolfssl):
    output = gnutls_client(port, "--x509cafile", ca, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" + version)
    return "The certificate is trusted" in output, output


def need_wolfssl(wolfssl):
    if wolfssl is None:
        pytest.skip("this release of Debian has no wolfSSL")


def ask_wolfssl(port, version, ca, wolfssl):
    need_wolfssl(wolfssl)
    status, output = wolfssl(port, version, ca)
    return status == 0 and output.startswith("TLSv" + version), output


@pytest.fixture(scope="module")
def kinds(module_host, certs, hosts):
    """{kind of certificate: host}."""
    return {"ec": hosts["ec"], "rsa": hosts["rsa"]} | {
        kind: module_host(modparams=getattr(certs, "server_" + kind).params()) for kind in ("ed25519", "chained")}


@pytest.mark.parametrize("family", [ask_openssl, ask_gnutls, ask_wolfssl], ids=["openssl", "gnutls", "wolfssl"])
@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519", "chained"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_client_of_each_family(kinds, certs, wolfssl, version, kind, family):
    good, output = family(kinds[kind].port(), version, certs.ca.cert, wolfssl)
    assert good and "SIP/2.0 200 OK" in output, output


@pytest.fixture(scope="module")
def old_hosts(module_host, certs):
    """{kind of certificate: host that takes old phones}. Their versions need OpenSSL's security level 0."""
    old = {"method": "TLSv1+", "cipher_list": "DEFAULT:@SECLEVEL=0"}
    return {kind: module_host(tls_cfg=f"[server:default]\n{getattr(certs, 'server_' + kind).section(**old)}")
            for kind in ("ec", "rsa", "chained")}


def ask_old_openssl(port, version, ca):
    flag = "-tls1" if version == "1.0" else "-tls1_1"
    output = openssl_client(port, flag, "-cipher", "DEFAULT:@SECLEVEL=0", "-CAfile", ca, "-verify_return_error")
    return "Verify return code: 0 (ok)" in output and f"Protocol  : TLSv{version.removesuffix('.0')}\n" in output, output


def ask_old_gnutls(port, version, ca):
    output = gnutls_client(port, "--x509cafile", ca, "--priority", f"LEGACY:-VERS-ALL:+VERS-TLS{version}")
    return "The certificate is trusted" in output and f"(TLS{version}-" in output, output


@pytest.mark.parametrize("family", [ask_old_openssl, ask_old_gnutls], ids=["openssl", "gnutls"])
@pytest.mark.parametrize("kind", ["ec", "rsa", "chained"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_client_of_each_family(old_hosts, certs, version, kind, family):
    """Where the operator asks for what is retired, it works. Debian's wolfSSL no longer has it, nor has Ed25519."""
    good, output = family(old_hosts[kind].port(), version, certs.ca.cert)
    assert good and "SIP/2.0 200 OK" in output, output


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_wolfssl_client_with_a_certificate(start_host, certs, wolfssl, version):
    need_wolfssl(wolfssl)
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_client="on"))
    for pair, good in ((certs.client_good, True), (certs.client_chained, True), (certs.client_expired, False), (None, False)):
        status, output = wolfssl(host.port(), version, certs.ca.cert, pair)
        assert (status == 0 and "SIP/2.0 200 OK" in output) == good, output


def test_wolfssl_client_knows_a_stranger(hosts, certs, wolfssl):
    """The client that judges here does verify."""
    need_wolfssl(wolfssl)
    status, output = wolfssl(hosts["ec"].port(), "1.3", certs.other_ca.cert)
    assert status == 1 and "handshake failed" in output, output


# -- sslscan ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def seen(hosts, tmp_path_factory):
    """{name: the root of what sslscan found}."""
    found = {}
    for name, host in hosts.items():
        path = str(tmp_path_factory.mktemp("sslscan") / "found.xml")
        subprocess.run([program("sslscan", "sslscan"), f"--xml={path}", "--no-colour", f"127.0.0.1:{host.port()}"],
                       stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=400, check=True)
        found[name] = ET.parse(path).getroot()
    return found


@pytest.mark.parametrize("name", ["ec", "rsa", "strict"])
def test_versions_that_sslscan_finds(seen, name):
    versions = {(p.get("type") + p.get("version")).replace("sslv", "ssl"): p.get("enabled") for p in seen[name].iter("protocol")}
    assert versions == {"ssl2": "0", "ssl3": "0", "tls1.0": "0", "tls1.1": "0", "tls1.2": "1", "tls1.3": "1"}


@pytest.mark.parametrize("name", ["ec", "rsa", "strict"])
def test_ciphers_that_sslscan_finds(seen, name):
    found = {}
    for cipher in seen[name].iter("cipher"):
        found.setdefault(cipher.get("sslversion"), []).append(cipher.get("cipher"))
    assert set(found) == {"TLSv1.2", "TLSv1.3"}
    assert found["TLSv1.3"] == SUITES, "in the server's order"
    assert set(found["TLSv1.2"]) == ciphers("rsa" if name == "rsa" else "ec", name == "strict")


@pytest.mark.parametrize("name", ["ec", "rsa"])
def test_groups_that_sslscan_finds(seen, name):
    groups = {g.get("name") for g in seen[name].iter("group") if g.get("sslversion") == "TLSv1.3"}
    assert GROUPS <= groups
    assert not [g for g in groups if "ffdhe" in g.lower()], "groups that cost a server too much"


@pytest.mark.parametrize("name", ["ec", "rsa", "strict"])
def test_weaknesses_that_sslscan_looks_for(seen, name):
    root = seen[name]
    assert [h.get("vulnerable") for h in root.iter("heartbleed")] == ["0", "0"]
    assert root.find(".//renegotiation").get("supported") == "0"
    assert not [c for c in root.iter("cipher") if c.get("strength") not in ("strong", "acceptable")]


# -- what testssl has found --------------------------------------------------------------------------------------------

ITS_OWN = {"engine_problem"}  # of the program that testssl uses, where that has no engines


def complaints(found):
    """{id: severity} of what testssl finds fault with."""
    return {key: severity for key, all_of in found.items() for severity, _ in all_of
            if severity not in ("OK", "INFO", "DEBUG") and key not in ITS_OWN}


@pytest.mark.long
@pytest.mark.parametrize("name", ["ec", "rsa"])
def test_testssl_finds_no_weakness(scans, hosts, name):
    """But for what phones that know no better need, which it calls low: ciphers in CBC mode."""
    found = scans[name].result()
    assert {key for key in complaints(found) if not re.match("LUCKY13|cipherlist_(AVERAGE|OBSOLETED)", key)} == set()
    assert set(complaints(found).values()) <= {"LOW"}, complaints(found)
    hosts[name].check_alive()


@pytest.mark.long
def test_testssl_finds_what_is_offered(scans):
    found = scans["ec"].result()
    offered = {key: found[key][0][1].split(" ")[0] for key in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")}
    assert offered == {"SSLv2": "not", "SSLv3": "not", "TLS1": "not", "TLS1_1": "not", "TLS1_2": "offered", "TLS1_3": "offered"}
    for weakness in ("heartbleed", "CCS", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "SWEET32",
                     "FREAK", "DROWN", "LOGJAM", "BEAST", "RC4"):
        assert found[weakness][0][0] in ("OK", "INFO"), (weakness, found[weakness])


@pytest.mark.long
def test_testssl_finds_nothing_at_all_with_the_profile(scans):
    assert not complaints(scans["strict"].result())
