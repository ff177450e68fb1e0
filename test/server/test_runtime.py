"""The run-time configuration: what cfg.list shows, and that what cfg.set changes takes effect, in every process."""

import contextlib
import os
import re
import socket
import time

import pytest

from host import HostError, TOP, relay_script, wait_for
from peers import Client, Closed, Peer, UdpClient, client_context, connect, raw_exchange, refused

SCRIPT = relay_script()
UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
# The names that users of the packaged module have in their scripts and tools.
NAMES = """force_run method server_name server_name_mode server_id verify_certificate verify_depth require_certificate
    verify_client private_key ca_list ca_path crl certificate cipher_list session_cache session_id config log debug
    connection_timeout disable_compression ssl_release_buffers ssl_free_list_max ssl_max_send_fragment ssl_read_ahead
    low_mem_threshold1 low_mem_threshold2 ct_wq_max con_ct_wq_max ct_wq_blk_size send_close_notify""".split()
SECRET = {"private_key_password"}  # which the packaged module shows from 6.0 on
CHANGE = {"config", "log", "debug", "connection_timeout", "low_mem_threshold1", "low_mem_threshold2", "ct_wq_max",
          "con_ct_wq_max", "ct_wq_blk_size", "send_close_notify"}
NEW = {"handshake_timeout", "max_handshakes_per_address", "send_timeout", "session_lifetime", "unknown_server_name",
       "unknown_server_id"}


def make(start, certs, module="ours", **tls):
    """A host that has the commands cfg.*."""
    return start(module=module, modules=["cfg_rpc.so"], script=SCRIPT, modparams=certs.server_ec.params(**tls))


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """The host of the tests, and what every variable was at its start."""
    host = make(module_host, certs, verify_depth=7, handshake_timeout=30)
    return host, host.rpc("tls.options")


@pytest.fixture
def host(shared):
    """The same, and everything as it was afterwards."""
    host, start = shared
    yield host
    for name, value in host.rpc("tls.options").items():
        if value != start[name]:
            put(host, name, start[name] if start[name] is not None else "")
    host.check_alive()
    host.wait_no_connections()


def put(host, name, value):
    """Changes a variable."""
    host.rpc("cfg.set_now_int" if isinstance(value, int) else "cfg.set_now_string", "tls", name, value)


def get(host, name):
    return host.rpc("cfg.get", "tls", name)


# -- what there is -----------------------------------------------------------------------------------------

def kinds(host):
    """{name: "integer" or "string"} of the group, as the host describes it."""
    lines = [line.split(": ") for line in host.rpc("cfg.list", "tls")]
    help_of = {name: host.rpc("cfg.help", "tls", name) for _, name in lines}
    return {name: text["type"] if isinstance(text, dict) else re.search(r"parameter type is (\w+)", str(text)).group(1)
            for name, text in help_of.items()}  # a structure from 6.1 on


def test_names_and_types_of_the_packaged_module(module_host, certs, shared):
    packaged, ours = kinds(make(module_host, certs, "packaged")), kinds(shared[0])
    assert set(packaged) - SECRET == set(NAMES), "the packaged module has other names than this test"
    assert not SECRET & set(ours), "passwords are nobody's business"
    assert {name: ours.get(name) for name in NAMES} == {name: packaged[name] for name in NAMES}


def test_every_variable_can_be_read(host):
    """And is what tls.options shows."""
    options = host.rpc("tls.options")
    for name in kinds(host):
        value = get(host, name)
        assert value == options["ssl_freelist_max" if name == "ssl_free_list_max" else name], name


def test_values_are_those_of_the_start(host, certs):
    assert get(host, "certificate") == certs.server_ec.cert
    assert get(host, "method") == "TLSv1.2+"
    assert get(host, "verify_depth") == 7
    assert get(host, "connection_timeout") == 600
    assert get(host, "handshake_timeout") == 30


def test_documentation_names_what_can_be_changed():
    with open(os.path.join(TOP, "doc", "operating.md"), encoding="utf-8") as f:
        text = f.read().split("\n| Setting |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([^`]+)`", "".join(rows))) == CHANGE | NEW


def test_no_secret_is_shown(start_host, certs):
    tls = {"certificate": certs.server_ec.cert, "private_key": certs.key_encrypted, "private_key_password": "secret"}
    host = start_host(modules=["cfg_rpc.so"], modparams={"tls": tls})
    assert not [name for name in kinds(host) if name.startswith("private_key_password")]
    assert "secret" not in str(host.rpc("tls.options"))


