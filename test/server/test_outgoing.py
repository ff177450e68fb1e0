"""The host as a TLS client: it relays to peers that answer, refuse, fail and never answer."""

import contextlib
import time

import pytest

import sip
from host import Port, need_messages_of, wait_for
from peers import Peer, UdpClient, client_context, Client, connect, server_context, sipp_options

# X-Target says where to; "stateless" in X-How uses forward(), else tm relays and waits for X-Patience milliseconds.
RELAY = """
request_route {
	if ($hdr(X-Target) == $null) {
		sl_send_reply("200", "OK");
		exit;
	}
	$ru = $hdr(X-Target);
	remove_hf("X-Target");
	if ($hdr(X-How) == "stateless") {
		forward();
		exit;
	}
	if ($hdr(X-Patience) != $null) {
		t_set_fr("4000", "$(hdr(X-Patience){s.int})");
	}
	if (!t_relay()) {
		sl_reply_error();
	}
	exit;
}
"""
UDP = "udp:127.0.0.1"
LISTEN = (UDP, "tls:127.0.0.1", "tls:[::1]")
FAILS = ["X-Patience: 1500"]
TM = {"fr_timer": 10000, "fr_inv_timer": 11000}
SETTINGS = {"tcp_rd_buf_size": 262144, "tcp_connect_timeout": 3, "tcp_send_timeout": 3}


def params(certs, **tls):
    """A server's parameters, with tm's timers short."""
    return {**certs.server_ec.params(**tls), "tm": TM}


@pytest.fixture(scope="module")
def host(module_host, certs):
    """A relaying host that trusts any peer."""
    return module_host(listen=LISTEN, modparams=params(certs), modules=["tm.so"], script=RELAY, settings=SETTINGS,
                       children=4, tcp_children=4, shm_mb=128)


@pytest.fixture(scope="module")
def checking_host(module_host, certs):
    """A relaying host that wants to know its peers, and has a certificate of its own to show."""
    client = f"[client:default]\n{certs.client_good.section(ca_list=certs.ca.cert, verify_certificate='yes', require_certificate='yes')}"
    return module_host(listen=LISTEN, modparams={"tm": TM, "tls": {}}, modules=["tm.so"], script=RELAY,
                       settings=SETTINGS, tls_cfg=f"[server:default]\n{certs.server_ec.section()}\n{client}")


@pytest.fixture(autouse=True)
def everyone_alive(host):
    """After each test the shared host has all its processes, a clean log, and serves."""
    host.revive()
    yield
    host.check_alive()
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask().status == 200


@pytest.fixture
def peer(certs):
    """Makes peers that end with the test: peer(behaviour=..., pair=..., ...)."""
    with contextlib.ExitStack() as stack:
        def make(behaviour="answer", pair=None, version=None, ca=None, **how):
            context = server_context(pair or certs.server_ec, version, ca)
            return stack.enter_context(Peer(context, behaviour, **how))
        yield make


def headers(to, stateless=False, fails=False):
    """What tells the script where to send a request; one that fails need not be waited for so long."""
    return [f"X-Target: {to.uri()}"] + (["X-How: stateless"] if stateless else []) + (FAILS if fails else [])


def no_sockets_to(host, *peers, timeout=30):
    """Fails if the host keeps a socket to a peer that is gone: CLOSE_WAIT above all."""
    ports = [to.port for to in peers]
    wait_for(lambda: not host.open_to(*ports), timeout, f"no socket to the peer; open now: {host.open_to(*ports)}")


# -- peers that answer ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stateless", [True, False], ids=["forward", "t_relay"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_udp_to_tls(host, certs, peer, kind, version, stateless):
    to = peer(pair=getattr(certs, "server_" + kind), version=version)
    with UdpClient(host.port(UDP)) as udp:
        for i in range(5):
            assert udp.ask(headers=headers(to, stateless), cseq=i + 1).status == 200
    assert len(to.requests) == 5
    assert to.accepted == 1, "the connection was not used again"


