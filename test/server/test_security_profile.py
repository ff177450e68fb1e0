"""What is offered and taken: without finite-field DHE unless somebody asks for it, and as RFC 9325 has it with
security_profile = rfc9325."""

import re
import socket

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certs import Pair, name, san
from host import HostError
from peers import Peer, UdpClient, client_context, connect, openssl_client, refused, server_context

UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
RELAY = ('request_route {\n\tif ($hdr(X-Target) == $null) {\n\t\tsl_send_reply("200", "OK");\n\t\texit;\n\t}\n'
         '\t$ru = $hdr(X-Target);\n\t$xavp(tls=>server_id) = $hdr(X-Id);\n\tt_set_fr("4000", "2000");\n'
         "\tif (!t_relay()) sl_reply_error();\n\texit;\n}\n")
DHE = "DHE-RSA-AES128-GCM-SHA256"
# What peers offer, how they are called in OpenSSL, and who takes it: by default, with the profile.
OFFERS = {
    "ECDHE-RSA-AES128-GCM-SHA256": (True, True), "ECDHE-RSA-AES256-GCM-SHA384": (True, True),
    "ECDHE-RSA-CHACHA20-POLY1305": (True, False), "ECDHE-RSA-AES128-SHA256": (True, False), "ECDHE-RSA-AES128-SHA": (True, False),
    "AES128-GCM-SHA256": (True, False), "AES256-SHA": (True, False), DHE: (False, False), "DHE-RSA-AES256-SHA": (False, False),
}


def taken(port, *options):
    """Whether a client of OpenSSL's with these options gets an answer."""
    try:
        return "SIP/2.0 200" in openssl_client(port, *options)
    except (HostError, AssertionError):
        return False


def weak_pair(certs, bits=1024):
    """A certificate with an RSA key that is too short."""
    key = rsa.generate_private_key(65537, bits)
    made = certs.issue(name("localhost"), key, certs.ca, extensions=[san("DNS:localhost")])
    return Pair(certs.write(f"weak-{bits}.pem", certs.pem(made)), certs.secret(f"weak-{bits}.key", certs.key_pem(key)), made, key)


@pytest.fixture(scope="module")
def host(module_host, certs):
    """By default without a profile, and with one for rfc9325.test; the same for servers, by id. RSA, which can do most."""
    def client(who, **more):
        return f"[client:any]\nserver_id = {who}\n" + "".join(f"{k} = {v}\n" for k, v in {
            "ca_list": certs.ca.cert, "verify_certificate": "yes", **more}.items())

    more = {"ca_list": certs.ca.cert, "verify_client": "optional"}
    text = ("[server:default]\n" + certs.server_rsa.section(**more)
            + "[server:any]\nserver_name = rfc9325.test\n" + certs.server_rsa.section(security_profile="rfc9325", **more)
            + client("compatible") + client("rfc9325", security_profile="rfc9325") + client("dhe", cipher_list="DEFAULT"))
    made = module_host(listen=(UDP, TLS), tls_cfg=text, script=RELAY, modules=["tm.so"], modparams={"tls": {"xavp_cfg": "tls"}})
    assert "tls.cfg" not in made.log(), "a good configuration is silent"
    yield made
    made.check_alive()


@pytest.mark.parametrize("cipher", list(OFFERS))
def test_what_clients_get(host, cipher):
    """The first section's by default, the named one's by its name, whatever the one before it had."""
    found = [taken(host.port(), "-tls1_2", "-cipher", cipher, *more) for more in (("-noservername",), ("-servername", "rfc9325.test"))]
    assert tuple(found) == OFFERS[cipher]


@pytest.mark.parametrize("cipher", list(OFFERS))
def test_what_servers_are_offered(host, certs, cipher):
    """The same where we are the client."""
    found = []
    for who in ("compatible", "rfc9325"):
        context = server_context(certs.server_rsa, "1.2")
        context.set_ciphers(cipher)
        with Peer(context) as peer, UdpClient(host.port(UDP)) as udp:
            found.append(udp.ask(headers=[f"X-Target: {peer.uri()}", f"X-Id: {who}"]).status == 200)
    assert tuple(found) == OFFERS[cipher]


