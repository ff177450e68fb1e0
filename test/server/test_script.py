"""What a script says of outgoing connections, and that it counts for these and for no others."""

import concurrent.futures
import contextlib
import queue
import re
import threading

import pytest

import sip
from host import Port, wait_for
from peers import Peer, UdpClient, connect, refused, server_context

# X-Id: tls_set_connect_server_id(); X-Xid, X-Xname: the xavp; X-Reply: only answered; X-How: stateless, fork.
CHOOSE = """
request_route {
	append_to_reply("X-Pid: $pp\\r\\n");
	if ($hdr(X-Id) != $null && !tls_set_connect_server_id("$hdr(X-Id)")) {
		sl_send_reply("488", "Refused Id");
		exit;
	}
	$xavp(out=>nothing) = 1;
	if ($hdr(X-Xid) != $null) {
		$xavp(out[0]=>server_id) = $hdr(X-Xid);
	}
	if ($hdr(X-Xname) != $null) {
		$xavp(out[0]=>server_name) = $hdr(X-Xname);
	}
	if ($hdr(X-Hex-Name) != $null) {
		$xavp(out[0]=>server_name) = $(hdr(X-Hex-Name){s.decode.hexa});
	}
	if ($hdr(X-Hex-Id) != $null) {
		$xavp(out[0]=>server_id) = $(hdr(X-Hex-Id){s.decode.hexa});
	}
	if ($hdr(X-Reload) != $null) {
		if (tls_reload()) {
			sl_send_reply("200", "Reloaded");
		} else {
			sl_send_reply("500", "As Before");
		}
		exit;
	}
	if ($hdr(X-Target) == $null) {
		if (is_peer_verified()) {
			sl_send_reply("200", "Verified");
		} else {
			sl_send_reply("200", "Unknown");
		}
		exit;
	}
	$ru = $hdr(X-Target);
	remove_hf("X-Target");
	if ($hdr(X-Socket) != $null) {
		$fs = $hdr(X-Socket);
	}
	if ($hdr(X-Then) != $null) {
		forward();
		$ru = $hdr(X-Then);
		t_relay();
		exit;
	}
	if ($hdr(X-How) == "stateless") {
		forward();
		xnotice("after $ci $rm\\n");
		exit;
	}
	if ($hdr(X-Fork) != $null) {
		append_branch("$hdr(X-Fork)");
	}
	if (!t_relay()) {
		sl_reply_error();
	}
	xnotice("after $ci $rm\\n");
	exit;
}
"""
EVENT = """
event_route[tls:connection-out] {
	xnotice("event to $si:$sp by $pp\\n");
	if ($shv(blocked) == $sp) {
		drop();
	}
}
"""
LOCAL = """
event_route[tm:local-request] {
	if ($hdr(X-Id) != $null) {
		tls_set_connect_server_id("$hdr(X-Id)");
	}
}
"""
UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
TM = {"fr_timer": 15000, "fr_inv_timer": 15000}
SETTINGS = {"tcp_rd_buf_size": 65536, "tcp_connect_timeout": 3, "tcp_send_timeout": 3}
WAYS = pytest.mark.parametrize("stateless", [True, False], ids=["forward", "t_relay"])
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])


def profiles(certs):
    """A tls.cfg of profiles whose certificates carry their names."""
    def section(head, who, **more):
        return f"[{head}]\n{who.section(**more)}\n"

    who = {n: certs.client("profile-" + n) for n in ("default", "one", "two", "three", "bare", "deep", "port", "four", "six")}
    return (section("server:default", certs.server_ec, ca_list=certs.ca.cert, verify_certificate="yes")
            + section("client:default", who["default"])
            + section("client:any", who["one"], server_id="one", server_name="one.test")
            + section("client:any", who["two"], server_id="two", server_name="two.test")
            + section("client:any", who["three"], server_name="three.test")
            + section("client:any", who["deep"], server_name="deep.test", server_name_mode=2)
            + section("client:any", who["port"], server_id="port", server_name="port.test:5061")
            + section("client:any", who["four"], server_id="four", server_name="192.0.2.4:5061")
            + section("client:any", who["six"], server_name="[2001:db8::7]")
            + section("client:192.0.2.1:5061", who["bare"], server_id="bare"))


def make(start, certs, script=CHOOSE + EVENT + LOCAL, modules=(), modparams=None, **how):
    """A host with these profiles; one UDP worker, so that what it keeps would meet the next message."""
    how.setdefault("settings", SETTINGS)
    params = {"tm": TM, "tls": {"xavp_cfg": "out"}, "pv": {"shvset": "blocked=i:0"}, **(modparams or {})}
    return start(listen=(UDP, TLS), script=script, modules=["tm.so", "corex.so", *modules], modparams=params,
                 tls_cfg=profiles(certs), **how)


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """One host for most tests."""
    return make(module_host, certs)


