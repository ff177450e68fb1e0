"""What an operator's and an attacker's eyes found: each is the sequence that once went wrong."""

import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import sip
from host import wait_for
from peers import Client, Closed, UdpClient, client_context, client_hello, connect

SIMPLE = 'request_route { sl_send_reply("200", "OK"); exit; }\n'


@pytest.mark.parametrize("split", [False, True])
def test_finished_message_has_no_deadline(start_host, certs, split):
    """A message in two records, answered; then the client is idle for longer than a message may take."""
    host = start_host(modparams=certs.server_ec.params(connection_timeout=-1, handshake_timeout=5))
    request = sip.request(size=3000)
    with connect(host.port()) as client:
        client.send(request[:1500] if split else request)
        if split:
            wait_for(lambda: host.rpc("tls.list")[0]["state"] == "established", what="the handshake")
            client.send(request[1500:])
        assert client.final().status == 200
        assert not client.closed_by_server(8)
        assert client.ask().status == 200
    assert "not finished within" not in host.log()


SLOW = """
request_route {
	if (method == "MESSAGE") {
		sleep("4");
	}
	sl_send_reply("200", "OK");
	exit;
}
"""


@pytest.mark.parametrize("behind", ["nothing", "half a message", "half a record"])
def test_script_may_take_longer_than_a_message(start_host, certs, behind):
    """A message in two records is complete, and the script is at work on it for longer than a message may take to come."""
    host = start_host(modparams=certs.server_ec.params(connection_timeout=1), modules=["cfgutils.so"], script=SLOW)
    request, second = sip.request(method="MESSAGE", size=3000), sip.request(size=1000)
    with connect(host.port()) as client:
        client.send(request[:1500])
        wait_for(lambda: host.rpc("stats.get_statistics", "bytes_received")[0].endswith("= 1500"), what="the first half")
        client.tls.write(request[1500:] + (second[:500] if behind == "half a message" else b""))
        if behind == "half a record":
            client.tls.write(second)
        data = client.pull()
        now = len(data) - (500 if behind == "half a record" else 0)
        client.push(data[:now])
        assert client.final().status == 200
        if behind != "nothing":
            assert not client.closed_by_server(2), "the time of the first message is counted for the second"
            client.push(data[now:])
            if behind == "half a message":
                client.send(second[500:])
            assert client.final().status == 200
    assert "not finished within" not in host.log()


VERIFIED = """
request_route {
	append_to_reply("X-Id: $conid\\r\\n");
	if (is_peer_verified()) {
		sl_send_reply("200", "Verified");
	} else {
		sl_send_reply("200", "Unknown");
	}
	exit;
}
"""


def counters(host, value):
    """Where in the host's shared memory a pointer among its own variables leads to this number."""
    with open(f"/proc/{host.process.pid}/maps", encoding="ascii") as f:
        maps = [line.split() for line in f]
    parts = [(*(int(end, 16) for end in words[0].split("-")), words) for words in maps]
    shared = [(low, high) for low, high, words in parts if words[1] == "rw-s"]
    own = [high for _, high, words in parts if words[-1].endswith("sbin/kamailio")]
    found = set()
    with open(f"/proc/{host.process.pid}/mem", "rb", buffering=0) as memory:
        for low, high, words in parts:
            if words[1] != "rw-p" or not (words[-1].endswith("sbin/kamailio") or low in own):
                continue
            memory.seek(low)
            for (at,) in struct.iter_unpack("Q", memory.read(high - low)):
                if any(start <= at <= end - 4 for start, end in shared):
                    memory.seek(at)
                    if memory.read(4) == struct.pack("i", value):
                        found.add(at)
    return found


