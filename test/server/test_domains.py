"""Name-based domains: which section serves a client, and that its rules count in full, not only its certificate."""

import contextlib
import re
import ssl

import pytest
from cryptography import x509

import sip
from certs import name
from host import Port, relay_script, wait_for
from peers import Client, Closed, Peer, UdpClient, client_context, connect, openssl_client, server_context

SCRIPT = relay_script('''if (is_peer_verified()) {
		sl_send_reply("200", "Verified");
		exit;
	}
	sl_send_reply("200", "Unknown");''')
UDP, TLS, TLS6 = "udp:127.0.0.1", "tls:127.0.0.1", "tls:[::1]"
SIDE = "127.0.0.2"
SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]
CIPHER = {"1.2": "ECDHE-ECDSA-CHACHA20-POLY1305", "1.3": "TLS_CHACHA20_POLY1305_SHA256"}


class Pairs:
    """A certificate for each domain: pairs["label"], known again by its serial number."""

    def __init__(self, certs):
        self.certs, self.made = certs, {}

    def __getitem__(self, label):
        if label not in self.made:
            self.made[label] = self.certs.server("domain-" + label, cn=label, names=["DNS:localhost"])
        return self.made[label]

    def label(self, serial):
        """The label of the certificate with this serial number."""
        return next(label for label, pair in self.made.items() if pair.x509.serial_number == serial)


@pytest.fixture(scope="module")
def pairs(certs):
    """The file's certificates."""
    return Pairs(certs)


def section(head, pair, **settings):
    """One section of tls.cfg."""
    return f"[{head}]\n{pair.section(**settings)}\n"


def shown(client):
    """The certificate that the server showed."""
    return x509.load_der_x509_certificate(client.tls.getpeercert(True))


def served(pairs, port, asked, address="127.0.0.1", version=None):
    """The label of the domain that serves who asks for this name; None: for none."""
    with connect(port, version, server_name=asked, address=address) as client:
        assert client.ask().status == 200
        return pairs.label(shown(client).serial_number)


def refusal(port, context, asked, session=None, address="127.0.0.1"):
    """Why the server refuses a client; None if it serves it. TLS 1.3 tells after the client's handshake."""
    client = Client(port, context, server_name=asked, session=session, address=address)
    try:
        client.handshake()
        client.send(sip.request())
        client.message()
        return None
    except ssl.SSLError as e:
        return e.reason
    except Closed as e:
        return str(e)
    finally:
        client.close(notify=False)


# -- which section ------------------------------------------------------------------------------------------------

def sections(pairs, sides):
    """A tls.cfg with every kind of head; `sides` are two ports of the second address."""
    rows = [("server:any", "org", "example.org", 1), ("server:any", "sip.org", "sip.example.org", 0),
            ("server:any", "deep.org", "Deep.B.Example.ORG", 1), ("server:any", "net", "example.net", 2),
            ("server:any", "exact", "exact.test", 0), (f"server:{SIDE}:{sides[0]}", "port", None, None),
            (f"server:{SIDE}:{sides[0]}", "port.org", "example.org", 0),
            (f"server:{SIDE}:{sides[0]}", "port.sip.org", "sip.example.org", 2),
            (f"server:{SIDE}", "address", None, None), (f"server:{SIDE}", "address.com", "example.com", 1),
            (f"server:{SIDE}:{sides[0]}", "port.com", "www.example.com", 0)]
    text = section("server:default", pairs["default"], server_name="default.test")
    for head, label, server_name, mode in rows:
        named = {"server_name": server_name, "server_name_mode": mode} if server_name else {}
        text += section(head, pairs[label], **named)
    return text


@pytest.fixture(scope="module")
def lookup(module_host, pairs):
    """A host with many sections, and what it takes to reach each of its sockets."""
    sides = [Port(), Port()]
    host = module_host.make(listen=(UDP, TLS, TLS6, *(f"tls:{SIDE}:{p.number}" for p in sides)), script=SCRIPT)
    host.tls_cfg = sections(pairs, [p.number for p in sides])
    six = host.port(TLS6)
    host.tls_cfg += section(f"server:[::1]:{six}", pairs["six"]) + section(
        f"server:[::1]:{six}", pairs["six.org"], server_name="example.org", server_name_mode=1)
    host.start()
    at = {"main": ("127.0.0.1", host.port()), "side": (SIDE, sides[0].number), "side2": (SIDE, sides[1].number),
          "six": ("::1", six)}
    yield host, at
    for port in sides:
        port.release()