@pytest.fixture
def peer(certs):
    """Makes peers that want a certificate: peer(version=..., gated=..., ...)."""
    with contextlib.ExitStack() as stack:
        def make_peer(version=None, **how):
            return stack.enter_context(Peer(server_context(certs.server_ec, version, certs.ca.cert), **how))
        yield make_peer


def to(target, stateless=False, **extra):
    """The headers that send a request there: to(peer, id="one", xname="a.test")."""
    return [f"X-Target: {target.uri()}", *(["X-How: stateless"] if stateless else []),
            *(f"X-{k.title()}: {v}" for k, v in extra.items())]


def seen(target, number=0):
    """(the certificate that the host showed, the name that it asked for) on a connection to this peer."""
    names = [dict(x[0] for x in c["subject"])["commonName"] for c in target.peer_certs]
    assert len(names) == len(target.names)
    return names[number].replace("profile-", ""), target.names[number]


# -- what is chosen -------------------------------------------------------------------------------------------------

CHOICES = [
    ({}, ("default", None)), ({"id": "one"}, ("one", "one.test")), ({"xid": "one"}, ("one", "one.test")),
    ({"id": "bare"}, ("bare", None)), ({"xname": "three.test"}, ("three", "three.test")),
    ({"xname": "Three.TEST"}, ("three", "Three.TEST")), ({"xname": "a.deep.test"}, ("deep", "a.deep.test")),
    ({"xname": "deep.test"}, ("default", "deep.test")), ({"xname": "nobody.test"}, ("default", "nobody.test")),
    ({"xid": "two", "xname": "other.test"}, ("two", "other.test")),
    ({"id": "one", "xid": "two"}, ("one", "one.test")),
    ({"id": "one", "xid": "two", "xname": "three.test"}, ("one", "three.test")),
    ({"id": "nobody"}, ("default", None)), ({"id": "nobody", "xname": "three.test"}, ("three", "three.test")),
    ({"id": "ONE"}, ("default", None)),
    # an address is no server name (RFC 6066, section 3), and a port is no part of one
    ({"xname": "127.0.0.1"}, ("default", None)), ({"xname": "127.0.0.1:5061"}, ("default", None)),
    ({"xname": "[::1]:5061"}, ("default", None)), ({"xname": "[::1]"}, ("default", None)), ({"xname": "::1"}, ("default", None)),
    ({"xname": "three.test:5061"}, ("three", "three.test")), ({"xname": "three.test."}, ("three", "three.test")),
    ({"xname": "three.test.:5061"}, ("three", "three.test")), ({"xname": "[2001:DB8:0::7]:5061"}, ("six", None)),
    ({"id": "port"}, ("port", "port.test")), ({"xname": "port.test"}, ("port", "port.test")),
    ({"id": "four"}, ("four", None)), ({"xname": "192.0.2.4"}, ("four", None)), ({"xid": "four", "xname": "a.test"}, ("four", "a.test")),
]


@WAYS
@BOTH
@pytest.mark.parametrize("how, result", CHOICES, ids=[" ".join(f"{k}={v}" for k, v in h.items()) or "-" for h, _ in CHOICES])
def test_what_the_peer_sees(udp, peer, how, result, version, stateless):
    target = peer(version)
    assert udp.ask(headers=to(target, stateless, **how)).status == 200
    assert seen(target) == result


@pytest.mark.parametrize("how, result", [c for c in CHOICES if len(c[0]) < 2])
def test_chosen_by_a_tls_worker(host, peer, how, result):
    target = peer()
    with connect(host.port()) as client:
        assert client.ask(headers=to(target, **how)).status == 200
    assert seen(target) == result


@WAYS
@BOTH
def test_choice_survives_the_move_to_another_process(host, udp, peer, version, stateless):
    """The sender opens, a worker finishes later; meanwhile both have served others with other choices."""
    slow = [(peer(version, gated=True), how, result) for how, result in CHOICES[:6]]
    asked = [udp.send(headers=to(target, stateless, **how)) for target, how, _ in slow]
    quick = [(peer(version), how, result) for how, result in CHOICES[:6]]
    for target, how, result in reversed(quick):
        assert udp.ask(headers=to(target, stateless, **how)).status == 200
        assert seen(target) == result
    for target, _, _ in slow:
        target.open_gate()
    assert {udp.final(call_id).status for call_id in asked} == {200}
    assert [seen(target) for target, _, _ in slow] == [result for _, _, result in slow]