def test_other_rules_of_the_profile(host, certs):
    """TLS 1.3 with its suites, both groups, hashes from SHA-256 on, the order of suites, no keys below RSA 2048."""
    both = (("-noservername",), ("-servername", "rfc9325.test"))
    for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
        assert all(taken(host.port(), "-tls1_3", "-ciphersuites", suite, *more) for more in both)
    for group in ("X25519", "P-256"):
        assert all(taken(host.port(), flag, "-groups", group, *more) for more in both for flag in ("-tls1_2", "-tls1_3"))
    sha224 = [taken(host.port(), "-tls1_2", "-sigalgs", "RSA+SHA224", "-cipher", "ECDHE", *more) for more in both]
    assert sha224 == [True, False]
    assert all(taken(host.port(), "-tls1_2", "-sigalgs", "RSA+SHA256", "-cipher", "ECDHE", *more) for more in both)
    output = openssl_client(host.port(), "-tls1_2", "-servername", "rfc9325.test", "-cipher", "AES128-GCM-SHA256:ECDHE+AESGCM")
    assert "ECDHE-RSA-AES256-GCM-SHA384" in output
    context = client_context("1.2", ciphers="ALL:@SECLEVEL=0")
    pair = weak_pair(certs)
    context.load_cert_chain(pair.cert, pair.key)
    with connect(host.port(), pair=certs.client_good, server_name="rfc9325.test") as client:
        assert client.ask().status == 200
    assert refused_with(host.port(), context)


def refused_with(port, context):
    """As refused(), with a context that takes what nobody should."""
    from peers import Client, Closed  # pylint: disable=import-outside-toplevel
    try:
        with Client(port, context, server_name="rfc9325.test").handshake() as client:
            client.ask()
        return False
    except (OSError, Closed):
        return True