LOOKUPS = [
    # exact, letters, the final dot
    ("exact.test", "main", "exact"), ("EXACT.Test", "main", "exact"), ("exact.test.", "main", "exact"),
    ("eXaCt.TEST.", "main", "exact"), ("a.exact.test", "main", "default"), ("xexact.test", "main", "default"),
    ("exact.test.org", "main", "default"), ("exact", "main", "default"), ("test", "main", "default"),
    # the name and its subdomains; the nearest parent
    ("example.org", "main", "org"), ("a.example.org", "main", "org"), ("x.y.z.Example.Org.", "main", "org"),
    ("notexample.org", "main", "default"), ("org", "main", "default"), ("sip.example.org", "main", "sip.org"),
    ("a.sip.example.org", "main", "org"), ("b.example.org", "main", "org"), ("deep.b.example.org", "main", "deep.org"),
    ("a.deep.b.example.org", "main", "deep.org"), ("a.b.example.org", "main", "org"),
    # subdomains only
    ("example.net", "main", "default"), ("a.example.net", "main", "net"), ("a.b.example.net", "main", "net"),
    # no name, and that of the default section
    (None, "main", "default"), ("default.test", "main", "default"), ("elsewhere.test", "main", "default"),
    # address and port before the address, and that before any; names before sections without one
    (None, "side", "port"), ("elsewhere.test", "side", "port"), (None, "side2", "address"),
    ("elsewhere.test", "side2", "address"), ("example.org", "side", "port.org"), ("example.org", "side2", "org"),
    ("a.example.org", "side", "org"), ("sip.example.org", "side", "sip.org"),
    ("a.sip.example.org", "side", "port.sip.org"), ("a.sip.example.org", "side2", "org"),
    ("www.example.com", "side", "port.com"), ("www.example.com", "side2", "address.com"),
    ("ftp.example.com", "side", "address.com"), ("example.com", "main", "default"), ("exact.test", "side", "exact"),
    # IPv6
    (None, "six", "six"), ("example.org", "six", "six.org"), ("A.EXAMPLE.ORG", "six", "six.org"),
    ("exact.test", "six", "exact"), ("elsewhere.test", "six", "six"),
]


@pytest.mark.parametrize("asked, where, label", LOOKUPS, ids=[f"{a}@{w}" for a, w, _ in LOOKUPS])
def test_which_section_serves(lookup, pairs, asked, where, label):
    host, at = lookup
    address, port = at[where]
    assert served(pairs, port, asked, address) == label
    host.check_alive()


def test_any_without_a_name_comes_before_default(start_host, pairs):
    host = start_host(script=SCRIPT, tls_cfg=section("server:default", pairs["default"])
                      + section("server:any", pairs["any"]) + section("server:any", pairs["exact"], server_name="x.test"))
    assert [served(pairs, host.port(), asked) for asked in (None, "y.test", "x.test")] == ["any", "any", "exact"]


def test_section_name_with_a_final_dot(start_host, pairs):
    """Who writes the dot in tls.cfg means the same name."""
    host = start_host(script=SCRIPT, tls_cfg=section("server:default", pairs["default"])
                      + section("server:any", pairs["exact"], server_name="x.test."))
    assert [served(pairs, host.port(), asked) for asked in ("x.test", "x.test.")] == ["exact", "exact"]


@pytest.fixture(scope="module")
def placed(module_host, certs, pairs):
    """Strict sections with a name for an address, as the packaged module's users have them, and a lax default one."""
    rules = one_of(certs)
    host = module_host.make(listen=(UDP, TLS, f"tls:{SIDE}"), script=SCRIPT)
    at = [f"server:127.0.0.1:{host.port()}", "server:127.0.0.1:0", f"server:{SIDE}"]
    rows = [(at[0], "port1", "one.test"), (at[0], "port2", "two.test"), (at[1], "address", "three.test"),
            (at[2], "side", "side.test"), ("server:any", "anywhere", "anywhere.test")]
    host.tls_cfg = section("server:default", pairs["default"]) + "".join(
        section(head, pairs[label], server_name=server_name, **rules) for head, label, server_name in rows)
    yield host.start()
    host.check_alive()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("address, label", [("127.0.0.1", "port2"), (SIDE, "side")])