def test_what_can_be_changed(host):
    """Where the packaged module lets an operator change something, we do, and a little more."""
    for name, kind in kinds(host).items():
        before = get(host, name)
        try:
            put(host, name, before if before is not None else "" if kind == "string" else 0)
            changed = True
        except AssertionError:
            changed = False
        assert changed == (name in CHANGE | NEW), name


@pytest.mark.parametrize("name, value", [
    ("connection_timeout", -2), ("connection_timeout", 2000000000), ("handshake_timeout", 0), ("log", 101),
    ("con_ct_wq_max", -1), ("ct_wq_blk_size", 0), ("send_close_notify", 2), ("low_mem_threshold1", -2),
    ("unknown_server_name", 2), ("unknown_server_id", 2), ("session_lifetime", -1),
])
def test_value_out_of_range(host, name, value):
    before = get(host, name)
    assert "400" in host.rpc_error("cfg.set_now_int", "tls", name, value)
    assert get(host, name) == before


# -- what a change does ------------------------------------------------------------------------------------

def test_connection_timeout(host):
    put(host, "connection_timeout", 1)
    with connect(host.port()) as client:
        client.ask()
        assert client.closed_by_server(20)


def test_handshake_timeout(host):
    """Of new connections, in whatever process."""
    put(host, "handshake_timeout", 1)
    for silent in [socket.create_connection(("127.0.0.1", host.port()), 20) for _ in range(8)]:
        with silent:
            assert silent.recv(1) == b"", "the server closes it"
    host.wait_log(re.escape("not finished within 1 s (handshake_timeout)"))


def test_handshake_timeout_that_is_the_hosts_own(start_host, certs):
    """As it is by default, 120 s both: the host's timer may close a silent connection before we look for those that are late."""
    host = start_host(modparams={"tls": {"certificate": certs.server_ec.cert, "private_key": certs.server_ec.key, "handshake_timeout": 2}},
                      settings={"tcp_connection_lifetime": 2})
    silent = []
    for _ in range(10):  # at any time between two looks, which are a second apart
        silent.append(socket.create_connection(("127.0.0.1", host.port()), 20))
        time.sleep(0.13)
    for s in silent:
        with s:
            assert s.recv(1) == b"", "the server closes it"
    wait_for(lambda: len(re.findall(re.escape("not finished within 2 s (handshake_timeout)"), host.log())) == 10, 20,
             "a line for each")


@pytest.mark.parametrize("how, line", [("silent", "not finished within 2 s (tcp_connection_lifetime)"),
                                       ("late", "the peer closed the connection before it was finished")])
def test_outgoing_handshake_and_the_hosts_own_time(start_host, certs, how, line):
    """Until the peer's first byte the host gives a connection of ours its own time, here the shorter one."""
    host = start_host(listen=("udp:127.0.0.1", "tls:127.0.0.1"), modparams=certs.server_ec.params(handshake_timeout=60),
                      settings={"tcp_connection_lifetime": 2}, script=relay_script())
    with socket.create_server(("127.0.0.1", 0)) as listener, UdpClient(host.port("udp:127.0.0.1")) as udp:
        began, port = time.monotonic(), listener.getsockname()[1]
        udp.send(headers=[f"X-Target: sip:peer@127.0.0.1:{port};transport=tls"])
        with listener.accept()[0] as sock:
            sock.settimeout(20)
            if how == "late":  # from its first byte on it has handshake_timeout
                sock.recv(4096)
                sock.sendall(b"\x16\x03\x03")
                wait_for(lambda: time.monotonic() - began > 4, what="the end of the host's time")
                assert host.open_to(port)
                sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        host.wait_log(re.escape(line))
        wait_for(lambda: not host.open_to(port), what="the end of the connection")
    assert len(re.findall("TLS handshake failed", host.log())) == 1


def test_every_worker_sees_it(host):
    """The level of messages about connections, in each of the four workers."""
    since = len(host.log())
    put(host, "log", 1)
    workers = set(host.workers())
    wait_for(lambda: {int(connect_and_ask(host)) for _ in range(4)} and workers <= established_in(host, since), 40,
             "each worker to tell of a handshake")
    put(host, "log", 3)
    since = len(host.log())
    connect_and_ask(host)
    assert not established_in(host, since)


def connect_and_ask(host):
    with connect(host.port()) as client:
        return client.ask().get("x-pid")


def established_in(host, since):
    """The processes that told of a handshake."""
    return {int(pid) for pid in re.findall(r"\((\d+)\) NOTICE: tls .*TLS established", host.log()[since:])}


def test_debug_tells_of_each_step(host):
    put(host, "debug", 1)
    since = len(host.log())
    connect_and_ask(host)
    assert re.search(r"NOTICE: tls .*TLS handshake: peer 127\.0\.0\.1:\d+, domain server:default: ", host.log()[since:])
    put(host, "debug", 3)
    since = len(host.log())
    connect_and_ask(host)
    assert "TLS handshake: " not in host.log()[since:]


