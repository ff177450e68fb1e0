"""Hostile and broken peers: they stop at every step, flood, lie, and ask for as much work as they can. Whatever they do,
other clients are served meanwhile, no process is lost, and when they have gone nothing of them is left."""

import contextlib
import itertools
import os
import re
import resource
import socket
import ssl
import subprocess
import time

import pytest

import forge
import sip
import certs as making
from forge import (ALERT, CHANGE_CIPHER, DATA, FATAL, HANDSHAKE, HEARTBEAT, KEY_UPDATE, WARNING, Forger, alert, forger,
                   message, record, records, u16, u24)
from host import TOP, Port, relay_script, wait_for
from peers import Client, Closed, Peer, UdpClient, client_context, client_hello, connect, raw_exchange, refused, reset, \
    server_context, warm

HANDSHAKE_SECONDS, IDLE_SECONDS = 8, 8
VERSIONS = ["1.2", "1.3"]
UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
RELAY = relay_script()


@pytest.fixture(scope="module")
def host(module_host, certs):
    """The host of most tests: it is in a hurry, and asks for a certificate but takes any."""
    return module_host(listen=(UDP, TLS), script=RELAY, shm_mb=192,
                       modparams=certs.server_ec.params(handshake_timeout=HANDSHAKE_SECONDS, connection_timeout=IDLE_SECONDS,
                                                        ca_list=certs.ca.cert, verify_client="optional_no_ca"),
                       settings={"tcp_max_connections": 4096, "tcp_rd_buf_size": 65536}, modules=["cfg_rpc.so"])


@pytest.fixture
def patient(host):
    """The same host in no hurry: for floods that the test itself may need long for."""
    host.rpc("cfg.set_now_int", "tls", "connection_timeout", 120)
    yield host
    host.rpc("cfg.set_now_int", "tls", "connection_timeout", IDLE_SECONDS)


@pytest.fixture
def bystander(host):
    """A client that is served before and after, and a host that is as it was: processes, log, connections, memory."""
    host.revive()
    host.wait_no_connections(30)
    warm(host)
    before = host.shm_live()
    yield lambda: serves(host)
    serves(host)
    host.check_alive()
    host.wait_no_connections(30)
    limit = before * 1.02
    assert host.shm_settled(limit) <= limit, f"shared memory in use grew from {before} bytes"
    host.wait_no_close_wait()


def serves(host, seconds=10):
    """Fails unless a new client is served within so many seconds: long before those in its way are gone by themselves."""
    started = time.monotonic()
    with connect(host.port()) as client:
        assert client.ask().status == 200
    assert time.monotonic() - started < seconds, "the host serves a good client late"


def statistic(host, key):
    """One of the module's statistics."""
    return int(host.rpc("stats.get_statistics", key)[0].split("=")[1])


# -- stopping at every step --------------------------------------------------------------------------------------

def begun(port, version):
    """A client that has sent nothing, and its first flight."""
    client = Client(port, client_context(version))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client, client.pull()


def connected(port, version):
    return begun(port, version)[0]