def test_section_of_an_address_serves_who_asks_for_no_name(placed, certs, pairs, address, label, version):
    """With all its rules, though it has a name: the address alone would have fitted. The last one of several does."""
    port = placed.port(f"tls:{address}")
    with connect(port, version, pair=certs.client_good, server_name=None, address=address) as client:
        assert client.ask().start.endswith("Verified") and pairs.label(shown(client).serial_number) == label
    assert refusal(port, client_context(version), None, address=address) is not None


def test_section_of_an_address_is_not_for_other_names(placed, pairs):
    assert served(pairs, placed.port(), "elsewhere.test") == "default"


@pytest.mark.parametrize("asked", ["a" * 63 + ".example.org", ".".join(["a"] * 121) + ".example.org",
                                   "a" * 255, "x..example.org", "xn--mnchen-3ya.example.org"], ids=lambda a: a[:12])
def test_odd_names(lookup, pairs, asked):
    """Long, deep and malformed names find a section and harm nobody."""
    host, at = lookup
    hello = openssl_client(at["main"][1], "-servername", asked)
    assert "SIP/2.0 200" in hello, hello
    assert ("CN=org" in hello.replace(" = ", "=")) == asked.endswith(".example.org")
    host.check_alive()


def test_list_and_domains_tell_the_names(lookup, pairs):
    host, at = lookup
    host.wait_no_connections()
    with contextlib.ExitStack() as held:
        for asked in ("A.Example.Org", "exact.test.", None):
            held.enter_context(connect(at["main"][1], server_name=asked)).ask()
        found = {c["server_name"]: c["domain"] for c in wait_for(
            lambda: [c for c in host.connections() if c["state"] == "established"]) if c["role"] == "server"}
        assert found == {"A.Example.Org": "server:any (example.org)", "exact.test.": "server:any (exact.test)",
                         "": "server:default (default.test)"}
        counts = {d["domain"]: d for d in host.rpc("tls.domains")}
        assert [counts[d]["connections"] for d in ("server:any (example.org)", "server:any (exact.test)",
                                                   "server:any (sip.example.org)")] == [1, 1, 0]
    wait_for(lambda: sum(d["connections"] for d in host.rpc("tls.domains")) == 0, what="no connection in any domain")
    of_six = counts[f"server:[::1]:{at['six'][1]} (example.org)"]
    assert (of_six["address"], of_six["server_name"], of_six["subject"]) == (
        f"[::1]:{at['six'][1]}", "example.org", "CN=six.org")
    assert len(counts) == 15  # the file's, and client:default


# -- names that nobody has ------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def choosy(module_host, pairs):
    """A host that refuses unknown names."""
    return module_host(script=SCRIPT, modparams={"tls": {"unknown_server_name": 1}},
                       tls_cfg=section("server:default", pairs["default"])
                       + section("server:any", pairs["exact"], server_name="exact.test"))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_unknown_name_gets_an_alert(choosy, pairs, version):
    before = len(choosy.log())
    assert "UNRECOGNIZED_NAME" in refusal(choosy.port(), client_context(version), "nobody.test")
    line = choosy.wait_log(r"TLS handshake failed: peer 127\.0\.0\.1:\d+, domain .*", since=before).group()
    assert "nobody.test" in line, line
    for asked, label in (("exact.test", "exact"), (None, "default")):
        assert served(pairs, choosy.port(), asked, version=version) == label
    choosy.check_alive()


def raw_hello(server_name):
    """A ClientHello that asks for exactly these bytes."""
    placeholder = ("p.q" * len(server_name))[:len(server_name) - 1] + "p"
    tls = client_context().wrap_bio(ssl.MemoryBIO(), out := ssl.MemoryBIO(), server_hostname=placeholder)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = out.read()
    assert hello.count(placeholder.encode()) == 1
    return hello.replace(placeholder.encode(), server_name)