def test_port_in_a_section(start_host, certs):
    """Said with its line; an address alone, which is as good as a name there, is not."""
    host, lines = make(start_host, certs), profiles(certs).splitlines()
    told = re.findall(r"tls\.cfg:(\d+): server_name: (.*)", host.log())
    assert [(lines[int(n) - 1], text) for n, text in told] == [
        (f"server_name = {name}:5061", "the port is not part of the name and has no effect; remove it")
        for name in ("port.test", "192.0.2.4")]


def test_choice_is_kept_through_a_reload(host, udp, peer):
    """The configuration is swapped while the handshake waits for the peer."""
    target = peer(gated=True)
    call_id = udp.send(headers=to(target, id="two"))
    wait_for(lambda: target.accepted, what="the connection")
    host.rpc("tls.reload")
    target.open_gate()
    assert udp.final(call_id).status == 200
    assert seen(target) == ("two", "two.test")


@pytest.mark.parametrize("length, status", [(127, 200), (128, 488), (4000, 488)])
def test_long_id(host, udp, peer, length, status):
    """Longer than an id can be: the function says no, and nothing of it is kept."""
    target, other = peer(), peer()
    before = len(host.log())
    assert udp.ask(headers=to(target, id="x" * length)).status == status
    assert ("is longer than 127 bytes" in host.log()[before:]) == (status == 488)
    assert udp.ask(headers=to(other)).status == 200 and seen(other) == ("default", None)


@pytest.mark.parametrize("name", ["a" * 255, "n" * 300, "sp ace", "x" * 64 + ".test"])
def test_odd_server_name(host, udp, peer, name):
    """A name that cannot be one fails that message, or is asked for; it harms nobody else."""
    target, other = peer(), peer()
    status = udp.ask(headers=to(target, xname=name)).status
    assert status >= 400 or seen(target) == ("default", name)
    assert udp.ask(headers=to(other, xname="three.test")).status == 200 and seen(other) == ("three", "three.test")


@WAYS
@pytest.mark.parametrize("header", ["X-Hex-Name", "X-Hex-Id"])
@pytest.mark.parametrize("text", [b"three.test\0.evil.test", b"\0", b"one\0", b"\0one"], ids=repr)
def test_zero_byte(host, udp, peer, header, text, stateless):
    """What would be cut there is nobody's: nothing goes out, over a connection that stands neither, and nobody is chosen in its stead."""
    target, since = peer(), len(host.log())
    assert udp.ask(headers=to(target, xname="three.test")).status == 200
    assert udp.ask(headers=to(target, xid="one")).status == 200
    request = {"headers": [*to(target, stateless), f"{header}: {text.hex()}"], "method": "MESSAGE"}
    if stateless:
        host.wait_log(f"after {udp.send(**request)} MESSAGE\n")
    else:
        assert udp.ask(**request).status >= 400
    host.wait_log(re.escape(f"TLS connecting failed: peer 127.0.0.1:{target.port}, domain none yet: the server_") + "(name|id) in the xavp of xavp_cfg has a zero byte", since=since)
    assert target.accepted == 2 and len(target.requests) == 2
    assert udp.ask(headers=to(target)).status == 200 and seen(target, 2) == ("default", None)


@pytest.mark.parametrize("name", ["a b.test", "x" * 257, "http://three.test/", "three.test:sip", "[three.test]", "b\u00fccher.test", ":"])
def test_name_of_nobody(host, udp, peer, name):
    """What is neither a name nor an address is not asked for, and the message fails, with its reason in the log."""
    target, since = peer(), len(host.log())
    assert udp.ask(headers=to(target, xname=name)).status >= 400
    host.wait_log("the server_name in the xavp of xavp_cfg is (neither a host name nor an address|longer than 255 bytes)", since=since)
    assert target.accepted == 0
    assert udp.ask(headers=to(target)).status == 200


@pytest.fixture(scope="module")
def strict_host(module_host, certs):
    """A host that opens nothing for an id that no section has."""
    return make(module_host, certs, modparams={"tls": {"xavp_cfg": "out", "unknown_server_id": 1}})


