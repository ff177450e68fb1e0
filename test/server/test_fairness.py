"""What one connection can take from all others: peers that send without pause, and those who wait for the workers
meanwhile. The same flood over plain TCP, a moment before, is the measure."""

import contextlib
import socket

import pytest

import sip
from host import HostError
from peers import connect

WORKERS = 2
FLOODING = 2 * WORKERS
SECONDS, ROUNDS = 5, 4
TCP, TLS = "tcp:127.0.0.1", "tls:127.0.0.1"
SCRIPT = """
request_route {
	if (is_method("ACK")) {
		%s
		exit;
	}
	sl_send_reply("200", "OK");
	exit;
}
"""
# Milliseconds that every ACK takes in the script, ACKs in a record.
FLOODS = [(0, 1), (2, 1), (2, 50)]


@contextlib.contextmanager
def flooded(start_host, certs, load, kind, flood):
    """A host that is flooded over TCP or TLS by two connections for each worker."""
    sleep, pipeline = flood
    # of its own each time: what a plain socket still holds of a flood lasts for minutes
    host = start_host(listen=("udp:127.0.0.1", kind), tcp_children=WORKERS, modules=["siputils.so", "cfgutils.so"],
                      script=SCRIPT % (f'usleep("{sleep}000");' if sleep else ""), modparams=certs.server_ec.params(),
                      settings={"tcp_rd_buf_size": 4096})
    peer = load.start(host.port(kind), connections=FLOODING, parallel=FLOODING, flood=True, pipeline=pipeline,
                      plain=kind == TCP, time_limit=120)
    try:
        load.wait_standing(peer, FLOODING)
        yield host
        assert load.interim(peer)["standing"] == FLOODING, "the flood has ended"
    finally:
        peer.terminate()
        load.finish(peer)
        host.stop(busy=True)


def waits(host, load, kind):
    """The 99th percentiles, in ms, of what others wait for: a new connection with its handshake and a request; a request
    on a connection that stands. One that fails has waited for ever."""
    how = {"plain": kind == TCP, "time_limit": SECONDS + 15, "timeout": 10}
    standing = load.start(host.port(kind), connections=20, parallel=20, request_rate=40, **{**how, "time_limit": 100})
    with contextlib.suppress(HostError):
        load.wait_standing(standing, 20, 20)
    new = load(host.port(kind), connections=10 * SECONDS, parallel=10 * SECONDS, rate=10, **how)
    standing.terminate()
    standing = load.finish(standing)
    return [counts[key]["p99"] / 1000 if counts[key]["count"] and not counts["failed"] else float("inf")
            for counts, key in ((new, "whole_us"), (standing, "reply_us"))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: f"{flood[0]} ms a message, {flood[1]} in a record")
def test_flood_costs_others_no_more_than_over_tcp(start_host, certs, load, flood):
    """At most twice as much, in one of a few rounds: the machine may have others to serve."""
    seen = []
    for _ in range(ROUNDS):
        now = []
        for kind in (TCP, TLS):
            with flooded(start_host, certs, load, kind, flood) as host:
                now.append(waits(host, load, kind))
        seen.append(now)
        print(f"TCP {now[0]}, TLS {now[1]}")
        if all(tls <= 2 * tcp for tcp, tls in zip(*now)):
            return
    raise AssertionError(f"99th percentiles in ms, TCP and TLS, new connections and requests: {seen}")


@pytest.mark.parametrize("end", ["the connection stays", "a FIN behind it"])
def test_all_that_came_at_once_is_served(start_host, certs, end):
    """A socket that is empty, or at its end, tells no more of what has been read from it: nothing of that is forgotten."""
    host = start_host(modparams=certs.server_ec.params(), settings={"tcp_rd_buf_size": 2048})
    for count in (1, 2, 5, 10, 30, 100):
        with connect(host.port()) as client:
            client.send(b"".join(sip.request(size=400 + count) for _ in range(count)))
            if end != "the connection stays":
                client.sock.shutdown(socket.SHUT_WR)
            assert [client.message().status for _ in range(count)] == [200] * count