@pytest.mark.parametrize("stateless", [True, False], ids=["forward", "t_relay"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_to_tls(host, peer, version, stateless):
    to = peer(version=version)
    with connect(host.port(), version) as client:
        for i in range(5):
            answer = client.ask(headers=headers(to, stateless), cseq=i + 1)
            assert answer.status == 200 and answer.get("cseq") == f"{i + 1} OPTIONS"
    assert [r.get("cseq") for r in to.requests] == [f"{i + 1} OPTIONS" for i in range(5)]


def test_to_ipv6(host, peer):
    to = peer(address="::1")
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=headers(to)).status == 200


def test_sips(host, peer):
    to = peer()
    with connect(host.port()) as client:
        assert client.ask(headers=[f"X-Target: sips:peer@127.0.0.1:{to.port}"]).status == 200


@pytest.mark.parametrize("size", [16385, 20430, 60000, 70000, 150000])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_messages(host, peer, version, size):
    need_messages_of(size + 500)
    to = peer(version=version)
    with connect(host.port()) as client:
        assert client.ask(headers=headers(to)).status == 200
        data = sip.request(size=size, headers=headers(to))
        client.send(data)
        assert client.message().status == 200
    assert to.requests[1].body == sip.cut(data)[0].body


@pytest.mark.parametrize("size", [60000, 150000])
def test_big_message_as_first_of_a_connection(host, peer, size):
    """It waits for the handshake as a whole, even when it is larger than con_ct_wq_max, 64 KB by default."""
    need_messages_of(size + 500)
    to = peer()
    with connect(host.port()) as client:
        data = sip.request(size=size, headers=headers(to))
        client.send(data)
        assert client.message().status == 200
    assert to.requests[0].body == sip.cut(data)[0].body


def test_messages_wait_for_the_handshake_in_order(host, peer):
    """Ten requests while the handshake is held up: all of them arrive, in order, once."""
    def queued():
        return host.rpc("tls.info")["clear_text_write_queued_bytes"]

    to = peer(gated=True)
    with UdpClient(host.port(UDP)) as udp:
        ids = []
        for i in range(10):
            before = queued()
            ids.append(udp.send(headers=headers(to, True), cseq=i + 1))
            wait_for(lambda: queued() > before, what="the request to wait")  # four UDP workers: keeps the order of sending
        to.open_gate()
        for call_id in ids:
            assert udp.final(call_id).status == 200
    assert [r.get("call-id") for r in to.requests] == ids
    assert to.accepted == 1


def test_many_peers_at_once(host, peer):
    """Requests over UDP to 20 peers: every one gets its own and only its own."""
    peers = [peer() for _ in range(20)]
    with UdpClient(host.port(UDP)) as udp:
        for _ in range(5):
            asked = {udp.send(headers=headers(to)): to for to in peers}
            for call_id, to in asked.items():
                assert udp.final(call_id).status == 200
                assert to.requests[-1].get("call-id") == call_id
    assert all(len(to.requests) == 5 and to.accepted == 1 for to in peers)


def test_requests_come_back_on_the_same_connection(host, peer):
    """The peer sends a request of its own over the connection that the host opened."""
    to = peer(ask_back=True)
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=headers(to)).status == 200
    wait_for(lambda: to.replies, 20, "the reply to the peer's own request")
    assert to.replies[0].status == 200


# -- who is who --------------------------------------------------------------------------------------------------

def test_host_shows_its_certificate(checking_host, certs, peer):
    to = peer(ca=certs.ca.cert)
    with UdpClient(checking_host.port(UDP)) as udp:
        assert udp.ask(headers=headers(to)).status == 200
    assert dict(x[0] for x in to.peer_certs[0]["subject"])["commonName"] == "client-good"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("bad", ["client_wrong_ca", "client_self_signed", "server_expired", "client_no_chain"])