@WAYS
@pytest.mark.parametrize("how", [{"id": "nobody"}, {"xid": "nobody"}, {"id": "nobody", "xname": "three.test"}, {"xid": "ONE"}], ids=str)
def test_unknown_server_id(strict_host, peer, how, stateless):
    """Not a byte to the peer; with known ids, or none, as ever."""
    strict_host.revive()
    target, since = peer(), len(strict_host.log())
    with UdpClient(strict_host.port(UDP)) as udp:
        if stateless:
            strict_host.wait_log(f"after {udp.send(method='MESSAGE', headers=to(target, True, **how))} MESSAGE\n")
        else:
            assert udp.ask(headers=to(target, **how)).status >= 400
        told = f'no client section has the server_id "{how.get("id", how.get("xid"))}" that the script has chosen (unknown_server_id)'
        strict_host.wait_log(re.escape(f"TLS connecting failed: peer 127.0.0.1:{target.port}, domain none yet: {told}"), since=since)
        assert target.accepted == 0
        for known, result in (({"id": "one"}, ("one", "one.test")), ({}, ("default", None))):
            assert udp.ask(headers=to(target, stateless, **known)).status == 200
            assert identities(target)[-1] == result
    strict_host.check_alive()


def test_unknown_server_id_and_a_connection_of_the_peer(strict_host, certs):
    """Nor does the message go to whoever has connected from there."""
    strict_host.revive()
    with UdpClient(strict_host.port(UDP)) as udp, connect(strict_host.port(), pair=certs.client_good) as client:
        client.ask()
        where = "sip:x@127.0.0.1:%d;transport=tls" % client.sock.getsockname()[1]
        assert udp.ask(headers=[f"X-Target: {where}", "X-Id: nobody"]).status >= 400
        call_id = udp.send(headers=[f"X-Target: {where}"])
        request = client.message()
        assert request.get("call-id") == call_id
        client.send(sip.reply(request))
        assert udp.final(call_id).status == 200


# -- whose choice it is -----------------------------------------------------------------------------------------------

@WAYS
@pytest.mark.parametrize("kind", ["id", "xid", "xname"])
def test_choice_is_forgotten_after_its_connection(udp, peer, kind, stateless):
    chosen, other = peer(), peer()
    assert udp.ask(headers=to(chosen, stateless, **{kind: "one" if "id" in kind else "three.test"})).status == 200
    assert udp.ask(headers=to(other, stateless)).status == 200
    assert seen(other) == ("default", None)


@pytest.mark.parametrize("kind", ["id", "xid", "xname"])
@pytest.mark.parametrize("unused", ["answered", "connection stands"])
def test_choice_that_opened_nothing_is_forgotten(udp, peer, kind, unused):
    """It was for that message; a stranger's connection, opened next by the same process, must not get it."""
    value, standing, other = ("one" if "id" in kind else "three.test"), peer(), peer()
    assert udp.ask(headers=to(standing, **{kind: value})).status == 200
    if unused == "answered":
        udp.ask(headers=[f"X-{kind}: {value}"])
    else:
        assert udp.ask(headers=to(standing, **{kind: value})).status == 200
    assert udp.ask(headers=to(other)).status == 200
    assert seen(other) == ("default", None) and standing.accepted == 1


def test_choice_in_a_tls_worker_is_forgotten(host, peer):
    with connect(host.port()) as client:
        first = client.ask(headers=["X-Id: one", "X-Xid: two", "X-Xname: three.test"])
        target = peer()
        assert client.ask(headers=to(target)).status == 200
        assert client.ask().get("x-pid") == first.get("x-pid"), "another worker: this test says nothing"
    assert seen(target) == ("default", None)


def test_section_of_an_address(start_host, certs, peer):
    """The other side's, also when the section has a name; else our own end's, as the packaged module means it."""
    who = {n: certs.client("profile-" + n) for n in ("default", "theirs", "own")}
    text = (f"[server:default]\n{certs.server_ec.section()}\n[client:default]\n{who['default'].section()}\n"
            f"[client:127.0.0.5]\n{who['theirs'].section(server_name='five.test')}\n"
            f"[client:127.0.0.1:0]\n{who['own'].section()}\n")
    host = start_host(listen=(UDP, TLS), script=CHOOSE, modules=["tm.so", "corex.so"], tls_cfg=text,
                      modparams={"tm": TM, "tls": {"xavp_cfg": "out"}})
    with UdpClient(host.port(UDP)) as client:
        for address, section in (("127.0.0.5", ("theirs", "five.test")), ("127.0.0.6", ("own", None))):
            target = peer(address=address)
            assert client.ask(headers=to(target)).status == 200
            assert seen(target) == section


def test_id_is_for_one_connection(udp, peer):
    """Two branches, two connections: the function's id counts for the first; an xavp counts for the message."""
    for kind, expected in (("id", ["default", "one"]), ("xid", ["one", "one"])):
        targets = [peer(), peer()]
        assert udp.ask(method="INVITE", headers=to(targets[0], fork=targets[1].uri(), **{kind: "one"})).status == 200
        for target in targets:
            target.wait_requests(1)
        assert sorted(seen(target)[0] for target in targets) == expected


