"""Whom a certificate is for (RFC 5922): is_peer_named() of clients, verify_name of servers."""

import re

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import name, raw_san, san
from host import HostError, wait_for
from peers import Client, Peer, UdpClient, client_context, connect, server_context

UDP = "udp:127.0.0.1"
FAILS = "X-Patience: 1500"  # milliseconds to wait for a reply that will not come
ASK = """
request_route {
	if (is_peer_named("$hdr(X-Name)")) {
		sl_send_reply("200", "Yes");
	} else {
		sl_send_reply("200", "No");
	}
	exit;
}
"""
RELAY = """
request_route {
	if ($hdr(X-Ask) != $null) {
		$xavp(tls=>server_name) = $hdr(X-Ask);
	}
	$ru = $hdr(X-Target);
	remove_hf("X-Target");
	if ($hdr(X-Patience) != $null) {
		t_set_fr("4000", "$(hdr(X-Patience){s.int})");
	}
	if (!t_relay()) {
		sl_reply_error();
	}
	exit;
}
onreply_route {
	if (is_peer_named("a.test")) {
		append_hf("X-Named: a.test\\r\\n");
	}
}
"""
# What a certificate says, and of whom it is true.
NAMES = {
    "dns": (san("DNS:a.test", "DNS:b.test"), "cn.test", ["a.test", "A.Test", "a.test.", "b.test"],
            ["test", ".test", "x.a.test", "a.tes", "a.test2", "cn.test", "*.test", "", "127.0.0.1"]),
    "wildcard": (san("DNS:*.test", "DNS:*.b.test"), "cn.test", ["*.test"], ["a.test", "x.b.test", "test", "b.test"]),
    "uri": (san("URI:sip:a.test", "URI:SIP:b.test"), "cn.test", ["a.test", "B.TEST", "b.test."], ["sip:a.test", "cn.test"]),
    "uri-before-dns": (san("DNS:dns.test", "URI:sip:uri.test"), "cn.test", ["uri.test"], ["dns.test", "cn.test"]),
    "uri-of-a-user": (san("URI:sip:joe@user.test", "DNS:dns.test"), "cn.test", ["dns.test"],
                      ["user.test", "joe@user.test", "joe"]),
    "other-uris": (san("URI:sips:s.test", "URI:https://h.test", "URI:h.test", "DNS:dns.test"), "cn.test", ["dns.test"],
                   ["s.test", "h.test", "//h.test"]),
    "uri-with-more": (san("URI:sip:p.test:5061", "URI:sip:q.test;transport=tls", "URI:sip:r.test?h=v", "URI:sip:[::1]:5061"),
                      "cn.test", ["p.test", "q.test", "r.test", "::1", "[::1]"], ["p.test:5061", "q.test;transport=tls"]),
    "address": (san("IP:192.0.2.7", "IP:2001:db8::7", "DNS:a.test"), "cn.test",
                ["192.0.2.7", "2001:db8::7", "[2001:DB8:0::7]", "a.test"], ["192.0.2.8", "2001:db8::8", "[192.0.2.7]", "cn.test"]),
    "address-as-dns": (san("DNS:192.0.2.7"), "cn.test", [], ["192.0.2.7"]),
    "common-name": (None, "cn.test", ["cn.test", "CN.test"], ["test", "x.cn.test"]),
    "common-name-address": (None, "192.0.2.7", [], ["192.0.2.7"]),
    "nothing": (san("email:joe@a.test"), "cn.test", [], ["a.test", "cn.test", ""]),
    "nul": (raw_san((0x82, b"a.test\0.evil.test"), (0x86, b"sip:b.test\0.evil.test"), (0x86, b"sip:\0c.test"),
                    (0x86, b"sip:d.test:5061\0.evil.test")), "cn.test", [],
            ["a.test", "b.test", "c.test", "d.test", "evil.test", "cn.test", ""]),
    "empty": (raw_san((0x82, b""), (0x86, b"sip:"), (0x86, b""), (0x87, b"")), "cn.test", [], ["", ".", "cn.test", "sip:"]),
    "wrong-address": (raw_san((0x87, b"\xc0\x00\x02"), (0x87, b"\xc0\x00\x02\x07\x00"), (0x82, b"a.test")), "cn.test",
                      ["a.test"], ["192.0.2", "192.0.2.7", "192.0.2.0"]),
    "many": (san(*[f"DNS:n{i}.test" for i in range(500)]), "cn.test", ["n0.test", "n499.test"], ["n500.test"]),
}