EVIL = [b"x\r\n 6(99) NOTICE: tls [tls_server.c:85]: log_failure(): TLS handshake failed: peer 192.0.2.9:5061, domain y: z", b"\x1b[2J\x07", b"\x80\xff\xfe", b"a\tb\x7f",
        b"%s%n%x"]


@pytest.mark.parametrize("evil", EVIL, ids=repr)
def test_name_does_not_write_log_lines(choosy, evil):
    """What a stranger asks for cannot look like a line about another peer, nor reach a terminal raw."""
    before = len(choosy.log())
    client = Client(choosy.port())
    client.push(raw_hello(evil))
    assert client.closed_by_server()
    client.close(notify=False)
    choosy.wait_log(r"TLS handshake failed: peer 127\.0\.0\.1", since=before)
    with open(choosy.path("log"), "rb") as f:
        text = f.read()[before:]
    ours = re.findall(rb"^ *\d+\(\d+\) NOTICE: tls \[[^]]*\]: \w+\(\): TLS handshake failed: peer (\S+):\d+,", text, re.M)
    assert ours == [b"127.0.0.1"], text
    assert not re.search(rb"[^\n -~]", text), text


# -- enforced in full -------------------------------------------------------------------------------------------------

def one_of(certs, **settings):
    """The settings of a section that demands certificates."""
    return {"verify_certificate": "yes", "require_certificate": "yes", "ca_list": certs.ca.cert, "verify_depth": 9,
            **settings}


@pytest.fixture(scope="module")
def full(module_host, certs, pairs):
    """A lax default domain, and named ones that are stricter or other; a second host the other way round."""
    lax = {"verify_certificate": "no", "require_certificate": "no", "cipher_list": "HIGH:" + ":".join(SUITES)}
    named = {
        "strict": one_of(certs), "other": one_of(certs, ca_list=certs.other_ca.cert), "flat": one_of(certs, verify_depth=0),
        "revoking": one_of(certs, crl=certs.crl_revoked), "any": {"verify_client": "optional_no_ca"},
        "new": {**lax, "method": "TLSv1.3"}, "old": {**lax, "method": "TLSv1.2"}, "open": {"verify_client": "off"},
        "cipher": {**lax, "cipher_list": ":".join(CIPHER.values())}, "plain": lax,
    }
    text = "".join(section("server:any", pairs[k], server_name=f"{k}.test", **v) for k, v in named.items())
    fast = "ECDHE-ECDSA-AES128-GCM-SHA256:" + SUITES[0]
    hosts = {"lax": {}, "strict": one_of(certs, verify_depth=0, cipher_list=fast)}
    return {kind: module_host(script=SCRIPT, tls_cfg=section("server:default", pairs["default"], **rules) + text)
            for kind, rules in hosts.items()}


@pytest.fixture(autouse=True, scope="module")
def everyone_alive(full, choosy, lookup):
    """The shared hosts have all their processes and clean logs at the end."""
    yield
    for host in (*full.values(), choosy, lookup[0]):
        host.check_alive()


BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
HOSTS = pytest.mark.parametrize("kind", ["lax", "strict"])


def allowed(host, version, asked, pair=None):
    """What the host says to this client: "Verified", "Unknown", or None when it refuses it."""
    client = Client(host.port(), client_context(version, pair), server_name=asked)
    try:
        return client.handshake().ask().start.split(" ", 2)[2]
    except (ssl.SSLError, Closed):
        return None
    finally:
        client.close(notify=False)


@BOTH
@HOSTS
@pytest.mark.parametrize("asked, good, bad", [
    ("strict.test", ["client_good", "client_chained"], [None, "client_wrong_ca", "client_expired"]),
    ("STRICT.test.", ["client_good"], [None, "client_wrong_ca"]),
    ("other.test", ["client_wrong_ca"], [None, "client_good"]),
    ("flat.test", ["client_good"], [None, "client_chained"]),
    ("revoking.test", ["client_good"], [None, "client_revoked"])])