def test_dhe_for_who_asks(start_host, host, certs):
    """`cipher_list` brings it back, one for TLS 1.3 alone does not; nothing else of the library's list is missing."""
    for ciphers, good in (("DEFAULT", True), (DHE + ":ECDHE+AESGCM", True), ("TLS_AES_128_GCM_SHA256", False), ('""', False)):
        asked = start_host(tls_cfg="[server:default]\n" + certs.server_rsa.section(cipher_list=ciphers))
        assert taken(asked.port(), "-tls1_2", "-cipher", DHE) == good, ciphers
        assert taken(asked.port(), "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    with_it, without = offered(host, "dhe"), offered(host, "compatible")
    assert set(DHE_CODES) & set(with_it) and [code for code in with_it if code not in DHE_CODES] == without
    assert [code for code in offered(host, "rfc9325") if code < 0x1300 or code > 0x13ff] == [0xc02f, 0xc02b, 0xc030, 0xc02c]


# DHE with an RSA certificate: 3DES, AES in CBC and GCM, CAMELLIA, CHACHA20, CCM, ARIA (IANA's registry of suites).
DHE_CODES = (0x16, 0x33, 0x39, 0x45, 0x67, 0x6b, 0x88, 0x9e, 0x9f, 0xbe, 0xc4, 0xccaa, 0xc09e, 0xc09f, 0xc0a2, 0xc0a3, 0xc052, 0xc053)


def offered(host, who):
    """The suites in the ClientHello with which the host begins in this section."""
    with socket.create_server(("127.0.0.1", 0)) as listener, UdpClient(host.port(UDP)) as udp:
        udp.send(headers=[f"X-Target: sip:127.0.0.1:{listener.getsockname()[1]};transport=tls", f"X-Id: {who}"])
        listener.settimeout(20)
        conn, data = listener.accept()[0], b""
        with conn:
            while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
                data += conn.recv(4096)
    at = 44 + data[43]
    codes = data[at + 2:at + 2 + int.from_bytes(data[at:at + 2], "big")]
    return [code for code in (int.from_bytes(codes[i:i + 2], "big") for i in range(0, len(codes), 2)) if code != 0xff]


# What stands in a section with the profile, and what is said of it, behind "tls.cfg:LINE: ".
CONTRADICTIONS = {
    "method = TLSv1+": "method: accepts TLS 1.1 and older, which security_profile = rfc9325 excludes",
    "method = SSLv23": "method: accepts TLS 1.1 and older, which security_profile = rfc9325 excludes",
    "cipher_list = DEFAULT": r"cipher_list: includes \d+ ciphers that security_profile = rfc9325 excludes, such as \S+: block modes",
    "cipher_list = AES128-GCM-SHA256": "cipher_list: includes 1 ciphers that security_profile = rfc9325 excludes, such as AES128-GCM-SHA256:",
    "cipher_list = DHE-RSA-AES128-GCM-SHA256:ECDHE+AESGCM": "includes 1 ciphers .*, such as DHE-RSA-AES128-GCM-SHA256:",
    "cipher_list = ECDHE-ECDSA-AES128-SHA:ECDHE+AESGCM": "includes 1 ciphers .*, such as ECDHE-ECDSA-AES128-SHA:",
    "cipher_list = ECDHE+AESGCM:@SECLEVEL=1": "cipher_list: @SECLEVEL=1 allows keys and signatures that are weaker than",
    "groups = X25519:P-192": "groups: P-192 has less than the 224 bits that security_profile = rfc9325 requires",
    "groups = X25519:secp192r1:P-256": "groups: secp192r1 has less than the 224 bits",
    "cipher_list = ECDHE+AESGCM:ECDHE+CHACHA20": None,
    "cipher_list = TLS_AES_128_GCM_SHA256": None,
    "groups = X25519:P-256:P-384": None,
    "method = TLSv1.3": None,
    "method = TLSv1.2+": None,
}


@pytest.mark.parametrize("line", list(CONTRADICTIONS))
def test_contradictions(start_host, certs, line):
    """Said with the line; what is set counts; the same section without the profile has nothing to say of it."""
    pair = certs.server_ec
    base = f"[server:default]\ncertificate = {pair.cert}\nprivate_key = {pair.key}\n"
    host = start_host(tls_cfg=base + f"security_profile = rfc9325\n{line}\n")
    said = [entry for entry in host.log().splitlines() if "tls.cfg:" in entry and "SSLv23" not in entry]
    expected = CONTRADICTIONS[line]
    assert len(said) == (expected is not None), said
    assert expected is None or re.search(r"WARNING: .*tls\.cfg:5: .*" + expected, said[0]), said
    if line.startswith("cipher_list = AES128") or line.startswith("groups"):
        return
    assert not refused(host.port(), version="1.3")


def test_contradicting_certificates(start_host, certs):
    """Short keys load at a lower level, which is a line of its own."""
    pair = weak_pair(certs)
    text = "[server:default]\n" + pair.section(security_profile="rfc9325", cipher_list="ECDHE+AESGCM:@SECLEVEL=0")
    host = start_host(tls_cfg=text)
    assert "tls.cfg:3: certificate: has a key of 1024 bits, too short for security_profile = rfc9325" in host.log()
    assert "tls.cfg:6: cipher_list: @SECLEVEL=0 allows keys and signatures" in host.log()
    log = start_host.make(tls_cfg="[server:default]\n" + pair.section(security_profile="rfc9325")).refuses()
    assert "ee key too small" in log


def test_as_a_parameter(start_host, certs):
    host = start_host(modparams=certs.server_rsa.params(security_profile="rfc9325"))
    assert not taken(host.port(), "-tls1_2", "-cipher", "AES128-GCM-SHA256")
    assert taken(host.port(), "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(HostError, match='security_profile: "rfc7525" is not known; allowed: compatible, rfc9325'):
        start_host(tls_cfg="[server:default]\n" + certs.server_ec.section(security_profile="rfc7525"))


def test_reload_to_the_profile(start_host, certs):
    """A section that gets the profile has it from then on."""
    text = "[server:default]\n" + certs.server_rsa.section()
    host = start_host(tls_cfg=text)
    assert taken(host.port(), "-tls1_2", "-cipher", "AES128-GCM-SHA256")
    host.write("tls.cfg", text + "security_profile = rfc9325\n")
    host.rpc("tls.reload")
    assert not taken(host.port(), "-tls1_2", "-cipher", "AES128-GCM-SHA256")