def local_request(host, target, *headers):
    """A request of the host's own, by RPC."""
    rows = ["From: <sip:host@example.test>", "To: <sip:peer@example.test>", *headers]
    host.rpc("tm.t_uac_start", "OPTIONS", target.uri(), ".", ".", "\r\n".join(rows) + "\r\n", "")


def test_local_request(host, peer):
    """event_route[tm:local-request] runs before the connection is opened: its choice counts for it."""
    chosen, other = peer(), peer()
    local_request(host, chosen, "X-Id: two")
    chosen.wait_requests(1)
    local_request(host, other)
    other.wait_requests(1)
    assert seen(chosen) == ("two", "two.test") and seen(other) == ("default", None)


def test_choice_of_a_local_request_is_forgotten(host, peer):
    """The id of a local request that opened nothing does not wait for the next one in that process."""
    standing, other = peer(), peer()
    for count, headers in enumerate([("X-Id: two",), ("X-Id: two",)]):
        local_request(host, standing, *headers)
        standing.wait_requests(count + 1)
    local_request(host, other)
    other.wait_requests(1)
    assert standing.accepted == 1 and seen(other) == ("default", None)


# -- two profiles to one address and port ------------------------------------------------------------------------------

PROFILES = [({"id": "one"}, ("one", "one.test")), ({"id": "two"}, ("two", "two.test")), ({}, ("default", None)),
            ({"xname": "three.test"}, ("three", "three.test")), ({"xid": "one"}, ("one", "one.test")),
            ({"xid": "two", "xname": "other.test"}, ("two", "other.test")), ({"xname": "THREE.test"}, ("three", "three.test"))]


def identities(target):
    """(certificate, name) of the connection on which each request came."""
    return [(subject.replace("profile-", ""), name) for subject, name in target.identities]


@WAYS
@pytest.mark.parametrize("over", ["udp", "tls"])
def test_each_profile_has_its_own_connection(host, peer, over, stateless):
    """To one address and port: a request goes out with its own certificate and name, and a connection is used again
    only for what it was opened for."""
    target = peer()
    client = UdpClient(host.port(UDP)) if over == "udp" else connect(host.port())
    with client:
        for _ in range(3):
            for how, _ in PROFILES:
                assert client.ask(headers=to(target, stateless, **how)).status == 200
    assert identities(target) == [result for _, result in PROFILES] * 3
    assert target.accepted == len({result for _, result in PROFILES})


def test_profile_whose_connection_is_gone(host, udp, peer):
    """Each is opened anew, for its own profile; the others' go on."""
    target = peer()
    for _ in range(3):
        for how, result in PROFILES[:4]:
            assert udp.ask(headers=to(target, **how)).status == 200
            assert identities(target)[-1] == result
        target.drop_connections()
        wait_for(lambda: not host.open_to(target.port), 20, "the connections to go")
    assert target.accepted == 12


def test_many_profiles_from_many_processes(start_host, certs, peer):
    """40 names to one address, asked for by eight workers at once: no request ever goes out under another name."""
    host = make(start_host, certs, tcp_children=8, settings={**SETTINGS, "children": 4})
    target = peer()
    names = [f"n{i}.test" for i in range(40)]

    def ask(first):
        with connect(host.port()) as client:
            for i in range(80):
                name = names[(first + 7 * i) % len(names)]
                assert client.ask(headers=[*to(target, i % 2, xname=name), f"X-Expect: {name}"]).status == 200

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, 5 * i) for i in range(8)]:
            done.result(100)
    told = [(message.get("x-expect"), name) for message, (_, name) in zip(target.requests, target.identities)]
    assert len(told) == 640 and [pair for pair in told if pair[0] != pair[1]] == []
    assert target.accepted <= 40 * 8, "connections are not used again"


def test_profiles_that_are_opened_at_once(start_host, certs, peer):
    """Eight workers that find no connection open one each, for eight names at one address: whichever the host finds then
    while others open theirs, no request goes out under another name, and none is lost."""
    host = make(start_host, certs, tcp_children=8)
    with contextlib.ExitStack() as held, concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [held.enter_context(connect(host.port())) for _ in range(8)]
        for _ in range(40):
            target = peer()
            for i, client in enumerate(clients):
                client.tls.write(sip.request(headers=[*to(target, i % 2, xname=f"n{i}.test"), f"X-Expect: n{i}.test"]))
            data = [client.pull() for client in clients]
            list(pool.map(lambda client, bytes_: client.push(bytes_), clients, data))
            assert [client.final().status for client in clients] == [200] * 8
            told = {(message.get("x-expect"), name) for message, (_, name) in zip(target.requests, target.identities)}
            assert told == {(f"n{i}.test", f"n{i}.test") for i in range(8)}


