"""What a script reads about a connection: the right value, the same by every name, and nothing that is not there."""

import hashlib
import os
import re
import urllib.parse

import pytest

import questions
import sip
from host import TOP
from odd_certs import CLIENTS, big_server
from peers import Client, Peer, UdpClient, client_context, connect, server_context
from ws import ROUTE, WsClient

UDP, TLS, TCP = "udp:127.0.0.1", "tls:127.0.0.1", "tcp:127.0.0.1"
ALL = questions.QUESTIONS + questions.NEWER
COUNTS = {"@tls.peer.count.host": b"0", "@tls.peer.count.uri": b"0", "@tls.peer.count.email": b"0",
          "@tls.peer.count.ip": b"0", "$tls_peer_san_count": b"0"}


@pytest.fixture(scope="module")
def host(module_host, certs):
    """A host that answers every question and serves any client."""
    return module_host(modparams=params(certs), script=questions.script(ALL), settings=questions.host_settings(),
                       pkg_mb=64, shm_mb=128)


@pytest.fixture(autouse=True)
def everyone_alive(host):
    """After each test the shared host has all its processes and a clean log."""
    host.revive()
    yield
    host.check_alive()


def params(certs, **more):
    """A server that wants to know its clients, but serves them all."""
    return certs.server_chained.params(**{"ca_list": certs.ca.cert, "verify_client": "optional_no_ca", **more})


def answers(host, pair=None, version="1.3", names=None):
    """The answers that a client with this certificate gets."""
    with connect(host.port(), version, pair) as client:
        return questions.ask_all(client, names or ALL)


def one_host(start_host, certs, statements, **how):
    """A host whose request route has these statements and then sends 200."""
    script = "request_route {\n" + statements + '\nsl_send_reply("200", "OK");\nexit;\n}\n'
    return start_host(modparams=params(certs), script=script, **how)


def pem(path):
    """The first certificate of a file."""
    with open(path, "rb") as f:
        return f.read().split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"


# -- values ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_connection(host, version):
    """What holds of the connection itself."""
    with connect(host.port(), version) as client:
        found = questions.ask_all(client, ALL)
        name, protocol, bits = client.tls.cipher()
    assert found["$tls_version"] == b"TLSv" + version.encode() and protocol.startswith("TLSv1")
    assert found["$tls_cipher_info"] == name.encode() and found["$tls_cipher_bits"] == str(bits).encode()
    assert found["$tls_description"].startswith(name.encode())
    assert found["$tls_peer_server_name"] == b"localhost"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_spellings(host, certs, version):
    """All spellings of a select are one, and each has the value of the variable."""
    found = answers(host, CLIENTS["all-fields"](certs), version)
    for group in questions.SPELLINGS:
        assert len({found[name] for name in group}) == 1, group
    for variable, select in {"cn": "cn", "locality": "l", "country": "c", "state": "st", "organization": "o",
                             "unit": "ou", "uid": "uid"}.items():
        assert found[f"$tls_peer_subject_{variable}"] == found[f"@tls.peer.subject.{select}"] is not None
    same = {"serial": "sn", "raw_cert": "rawCert", "urlencoded_cert": "URLEncodedCert"}
    for variable in ["version", "verified", "notBefore", "notAfter", *same]:
        select = same.get(variable, variable)
        assert found[f"$tls_peer_{variable}"] == found[f"@tls.peer.{select}"] is not None


def test_fields(host, certs):
    """Each field has its own value, the first one where there are several."""
    found = answers(host, CLIENTS["all-fields"](certs))
    fields = {"cn": b"one", "l": b"Town", "c": b"DE", "st": b"State", "o": b"First", "ou": b"Unit 1", "uid": b"user"}
    assert {f: found[f"@tls.peer.subject.{f}"] for f in fields} == fields
    line = (b"/C=DE/ST=State/L=Town/O=First/O=Second/OU=Unit 1/OU=Unit 2/CN=one/CN=two/UID=user/serialNumber=4711"
            b"/x500UniqueIdentifier=other")
    assert found["$tls_peer_subject"] == found["$tls(p_subject_line)"] == line
    assert found["$tls_peer_issuer"] == b"/O=Example/CN=Test Root" and found["@tls.peer.issuer.o"] == b"Example"
    assert found["$tls_my_subject"] == b"/CN=localhost" and found["$tls_my_issuer_cn"] == b"Test Intermediate"


