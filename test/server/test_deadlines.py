"""Peers that take their time: an end comes to each, at the time that the settings say and not before.

Nearly all of a scene is waiting, so all scenes of this file run at once, each in a thread, and a test takes its
scene's outcome. The host's own granularity stands behind the slack: a worker gives a connection back after 5 idle
seconds and looks again after 5 more.
"""

import concurrent.futures
import contextlib
import ssl
import time

import pytest

import sip
from host import host_version, relay_script, wait_for
from peers import Client, Closed, Peer, UdpClient, client_context, client_hello, connect, raw_exchange, server_context

UDP = "udp:127.0.0.1"
SLACK, IDLE_SLACK = 12.0, 18.0
RELAY = relay_script('''if (method == "MESSAGE") {
		set_reply_body("$rb", "text/plain");
	}
	sl_send_reply("200", "OK");''')
HANDSHAKE, IDLE, SEND = 4, 5, 2  # seconds, as set below


@pytest.fixture(scope="module")
def host(module_host, certs):
    """Short deadlines for handshakes and sends, a long one for idle connections.

    From 6.0 on the host has one of its own, from a message's first byte to its last. A handshake is not that.
    """
    settings = {"tcp_rd_buf_size": 262144, "pv_buffer_size": 131072}
    if host_version() >= (6, 0):
        settings["tcp_msg_read_timeout"] = 5
    return module_host(modparams=certs.server_ec.params(handshake_timeout=HANDSHAKE, connection_timeout=60,
                                                        send_timeout=SEND), script=RELAY, settings=settings)


@pytest.fixture(scope="module")
def impatient(module_host, certs):
    """Idle connections end after some seconds."""
    return module_host(modparams=certs.server_ec.params(connection_timeout=IDLE, handshake_timeout=10,
                                                        send_close_notify=1), script=RELAY)


def began(client):
    """The bytes of a client's first flight."""
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client.pull()


def trickle(client, data, pause, limit):
    """Sends a byte now and then until the server closes; fails if it does not within `limit` seconds."""
    started = time.monotonic()
    client.sock.settimeout(pause)
    try:
        for at in range(len(data)):
            client.push(data[at:at + 1])
            assert time.monotonic() - started < limit, "a trickling peer keeps its connection"
            with contextlib.suppress(TimeoutError):
                client.feed()
    except Closed:
        return time.monotonic() - started
    finally:
        client.sock.close()
    raise AssertionError("the data ended before the connection did")


# -- scenes: each is given the two hosts and the certificates ------------------------------------------------------

def silent_after(sent):
    """A peer that stops after some bytes of its ClientHello."""
    def scene(host, _impatient, _certs):
        started = time.monotonic()
        _, closed = raw_exchange(host.port(), client_hello()[:sent], finish=False, timeout=HANDSHAKE + SLACK)
        assert closed, "a silent peer keeps its connection beyond handshake_timeout"
        assert time.monotonic() - started > HANDSHAKE - 0.5

    return scene


def silent_before_the_last_flight(version):
    """A peer that has the server's certificate and then says no more."""
    def scene(host, _impatient, _certs):
        started = time.monotonic()
        client = Client(host.port(), client_context(version), timeout=HANDSHAKE + SLACK)
        client.push(began(client))
        with pytest.raises(Closed):
            while True:
                client.feed()
        assert time.monotonic() - started > HANDSHAKE - 0.5
        client.sock.close()

    return scene


def trickle_in_the_handshake(pause):
    """A byte now and then renews the host's read timeout, but not the absolute deadline."""
    def scene(host, _impatient, _certs):
        client = Client(host.port(), client_context("1.3"))
        assert trickle(client, began(client)[:-1], pause, HANDSHAKE + SLACK) > HANDSHAKE - 0.5

    return scene


def idle_but_established(version, ask):
    """The handshake's deadline is met by the handshake: idle much longer, asking before or not, is no offence."""
    def scene(host, _impatient, _certs):
        with connect(host.port(), version) as client:
            if ask:
                client.ask()
            assert not client.closed_by_server(HANDSHAKE + SLACK)
            assert client.ask().status == 200

    return scene