def test_without_match_profile(start_host, certs, peer):
    """As the host up to 6.0 does it by itself: whatever stands to the address is used."""
    host = make(start_host, certs, modparams={"tls": {"xavp_cfg": "out", "match_profile": 0}})
    target = peer()
    with UdpClient(host.port(UDP)) as udp:
        for how, _ in PROFILES:
            assert udp.ask(headers=to(target, **how)).status == 200
    assert target.accepted == 1 and set(identities(target)) == {("one", "one.test")}


class Pinger(Peer):
    """Answers one request, then waits until it is told to see whether its connection lives, as RFC 5626 says."""

    def __init__(self, context):
        self.ping, self.answer = threading.Event(), queue.Queue()
        super().__init__(context, "ping")

    def _do_ping(self, conn):
        with contextlib.closing(self._tls(conn)) as tls:
            tls.sendall(sip.reply(sip.cut(tls.recv(65536))[0]))
            self.ping.wait(60)
            tls.settimeout(20)
            tls.sendall(b"\r\n\r\n")
            try:
                self.answer.put(tls.recv(100))
            except TimeoutError:
                self.answer.put(b"nothing")


def test_keep_alive_is_answered_behind_a_message_that_failed(start_host, certs):
    """A message for another profile may open no connection, and is not sent: what its worker sends next, goes."""
    script = CHOOSE.replace("\t$ru = $hdr(X-Target);", "\t$ru = $hdr(X-Target);\n\tif ($hdr(X-Here) != $null) {\n\t\tset_forward_no_connect();\n\t}")
    host = make(start_host, certs, script=script, tcp_children=1)
    with Pinger(server_context(certs.server_ec, None, certs.ca.cert)) as target, connect(host.port()) as client:
        assert client.ask(headers=to(target, True, id="one")).status == 200
        failing = sip.request(headers=to(target, True, id="two", here="1"))
        client.send(failing)
        host.wait_log("after " + re.escape(sip.cut(failing)[0].get("call-id")))
        target.ping.set()
        assert target.answer.get(timeout=20) == b"\r\n"


def test_two_profiles_by_two_sockets(start_host, certs, peer):
    """A local socket for each identity: what has always worked goes on working."""
    ports = [Port(), Port()]
    host = start_host(listen=(UDP, *(f"tls:127.0.0.{i + 1}:{p.number}" for i, p in enumerate(ports))), script=CHOOSE,
                      modules=["tm.so", "corex.so"], modparams={"tm": TM, "tls": {"xavp_cfg": "out"}}, tls_cfg=profiles(certs),
                      settings={**SETTINGS, "tcp_reuse_port": "yes"})
    target = peer()
    sockets = [f"tls:127.0.0.{i + 1}:{p.number}" for i, p in enumerate(ports)]
    with UdpClient(host.port(UDP)) as udp:
        for _ in range(2):
            for name, socket in zip(("one", "two"), sockets):
                assert udp.ask(headers=to(target, socket=socket, id=name)).status == 200
    assert target.accepted == 2 and [seen(target, i)[0] for i in range(2)] == ["one", "two"]
    for port in ports:
        port.release()


# -- the event ----------------------------------------------------------------------------------------------------------

def events(host, target):
    """How often the event came for this peer."""
    return host.log().count(f"event to 127.0.0.1:{target.port} ")


@WAYS
def test_event_comes_once_for_each_connection(host, udp, peer, stateless):
    target = peer()
    for _ in range(3):
        assert udp.ask(headers=to(target, stateless)).status == 200
    assert events(host, target) == 1
    target.drop_connections()
    wait_for(lambda: not host.open_to(target.port), 20, "the connection to go")
    assert udp.ask(headers=to(target, stateless)).status == 200 and events(host, target) == 2
    sender = next(pid for pid, name in host.pids().items() if name.startswith("udp receiver"))
    assert host.log().count(f"event to 127.0.0.1:{target.port} by {sender}\n") == 2, "not in the sender's process"


def test_event_does_not_come_for_clients(host):
    before = len(host.log())
    with connect(host.port()) as client:
        assert client.ask().status == 200
    assert "event to" not in host.log()[before:]