def test_letters_and_string_types(host, certs):
    """Whatever a name is encoded in, a script sees UTF-8."""
    found = answers(host, certs.client_utf8)
    assert [found[f"@tls.peer.subject.{f}"].decode() for f in ("cn", "o", "ou", "l", "st", "uid")] == [
        "Zoë 測試", "Bücher & Söhne", "Ünit, \"1\"", "København", "Île-de-France", "zoë"]
    found = answers(host, CLIENTS["string-types"](certs))
    assert [found[f"@tls.peer.subject.{f}"].decode() for f in ("o", "l", "cn")] == ["Bücher", "København", "Zoe"]


def test_empty_is_not_missing(host, certs):
    """An empty field is an empty string, a missing one is nothing."""
    found = answers(host, CLIENTS["empty-fields"](certs))
    assert found["$tls_peer_subject_cn"] == found["$tls_peer_subject_unit"] == found["$tls_peer_san_uri"] == b""
    assert found["$tls_peer_subject_country"] is None and found["$tls_peer_san_ip"] is None
    found = answers(host, CLIENTS["no-subject"](certs))
    assert found["$tls_peer_subject_cn"] is found["@tls.peer.subject"] is None
    assert found["$tls_peer_subject"] == b"" and found["$tls_peer_san_uri"] == b"sip:example.test"


@pytest.mark.parametrize("client,truth", [
    ("none", ""), ("client_good", "verified"), ("client_expired", "expired"), ("client_self_signed", "self_signed"),
    ("client_wrong_ca", ""), ("client_no_chain", ""), ("client_not_yet", "")])
def test_states(host, certs, client, truth):
    """Verified, expired, self-signed: at most one is true, and of our own certificate none is known."""
    found = answers(host, None if client == "none" else getattr(certs, client))
    states = ["verified", "revoked", "expired", "self_signed"]
    assert {s for s in states if found[f"@tls.peer.{s}"] == b"1"} == ({truth} - {""})
    assert all(found[f"@tls.peer.{s}"] in (b"0", b"1") and found[f"@tls.my.{s}"] is None for s in states)
    assert found["is_peer_verified()"] == (b"yes" if truth == "verified" else b"no")


def test_revoked(start_host, certs):
    """A revoked certificate says so where there is a list."""
    names = ["$tls_peer_revoked", "$tls_peer_verified", "$tls_peer_expired"]
    host = start_host(modparams=params(certs, crl=certs.crl_revoked), script=questions.script(names))
    assert list(answers(host, certs.client_revoked, names=names).values()) == [b"1", b"0", b"0"]
    assert list(answers(host, certs.client_good, names=names).values()) == [b"0", b"1", b"0"]


def test_serial_and_dates(host, certs):
    """A serial number of any size, and the dates as the reference writes them."""
    pair = CLIENTS["big-serial"](certs)
    found = answers(host, pair)
    assert pair.x509.serial_number > 2 ** 64
    assert found["$tls_peer_serial"] == found["@tls.peer.sn"] == str(pair.x509.serial_number).encode()
    for name, at in (("notBefore", pair.x509.not_valid_before), ("notAfter", pair.x509.not_valid_after)):
        assert found[f"$tls_peer_{name}"].decode() == at.strftime("%b %e %H:%M:%S %Y GMT")