@pytest.fixture(scope="module")
def host(module_host, certs):
    """Verifies clients that show a certificate, and says whether they have the name in X-Name."""
    return module_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_certificate=1), script=ASK)


def pair_for(certs, kind, usage=ExtendedKeyUsageOID.CLIENT_AUTH):
    """A certificate with the names of this kind."""
    names, cn, _, _ = NAMES[kind]
    return certs.pair(f"names-{kind}-{usage.dotted_string}", name(cn), certs.ca, extensions=[names] if names else [],
                      usage=[usage])


@pytest.mark.parametrize("kind", list(NAMES))
def test_is_peer_named(host, certs, kind):
    """Every name of the kind is true, and nothing like it."""
    _, _, good, bad = NAMES[kind]
    with connect(host.port(), pair=pair_for(certs, kind)) as client:
        told = {n: client.ask(headers=[f"X-Name: {n}"], cseq=i + 1).start.rsplit(" ", 1)[1] for i, n in enumerate([*good, *bad])}
    assert told == {**{n: "Yes" for n in good}, **{n: "No" for n in bad}}


def test_only_verified_peers_have_a_name(start_host, certs):
    """Whoever signs for themselves is nobody; nor is one without a certificate."""
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert), tls_cfg=None, script=ASK)
    careless = start_host(tls_cfg=f"[server:default]\n{certs.server_ec.section(verify_client='optional_no_ca', ca_list=certs.ca.cert)}",
                          script=ASK)
    own = certs.pair("names-own", name("a.test"), None, extensions=[san("DNS:a.test")])
    for to, pair in ((host, None), (host, own), (careless, None), (careless, own)):
        with connect(to.port(), pair=pair) as client:
            assert client.ask(headers=["X-Name: a.test"]).start.endswith("No")
    with connect(careless.port(), pair=pair_for(certs, "dns")) as client:
        assert client.ask(headers=["X-Name: a.test"]).start.endswith("Yes")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_name_of_a_resumed_peer(host, certs, version):
    """The certificate in a ticket has the same names."""
    context, session = client_context(version, pair_for(certs, "uri")), None
    for resumed in (False, True):
        with Client(host.port(), context, session=session).handshake() as client:
            assert client.ask(headers=["X-Name: a.test"]).start.endswith("Yes")
            assert client.ask(headers=["X-Name: b.tes"], cseq=2).start.endswith("No")
            assert client.tls.session_reused == resumed
            session = client.tls.session


# -- servers --------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def relay(module_host, certs):
    """Connects only to servers whose certificates name them."""
    client = f"[client:default]\nca_list = {certs.ca.cert}\nverify_certificate = yes\nrequire_certificate = yes\nverify_name = yes\n"
    return module_host(listen=(UDP, "tls:127.0.0.1"), modparams={"tm": {"fr_timer": 10000}, "tls": {"xavp_cfg": "tls"}},
                       tls_cfg=f"[server:default]\n{certs.server_ec.section()}\n{client}", modules=["tm.so"], script=RELAY)


def served(relay, certs, pair, version, *headers):
    """The status and the reply with which a request to a peer with this certificate ends."""
    with Peer(server_context(pair, version)) as peer, UdpClient(relay.port(UDP)) as udp:
        return udp.ask(headers=[f"X-Target: {peer.uri()}", *headers])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["dns", "uri", "uri-before-dns", "common-name", "wildcard"])