def test_peer_that_is_not_trusted(checking_host, certs, peer, bad, version):
    to = peer(pair=getattr(certs, bad), version=version)
    with UdpClient(checking_host.port(UDP)) as udp:
        assert udp.ask(headers=headers(to, fails=True)).status >= 400
        assert not to.requests, "the request went to a peer that is not trusted"
    no_sockets_to(checking_host, to)
    checking_host.check_alive()


@pytest.mark.parametrize("rule", [{"require_certificate": 1}, {"verify_client": "on"}, {"verify_client": "optional"}], ids=str)
def test_every_rule_verifies_the_peer(start_host, certs, peer, rule):
    """Each of them alone, as in the packaged module, also as a parameter, which is for both directions."""
    host = start_host(listen=LISTEN, modparams={"tm": TM, **certs.server_ec.params(ca_list=certs.ca.cert, **rule)},
                      modules=["tm.so"], script=RELAY, settings=SETTINGS)
    good, bad = peer(), peer(pair=certs.client_wrong_ca)
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=headers(good)).status == 200
        assert udp.ask(headers=headers(bad, fails=True)).status >= 400
    assert not bad.requests, "the request went to a peer that is not trusted"


def test_peer_that_does_not_trust_the_host(host, certs, peer):
    """The peer wants a certificate; this host has one that the peer does not know."""
    to = peer(ca=certs.other_ca.cert)
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=headers(to, fails=True)).status >= 400
    assert not to.requests
    no_sockets_to(host, to)


# -- peers that fail -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stateless", [True, False], ids=["forward", "t_relay"])
def test_peer_refuses(host, stateless):
    held = Port()
    try:
        with UdpClient(host.port(UDP)) as udp:
            call_id = udp.send(headers=[f"X-Target: sip:x@127.0.0.1:{held.number};transport=tls"]
                               + (["X-How: stateless"] if stateless else FAILS))
            if not stateless:
                assert udp.final(call_id).status >= 400
            assert udp.ask().status == 200
        wait_for(lambda: not host.open_to(held.number), 20, "the failed socket to go")
    finally:
        held.release()


@pytest.mark.parametrize("behaviour", ["close_early", "reset_early", "garbage", "close_later"])
def test_handshake_fails(host, peer, behaviour):
    """Whatever ends the handshake, the request fails and the socket is closed: no CLOSE_WAIT."""
    peers = [peer(behaviour) for _ in range(4)]
    with UdpClient(host.port(UDP)) as udp, connect(host.port()) as client:
        asked = [udp.send(headers=headers(to, fails=True)) for to in peers[:2]]
        for to in peers[2:]:
            client.send(sip.request(headers=headers(to, fails=True)))
        for call_id in asked:
            assert udp.final(call_id).status >= 400
        for _ in peers[2:]:
            assert client.final().status >= 400
    for to in peers:
        to.close()
    no_sockets_to(host, *peers)


def test_peer_goes_away_while_idle(host, peer):
    """The peer closes an idle connection: the host closes its side, and the next request opens a new one."""
    to = peer()
    with UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=headers(to)).status == 200
        to.drop_connections()
        no_sockets_to(host, to)
        assert udp.ask(headers=headers(to)).status == 200
    assert to.accepted == 2


def test_other_way_works_after_a_failure(host, certs, peer):
    """A peer that failed once and is repaired is reached at the next try."""
    held = Port()
    with UdpClient(host.port(UDP)) as udp:
        target = [f"X-Target: sip:x@127.0.0.1:{held.number};transport=tls"]
        assert udp.ask(headers=target + FAILS).status >= 400
        with peer(port=held) as to:
            assert udp.ask(headers=target).status == 200
            assert len(to.requests) == 1


# -- peers that never answer ---------------------------------------------------------------------------------------