def test_log_can_make_failures_more_urgent(host):
    put(host, "log", -1)
    raw_exchange(host.port(), b"GET / HTTP/1.0\r\n\r\n", finish=False)
    host.wait_log(r"ERROR: tls .*TLS handshake failed: peer 127\.0\.0\.1:\d+, domain server:default: http request")


@pytest.mark.parametrize("name", ["con_ct_wq_max", "ct_wq_max"])
def test_queue_limit(host, name):
    """A request that is longer does not wait for a handshake."""
    put(host, name, 100)
    with Peer(behaviour="silent") as peer, UdpClient(host.port(UDP)) as client:
        since = len(host.log())
        for _ in range(2):  # the first may be of any length: who opens a connection to send it has no other way
            client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
        host.wait_log(rf"TLS queueing failed: .*{name} 100\)", since=since)
        peer.drop_connections()
    for connection in host.connections():
        with contextlib.suppress(HostError):  # gone with its peer
            host.rpc("tls.kill", connection["id"])


def test_low_memory(host):
    put(host, "low_mem_threshold1", 1 << 20)
    assert refused(host.port())
    host.wait_log(f"low_mem_threshold1 {1 << 20}")
    put(host, "low_mem_threshold1", 0)
    connect_and_ask(host)
    put(host, "low_mem_threshold2", 1 << 20)
    assert refused(host.port())
    put(host, "low_mem_threshold2", -1)
    connect_and_ask(host)


@pytest.mark.parametrize("value", [0, 1])
def test_send_close_notify(host, value):
    put(host, "send_close_notify", value)
    with connect(host.port()) as client:
        client.ask()
        host.rpc("tls.kill", host.connections()[0]["id"])
        with pytest.raises(Closed) as end:
            client.read()
    assert ("close_notify" in str(end.value) or "zero" in str(end.value).lower()) == bool(value), end.value


def test_unknown_server_name(host):
    put(host, "unknown_server_name", 1)
    assert refused(host.port(), server_name="nobody.test")
    put(host, "unknown_server_name", 0)
    assert not refused(host.port(), server_name="nobody.test")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_lifetime(host, version):
    """Of sessions that exist, too. The client knows nothing of it, and is served all the same."""
    context = client_context(version)
    with Client(host.port(), context).handshake() as client:
        client.ask()
        session = client.tls.session

    def is_resumed():
        with Client(host.port(), context, session=session).handshake() as client:
            assert client.ask().status == 200
            return client.tls.session_reused

    assert is_resumed()
    put(host, "session_lifetime", 1)
    wait_for(lambda: not is_resumed(), 20, "the session's end")
    put(host, "session_lifetime", 86400)
    assert is_resumed()


def test_config_counts_at_the_next_reload(host, certs):
    other = host.write("other.cfg", f"[server:default]\n{certs.server_rsa.section()}[client:default]\n")
    put(host, "config", other)
    for pair, reload in ((certs.server_ec, True), (certs.server_rsa, False)):
        with connect(host.port(), ca=certs.ca.cert) as client:
            assert client.server_serial() == pair.x509.serial_number
        if reload:
            host.rpc("tls.reload")
    put(host, "config", "/nowhere/tls.cfg")
    assert "/nowhere/tls.cfg" in host.rpc_error("tls.reload")
    put(host, "config", "")
    host.rpc("tls.reload")
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.server_serial() == certs.server_ec.x509.serial_number


def test_delayed_change(host):
    """Set, and made to count by a commit, as the host's framework has it."""
    host.rpc("cfg.set_delayed_int", "tls", "connection_timeout", 44)
    host.rpc("cfg.set_delayed_int", "tls", "ct_wq_max", 4444)
    assert get(host, "connection_timeout") == 600
    host.rpc("cfg.commit")
    assert (get(host, "connection_timeout"), get(host, "ct_wq_max")) == (44, 4444)
    assert host.rpc("tls.options")["connection_timeout"] == 44


def test_changes_under_traffic(host):
    """Variables change while clients come and go: nobody is refused, nothing leaks."""
    connect_and_ask(host)
    before = host.rpc("tls.info")["shared_bytes"]
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for value in range(5):
            put(host, "connection_timeout", 100 + value)
            put(host, "config", "")
            host.rpc("cfg.set_delayed_int", "tls", "log", 3)
            host.rpc("cfg.commit")
        connect_and_ask(host)
    host.wait_no_connections()
    wait_for(lambda: host.rpc("tls.info")["shared_bytes"] <= before * 1.01, 30, "the memory of before")