def test_verify_name(relay, certs, kind, version):
    """The server is who was asked for, or it gets nothing."""
    _, _, good, bad = NAMES[kind]
    pair = pair_for(certs, kind, ExtendedKeyUsageOID.SERVER_AUTH)
    wrong = next(n for n in bad if n.endswith(".test") and n[0] not in ".*" and ":" not in n)
    right = next((n for n in good if "*" not in n), None)
    since = len(relay.log())
    assert served(relay, certs, pair, version, f"X-Ask: {wrong}", FAILS).status >= 400
    relay.wait_log(re.escape(f'certificate is not for "{wrong}" (verify_name'), since=since)
    if right is not None:
        reply = served(relay, certs, pair, version, f"X-Ask: {right}")
        assert reply.status == 200
        assert (reply.get("X-Named") == "a.test") == ("a.test" in good)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_verify_name_by_address(relay, certs, version):
    """Where no name is asked for, the certificate must be for the address."""
    good = certs.server("names-ip", names=["IP:127.0.0.1", "DNS:a.test"])
    assert served(relay, certs, good, version).status == 200
    since = len(relay.log())
    assert served(relay, certs, certs.server("names-no-ip", names=["DNS:a.test"]), version, FAILS).status >= 400
    relay.wait_log(re.escape('certificate is not for "127.0.0.1" (verify_name'), since=since)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("asked, name", [
    ("192.0.2.7", "IP:192.0.2.7"), ("192.0.2.7:5061", "IP:192.0.2.7"), ("[2001:DB8:0::7]:5061", "IP:2001:db8::7"),
    ("[2001:db8::7]", "URI:sip:[2001:db8::7]"), ("2001:db8::7", "IP:2001:db8::7"), ("a.test:5061", "DNS:a.test"), ("a.test.", "DNS:a.test"),
    ("A.TEST.:5061", "URI:sip:a.test")])
def test_verify_name_by_what_is_not_sent(relay, certs, asked, name, version):
    """An address is compared, though it is never sent as a server name (RFC 6066, section 3); a port is neither."""
    good = certs.server("names-not-sent-" + str(abs(hash(name))), names=[name])
    other = certs.server("names-not-sent-other", names=["IP:127.0.0.1", "DNS:b.test"])
    host = name.split(":", 1)[1].removeprefix("sip:").strip("[]")
    with Peer(server_context(good, version)) as peer, UdpClient(relay.port(UDP)) as udp:
        assert udp.ask(headers=[f"X-Target: {peer.uri()}", f"X-Ask: {asked}"]).status == 200
        assert [n and n.lower() for n in peer.names] == [None if "IP" in name or "[" in name else host]
    since = len(relay.log())
    assert served(relay, certs, other, version, f"X-Ask: {asked}", FAILS).status >= 400
    relay.wait_log(f'(?i)' + re.escape(f'certificate is not for "{host}" (verify_name'), since=since)


def test_failures_are_counted(relay, certs):
    """As a certificate that is no good."""
    def count():
        return int(relay.rpc("stats.fetch", "tls:")["tls.failed_certificate_other"])

    before = count()
    served(relay, certs, certs.server("names-no-ip", names=["DNS:a.test"]), "1.3", FAILS)
    wait_for(lambda: count() > before, what="the failure to be counted")


def test_without_verify_name(start_host, certs):
    """The default: any certificate of a trusted authority will do, as before."""
    client = f"[client:default]\nca_list = {certs.ca.cert}\nverify_certificate = yes\n"
    host = start_host(listen=(UDP, "tls:127.0.0.1"), modparams={"tls": {"xavp_cfg": "tls"}}, modules=["tm.so"],
                      tls_cfg=f"[server:default]\n{certs.server_ec.section()}\n{client}", script=RELAY)
    assert served(host, certs, certs.server("names-no-ip", names=["DNS:a.test"]), "1.3", "X-Ask: other.test").status == 200


# -- wildcards -----------------------------------------------------------------------------------------------------------