def outgoing_handshake(behaviour):
    """A peer that never answers costs its socket for handshake_timeout, no longer."""
    def scene(host, _impatient, certs):
        with Peer(server_context(certs.server_ec), behaviour) as to, UdpClient(host.port(UDP)) as udp:
            udp.send(headers=[f"X-Target: {to.uri()}"])
            wait_for(lambda: host.open_to(to.port), what="the connection to the peer")
            wait_for(lambda: not host.open_to(to.port), HANDSHAKE + SLACK, "the silent peer's socket to go")

    return scene


def send_timeout(host, _impatient, _certs):
    """A client that asks and never reads: what cannot be sent is given up, the connection closed."""
    client = connect(host.port())
    client.sock.settimeout(0.5)
    ask = {"method": "MESSAGE", "body": b"x" * 50000, "headers": ["Content-Type: text/plain"]}
    end, waiting = time.monotonic() + 30, b""
    with pytest.raises(OSError):
        while True:
            assert time.monotonic() < end, "a client that never reads keeps its connection"
            if not waiting:
                client.tls.write(sip.request(**ask))
                waiting = client.pull()
            with contextlib.suppress(TimeoutError):
                waiting = waiting[client.sock.send(waiting):]
    client.sock.close()


def idle_close(_host, impatient, _certs):
    """An idle connection is closed in time, with close_notify since the settings ask for it."""
    started = time.monotonic()
    client = connect(impatient.port(), timeout=IDLE + IDLE_SLACK)
    client.ask()
    with pytest.raises(Closed, match="close_notify"):
        client.read()
    assert time.monotonic() - started > IDLE - 0.5
    client.sock.close()


def busy(_host, impatient, _certs):
    """A request a second, for longer than connection_timeout and the host's 5 seconds together."""
    with connect(impatient.port()) as client:
        for i in range(IDLE + 8):
            assert client.ask(cseq=i + 1).status == 200
            time.sleep(1)


def trickle_after_the_handshake(_host, impatient, _certs):
    """A byte of a record now and then, which never becomes a request, does not keep a connection for ever."""
    client = connect(impatient.port())
    client.ask()
    client.tls.write(sip.request(size=4000))
    trickle(client, client.pull(), 0.5, IDLE + IDLE_SLACK)


SCENES = {
    **{f"silent after {n} bytes": silent_after(n) for n in (0, 1, 5, 100)},
    **{f"silent before the last flight, TLS {v}": silent_before_the_last_flight(v) for v in ("1.2", "1.3")},
    **{f"a byte every {p} s in the handshake": trickle_in_the_handshake(p) for p in (0.1, 0.7)},
    **{f"idle but established, TLS {v}": idle_but_established(v, True) for v in ("1.2", "1.3")},
    "established and not asking": idle_but_established("1.3", False),
    **{f"outgoing handshake, {b} peer": outgoing_handshake(b) for b in ("silent", "deaf")},
    "send timeout": send_timeout,
    "idle close": idle_close,
    "busy": busy,
    "a byte every 0.5 s after the handshake": trickle_after_the_handshake,
}


@pytest.fixture(scope="module")
def outcomes(host, impatient, certs):
    """Every scene under way: {name: future}."""
    with concurrent.futures.ThreadPoolExecutor(len(SCENES)) as pool:
        yield {name: pool.submit(scene, host, impatient, certs) for name, scene in SCENES.items()}


@pytest.mark.long
@pytest.mark.parametrize("name", SCENES)
def test_deadline(outcomes, name):
    outcomes[name].result(timeout=100)


def test_hosts_are_well_after_it(outcomes, host, impatient):
    """All processes there, clean logs, a new client served, no socket kept."""
    concurrent.futures.wait(outcomes.values(), timeout=100)
    for one in (host, impatient):
        one.check_alive()
        with connect(one.port()) as client:
            assert client.ask().status == 200
        one.wait_no_close_wait()