def half_a_hello(port, version):
    client, hello = begun(port, version)
    client.push(hello[:len(hello) // 2])
    return client


def a_hello(port, version):
    client, hello = begun(port, version)
    client.push(hello)
    return client


def a_flight_read(port, version):
    client = a_hello(port, version)
    client.feed()
    return client


def half_the_last_flight(port, version):
    client = Client(port, client_context(version))
    if version == "1.3":
        client.handshake(hold_last=True)
        flight = client.pull()
    else:
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.push(client.pull())
        flight = b""
        while not flight:
            client.feed()
            with contextlib.suppress(ssl.SSLWantReadError):
                client.tls.do_handshake()
            flight = client.pull()
    client.push(flight[:len(flight) // 2])
    return client


def finished(port, version):
    return connect(port, version)


def half_a_request(port, version):
    client = connect(port, version)
    client.tls.write(sip.request(size=600))
    client.push(client.pull()[:300])
    return client


def a_request(port, version):
    client = connect(port, version)
    client.send(sip.request())
    return client


STEPS = [connected, half_a_hello, a_hello, a_flight_read, half_the_last_flight, finished, half_a_request, a_request]


def gone(client):
    """Whether the server has ended this connection, by whatever way."""
    client.sock.settimeout(HANDSHAKE_SECONDS + IDLE_SECONDS + 10)
    with contextlib.suppress(ConnectionResetError):
        while client.sock.recv(65536):
            pass
    client.sock.close()


ENDS = {
    "a FIN": lambda client: client.sock.close(),
    "a reset": lambda client: client.reset(),
    "a half-closed socket": lambda client: (client.sock.shutdown(socket.SHUT_WR), gone(client)),
    "silence": gone,
}


@pytest.mark.parametrize("end", ENDS)
def test_stopping_at_every_step(host, bystander, end):
    clients = [step(host.port(), version) for step in STEPS for version in VERSIONS for _ in range(4)]
    bystander()
    for client in clients:
        ENDS[end](client)


# -- floods --------------------------------------------------------------------------------------------------------

def descriptors(wanted):
    """Lets this process open so many files, or as many as it may; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return max(soft, most)


def flood(host, count, data=b"", source="127.0.0.1"):
    """So many connections from one address, each with these bytes, none of them waited for."""
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.bind((source, 0))
        s.settimeout(20)
        s.connect(("127.0.0.1", host.port()))
        with contextlib.suppress(OSError):
            s.sendall(data)
        sockets.append(s)
    return sockets


@pytest.fixture(scope="module")
def wide(module_host, certs):
    """A host for ten thousand connections."""
    count = min(10000, descriptors(12000) - 1000)
    return count, module_host(modparams=certs.server_ec.params(handshake_timeout=300), shm_mb=384, modules=["cfg_rpc.so"],
                              settings={"tcp_max_connections": count + 1000, "tls_max_connections": count + 1000,
                                        "open_files_limit": count + 2000})


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["silent", "kept by an address's limit"])
def test_ten_thousand_connections_that_never_speak(wide, how):
    count, host = wide
    limit = 50 if how != "silent" else 0
    host.rpc("cfg.set_now_int", "tls", "max_handshakes_per_address", limit)
    serves(host)
    host.wait_no_connections()
    before, refused_before, log = host.shm_live(), statistic(host, "connections_crowded"), len(host.log())
    started = time.monotonic()
    sockets = flood(host, count, source="127.0.0.9")
    wait_for(lambda: host.open_tls() + statistic(host, "connections_crowded") - refused_before >= count, 60,
             "the host to accept all of them")
    serves(host)
    wait_for(lambda: host.open_tls() == (limit or count), 20, "the good client to go")
    lines = host.log()[log:].count("max_handshakes_per_address")
    assert (1 if limit else 0) <= lines <= (time.monotonic() - started) / 5 + 1 if limit else lines == 0
    for s in sockets:
        reset(s)
    host.wait_no_connections(30)
    host.rpc("cfg.set_now_int", "tls", "max_handshakes_per_address", 0)
    assert host.shm_settled(before * 1.01) <= before * 1.01
    host.check_alive()


@pytest.mark.long
def test_little_memory_and_a_flood(start_host, certs):
    """Below the thresholds new connections are refused, then handshakes; established ones go on, and all of the memory
    comes back. The log does not grow with the flood."""
    host = start_host(modparams=certs.server_ec.params(handshake_timeout=20), shm_mb=32,
                      settings={"tcp_max_connections": 4096})
    hello, settled, started = client_hello("1.3"), None, time.monotonic()
    for _ in range(2):
        with contextlib.ExitStack() as held:
            old = [held.enter_context(connect(host.port(), version)) for version in VERSIONS * 4]
            assert all(client.ask().status == 200 for client in old)
            refusals, log = statistic(host, "connections_refused"), len(host.log())
            sockets = flood(host, 1500, hello)
            wait_for(lambda: statistic(host, "connections_refused") - refusals > 300, 40, "memory to be low")
            for client in old * 3:
                assert client.ask(size=3000).status == 200, "an established connection suffers from the flood"
            said = host.log().count("of shared memory are left")
            assert 1 <= said <= (time.monotonic() - started) / 5 + 1
            late = len(re.findall("malloc failure|no shared memory", host.log()[log:]))
            assert late <= 100, f"the thresholds came too late for {late} connections"
            for s in sockets:
                s.close()
        host.wait_no_connections(30)
        wait_for(lambda: not refused(host.port()), 20, "new connections to be taken again")
        serves(host)
        host.wait_no_connections()
        settled = settled or host.shm_live()
    assert host.shm_settled(settled * 1.01) <= settled * 1.01
    host.stop()


def test_low_mem_threshold2_ends_handshakes(start_host, certs):
    """With less than that free, a handshake that has begun is given up, an established connection goes on."""
    host = start_host(modparams=certs.server_ec.params(low_mem_threshold1=0, low_mem_threshold2=0),
                      modules=["cfg_rpc.so"])
    with connect(host.port()) as client:
        client.ask()
        host.rpc("cfg.set_now_int", "tls", "low_mem_threshold2", 1 << 20)
        assert refused(host.port())
        host.wait_log(re.escape("of shared memory are left (low_mem_threshold2 1048576)"))
        assert client.ask().status == 200
        host.rpc("cfg.set_now_int", "tls", "low_mem_threshold2", 0)
        assert not refused(host.port())


# -- the limit for one address ---------------------------------------------------------------------------------------

LIMIT, CROWD = 6, "127.0.0.7"


@pytest.fixture(scope="module")
def limited(module_host, certs):
    """Few handshakes at a time from one address."""
    return module_host(listen=(TLS, "tls:[::1]"), modules=["cfg_rpc.so"],
                       modparams=certs.server_ec.params(max_handshakes_per_address=LIMIT, handshake_timeout=10))


def kept(host):
    """How many connections the module has, which refused ones never are."""
    return host.tls_info()["opened_connections"]


def places(host):
    """How many of 3 * LIMIT silent connections of the crowd's address are kept; they leave again."""
    refusals = statistic(host, "connections_crowded")
    sockets = flood(host, 3 * LIMIT, source=CROWD)
    wait_for(lambda: kept(host) + statistic(host, "connections_crowded") - refusals == 3 * LIMIT, 30, "the host to accept all")
    count = kept(host)
    for s in sockets:
        s.close()
    host.wait_no_connections()
    return count


def full(host, data):
    """As many connections of the crowd's address as there are places, each with these bytes, and all taken."""
    sockets = flood(host, LIMIT, data, CROWD)
    wait_for(lambda: kept(host) == LIMIT, 30, "the host to accept all")
    return sockets


def from_crowd(host, version=None):
    """A client of the crowd's address."""
    client = Client(host.port(), client_context(version))
    client.sock.close()
    client.sock = socket.create_connection(("127.0.0.1", host.port()), 20, source_address=(CROWD, 0))
    return client


def ending_established(host):
    with contextlib.ExitStack() as held:
        for version in VERSIONS * LIMIT:  # more than the limit, one after the other
            client = from_crowd(host, version)
            held.callback(client.sock.close)
            assert client.handshake().ask().status == 200
        assert host.open_tls() >= 2 * LIMIT


def ending_by_garbage(host):
    for s in flood(host, LIMIT, b"GET / HTTP/1.0\r\n\r\n", CROWD):
        gone_raw(s)


def ending_by_leaving(host):
    for data in (b"", client_hello()[:50], client_hello()):
        for s in full(host, data):
            s.close()
        host.wait_no_connections()


def ending_by_reset(host):
    for s in full(host, client_hello()):
        reset(s)


def ending_by_timeout(host):
    for s in flood(host, LIMIT, client_hello(), CROWD):
        gone_raw(s)


def ending_by_kill(host):
    sockets = full(host, client_hello())
    for entry in host.connections():
        host.rpc("tls.kill", entry["id"])
    for s in sockets:
        gone_raw(s)


def gone_raw(s):
    """Waits until the server has ended it."""
    s.settimeout(40)
    with contextlib.suppress(ConnectionError):
        while s.recv(65536):
            pass
    s.close()


WAYS = [ending_established, ending_by_garbage, ending_by_leaving, ending_by_reset, ending_by_timeout, ending_by_kill]


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_places_come_back_by_every_way(limited, way):
    """Exactly LIMIT handshakes at a time, however the ones before ended; another address is not concerned."""
    limited.wait_no_connections()
    way(limited)
    limited.wait_no_connections()
    refusals = statistic(limited, "connections_crowded")
    assert places(limited) == LIMIT
    assert statistic(limited, "connections_crowded") == refusals + 2 * LIMIT
    limited.check_alive()


def test_other_addresses_have_places_of_their_own(limited):
    crowd = flood(limited, 2 * LIMIT, source=CROWD)
    wait_for(lambda: limited.open_tls() == LIMIT, 20, "the limit to act")
    serves(limited)
    with connect(limited.port("tls:[::1]"), address="::1") as client:
        assert client.ask().status == 200
    for s in crowd:
        s.close()
    limited.wait_no_connections()


def test_limit_changes_while_it_runs(limited):
    limited.rpc("cfg.set_now_int", "tls", "max_handshakes_per_address", 2)
    assert places(limited) == 2
    limited.rpc("cfg.set_now_int", "tls", "max_handshakes_per_address", 0)
    assert places(limited) == 3 * LIMIT
    limited.rpc("cfg.set_now_int", "tls", "max_handshakes_per_address", LIMIT)
    assert places(limited) == LIMIT


# -- after the handshake, with the client's own keys ---------------------------------------------------------------

def ends(client):
    """Fails unless the server ends the connection before that is idle for too long."""
    assert client.closed_by_server(IDLE_SECONDS - 1), "the host keeps the connection"
    client.close()


def storm(client, count, kind, data, update=False):
    """The same record so many times, sent as fast as the server takes it; True if all were taken."""
    try:
        for _ in range(0, count, 200):
            sealed = []
            for _ in range(200):
                sealed.append(client.seal(kind, data))
                if update:
                    client.seal.update()
            client.push(b"".join(sealed))
    except Closed:
        return False
    return True


def cost(host, work):
    """CPU seconds that some work costs the host."""
    before = host.cpu_seconds()
    work()
    return host.cpu_seconds() - before


def records_until_data(client):
    """The types of the records that the server sends, up to application data or the connection's end, as they stand (TLS 1.2)."""
    raw, types = b"", []
    while DATA not in types:
        try:
            got = client.sock.recv(65536)
        except ConnectionError:
            got = b""
        if not got:
            break
        raw += got
        while len(raw) >= 5 and len(raw) >= 5 + int.from_bytes(raw[3:5], "big"):
            types.append(raw[0])
            raw = raw[5 + int.from_bytes(raw[3:5], "big"):]
    return types


@pytest.mark.parametrize("kind", ["HelloRequest", "ClientHello"])
def test_renegotiation_storm(patient, bystander, kind):
    """A client's HelloRequest ends the connection; each ClientHello is refused by a warning, and a request behind them is served."""
    body = message(forge.HELLO_REQUEST) if kind == "HelloRequest" else forge.hello_message(forge.extensions("1.2"))
    client, types = forger(patient.port(), "1.2", timeout=30), []

    def work():
        if storm(client, 2000, HANDSHAKE, body):
            with contextlib.suppress(Closed):
                client.forge(DATA, sip.request())
        types.extend(records_until_data(client))

    spent = cost(patient, work)
    bystander()
    assert types == ([ALERT] if kind == "HelloRequest" else 2000 * [ALERT] + [DATA]), f"{len(types)} answers: {types[:5]}"
    assert spent < 2000 * 0.0002, f"2,000 refused renegotiations cost {spent:.2f} s of CPU"
    client.close()


def test_half_a_key_update_lets_nothing_wait(host, bystander):
    """Answers to a client that stops in the middle of a message about its keys do not fill what may wait for all: it goes."""
    client = forger(host.port(), "1.3")
    requests = b"".join(client.seal(DATA, sip.request()) for _ in range(24))
    client.push(requests + client.seal(HANDSHAKE, message(KEY_UPDATE, b"\0")[:4]))
    ends(client)
    assert host.rpc("tls.info")["clear_text_write_queued_bytes"] == 0
    bystander()


def test_key_update_flood(patient, bystander):
    """Eight thousand, each asking for one in return: bounded work, one answer, and then a request is served."""
    client, served = forger(patient.port(), "1.3", timeout=30), []

    def work():
        storm(client, 8000, HANDSHAKE, message(KEY_UPDATE, b"\1"), update=True)
        client.forge(DATA, sip.request())
        served.append(client.final(30).status)

    spent = cost(patient, work)
    bystander()
    assert served == [200] and spent < 2, f"8,000 key updates cost {spent:.2f} s of CPU"
    client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_empty_records_flood(host, bystander, version):
    """Records without content may come a few times; a connection that sends nothing else is ended."""
    client = forger(host.port(), version)
    for _ in range(5):
        client.forge(DATA, b"")
    client.forge(DATA, sip.request())
    assert client.message().status == 200
    storm(client, 2000, DATA, b"")
    ends(client)


def test_padding_flood(host, bystander):
    """Nothing but padding, 16 KB of it in each record."""
    client = forger(host.port(), "1.3")
    with contextlib.suppress(Closed):
        for _ in range(100):
            client.forge(DATA, b"", padding=16000)
    ends(client)


@pytest.mark.parametrize("version", VERSIONS)
def test_tiny_records_flood(patient, bystander, version):
    """A request of 30,000 bytes, one byte in a record, as fast as it goes: served, and cheap enough."""
    client = forger(patient.port(), version, timeout=30)
    data = sip.request(size=30000)
    sealed = b"".join(client.seal(DATA, data[at:at + 1]) for at in range(len(data)))
    spent = cost(patient, lambda: (client.push(sealed), client.message(30)))
    assert spent < 3, f"30,000 tiny records cost {spent:.2f} s of CPU"
    client.close()


OVERSIZED = {
    "one byte too many": (16384 + 256 + 1, {"1.3"}),
    "the limit of TLS 1.2 and one": (16384 + 2048 + 1, {"1.2", "1.3"}),
    "65,535 bytes": (65535, {"1.2", "1.3"}),
}


@pytest.mark.parametrize("name, version", [(n, v) for n, (_, vs) in OVERSIZED.items() for v in sorted(vs)])
def test_oversized_record(host, bystander, name, version):
    client = forger(host.port(), version)
    with contextlib.suppress(Closed):
        client.push(record(DATA, bytes(OVERSIZED[name][0])))
    ends(client)


@pytest.mark.parametrize("version", VERSIONS)
def test_oversized_content(host, bystander, version):
    """A record of allowed length, rightly sealed, with a byte more cleartext than is allowed."""
    client = forger(host.port(), version)
    with contextlib.suppress(Closed):
        client.forge(DATA, b"\r\n" * 8192 + b"\r")
    ends(client)


# -- alerts in every state -----------------------------------------------------------------------------------------

ALERTS = {
    "close_notify": alert(WARNING, forge.CLOSE_NOTIFY), "user_canceled": alert(WARNING, forge.USER_CANCELED),
    "no_renegotiation": alert(WARNING, forge.NO_RENEGOTIATION), "unknown warning": alert(WARNING, 255),
    "fatal": alert(FATAL, forge.INTERNAL), "unknown fatal": alert(FATAL, 254), "level 9": alert(9, 9),
    "one byte": b"\2", "three bytes": b"\2\x28\0", "two in one": alert(WARNING, 90) * 2, "none": b"",
}
MAY_STAY = {"user_canceled", "no_renegotiation", "unknown warning", "none"}


def plain_alerts(port, version, data):
    """Behind a ClientHello, not encrypted."""
    client = Client(port, client_context(version))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.push(client.pull())
    client.feed()
    client.push(record(ALERT, data))
    return client


def handshake_alerts(port, version, data):
    """In place of the client's last flight, with the keys that it has."""
    client = Forger(port, "1.3").handshake(hold_last=True)
    client.pull()
    client.forge(ALERT, data)
    return client


def later_alerts(port, version, data):
    """After the handshake."""
    client = forger(port, version)
    client.forge(ALERT, data)
    return client


STATES = [(plain_alerts, "1.2"), (plain_alerts, "1.3"), (handshake_alerts, "1.3"), (later_alerts, "1.2"),
          (later_alerts, "1.3")]


@pytest.mark.parametrize("state, version", STATES, ids=[f"{f.__name__}-{v}" for f, v in STATES])
def test_alerts_in_every_state(host, bystander, state, version):
    """Every kind of alert ends the connection, but for those that may be passed over."""
    clients = {name: state(host.port(), version, data) for name, data in ALERTS.items()}
    for name, client in clients.items():
        if name not in MAY_STAY:
            assert client.closed_by_server(HANDSHAKE_SECONDS - 1), f"{name}: the host keeps the connection"
        client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_warning_flood(host, bystander, version):
    client = forger(host.port(), version)
    storm(client, 2000, ALERT, alert(WARNING, forge.USER_CANCELED))
    ends(client)


# -- messages that have no place there -------------------------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
def test_handshake_messages_afterwards(host, bystander, version):
    """Of every type there may be, empty and not, and one that is announced as 16 MB."""
    bodies = [message(kind) for kind in range(256)] + [message(kind, bytes(40)) for kind in range(0, 256, 5)]
    bodies += [forge.u8(kind) + u24(0xffffff) + bytes(100) for kind in (1, 4, 11, 20, 24)]
    clients = [forger(host.port(), version) for _ in range(24)]
    for body in bodies:
        if not clients:
            clients = [forger(host.port(), version) for _ in range(24)]
        client = clients.pop()
        client.forge(HANDSHAKE, body)
        if body[0] not in (forge.HELLO_REQUEST, forge.CLIENT_HELLO):
            assert client.closed_by_server(IDLE_SECONDS - 1), f"the host keeps a connection after {body[:6].hex()}"
        client.close()
    for client in clients:
        client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_other_types_afterwards(host, bystander, version):
    for kind in (0, CHANGE_CIPHER, HEARTBEAT, 25, 99, 255):
        client = forger(host.port(), version)
        client.forge(kind, b"\1")
        ends(client)


def test_half_a_message_and_then_data(host, bystander):
    """A handshake message may not be interrupted."""
    client = forger(host.port(), "1.3")
    client.forge(HANDSHAKE, message(KEY_UPDATE, b"\0")[:3])
    client.forge(DATA, sip.request())
    ends(client)


# -- before the handshake ends -----------------------------------------------------------------------------------------

FLOODS = {
    "ChangeCipherSpec behind the hello": (client_hello("1.3"), record(CHANGE_CIPHER, b"\1")),
    "empty records behind the hello": (client_hello("1.3"), record(HANDSHAKE, b"")),
    "data behind the hello": (client_hello("1.3"), record(DATA, bytes(1000))),
    "early data that was never granted": (forge.hello(forge.extensions() + [(42, b"")]), record(DATA, bytes(1000))),
    "hellos behind the hello": (client_hello("1.3"), client_hello("1.3")),
    "hellos behind the hello, TLS 1.2": (client_hello("1.2"), client_hello("1.2")),
    "an endless hello": (b"", forge.endless_hello(131000)),
    "warnings": (client_hello("1.2"), record(ALERT, alert(WARNING, forge.USER_CANCELED))),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_in_the_handshake(host, bystander, name):
    """What is sent on and on in a handshake ends the connection long before its deadline, and within 1 MB."""
    first, more = FLOODS[name]
    with socket.create_connection(("127.0.0.1", host.port()), 20) as s:
        s.sendall(first)
        if first:
            s.recv(1)
        started, sent = time.monotonic(), 0
        with pytest.raises((ConnectionError, BrokenPipeError)):
            while sent < 8 << 20:
                sent += s.send(more)
        assert time.monotonic() - started < HANDSHAKE_SECONDS - 1


@pytest.mark.parametrize("name", forge.heavy_hellos())
def test_heavy_hello(host, bystander, name):
    """A ClientHello that asks for as much as it can: bounded in time and memory, whether it is taken or not."""
    data, count = forge.heavy_hellos()[name], 8
    sockets, memory = [], host.rpc("tls.info")["shared_bytes"]

    def send():
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", host.port()), 20)
            s.sendall(data)
            sockets.append(s)
        for s in sockets:
            with contextlib.suppress(ConnectionError):
                s.recv(1)

    spent = cost(host, send)
    held = host.rpc("tls.info")["shared_bytes"] - memory
    for s in sockets:
        s.close()
    assert spent / count < 0.040, f"each costs {spent / count * 1000:.0f} ms of CPU"
    assert held / count < 250000, f"each holds {held // count} bytes"


def test_groups_that_cost_too_much_are_not_offered(host, bystander):
    """Those of RFC 7919 make a server of OpenSSL 3.0 work for 0.1 s, for a hello of a kilobyte."""
    for group, size in ((forge.FFDHE2048, 256), (forge.FFDHE3072, 384), (forge.FFDHE8192, 1024)):
        hello = forge.hello(forge.extensions(groups=(group,), share=(group, forge.number(size))))
        answer, closed = raw_exchange(host.port(), hello, finish=False)
        assert closed and answer[:1] == b"\x15", "the host takes the group"


# -- certificates ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["client_deep", "client_huge", "crowded", "costly"])
def test_certificates_that_cost_much(host, bystander, certs, name, version):
    """A chain of 40, one of more than 100 KB, 16 KB of small ones, keys of 16,384 bits: bounded work, taken or not."""
    made = {"crowded": lambda: forge.crowded_chain(certs, 16000), "costly": lambda: forge.costly_chain(certs, 3)}
    pair = made[name]() if name in made else getattr(certs, name)
    spent = cost(host, lambda: refused(host.port(), version=version, pair=pair))
    assert spent < 1, f"it costs {spent * 1000:.0f} ms of CPU"


def test_client_certificate_larger_than_a_ticket(start_host, certs):
    """OpenSSL cannot put more than 64 KB into a session ticket: TLS 1.3 does without one, TLS 1.2 says why not."""
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_client="optional_no_ca",
                                                       max_certificate_chain=100000))
    large = certs.client("large", extensions=[certs.padded(65000)])
    fits = certs.client("fits", extensions=[certs.padded(63000)])
    for version, pair in (("1.2", fits), ("1.3", fits), ("1.3", large)):
        with connect(host.port(), version, pair) as client:
            assert client.ask().status == 200
            assert client.tls.session.has_ticket == (pair is fits)
    assert refused(host.port(), version="1.2", pair=large)
    host.wait_log("more than 64000 bytes can be used with TLS 1.3 only")


def size_of_chain(pair, version):
    """The bytes of the message in which it is shown (RFC 5246, section 7.4.2; RFC 8446, section 4.4.2)."""
    with open(pair.cert, encoding="ascii") as f:
        ders = [ssl.PEM_cert_to_DER_cert(pem) for pem in re.findall("-----BEGIN.*?-----END CERTIFICATE-----", f.read(), re.S)]
    return 3 + sum(len(der) + 3 for der in ders) if version == "1.2" else 4 + sum(len(der) + 5 for der in ders)


def chain_of_size(certs, low, high, version):
    """A client's chain of so many bytes: signatures are not all of one length."""
    padding = low - 1000
    for n in itertools.count():
        pair = certs.client(f"chain-{low}-{version}-{n}", certs.intermediate, chain=[certs.intermediate.x509],
                            extensions=[certs.padded(padding)])
        size = size_of_chain(pair, version)
        if low <= size <= high:
            return pair
        padding += (low + high) // 2 - size


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("limit", [None, 4000, 40000])
def test_max_certificate_chain(start_host, certs, limit, version):
    """A chain just below is taken, one just above is not, and the log says by which setting; 16 KB by default."""
    more, limit = {} if limit is None else {"max_certificate_chain": limit}, limit or 16384
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_client="on", **more))
    assert not refused(host.port(), version=version, pair=chain_of_size(certs, limit - 8, limit, version))
    before = int(host.rpc("stats.fetch", "tls:")["tls.failed_certificate_other"])
    assert refused(host.port(), version=version, pair=chain_of_size(certs, limit + 1, limit + 9, version))
    host.wait_log(rf"excessive message size \(the peer shows more than {limit} bytes of certificates \(max_certificate_chain\)\)")
    assert int(host.rpc("stats.fetch", "tls:")["tls.failed_certificate_other"]) == before + 1


@pytest.mark.parametrize("shown", ["deep", "big", "nul", "bad-ip"])
def test_servers_that_lie_to_our_client(start_host, certs, shown):
    """What the host connects to may be hostile too: it is refused, or taken when its chain is good, and nothing more."""
    names = {"nul": making.raw_san((0x82, b"localhost\0.evil.test"), (0x86, b"sip:localhost\0.evil.test")),
             "bad-ip": making.raw_san((0x87, b""), (0x87, b"\x7f\0\0"), (0x87, bytes(5)), (0x87, bytes(17)))}
    if shown in names:
        pair = certs.pair("lying-" + shown, making.name("localhost"), certs.ca, extensions=[names[shown]])
    else:
        pair = certs.client_deep if shown == "deep" else certs.server("bigger", certs.padded_ca, chain=[certs.padded_ca.x509],
                                                                      padding=50000)
    text = (f"[server:default]\n{certs.server_ec.section()}\n[client:default]\nmethod = TLSv1.2+\nca_list = {certs.ca.cert}\n"
            "verify_certificate = yes\nrequire_certificate = yes\n")
    host = start_host(listen=(UDP, TLS), tls_cfg=text, script=RELAY)
    with Peer(server_context(pair)) as peer, UdpClient(host.port(UDP)) as udp:
        udp.send(headers=[f"X-Target: {peer.uri()}"])
        if shown == "deep":
            host.wait_log("certificate chain too long")
        elif shown == "big":
            host.wait_log("the peer shows more than 102400 bytes of certificates")
        else:
            peer.wait_requests(1)
        serves(host)


@contextlib.contextmanager
def asking_server(pair, authorities, version):
    """OpenSSL's own server, which names all the authorities of a file when it asks for a certificate; gives its port."""
    port = Port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port.number}", "-cert", pair.cert, "-key", pair.key, "-verify", "1",
               "-CAfile", authorities, "-tls" + version.replace(".", "_")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while "ACCEPT" not in (line := server.stdout.readline()):
            assert line, "it has ended"
        yield port.number
    finally:
        server.kill()
        server.communicate()
        port.release()


