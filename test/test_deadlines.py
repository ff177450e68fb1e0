"""Peers that take their time: an end comes to each, at the time that the settings say and not before.

The host's own granularity stands behind the slack: a worker gives a connection back after 5 idle seconds.
"""

import contextlib
import time

import pytest

import sip
from host import wait_for
from peers import Client, Closed, Peer, UdpClient, client_context, client_hello, connect, raw_exchange, server_context

UDP = "udp:127.0.0.1"
SLACK = 8.0
RELAY = """
request_route {
	if ($hdr(X-Target) != $null) {
		$ru = $hdr(X-Target);
		forward();
		exit;
	}
	if (method == "MESSAGE") {
		set_reply_body("$rb", "text/plain");
	}
	sl_send_reply("200", "OK");
	exit;
}
"""


@pytest.fixture(scope="module")
def host(module_host, certs):
    """Short deadlines for handshakes and sends, a long one for idle connections."""
    return module_host(modparams=certs.server_ec.params(handshake_timeout=2, connection_timeout=60, send_timeout=2),
                       script=RELAY, settings={"tcp_rd_buf_size": 262144, "pv_buffer_size": 131072})


@pytest.fixture(autouse=True)
def everyone_alive(host):
    """After each test the host has all its processes, a clean log, and serves."""
    yield
    host.check_alive()
    with connect(host.port()) as client:
        assert client.ask().status == 200


def ended_after(run):
    """How many seconds it took until run() returned."""
    started = time.monotonic()
    run()
    return time.monotonic() - started


@pytest.mark.long
@pytest.mark.parametrize("sent", [0, 1, 5, 100])
def test_silent_in_the_handshake(host, sent):
    """A peer that stops after some bytes of its ClientHello."""
    def run():
        _, closed = raw_exchange(host.port(), client_hello()[:sent], finish=False, timeout=2 + SLACK)
        assert closed, "a silent peer keeps its connection beyond handshake_timeout"

    assert 1.5 <= ended_after(run)


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_silent_before_the_last_flight(host, version):
    """A peer that has its certificate and then says no more."""
    client = Client(host.port(), client_context(version), timeout=2 + SLACK)
    with contextlib.suppress(Exception):
        client.tls.do_handshake()
    client.push(client.pull())
    client.feed()

    def run():
        with pytest.raises(Closed):
            while True:
                client.feed()

    assert 1.0 <= ended_after(run) <= 2 + SLACK
    client.sock.close()


@pytest.mark.long
@pytest.mark.parametrize("pause", [0.1, 0.7])
def test_trickle_in_the_handshake(host, pause):
    """One byte now and then renews the host's read timeout, but not the absolute deadline."""
    client = Client(host.port(), client_context("1.3"))
    with contextlib.suppress(Exception):
        client.tls.do_handshake()
    hello = client.pull()

    def run():
        end = time.monotonic() + 2 + SLACK
        with pytest.raises(Closed):
            for at in range(len(hello) - 1):
                client.push(hello[at:at + 1])
                assert time.monotonic() < end, "a trickling peer keeps its connection"
                client.sock.settimeout(pause)
                with contextlib.suppress(TimeoutError):
                    client.feed()

    assert 1.5 <= ended_after(run)
    client.sock.close()


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_handshake_deadline_spares_the_established(host, version):
    """A connection that is idle for much longer than handshake_timeout is still there."""
    with connect(host.port(), version) as client:
        client.ask()
        assert not client.closed_by_server(9)
        assert client.ask().status == 200


@pytest.mark.long
def test_established_without_a_request(host):
    """The deadline is met by the handshake alone; a client may think before it asks."""
    with connect(host.port()) as client:
        assert not client.closed_by_server(9)
        assert client.ask().status == 200


@pytest.mark.long
@pytest.mark.parametrize("behaviour", ["silent", "deaf"])
def test_outgoing_handshake_deadline(host, certs, behaviour):
    """A peer that never answers costs its socket for handshake_timeout, no longer."""
    with Peer(server_context(certs.server_ec), behaviour) as to, UdpClient(host.port(UDP)) as udp:
        udp.send(headers=[f"X-Target: {to.uri()}"])
        wait_for(lambda: [s for s in host.tcp_states() if s[1] == to.port], 5, "the connection to the peer")
        wait_for(lambda: not [s for s in host.tcp_states() if s[1] == to.port], 2 + SLACK, "the silent peer's socket to go")


@pytest.mark.long
def test_send_timeout(host):
    """A client that asks and never reads: what cannot be sent is given up, the connection closed."""
    client = connect(host.port())
    body = b"x" * 50000

    def run():
        end = time.monotonic() + 2 + SLACK + 5
        client.sock.settimeout(0.5)
        with pytest.raises((Closed, ConnectionError)):
            while True:
                assert time.monotonic() < end, "a client that never reads keeps its connection"
                with contextlib.suppress(TimeoutError):
                    client.tls.write(sip.request(method="MESSAGE", body=body, headers=["Content-Type: text/plain"]))
                    data = client.pull()
                    client.sock.sendall(data)

    run()
    client.sock.close()
    wait_for(lambda: host.open_tls() == 0, 10, "the connection to go")


# -- idle connections --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def impatient(module_host, certs):
    """Idle connections end after 2 seconds."""
    return module_host(modparams=certs.server_ec.params(connection_timeout=2, handshake_timeout=4, send_close_notify=1),
                       script=RELAY)


@pytest.mark.long
def test_idle_connection_is_closed_with_close_notify(impatient):
    client = connect(impatient.port(), timeout=2 + SLACK)
    client.ask()

    def run():
        with pytest.raises(Closed, match="close_notify"):
            client.read()

    assert 1.5 <= ended_after(run)
    client.sock.close()


@pytest.mark.long
def test_busy_connection_is_kept(impatient):
    """A request a second for longer than connection_timeout and the host's own 5 seconds together."""
    with connect(impatient.port()) as client:
        for i in range(10):
            assert client.ask(cseq=i + 1).status == 200
            time.sleep(1)


@pytest.mark.long
def test_trickle_after_the_handshake(impatient):
    """One byte of a record now and then, which never becomes a request, does not keep a connection for ever."""
    client = connect(impatient.port())
    client.ask()
    client.tls.write(sip.request(size=4000))
    record = client.pull()
    client.sock.settimeout(0.5)
    end = time.monotonic() + 15
    with pytest.raises(Closed):
        for at in range(len(record)):
            client.push(record[at:at + 1])
            assert time.monotonic() < end, "a trickling peer keeps its connection"
            with contextlib.suppress(TimeoutError):
                client.feed()
    client.sock.close()
    impatient.check_alive()