def test_no_certificate(host):
    """Without a certificate there is nothing to say about it, and no name to count."""
    found = answers(host)
    peer = {q: a for q, a in found.items() if re.match(r"[@$]\(?tls[._(]p", q) and a is not None}
    known = {"$tls_peer_server_name", *(q for q in ALL if re.search("verified$|revoked$|expired$|self_?signed$", q))}
    assert set(peer) <= known


# -- whole certificates ----------------------------------------------------------------------------------------------

def test_whole_certificates(host, certs):
    """As PEM, the same for a URL, and the chain that was verified."""
    found = answers(host, certs.client_chained)
    for side, path in (("peer", certs.client_chained.cert), ("my", certs.server_chained.cert)):
        assert found[f"$tls_{side}_raw_cert"] == pem(path)
        encoded = found[f"$tls_{side}_urlencoded_cert"]
        assert urllib.parse.unquote(encoded.decode()).encode() == pem(path)
        assert re.fullmatch(rb"(?:[A-Za-z0-9-]|%[0-9a-f]{2})+", encoded)
    chain = [pem(p.cert) for p in (certs.client_chained, certs.intermediate, certs.ca)]
    assert [found[f"@tls.peer.verified_cert_chain[{n}]"] for n in range(3)] == chain


WAYS = ["$(tls_peer_raw_cert{%s})", "$(sel(tls.peer.rawCert){%s})", "$(sel(tls.peer.verified_cert_chain[0]){%s})",
        "$(tls_peer_urlencoded_cert{%s})"]


def digests(add):
    """Statements that tell the length and the MD5 of the peer's certificate, asked for in every way."""
    return "".join(f'{add}("X-A: {way % "s.len"} {way % "s.md5"}\\r\\n");\n' for way in WAYS)


def check_digests(message, path):
    """Whether they are those of the certificate in this file."""
    plain = pem(path)
    encoded = re.sub(rb"[^A-Za-z0-9.~_-]", lambda m: b"%%%02x" % m[0][0], plain)
    wanted = 3 * [plain] + [encoded]
    assert message.all("x-a") == [f"{len(w)} {hashlib.md5(w).hexdigest()}" for w in wanted]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_certificate(start_host, certs, version):
    """60 KB in a client's certificate: neither cut nor refused, by no way to ask."""
    pair = CLIENTS["big"](certs)
    host = one_host(start_host, certs, digests("append_to_reply"), pkg_mb=32)
    with connect(host.port(), version, pair) as client:
        for _ in range(20):
            check_digests(client.ask(), pair.cert)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_server_certificate(start_host, certs, version):
    """The same with 95 KB in the certificate of a server that the host connects to."""
    pair = big_server(certs)
    host = start_host(modparams=params(certs, max_certificate_chain=102400), modules=["tm.so"], pkg_mb=32, shm_mb=128,
                      script='request_route {\n$ru = $hdr(X-Target);\nt_on_reply("R");\nt_relay();\nexit;\n}\n'
                             "onreply_route[R] {\n" + digests("append_hf") + "}\n")
    with Peer(server_context(pair, version)) as to, UdpClient(host.port(UDP)) as client:
        check_digests(client.ask(headers=[f"X-Target: {to.uri()}"]), pair.cert)


# -- alternative names -----------------------------------------------------------------------------------------------

def test_names_by_index(host, certs):
    """Every name of every kind, from the front and from the end, and how many there are."""
    found = answers(host, certs.client_many_names)
    wanted = {"email": ("a@example.test", "b@example.test"), "host": ("a.example.test", "b.example.test"),
              "uri": ("sip:a.example.test", "sip:b.example.test"), "ip": ("192.0.2.1", "2001:db8::1")}
    for kind, (first, second) in wanted.items():
        by_index = {n: found[f"@tls.peer.{kind}[{n}]"] for n in (0, 1, 2, -1)}
        assert by_index == {0: first.encode(), 1: second.encode(), 2: None, -1: second.encode()}
        variable = "hostname" if kind == "host" else kind
        assert by_index == {n: found[f"$(tls_peer_san_{variable}[{n}])"] for n in by_index}
        assert found[f"@tls.peer.{kind}"] == found[f"$tls_peer_san_{variable}"] == first.encode()
        counts = [found[f"@tls.peer.count.{word}"] for word in questions.KINDS[kind]]
        assert counts == [b"2"] * len(counts) and found[f"$(tls_peer_san_count[{kind}])"] == b"2"
    assert found["$tls_peer_san_count"] == b"8" and found["$tls_my_san_count"] == b"6"