def test_demand_of_a_named_domain(full, certs, kind, version, asked, good, bad):
    """Stricter than the default domain, or with other authorities: what it says counts, whatever the default is."""
    for who in good:
        assert allowed(full[kind], version, asked, getattr(certs, who)) == "Verified"
    for who in bad:
        assert allowed(full[kind], version, asked, who and getattr(certs, who)) is None


@BOTH
@HOSTS
def test_named_domain_that_is_lax(full, certs, kind, version):
    """Looser than a strict default: it does not ask for a certificate, or takes any."""
    for who in (None, "client_good", "client_wrong_ca"):
        for asked in ("open.test", "plain.test"):
            assert allowed(full[kind], version, asked, who and getattr(certs, who)) == "Unknown"
    assert allowed(full[kind], version, "any.test", certs.client_wrong_ca) == "Unknown"
    assert allowed(full[kind], version, "any.test") == "Unknown"


@BOTH
def test_strict_default(full, certs, version):
    """The default domain of the strict host is strict: the looser names above prove something."""
    for asked in (None, "elsewhere.test"):
        assert allowed(full["strict"], version, asked) is None
        assert allowed(full["strict"], version, asked, certs.client_chained) is None, "verify_depth 0 does not count"
        assert allowed(full["strict"], version, asked, certs.client_good) == "Verified"


@HOSTS
def test_versions_of_a_named_domain(full, kind):
    port = full[kind].port()
    for asked, right, wrong in (("new.test", "1.3", "1.2"), ("old.test", "1.2", "1.3")):
        for version in (None, right):
            with connect(port, version, server_name=asked) as client:
                assert client.ask().status == 200 and client.version == right
        assert "PROTOCOL" in refusal(port, client_context(wrong), asked).upper()


@pytest.mark.parametrize("default, version", [("TLSv1.2", "1.3"), ("TLSv1.3", "1.2")])
def test_version_that_the_default_domain_has_not(start_host, pairs, default, version):
    host = start_host(script=SCRIPT, tls_cfg=section("server:default", pairs["default"], method=default)
                      + section("server:any", pairs["exact"], server_name="x.test", method=f"TLSv{version}"))
    assert served(pairs, host.port(), "x.test", version=version) == "exact"
    assert refusal(host.port(), client_context(version), "elsewhere.test")