@pytest.mark.parametrize("version", VERSIONS)
def test_servers_that_name_many_authorities(start_host, certs, version):
    """A server that trusts a system's bundle, and asks for a certificate, names all of it: that is no chain of a stranger's."""
    key = certs.new_key("ec")
    many = certs.write("many.pem", b"".join(certs.pem(certs.issue(making.name(f"Authority number {n:04}", o="Example"), key,
                                                                           ca=True)) for n in range(500)))
    host = start_host(listen=(UDP, TLS), modparams=certs.server_ec.params(), script=RELAY)
    with asking_server(certs.server_ec, many, version) as port, UdpClient(host.port(UDP)) as udp:
        udp.send(headers=[f"X-Target: sip:127.0.0.1:{port};transport=tls"])
        wait_for(lambda: statistic(host, "handshakes_connected") == 1, what="a handshake")


# -- secrets are not given away ----------------------------------------------------------------------------------------

def test_randoms_of_refused_clients_differ(host, bystander):
    """A flood gets no repeated server random."""
    seen = set()
    for _ in range(40):
        answer, _ = raw_exchange(host.port(), forge.hello(), finish=True)
        assert answer[5] == 2
        seen.add(answer[11:43])
    assert len(seen) == 40


# -- what the documentation says -----------------------------------------------------------------------------------

@pytest.mark.timeout(400)
def test_the_tool_that_measures_costs():
    """The command of doc/security.md, for two kinds of peers."""
    with open(os.path.join(TOP, "doc", "security.md"), encoding="utf-8") as f:
        page = f.read()
    assert "`bench/cost.py --connections 40`" in page
    done = subprocess.run([os.path.join(TOP, "bench", "cost.py"), "--connections", "3", "one byte", "X25519"],
                          stdout=subprocess.PIPE, check=True, text=True, timeout=300)
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert len(rows) == 4 and all(line in page for line in done.stdout.splitlines()[:2])
    for row in rows[2:]:
        assert f"{row[0]} | {row[1]} |" in page, "the page has another table"
        assert 0 < float(row[2]) < 50 and row[5] == "yes |"