# What a certificate says, and with verify_name_wildcard of whom it is true and of whom not.
WILD = {
    "one-label": (san("DNS:*.a.test"), "cn.test", ["x.a.test", "X.A.Test", "x.a.test.", "xn--x.a.test", "1.a.test"],
                  ["a.test", "x.y.a.test", ".a.test", "x.b.test", "xa.test", "cn.test", "a.test.a", "127.0.0.1"]),
    "part-of-a-label": (san("DNS:x*.a.test", "DNS:*y.a.test", "DNS:s*p.a.test"), "cn.test", [], ["x.a.test", "xy.a.test", "sip.a.test"]),
    "not-leftmost": (san("DNS:x.*.test", "DNS:x.a.*", "DNS:*.*.test", "DNS:**.a.test"), "cn.test", [],
                     ["x.a.test", "y.a.test", "x.y.test"]),
    "top-level": (san("DNS:*.test", "DNS:*", "DNS:*."), "cn.test", [], ["a.test", "test", "x.a.test"]),
    "root": (raw_san((0x82, b"*.a.test.")), "cn.test", ["x.a.test", "x.a.test."], ["a.test"]),
    "beside-names": (san("DNS:b.test", "DNS:*.a.test"), "cn.test", ["b.test", "x.a.test"], ["x.b.test"]),
    "uri": (san("URI:sip:*.a.test"), "cn.test", [], ["x.a.test"]),
    "uri-before-dns": (san("URI:sip:b.test", "DNS:*.a.test"), "cn.test", ["b.test"], ["x.a.test"]),
    "common-name": (None, "*.a.test", [], ["x.a.test", "a.test"]),
    "address": (san("DNS:*.0.0.1", "DNS:*.2.7"), "cn.test", [], ["127.0.0.1", "192.0.2.7", "[::1]"]),
    "nul": (raw_san((0x82, b"*.a.test\0.evil.test"), (0x82, b"*\0.a.test"), (0x82, b"*.\0.test")), "cn.test", [],
            ["x.a.test", "x.evil.test"]),
    "empty": (raw_san((0x82, b""), (0x82, b"*"), (0x82, b"*."), (0x82, b"*.."), (0x82, b"*..test")), "cn.test", [],
              ["x.test", "", ".", "x.", "x..", "x"]),
}
NAMES.update({f"wild-{kind}": row for kind, row in WILD.items()})


@pytest.fixture(scope="module")
def wild(module_host, certs):
    """The same as `host` and `relay`, with wildcards."""
    client = f"[client:default]\nca_list = {certs.ca.cert}\nverify_certificate = yes\nverify_name = yes\nverify_name_wildcard = yes\n"
    server = certs.server_ec.section(ca_list=certs.ca.cert, verify_certificate="yes", verify_name_wildcard="yes")
    script = RELAY.replace("request_route {", "request_route {\n\tif ($hdr(X-Target) == $null) {\n\t\troute(ASK);\n\t}\n", 1)
    return module_host(listen=(UDP, "tls:127.0.0.1"), modparams={"tm": {"fr_timer": 10000}, "tls": {"xavp_cfg": "tls"}},
                       tls_cfg=f"[server:default]\n{server}\n{client}", modules=["tm.so"],
                       script=script + ASK.replace("request_route", "route[ASK]"))


@pytest.mark.parametrize("kind", list(WILD))
def test_wildcards_of_clients(wild, host, certs, kind):
    """What a wildcard stands for, and that nothing of it counts without the switch."""
    _, _, good, bad = WILD[kind]
    for at, yes in ((wild, good), (host, [n for n in good if n == "b.test"])):
        with connect(at.port(), pair=pair_for(certs, f"wild-{kind}")) as client:
            told = {n: client.ask(headers=[f"X-Name: {n}"], cseq=i + 1).start.rsplit(" ", 1)[1] for i, n in enumerate([*good, *bad])}
        assert told == {n: "Yes" if n in yes else "No" for n in [*good, *bad]}