def test_addresses(host, certs):
    """Both families, in the order of the certificate."""
    found = answers(host, CLIENTS["ipv6-first"](certs))
    assert [found[f"@tls.peer.ip[{n}]"] for n in range(3)] == [b"2001:db8::1", b"::ffff:192.0.2.7", b"192.0.2.8"]


def test_addresses_of_wrong_sizes(host, certs):
    """An address of 0, 3, 5 or 17 bytes is none."""
    found = answers(host, certs.client_bad_ip)
    assert found["@tls.peer.ip"] is found["$tls_peer_san_ip"] is None
    assert {q: found[q] for q in COUNTS} == COUNTS


def test_zero_bytes(host, certs):
    """A name with a zero byte never looks like what stands before it."""
    found = answers(host, certs.client_nul_in_name)
    assert not [q for q, a in found.items() if a and (a == b"example.test" or a.startswith(b"sip:example.test"))
                and ".peer" in q]
    assert found["$tls_peer_subject_cn"] is found["@tls.peer.host"] is found["@tls.peer.uri"] is None
    assert {q: found[q] for q in COUNTS} == COUNTS
    assert found["$tls_peer_subject"] == rb"/CN=example.test\x00.evil.test"


def test_usable_among_unusable(host, certs):
    """What is no name is passed over: the index counts the others."""
    found = answers(host, CLIENTS["usable-among-unusable"](certs))
    assert [found[f"@tls.peer.host[{n}]"] for n in (0, 1, 2, -1)] == [b"a.example", b"b.example", None, b"b.example"]
    assert [found[f"@tls.peer.count.{k}"] for k in ("host", "ip", "uri")] == [b"2", b"1", b"0"]
    assert found["@tls.peer.ip"] == b"1.2.3.4" and found["$tls_peer_san_count"] == b"3"


def test_index_from_a_variable(start_host, certs):
    """A loop over all names."""
    host = one_host(start_host, certs, """
$var(i) = 0;
while ($var(i) < $tls_peer_san_count) {
	append_to_reply("X-A: $(tls_peer_san_hostname[$var(i)])\\r\\n");
	$var(i) = $var(i) + 1;
}""")
    with connect(host.port(), pair=certs.client_many_names) as client:
        assert client.ask().all("x-a") == ["a.example.test", "b.example.test"] + 6 * ["<null>"]


# -- in a script -----------------------------------------------------------------------------------------------------

def test_as_numbers(start_host, certs):
    """What is a number compares as one, and as a string."""
    host = one_host(start_host, certs, """
if ($tls_peer_verified == 1 && $tls_peer_expired == 0 && $tls_cipher_bits >= 128 && (int)$tls_peer_serial > 0)
	append_to_reply("X-A: number\\r\\n");
if ($tls_peer_verified == "1" && @tls.peer.verified == "1" && $tls_cipher_bits =~ "^[0-9]+$")
	append_to_reply("X-A: string\\r\\n");""")
    with connect(host.port(), pair=certs.client_good) as client:
        assert client.ask().all("x-a") == ["number", "string"]