@WAYS
@pytest.mark.parametrize("over", ["udp", "tls"])
def test_drop_stops_data_and_connection(host, peer, over, stateless):
    """Not a byte reaches the peer, the message fails, nothing is left; after it, as before."""
    def client():
        return UdpClient(host.port(UDP)) if over == "udp" else connect(host.port())

    target, other = peer(), peer()
    host.rpc("pv.shvSet", "blocked", "int", target.port)
    with client() as one:
        if stateless and over == "udp":
            one.send(headers=to(target, True))
        elif stateless:
            one.send(sip.request(headers=to(target, True)))
        else:
            assert one.ask(headers=to(target)).status >= 400
        wait_for(lambda: events(host, target) >= 1, what="the event")
    with client() as two:
        assert two.ask(headers=to(other, id="one")).status == 200
        wait_for(lambda: target.port not in [c["src_port"] for c in host.connections()], what="the connection to go")
        assert not host.open_to(target.port)
        assert not target.names and not target.requests and seen(other) == ("one", "one.test")
        host.rpc("pv.shvSet", "blocked", "int", 0)
        assert two.ask(headers=to(target)).status == 200
    assert len(target.requests) == 1 and seen(target) == ("default", None)


@WAYS
def test_script_goes_on_after_the_event(host, udp, peer, stateless):
    """The event's route, and a drop() in it, end neither the route that sends nor change its message."""
    for blocked in (False, True):
        target = peer()
        host.rpc("pv.shvSet", "blocked", "int", target.port if blocked else 0)
        call_id = udp.send(method="MESSAGE", headers=to(target, stateless))
        host.wait_log(f"after {call_id} MESSAGE\n")
        if not (blocked and stateless):
            assert (udp.final(call_id).status == 200) != blocked
    host.rpc("pv.shvSet", "blocked", "int", 0)


def test_route_is_a_request_route_again_after_the_event(host, udp, peer):
    """What a script may do only in a request route goes on to work behind the event."""
    target, other = peer(), peer()
    host.rpc("pv.shvSet", "blocked", "int", target.port)
    assert udp.ask(headers=to(target, then=other.uri())).status == 200
    host.rpc("pv.shvSet", "blocked", "int", 0)
    assert events(host, target) == 1 and len(other.requests) == 1


@pytest.mark.parametrize("blocked", [True, False])
def test_connections_leave_nothing(host, udp, blocked):
    """Neither those that the event stops nor those that fail keep shared memory: not even their names."""
    port, usage = Port(), []
    host.rpc("pv.shvSet", "blocked", "int", port.number if blocked else 0)
    before = len(host.log())
    for _ in range(3):
        for i in range(30):
            uri = f"sip:nobody@127.0.1.{i + 1}:{port.number};transport=tls"
            udp.send(headers=[f"X-Target: {uri}", "X-How: stateless", "X-Xid: one", f"X-Xname: three-{i}.test"])
        assert udp.ask().status == 200
        host.wait_no_connections()
        usage.append(host.shm_live())
    host.rpc("pv.shvSet", "blocked", "int", 0)
    port.release()
    assert host.log()[before:].count("event to 127.0.1.") == 90
    assert usage[2] <= usage[0] + 2000, usage


# -- tls_reload() -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("over", ["udp", "tls"])
def test_reload_by_the_script(start_host, certs, over):
    """A good one counts at once, in every worker, and the connection that asked for it goes on; a bad one changes nothing."""
    host = make(start_host, certs)
    client = UdpClient(host.port(UDP)) if over == "udp" else connect(host.port())

    def serial():
        with connect(host.port(), ca=certs.ca.cert) as other:
            assert other.ask().status == 200
            return other.server_serial()

    def reload_to(pair, key=None):
        text = f"[server:default]\n{pair.section(private_key=key or pair.key)}\n[client:default]\nmethod = TLSv1.2+\n"
        host.write("tls.cfg", text)
        return client.ask(headers=["X-Reload: 1"]).start.split(" ", 2)[2]

    with client:
        before = len(host.log())
        assert reload_to(certs.server_ec2) == "Reloaded"
        assert {serial() for _ in range(8)} == {certs.server_ec2.x509.serial_number}
        assert reload_to(certs.server_ec, certs.server_rsa.key) == "As Before"
        assert certs.server_rsa.key in host.log()[before:], "the log does not say why"
        assert {serial() for _ in range(8)} == {certs.server_ec2.x509.serial_number}
        for pair in (certs.server_rsa, certs.server_ec):
            assert reload_to(pair) == "Reloaded"
            assert serial() == pair.x509.serial_number
        assert host.rpc("tls.info")["generation"] == 4
    host.stop()


# -- another language ----------------------------------------------------------------------------------------------------