@BOTH
@HOSTS
def test_ciphers_of_a_named_domain(full, kind, version):
    port = full[kind].port()
    with connect(port, version, server_name="cipher.test") as client:
        assert client.ask().status == 200
        assert client.tls.cipher()[0] == CIPHER[version]
    with connect(port, version, server_name="plain.test") as client:
        assert client.tls.cipher()[0] != CIPHER[version], "every domain chooses it: this test says nothing"
    if version == "1.2":
        aes = client_context("1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
        assert "HANDSHAKE_FAILURE" in refusal(port, aes, "cipher.test")
        assert refusal(port, aes, "plain.test") is None


def test_authorities_that_are_named_to_the_client(full):
    """A client chooses its certificate by the names that it is sent: those of the domain that it asked for."""
    for kind in full:
        output = openssl_client(full[kind].port(), "-tls1_2", "-servername", "other.test")
        names = output.split("Acceptable client certificate CA names", 1)[1].split("\nRequested", 1)[0].split("Client ")[0]
        assert "Other Root" in names and "Test Root" not in names, names


# -- sessions ---------------------------------------------------------------------------------------------------------

def session_of(host, context, asked):
    """A session that began in this domain and can be resumed."""
    with Client(host.port(), context, server_name=asked).handshake() as client:
        assert client.ask().status == 200
        return client.tls.session


def resumed(host, context, asked, session):
    """Whether a client that is served there has resumed this session."""
    with Client(host.port(), context, server_name=asked, session=session).handshake() as client:
        assert client.ask().status == 200
        return client.tls.session_reused


@BOTH
@pytest.mark.parametrize("asked", ["plain.test", "strict.test", None])
def test_session_stays_in_its_domain(full, certs, version, asked):
    """It is resumed where it began, and nowhere else; elsewhere the client shakes hands in full and is served."""
    context, host = client_context(version, certs.client_good), full["lax"]
    assert resumed(host, context, asked, session_of(host, context, asked))
    for other in {"open.test", "plain.test", "strict.test", "revoking.test", None} - {asked}:
        assert not resumed(host, context, other, session_of(host, context, asked)), other


@BOTH
@HOSTS
@pytest.mark.parametrize("strict", ["strict.test", "other.test", "revoking.test"])
def test_session_of_a_lax_domain_is_no_way_in(full, kind, version, strict):
    """Neither without a certificate, nor (below) with one that is good elsewhere."""
    context = client_context(version)
    for lax in ("open.test", "plain.test", "any.test"):
        session = session_of(full[kind], context, lax)
        assert refusal(full[kind].port(), context, strict, session) is not None


@BOTH
def test_session_with_a_certificate_that_is_good_elsewhere(full, certs, version):
    context = client_context(version, certs.client_good)
    session = session_of(full["lax"], context, "strict.test")
    assert refusal(full["lax"].port(), context, "other.test", session) is not None
    revoked = client_context(version, certs.client_revoked)
    session = session_of(full["lax"], revoked, "strict.test")
    assert refusal(full["lax"].port(), revoked, "revoking.test", session) is not None


@BOTH
def test_session_under_another_name_of_its_section(start_host, pairs, version):
    """Script and commands tell what this client has asked for, not the one that began the session. In TLS 1.2 the name
    belongs to the session (RFC 6066, section 3), so there that takes a full handshake."""
    script = relay_script('append_to_reply("X-Asked: $tls_peer_server_name\\r\\n");\n\tsl_send_reply("200", "OK");')
    host = start_host(script=script, tls_cfg=section("server:default", pairs["default"]))
    context, names = client_context(version), ("one.test", "two.test", None)
    for first in names:
        session = session_of(host, context, first)
        for second in names:
            with Client(host.port(), context, server_name=second, session=session).handshake() as client:
                assert client.ask().get("x-asked") == (second or "<null>"), (first, second)
                assert client.tls.session_reused == (first == second or version == "1.3"), (first, second)
                assert [c["server_name"] for c in host.connections()] == [second or ""]
            host.wait_no_connections()


@BOTH
@pytest.mark.parametrize("other, asked", [(2, "x.same.test"), (1, "x.same.test"), (0, "same.test")])
def test_session_stays_among_sections_of_one_name(start_host, certs, pairs, version, other, asked):
    """Sections may differ in server_name_mode alone: what one lets in without a certificate is no way into the other."""
    lax = section("server:any", pairs["lax"], server_name="same.test", server_name_mode=other, verify_client="optional_no_ca")
    strict = section("server:any", pairs["strict"], server_name="same.test", server_name_mode=0 if other else 2,
                     verify_client="on", ca_list=certs.ca.cert)
    host = start_host(script=SCRIPT, tls_cfg=section("server:default", pairs["default"]) + lax + strict)
    context, way_in = client_context(version), "x.same.test" if asked == "same.test" else "same.test"
    session = session_of(host, context, asked)
    assert refusal(host.port(), context, way_in, session) is not None
    host.rpc("tls.reload")
    assert resumed(host, context, asked, session), "a reload that changes nothing ends sessions"


# -- two certificates ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def double(module_host, certs, pairs):
    """Two certificates in the default domain and in a named one, there the other way round; eight workers."""
    both = {"certificate2": certs.server_rsa.cert, "private_key2": certs.server_rsa.key}
    swapped = {"certificate2": certs.server_ec2.cert, "private_key2": certs.server_ec2.key, "server_name": "rsa.test"}
    client = certs.client("two-clients-rsa", subject=name("two-clients-rsa"), kind="rsa")
    text = (section("server:default", certs.server_ec, **both) + section("server:any", certs.server_rsa, **swapped)
            + section("client:default", client))
    return module_host(listen=(UDP, TLS), tcp_children=8, children=4, script=SCRIPT, tls_cfg=text)


OFFERS = [("1.2", ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "rsa"),
          ("1.2 ecdsa", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), "ec"),
          ("1.2 both", ("-tls1_2",), "ec"), ("1.3 both", ("-tls1_3",), "ec"),
          ("1.3 rsa", ("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"), "rsa"),
          ("1.3 ecdsa", ("-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"), "ec"),
          ("1.2 rsa transport", ("-tls1_2", "-cipher", "AES128-GCM-SHA256"), "rsa")]