def test_many_values_in_one_expression(start_host, certs):
    """A dozen values stay good side by side."""
    fields = ["c", "st", "l", "o", "ou", "cn", "uid"]
    parts = [f"@tls.peer.subject.{f}" for f in fields] + ["$tls_version", "$tls_peer_issuer_cn", "$tls_my_subject_cn"]
    host = one_host(start_host, certs, '$var(x) = ' + ' + "|" + '.join(parts) + ';\n'
                    'append_to_reply("X-A: $var(x)\\r\\nX-B: ' + "|".join(f"$sel({p[1:]})" for p in parts[:7])
                    + '|$tls_version|$tls_peer_issuer_cn|$tls_my_subject_cn\\r\\n");')
    with connect(host.port(), "1.3", CLIENTS["all-fields"](certs)) as client:
        answer = client.ask()
    assert answer.get("x-a") == answer.get("x-b") == "DE|State|Town|First|Unit 1|one|user|TLSv1.3|Test Root|localhost"


@pytest.mark.parametrize("left", ["$tls_peer_subject_cn", "@tls.peer.subject.cn"])
@pytest.mark.parametrize("right", ["$tls_peer_issuer_cn", "@tls.peer.issuer.cn"])
def test_two_values_compared(start_host, certs, left, right):
    """Two values of one length do not get into each other's way."""
    host = one_host(start_host, certs, f"""
if ({left} == {right})
	append_to_reply("X-A: the same\\r\\n");
if ({left} == "Best Root" && {right} == "Test Root")
	append_to_reply("X-A: right\\r\\n");""")
    with connect(host.port(), pair=certs.client("Best Root")) as client:
        assert client.ask().all("x-a") == ["right"]


def test_case_of_selects(start_host, certs):
    """The host takes selects in any case, by name and in brackets."""
    host = one_host(start_host, certs, """
append_to_reply("X-A: $sel(TLS.Peer.SUBJECT.commonname)\\r\\nX-A: $sel(tls.peer[\\"subject\\"].cn)\\r\\n");""")
    with connect(host.port(), pair=certs.client_good) as client:
        assert client.ask().all("x-a") == 2 * ["client-good"]


@pytest.mark.parametrize("name", [
    "$tls_nothing", "$tls(nothing)", "$tls(peer_nothing)", "$(tls_peer_san_uri[*])", "$(tls_peer_san_uri[x])",
    "$(tls_peer_san_count[nothing])", "$(tls_version[0])"])
def test_wrong_variables(start_host, certs, name):
    """What does not exist is refused at the start, in words."""
    made = start_host.make(modparams=params(certs), script=f"request_route {{ if ({name} == \"x\") exit; }}\n")
    made.allow(r"CRITICAL: .*yyerror_at")
    assert re.search(r"ERROR: .*(there is no \$tls|index|kind of name|pvar)", made.refuses())


@pytest.mark.parametrize("name", [
    "nothing", "peer.nothing", "peer.subject.nothing", "peer.subject.cn.and.more", "peer.subject[1]", "version[0]",
    "peer.count", "peer.count.nothing", "peer.count.uri[0]", "peer[0].uri", "uri"])
def test_wrong_selects(start_host, certs, name):
    """A select that does not exist is told by name; where the host must have it, it does not start."""
    made = start_host.make(modparams=params(certs), script=f'request_route {{ xlog("$sel(tls.{name})"); }}\n')
    assert f"there is no select @tls.{name}\n" in made.refuses()
    start_host(modparams=params(certs), script=f'request_route {{ if (@tls.{name} == "x") exit; }}\n').wait_log(
        re.escape(f"there is no select @tls.{name}\n"))


def test_not_over_tls(start_host, certs):
    """Over UDP and TCP there is nothing, and the log stays quiet."""
    host = start_host(listen=(UDP, TLS, TCP), modparams=params(certs), script=questions.script(ALL),
                      settings=questions.host_settings(), pkg_mb=64)
    before = len(host.log())
    with UdpClient(host.port(UDP)) as client:
        found = questions.ask_all(client, ALL)
    assert found.pop("is_peer_verified()") == b"no" and set(found.values()) == {None}
    assert "tls" not in host.log()[before:]