def test_ids_may_be_negative(start_host, certs):
    """The host counts connections in an int: after two thousand million the ids go on from below."""
    config = f"[server:default]\n{certs.server_ec.section(ca_list=certs.ca.cert, verify_certificate='yes')}"
    host = start_host(tls_cfg=config, modparams={"tls": {"handshake_timeout": 3}}, script=VERIFIED)

    def number():
        with connect(host.port(), pair=certs.client_good) as client:
            return int(client.ask().get("x-id"))

    try:
        places = counters(host, number() + 1)
    except PermissionError as e:
        pytest.skip(f"the host's memory cannot be read here: {e}")
    for _ in range(10):
        places &= counters(host, number() + 1)
    if len(places) != 1:
        pytest.skip(f"this host's counter of connections was not found: {len(places)} places")
    with open(f"/proc/{host.process.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(places.pop())
        memory.write(struct.pack("i", 2 ** 31 - 1))
    with connect(host.port(), pair=certs.client_good), connect(host.port(), pair=certs.client_good) as client:
        answer = client.ask()
        assert answer.get("x-id") == str(-2 ** 31) and answer.start.endswith("Verified")
        wait_for(lambda: sorted(c["id"] for c in host.rpc("tls.list")) == [-2 ** 31, 2 ** 31 - 1], what="these two ids")
        host.rpc("tls.kill", -2 ** 31)
        assert client.closed_by_server(20)
        with socket.create_connection(("127.0.0.1", host.port()), 30) as slow:
            slow.sendall(client_hello()[:50])
            host.wait_log("not finished within 3 s")


def test_busy_stream_is_not_one_long_message(start_host, certs):
    """Every read begins in the middle of a message, for three times as long as one message may take."""
    host = start_host(modparams=certs.server_ec.params(connection_timeout=4), tcp_children=2, script=SIMPLE,
                      settings={"tcp_conn_wq_max": 10000000})
    blob = b"".join(sip.request(size=700) for _ in range(100))
    with connect(host.port()) as client:
        sock, done = client.sock, threading.Event()

        def drain():
            with contextlib.suppress(TimeoutError):
                while not done.is_set() and sock.recv(262144):
                    pass

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        end = time.monotonic() + 12
        while time.monotonic() < end:
            client.tls.write(blob)
            sock.sendall(client.pull())
        assert "not finished within" not in host.log()
        done.set()
        reader.join(20)
        client.reset()


@pytest.mark.parametrize("name", [b"attacker.x\n\tid: 1", b"\xff\xfe\x80evil", b"\x1b[2Jx", b"a b"])
def test_server_name_is_no_text_for_operators(start_host, certs, name):
    """What cannot be a host name gets no further than an alert, however the host is set."""
    host = start_host(modparams=certs.server_ec.params())
    hello = client_hello_with(name)
    with connect(host.port()) as held:
        assert refused_raw(host.port(), hello)
        assert held.ask().status == 200
        assert len(json.loads(json.dumps(host.rpc("tls.list")))) == 1
    line = host.wait_log(r"TLS handshake failed: .*this is not a server name")
    assert line and all(" " <= c <= "~" or c in "\n\t" for c in host.log())


def client_hello_with(name):
    """A ClientHello whose server name is these bytes."""
    placeholder = "x" * len(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname=placeholder)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    data = outgoing.read()
    assert data.count(placeholder.encode()) == 1
    return data.replace(placeholder.encode(), name)


def refused_raw(port, data):
    """Whether the server answers these bytes with an alert and closes."""
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(data)
        got = b""
        while True:
            more = s.recv(4096)
            if not more:
                break
            got += more
    return got[:1] == b"\x15"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_long_session_id_does_not_join_domains(start_host, certs, version):
    """A session of a domain that verifies nobody does not get a client into one that does, whatever session_id is."""
    host = start_host.make(listen=["udp:127.0.0.1", "tls:127.0.0.1", "tls:[::1]"],
                           modparams={"tls": {"session_id": "x" * 600}})
    host.tls_cfg = (f"[server:default]\n{certs.server_ec.section()}"
                    f"[server:[::1]:{host.port('tls:[::1]')}]\n"
                    + certs.server_ec.section(ca_list=certs.ca.cert, verify_certificate=1, require_certificate=1)
                    + "[client:default]\n")
    host.start()
    context = client_context(version)
    with Client(host.port(), context).handshake() as client:
        assert client.ask().status == 200
        session = client.tls.session
    with pytest.raises((OSError, Closed)):  # before TLS 1.3 the handshake fails, from 1.3 on what comes after it
        with Client(host.port("tls:[::1]"), context, address="::1", session=session).handshake() as client:
            client.ask()


def test_watcher_sees_files_of_a_folder(start_host, certs):
    """reload_on_change, and a file in the configuration's folder is written anew in place."""
    host = start_host.make(modparams={"tls": {"reload_on_change": 1}})
    folder = host.path("conf")
    os.mkdir(folder)
    text = f"[server:default]\n{certs.server_ec.section()}[client:default]\n"
    with open(os.path.join(folder, "10.cfg"), "w", encoding="utf-8") as f:
        f.write(text)
    host.modparams["tls"]["config"] = folder
    host.start()
    before = host.rpc("tls.info")["generation"]
    with open(os.path.join(folder, "10.cfg"), "w", encoding="utf-8") as f:
        f.write(text + "# changed\n")
    wait_for(lambda: host.rpc("tls.info")["generation"] > before, 20, "the reload of a changed file")


def test_half_records_leave_memory_to_the_host(start_host, certs):
    """Many clients that each send most of a record: the module closes some before other traffic finds no memory."""
    host = start_host(shm_mb=16, modparams=certs.server_ec.params(), modules=["tm.so"],
                      settings={"tls_max_connections": 3000, "tcp_max_connections": 3000},
                      script='request_route { if (!t_newtran()) { sl_send_reply("500", "No memory"); exit; }\n'
                             't_reply("200", "OK"); exit; }\n')
    host.allow(r"low_mem_threshold|tcpconn_new failed|shared memory")
    clients, context = [], client_context("1.3")
    try:
        for _ in range(600):
            try:
                clients.append(Client(host.port(), context).handshake())
            except (OSError, EOFError, Exception):  # pylint: disable=broad-except
                break
        assert len(clients) > 50
        record = b"\x17\x03\x03" + (16384 + 17).to_bytes(2, "big") + os.urandom(16300)
        for client in clients:
            try:
                client.push(record)
            except OSError:
                pass
        wait_for(lambda: host.rpc("core.shmmem")["free"] > 200000, 20, "memory to be left")
        with UdpClient(host.port("udp:127.0.0.1")) as udp:
            answers = [udp.ask().status for _ in range(20)]
        assert answers == [200] * 20
        assert host.rpc("core.shmmem")["free"] > 200000
    finally:
        for client in clients:
            client.sock.close()


def test_check_with_a_root_that_is_not_there(start_host, certs):
    """kamailio -c -t: the reason is the real one, and the status says so."""
    if os.geteuid() != 0:
        pytest.skip("only root changes the root folder")
    host = start_host.make(modparams=certs.server_ec.params())
    host.write("ser.cfg", host._config())  # pylint: disable=protected-access
    done = subprocess.run(host.command("-c", "-E", "-t", "/nonexistent"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=host.dir, timeout=60, check=False)
    assert done.returncode != 0
    assert b"No such file or directory" in done.stdout