JAVASCRIPT = """
function ksr_request_route() {
	var id = KSR.pv.get("$hdr(X-Id)"), target = KSR.pv.get("$hdr(X-Target)");
	if (id && KSR.tls.set_connect_server_id(id) < 0) {
		KSR.sl.sl_send_reply(488, "Refused Id");
		return 1;
	}
	if (KSR.pv.get("$hdr(X-Reload)")) {
		KSR.sl.sl_send_reply(200, "Reload " + KSR.tls.reload());
		return 1;
	}
	if (!target) {
		KSR.sl.sl_send_reply(200, "Peer " + KSR.tls.is_peer_verified());
		return 1;
	}
	KSR.pv.sets("$ru", target);
	KSR.hdr.remove("X-Target");
	KSR.tm.t_relay();
	return 1;
}

function on_tls(event) {
	KSR.notice("event " + event + " " + KSR.pv.get("$si") + ":" + KSR.pv.get("$sp") + "\\n");
	if (KSR.pv.get("$shv(blocked)") == KSR.pv.get("$sp"))
		KSR.x.drop();
	return 1;
}
"""


@pytest.fixture(scope="module")
def shared_kemi(module_host, certs):
    """A host whose script is in JavaScript."""
    host = make(module_host.make, certs, script='cfgengine "jsdt"\n', modules=["app_jsdt.so"],
                modparams={"tls": {"event_callback": "on_tls"}})
    host.modparams["app_jsdt"] = {"load": host.write("routes.js", JAVASCRIPT)}
    return host.start()


@pytest.fixture
def kemi(shared_kemi):
    """The same, alive before and after."""
    shared_kemi.revive()
    yield shared_kemi
    shared_kemi.check_alive()


@BOTH
@pytest.mark.parametrize("who, answer", [("client_good", "Peer 1"), (None, "Peer -1")])
def test_kemi_is_peer_verified(kemi, certs, version, who, answer):
    with connect(kemi.port(), version, who and getattr(certs, who)) as client:
        assert client.ask().start.endswith(answer)
    with UdpClient(kemi.port(UDP)) as udp:
        assert udp.ask().start.endswith("Peer -1")
    assert refused(kemi.port(), version=version, pair=certs.client_wrong_ca)


def test_kemi_set_connect_server_id(kemi, peer):
    with UdpClient(kemi.port(UDP)) as udp:
        for how, result in (({"id": "one"}, ("one", "one.test")), ({}, ("default", None)), ({"id": "bare"}, ("bare", None))):
            target = peer()
            assert udp.ask(headers=to(target, **how)).status == 200
            assert seen(target) == result
        target = peer()
        udp.ask(headers=["X-Id: two"])
        assert udp.ask(headers=to(target, id="y" * 128)).status == 488
        assert udp.ask(headers=to(target)).status == 200 and seen(target) == ("default", None)


def test_kemi_reload(kemi, certs):
    with UdpClient(kemi.port(UDP)) as udp:
        number = kemi.rpc("tls.info")["generation"]
        assert udp.ask(headers=["X-Reload: 1"]).start.endswith("Reload 1")
        assert kemi.rpc("tls.info")["generation"] == number + 1
        good = kemi.tls_cfg
        kemi.write("tls.cfg", "nonsense\n")
        assert udp.ask(headers=["X-Reload: 1"]).start.endswith("Reload -1")
        kemi.write("tls.cfg", good)
        assert kemi.rpc("tls.info")["generation"] == number + 1


def test_kemi_event(kemi, peer):
    """The function hears of each connection, and KSR.x.drop() stops it."""
    target, other = peer(), peer()
    line = f"event tls:connection-out 127.0.0.1:{target.port}\n"
    with UdpClient(kemi.port(UDP)) as udp:
        for _ in range(2):
            assert udp.ask(headers=to(target)).status == 200
        assert kemi.log().count(line) == 1
        kemi.rpc("pv.shvSet", "blocked", "int", other.port)
        assert udp.ask(headers=to(other, id="one")).status >= 400
        kemi.rpc("pv.shvSet", "blocked", "int", 0)
        assert not other.names
        assert udp.ask(headers=to(other)).status == 200 and seen(other) == ("default", None)


@pytest.mark.parametrize("function, told", [("no_such_function", None), ("broken", "error executing: broken")])
def test_kemi_event_function_that_fails(start_host, certs, peer, function, told):
    """The connection is made: a typing error must not cut the server off. The host tells of one that breaks."""
    host = make(start_host.make, certs, script='cfgengine "jsdt"\n', modules=["app_jsdt.so"],
                modparams={"tls": {"event_callback": function}})
    script = JAVASCRIPT + "function broken(event) {\n\tthrow new Error(event);\n}\n"
    host.modparams["app_jsdt"] = {"load": host.write("routes.js", script)}
    host.start()
    target = peer()
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=to(target)).status == 200
    assert told is None or told in host.log()