def test_websocket(start_host, certs):
    """The same over secure WebSocket."""
    host = start_host(modparams=params(certs), script=questions.script(ALL) + ROUTE, pkg_mb=64, shm_mb=128,
                      modules=["tm.so", "xhttp.so", "websocket.so"],
                      settings=questions.host_settings(tcp_accept_no_cl="yes", tcp_rd_buf_size=262144))
    with WsClient(host.port(), client_context("1.3", certs.client_many_names)).handshake().upgrade() as client:
        found = questions.ask_all(client, ALL)
    plain = answers(host, certs.client_many_names)
    assert found == plain


def test_resumed(host, certs):
    """A resumed connection knows as much as the first one, but for the chain, which is not part of a session."""
    for version in ("1.2", "1.3"):
        context = client_context(version, certs.client_many_names)
        with Client(host.port(), context).handshake() as first:
            before = questions.ask_all(first, ALL)
            session = first.tls.session
        with Client(host.port(), context, session=session).handshake() as second:
            after = questions.ask_all(second, ALL)
            assert second.tls.session_reused
        different = {q for q in ALL if before[q] != after[q]}
        assert all("verified_cert_chain" in q for q in different), different


def test_second_certificate(start_host, certs):
    """With two certificates, ours is the one that this client was shown."""
    names = ["$tls_my_serial", "$tls_my_raw_cert"]
    pairs = {"ECDSA": certs.server_ec, "RSA": certs.server_rsa}
    host = start_host(script=questions.script(names), modparams=certs.server_ec.params(
        certificate2=certs.server_rsa.cert, private_key2=certs.server_rsa.key))
    for kind, pair in pairs.items():
        context = client_context("1.2", ciphers=f"ECDHE-{kind}-AES256-GCM-SHA384")
        with Client(host.port(), context).handshake() as client:
            found = questions.ask_all(client, names)
        assert list(found.values()) == [str(pair.x509.serial_number).encode(), pem(pair.cert)]


# -- in other routes -------------------------------------------------------------------------------------------------

ROUTES = """
request_route {
	$ru = $hdr(X-Target);
	t_on_branch("BRANCH");
	t_on_reply("REPLY");
	t_on_failure("FAILURE");
	if ($hdr(X-Patience) != $null) {
		t_set_fr("4000", "$(hdr(X-Patience){s.int})");
	}
	t_relay();
	exit;
}
branch_route[BRANCH] {
	append_hf("X-Branch: $tls_peer_subject_cn $tls_my_san_uri\\r\\n");
}
onreply_route[REPLY] {
	append_hf("X-Reply: $tls_peer_subject_cn $sel(tls.peer.verified) $tls_version\\r\\n");
}
failure_route[FAILURE] {
	xlog("L_INFO", "FAILED $tls_peer_subject_cn $tls_version\\n");
	t_reply("480", "$tls_peer_subject_cn");
	exit;
}
"""


@pytest.fixture
def routing_host(start_host, certs):
    """A host that asks in branch, reply and failure routes."""
    return start_host(modparams={**params(certs), "tm": {"fr_timer": 10000}}, modules=["tm.so"], script=ROUTES)


def test_branch_and_reply_routes(routing_host, certs):
    """In a branch route the request's connection counts, in a reply route the reply's."""
    port = routing_host.port()
    with Peer(server_context(certs.server_ec, "1.2")) as to, connect(port, "1.3", certs.client_good) as client:
        answer = client.ask(headers=[f"X-Target: {to.uri()}"])
        assert to.wait_requests(1)[0].get("x-branch") == "client-good sip:example.test"
    assert answer.status == 200 and answer.get("x-reply") == "localhost 1 TLSv1.2"