@pytest.mark.parametrize("kind, asked, taken", [
    ("one-label", "x.a.test", True), ("one-label", "x.y.a.test", False), ("one-label", "a.test", False), ("one-label", None, False),
    ("top-level", "a.test", False), ("part-of-a-label", "xy.a.test", False), ("uri", "x.a.test", False)])
def test_wildcards_of_servers(wild, relay, certs, kind, asked, taken):
    pair = pair_for(certs, f"wild-{kind}", ExtendedKeyUsageOID.SERVER_AUTH)
    headers = [FAILS] if asked is None else [FAILS, f"X-Ask: {asked}"]
    assert (served(wild, certs, pair, "1.3", *headers).status == 200) == taken
    since = len(relay.log())
    assert served(relay, certs, pair, "1.3", *headers).status != 200
    line = relay.wait_log("certificate is not for", since=since)
    assert ("verify_name_wildcard accepts that" in relay.log()[since:]) == taken, line


def test_refusal_lists_the_names(relay, certs):
    """A few of them, each in quotes, and whatever stands in them."""
    cases = [
        (san("DNS:a.test", "URI:sip:b.test", "IP:192.0.2.7", "IP:2001:db8::7", "email:joe@c.test", "DNS:*.d.test"), "cn.test",
         '"a.test", "sip:b.test", "192.0.2.7", "2001:db8::7", "*.d.test")'),
        (None, "cn.test", '"cn.test")'),
        (san("email:joe@c.test"), "cn.test", "nobody: it has no name that counts)"),
        (san(*[f"DNS:n{i}.test" for i in range(500)]), "cn.test",
         '"n0.test", "n1.test", "n2.test", "n3.test", "n4.test", "n5.test" and 494 more)'),
        (raw_san((0x82, b'a", "b.test\0\n\x1b[2J'), (0x82, b"x" * 3000), (0x87, b"\1\2\3"), (0x82, b"")), "cn.test",
         '"a?, ?b.test???[2J", "' + "x" * 64 + '...", "")'),
        (san(*[f"DNS:{'y' * 60}{i}.test" for i in range(9)]), "cn.test", f'"{"y" * 60}0.te...", "{"y" * 60}1.te..." and 7 more)'),
    ]
    for i, (names, cn, text) in enumerate(cases):
        pair = certs.pair(f"names-listed-{i}", name(cn), certs.ca, extensions=[names] if names else [],
                          usage=[ExtendedKeyUsageOID.SERVER_AUTH])
        since = len(relay.log())
        assert served(relay, certs, pair, "1.3", "X-Ask: wrong.test", FAILS).status != 200
        relay.wait_log(re.escape('certificate is not for "wrong.test" (verify_name, RFC 5922), but for ' + text) + "\n", since=since)


# -- settings ---------------------------------------------------------------------------------------------------------------

def test_verify_name_needs_verification(start_host, certs):
    """Said with file and line, and refused: silence would be taken for safety."""
    with pytest.raises(HostError) as told:
        start_host(tls_cfg=f"[server:default]\n{certs.server_ec.section()}\n[client:default]\nverify_name = yes\n")
    assert "verify_name: needs verify_certificate = yes" in str(told.value)
    with pytest.raises(HostError) as told:
        start_host(modparams=certs.server_ec.params(verify_name=1))
    assert "verify_name: needs verify_certificate = yes" in str(told.value)


def test_verify_name_of_clients(start_host, certs):
    """It has no effect in a server section, and the operator is told what has."""
    host = start_host(tls_cfg=f"[server:default]\n{certs.server_ec.section(verify_name='yes')}\n")
    assert "is_peer_named()" in host.log()


def test_wildcards_without_verification(start_host, certs):
    host = start_host(tls_cfg=f"[server:default]\n{certs.server_ec.section(verify_name_wildcard='yes')}\n")
    assert "tls.cfg:5: verify_name_wildcard: has no effect: no certificate is verified here" in host.log()
