"""No two workers ever give the same random bytes to the network."""

import contextlib
import ssl

import pytest

from peers import Client, client_context

CONNECTIONS = 240


@pytest.fixture(scope="module")
def host(module_host, certs):
    """A host with many workers, all forked from one process."""
    return module_host(modparams=certs.server_ec.params(), tcp_children=8)


def first_flights(host, version, count=CONNECTIONS):
    """(random, session id, worker) of many connections, held open in batches so that every worker gets some."""
    found, context = [], client_context(version)
    context.options |= ssl.OP_NO_TICKET
    for _ in range(count // 24):
        with contextlib.ExitStack() as held:
            batch = [held.enter_context(Client(host.port(), context).handshake()) for _ in range(24)]
            found += [(*client.server_hello(), client.ask().get("x-pid")) for client in batch]
    return found


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_server_randoms_differ(host, version):
    found = first_flights(host, version)
    assert len({worker for _, _, worker in found}) == 8, "not every worker was asked"
    # 8 bytes: even a common beginning would mean a common generator; the last 8 of TLS 1.2 are a fixed mark.
    for at in (0, 8, 16):
        pieces = [random[at:at + 8] for random, _, _ in found]
        assert len(set(pieces)) == len(pieces), f"server randoms repeat in their bytes {at} to {at + 7}"


def test_session_ids_differ(start_host, certs):
    """With the session cache on, TLS 1.2 gives session ids."""
    host = start_host(modparams=certs.server_ec.params(session_cache=1), tcp_children=8)
    ids = [session for _, session, _ in first_flights(host, "1.2", 96) if session]
    assert len(set(ids)) == len(ids), "two connections got one session id"


def test_key_shares_differ(host):
    """The server's TLS 1.3 key shares, seen in the raw ServerHello."""
    shares = []
    for _ in range(48):
        with Client(host.port(), client_context("1.3")).handshake() as client:
            size = int.from_bytes(client.received[3:5], "big")
            shares.append(client.received[5 + size - 32:5 + size])
    assert len(set(shares)) == len(shares)


def test_restart_draws_anew(start_host, certs):
    """Two starts of the same host have nothing in common."""
    seen = set()
    for _ in range(2):
        host = start_host(modparams=certs.server_ec.params(), tcp_children=2)
        for random, _, _ in first_flights(host, "1.3", 24):
            assert random[:8] not in seen
            seen.add(random[:8])
        host.stop()