def test_failure_route(routing_host, certs):
    """The failure route asks about the client, whether it is still there or not."""
    with Peer(behaviour="silent") as to:
        with connect(routing_host.port(), "1.3", certs.client_good) as client:
            answer = client.ask(headers=[f"X-Target: {to.uri()}", "X-Patience: 1000"])
            assert answer.start.split(" ", 1)[1] == "480 client-good"
        routing_host.wait_log("FAILED client-good TLSv1.3")
        before = len(routing_host.log())
        with connect(routing_host.port(), "1.3", certs.client_good) as client:
            client.send(sip.request(headers=[f"X-Target: {to.uri()}", "X-Patience: 1000"]))
        routing_host.wait_log("FAILED <null> <null>", since=before)


# -- from another language -------------------------------------------------------------------------------------------

def test_cget(start_host, certs):
    """KSR.tls.cget has what the variables have, by long and short names; a wrong one is empty and warned of."""
    keys = ["tls_version", "version", "tls_peer_subject_cn", "peer_subject_cn", "p_subject_cn", "p_subject_line",
            "m_subject_line", "tls_peer_verified", "tls_peer_serial", "tls_my_san_uri", "tls_peer_server_name",
            "server_name", "tls_peer_san_count", "tls_peer_subject_country", "nothing", ""]
    path = certs.write("keys.js", questions.kemi_script(keys))
    host = start_host(modparams={**params(certs), "app_jsdt": {"load": path}}, modules=["app_jsdt.so"],
                      script='cfgengine "jsdt"\n')
    with connect(host.port(), "1.3", certs.client_good) as client:
        found = questions.parse_kemi(client.ask(), keys)
    cn, serial = "client-good", str(certs.client_good.x509.serial_number)
    assert list(found.values()) == ["TLSv1.3", "TLSv1.3", cn, cn, cn, "/O=Example/CN=client-good", "/CN=localhost", "1",
                                    serial, "sip:example.test", "localhost", "", "2", "", "", ""]
    assert len(re.findall(r'WARNING: .*cget\(".*"\)', host.log())) == 3
    with UdpClient(host.port(UDP)) as client:
        assert set(questions.parse_kemi(client.ask(), keys).values()) == {""}


# -- the documentation -----------------------------------------------------------------------------------------------

def test_everything_is_documented():
    """doc/selects.md has every word of every select, and every variable."""
    with open(os.path.join(TOP, "doc", "selects.md"), encoding="utf-8") as f:
        told = set(re.findall(r"`([^`]+)`", f.read()))
    words = {name.rsplit(".", 1)[-1] for name in told if name[0] in "@."}
    for select in questions.SELECTS:
        last = re.sub(r"\[\d\]$", "[N]", select.rsplit(".", 1)[-1])
        assert last in words | {"@tls", "peer", "my", "me", "myself", "subject", "subj", "issuer"}, select
    for variable in questions.VARIABLES + questions.NEWER:
        general = re.sub(r"_(peer|my)_", "_PEER_", re.sub(r"_(subject|issuer)(?=_|$)", "_NAME", variable))
        general = re.sub(r"\[-?\d\]", "[N]", re.sub(r"san_(email|hostname|ip)\[", "san_uri[", general))
        general = re.sub(r"count\[\w+\]", "count[uri]", general)
        assert variable[0] == "@" or {variable, general} & told, variable


# -- nothing left behind ---------------------------------------------------------------------------------------------

def test_memory(start_host, certs):
    """Thousands of questions leave nothing behind, in shared memory or in a process's own."""
    host = start_host(modparams=params(certs), script=questions.script(ALL), settings=questions.host_settings(),
                      pkg_mb=64, tcp_children=1)
    with connect(host.port(), "1.3", certs.client_chained) as client:
        def rounds(n):
            for _ in range(n):
                questions.ask_all(client, ALL)
            return host.shm_live(), host.private_kb()[host.workers()[0]]
        rounds(5)
        before, after = rounds(1), rounds(25)
    assert after[0] <= before[0] * 1.01 and after[1] <= before[1] + 200, (before, after)