@pytest.mark.long
@pytest.mark.parametrize("behaviour", ["silent", "silent_later", "deaf"])
def test_25_peers_that_never_answer(host, peer, behaviour):
    """25 peers that hang, fed over UDP and TLS: UDP stays served at full speed, and so do good peers."""
    hanging = [peer(behaviour) for _ in range(25)]
    good = peer()
    with UdpClient(host.port(UDP)) as udp, connect(host.port()) as client:
        for round_ in range(4):
            for to in hanging:
                udp.send(headers=headers(to, fails=True), cseq=round_ + 1)
                client.send(sip.request(headers=headers(to, fails=True)))
        failed, status = sipp_options(host.port(UDP), calls=400, rate=200)
        assert (failed, status) == (0, 0), f"{failed} UDP calls failed while peers did not answer"
        started = time.monotonic()
        with UdpClient(host.port(UDP)) as other:
            assert other.ask(headers=headers(good)).status == 200
        assert time.monotonic() - started < 10, "a good peer had to wait for the silent ones"
        with connect(host.port()) as other:
            assert other.ask().status == 200
            assert other.ask(headers=headers(good)).status == 200
    for to in hanging:
        to.close()
    no_sockets_to(host, *hanging, timeout=40)


@pytest.mark.long
def test_what_waits_for_a_handshake_is_bounded(start_host, certs, peer):
    """A silent peer and much more for it than may wait: the surplus is refused, memory stays bounded."""
    to = peer("silent")
    host = start_host(listen=LISTEN, modparams=params(certs, con_ct_wq_max=32768, ct_wq_max=65536),
                      modules=["tm.so"], script=RELAY, settings=SETTINGS)
    with UdpClient(host.port(UDP)) as udp:
        for i in range(60):
            udp.send(headers=headers(to, True), size=4000, cseq=i + 1)
        assert udp.ask().status == 200

        def waiting():
            """What waits at each connection, with one more message on its way: who has too much is closed, and another one opened."""
            udp.send(headers=headers(to, True), size=4000)
            return [c["ct_wq_size"] for c in host.connections()]

        # 6.1 lists a connection only when its main TCP process has taken it over
        found = wait_for(lambda: [sizes for sizes in [waiting()] if any(sizes)], 20, "messages that wait")[0]
        assert max(found) <= 32768, f"con_ct_wq_max is not kept: {found}"
        for _ in range(50):
            found, queued = waiting(), host.rpc("tls.info")["clear_text_write_queued_bytes"]
            assert max([0, *found]) <= 32768 and queued <= 65536, f"{found} wait, {queued} in all"
    # The host's core may leave a descriptor in CLOSE_WAIT when a sender gives up a connection that is on its way
    # to the TCP main process; it does so with any TLS module, so here the module's own memory is what counts.
    to.close()
    host.wait_no_connections()
    wait_for(lambda: host.rpc("tls.info")["clear_text_write_queued_bytes"] == 0, 20, "the queue to be freed")


@pytest.mark.long
def test_failures_leave_nothing(host, peer):
    """Rounds of failed and hanging outgoing connections: shared memory comes back."""
    def one_round():
        peers = [peer(b) for b in ("close_early", "reset_early", "garbage", "close_later", "silent") for _ in range(4)]
        with UdpClient(host.port(UDP)) as udp:
            asked = [udp.send(headers=headers(to, fails=True)) for to in peers]
            for call_id in asked:
                assert udp.final(call_id).status >= 400
        for to in peers:
            to.close()
        no_sockets_to(host, *peers)
        host.wait_no_connections(30)
        wait_for(lambda: host.rpc("tm.stats")["current"] == 0, 40, "tm's transactions to end")
        return host.shm_live()

    one_round()
    first = one_round()
    one_round()
    assert host.shm_settled(first * 1.01) <= first * 1.01


def test_relay_under_load(host, peer):
    """Clients that come and go while every request is relayed to one of three peers over TLS."""
    peers = [peer() for _ in range(3)]
    context = client_context()
    for i in range(60):
        with Client(host.port(), context).handshake() as client:
            for to in peers:
                assert client.ask(headers=headers(to, i % 2)).status == 200
    assert sum(len(to.requests) for to in peers) == 180