@pytest.mark.parametrize("options, kind", [o[1:] for o in OFFERS], ids=[o[0] for o in OFFERS])
@pytest.mark.parametrize("asked", ["elsewhere.test", "rsa.test"])
def test_certificate_by_what_the_client_can(double, certs, options, kind, asked):
    output = openssl_client(double.port(), *options, "-servername", asked, "-CAfile", certs.ca.cert,
                            "-verify_return_error", "-showcerts")
    assert "SIP/2.0 200" in output, output
    leaf = x509.load_pem_x509_certificate(re.search(r"-----BEGIN[\s\S]+?-----END CERTIFICATE-----\n", output).group().encode())
    right = certs.server_rsa if kind == "rsa" else certs.server_ec2 if asked == "rsa.test" else certs.server_ec
    assert leaf.serial_number == right.x509.serial_number


@pytest.mark.parametrize("ciphers", ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256"], ids=["signing", "transport"])
@pytest.mark.parametrize("asked", ["elsewhere.test", "rsa.test"])
def test_rsa_key_in_every_worker(double, certs, ciphers, asked):
    """Each worker signs, and deciphers, with the one RSA key; all at the same time, again and again."""
    context = client_context("1.2", ca=certs.ca.cert, ciphers=ciphers)
    context.check_hostname = False
    seen = set()
    for turn in range(50):  # on until all have been asked: some may still have the clients of before
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(Client(double.port(), context, server_name=asked)) for _ in range(16)]
            for client in clients:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.tls.do_handshake()
                client.push(client.pull())
            seen |= {client.handshake().ask().get("x-pid") for client in clients}
            assert all(shown(client).serial_number == certs.server_rsa.x509.serial_number for client in clients)
        if turn >= 4 and len(seen) == 8:
            break
    assert len(seen) == 8, f"only {len(seen)} workers were asked"
    double.check_alive()


@BOTH
def test_rsa_key_as_a_client(double, certs, version):
    """The host proves itself with an RSA key to 24 peers at once, from whichever worker it is."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server_context(certs.server_ec, version, certs.ca.cert))) for _ in range(24)]
        udp = stack.enter_context(UdpClient(double.port(UDP)))
        asked = [udp.send(headers=[f"X-Target: {to.uri()}"]) for to in peers]
        assert {udp.final(call_id).status for call_id in asked} == {200}
        assert all(to.peer_certs[0]["subject"] == ((("commonName", "two-clients-rsa"),),) for to in peers)
    double.check_alive()


# -- many domains -------------------------------------------------------------------------------------------------------

DEEP = ".".join(["a"] * 120) + ".test"  # every parent of it is looked for, at three places


def handshake_cpu(host, asked, rounds=100):
    """Nanoseconds of the workers for one handshake; resumed, so that little else is measured."""
    def used():
        total = 0
        for pid in host.workers():
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total

    context = client_context("1.2")
    session = session_of(host, context, asked)
    before = used()
    for _ in range(rounds):
        Client(host.port(), context, server_name=asked, session=session).handshake().close(notify=False)
    host.wait_no_connections()
    return (used() - before) / rounds


def test_lookup_takes_no_longer_with_1000_domains(start_host, pairs):
    """A name of 120 labels makes the search as long as it gets; it is the same with 1 domain and with 1,000."""
    hosts = []
    for count in (1, 1000):
        text = section("server:default", pairs["default"]) + "".join(
            section("server:any", pairs["exact"], server_name=f"d{i}.test", server_name_mode=1) for i in range(count))
        hosts.append(start_host(script=SCRIPT, shm_mb=128, tls_cfg=text))
        assert served(pairs, hosts[-1].port(), f"x.d{count - 1}.test") == "exact"
    one, thousand = (min(times) for times in zip(*([handshake_cpu(h, DEEP) for h in hosts] for _ in range(4))))
    assert thousand < 2 * one, f"a handshake takes {one:.0f} ns with 1 domain, {thousand:.0f} ns with 1,000"
