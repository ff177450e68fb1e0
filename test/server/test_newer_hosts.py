"""What hosts from 6.0 and 6.1 on do that older ones do not: their own timeouts beside ours, threads in the main TCP process."""

import concurrent.futures
import subprocess
import time

import pytest

import sip
from host import host_program, host_version, relay_script
from peers import Peer, UdpClient, client_hello, connect, raw_exchange, server_context

UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
TOLD = r"message processing timeout on connection id"
RELAY = relay_script(stateful=True)
SLACK = 12  # the host looks every second, as set below, and a worker gives a connection back after 5


def since(version, what):
    """Skips on hosts older than `version`."""
    return pytest.mark.skipif(host_version()[:2] < version, reason=f"{what} came with {version[0]}.{version[1]}")


# -- the host's timeouts ------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def impatient(module_host, certs):
    """A host whose own times are short, and ours long."""
    host = module_host(modparams=certs.server_ec.params(handshake_timeout=60, connection_timeout=60), script=RELAY,
                       modules=["tm.so"], settings={"tcp_msg_data_timeout": 3, "tcp_msg_read_timeout": 3, "tcp_check_timer": 1})
    host.allow(TOLD)
    return host


def silent_client(host):
    """Established, and never asks: the host's tcp_msg_data_timeout ends it, long before connection_timeout."""
    with connect(host.port(), timeout=3 + SLACK) as client:
        return client.closed_by_server(3 + SLACK)


def slow_handshake(host):
    """The time counts from accept: a handshake that takes longer is ended, though handshake_timeout is not over."""
    return raw_exchange(host.port(), client_hello()[:50], finish=False, timeout=3 + SLACK)[1]


def slow_message(host):
    """A message must be complete within tcp_msg_read_timeout, whatever connection_timeout says."""
    with connect(host.port()) as client:
        assert client.ask().status == 200
        client.send(sip.request(size=500)[:100])
        return client.closed_by_server(3 + SLACK)


def idle_client(host):
    """One that has asked once may be idle for longer than both: connection_timeout counts."""
    with connect(host.port()) as client:
        assert client.ask().status == 200
        return not client.closed_by_server(3 + SLACK) and client.ask().status == 200


@since((6, 0), "these timeouts")
@pytest.mark.long
def test_timeouts_of_the_host(impatient):
    scenes = (silent_client, slow_handshake, slow_message, idle_client)
    with concurrent.futures.ThreadPoolExecutor(len(scenes)) as pool:
        done = {scene.__name__: pool.submit(scene, impatient) for scene in scenes}
    assert {name: future.result() for name, future in done.items()} == {scene.__name__: True for scene in scenes}
    impatient.check_alive()
    impatient.wait_no_connections(20)


# -- the host's spacing of commands --------------------------------------------------------------------------------------

@since((6, 0), "rpc_exec_delta")
@pytest.mark.parametrize("module", ["packaged", "ours"])
def test_reloads_are_spaced_by_the_host(start_host, certs, module):
    """tls.reload obeys rpc_exec_delta, as it does there; what only looks does not."""
    host = start_host(module=module, modparams=certs.server_ec.params(config=certs.write("spaced.cfg", "[server:default]\n"
                      + certs.server_ec.section() + "[client:default]\n")), settings={"rpc_exec_delta": 3600})
    host.allow("limited by delta")
    assert "Ok" in str(host.rpc("tls.reload"))
    assert "Too Fast" in host.rpc_error("tls.reload")
    for _ in range(2):
        host.rpc("tls.info")


# -- threads in the main TCP process ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def threaded(module_host, certs):
    """A host with tcp_main_threads=1."""
    return module_host(listen=(UDP, TLS), script=RELAY, modules=["tm.so"], shm_mb=128,
                       tls_cfg="[server:default]\n" + certs.server_rsa.section() + "[client:default]\nmethod = TLSv1.2+\n",
                       settings={"tcp_main_threads": 1, "tcp_max_connections": 4096}, tcp_children=4)


def threads_of_tcp_main(host):
    """How many threads its main TCP process has."""
    pid = next(pid for pid, name in host.pids().items() if name.startswith("tcp main"))
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("Threads:")).split()[1])


@since((6, 1), "tcp_main_threads")
@pytest.mark.long
def test_threads_under_load(threaded, certs, load):
    """Handshakes, requests, reloads and outgoing connections; nothing fails, nothing is kept."""
    options = {"parallel": 100, "ca": certs.ca.cert, "sni": "localhost"}
    load.clean(threaded.port(), connections=500, **options)
    threaded.wait_no_connections(30)
    before = threaded.shm_used()
    load_process = load.start(threaded.port(), connections=3000, **options)
    try:
        with Peer(server_context(certs.server_ec)) as to, UdpClient(threaded.port(UDP)) as udp:
            for i in range(20):
                threaded.rpc("tls.reload")
                assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
                if i % 5 == 4:
                    to.drop_connections()
                    time.sleep(0.2)  # the host may not know yet, and a request would go into the void
        counts = load.finish(load_process)
    finally:
        load_process.kill()
        load_process.communicate()
    assert counts["failed"] == 0 and counts["ok"] == 3000, counts
    threaded.wait_no_connections(30)
    assert threaded.shm_settled(before * 1.02) <= before * 1.02
    threaded.check_alive()


@since((6, 1), "tcp_main_threads")
def test_threads_and_clients(threaded):
    """A few of everything else."""
    assert threads_of_tcp_main(threaded) >= 1
    for version in ("1.2", "1.3"):
        with connect(threaded.port(), version) as client:
            for i in range(3):
                assert client.ask(cseq=i + 1).status == 200
    raw_exchange(threaded.port(), b"no TLS at all, but long enough to be read as a record\r\n\r\n")
    threaded.check_alive()


# -- what the host shows of a connection ---------------------------------------------------------------------------------

CHOOSING = """
request_route {
	$xavp(choice=>server_name) = "a.chosen.test";
	$xavp(choice[0]=>server_id) = "chosen-profile";
	$ru = $hdr(X-Target);
	forward();
}
"""


def table_of_connections(host):
    """Where the host's program keeps the address of its table of connections by their numbers."""
    with open(f"/proc/{host.process.pid}/maps", encoding="ascii") as f:
        base = min(int(line.split("-")[0], 16) for line in f if line.rstrip().endswith(host_program()))
    symbols = subprocess.run(["readelf", "-sW", host_program()], stdout=subprocess.PIPE, text=True, check=True).stdout
    return base + next(int(line.split()[1], 16) for line in symbols.splitlines() if line.endswith(" tcpconn_id_hash"))


def places_of(host, number, *texts):
    """Where in the host's struct of the connection with this number, the only one there is, each of the texts stands, as a
    pointer and a length; None for one that does not."""
    with open(f"/proc/{host.process.pid}/mem", "rb") as memory:
        def read(address, size):
            try:
                memory.seek(address)
                return memory.read(size)
            except (OSError, OverflowError, ValueError):
                return b""  # no such address

        def number_at(address, size=8):
            return int.from_bytes(read(address, size), "little")

        start = number_at(number_at(table_of_connections(host)) + 8 * (number & 1023))
        places = range(0, 512, 8)
        return [next((at for at in places if number_at(start + at + 8, 4) == len(text) and
                      read(number_at(start + at), len(text)) == text), None) for text in texts]


@since((6, 1), "name and profile in what the host shows of a connection")
def test_choice_is_shown_where_the_packaged_module_shows_it(start_host, certs):
    """The host has two texts for it in its struct of a connection, and no command that prints them: so they are read from its
    memory. With the packaged module they stand in the same places."""
    found = {}
    for module in ("packaged", "ours"):
        with Peer(server_context(certs.server_ec)) as to:
            profile = f"[client:127.0.0.1:{to.port}]\nmethod = TLSv1.2+\nserver_id = chosen-profile\n"
            host = start_host(module=module, script=CHOOSING, modparams={"tls": {"xavp_cfg": "choice"}},
                              tls_cfg=f"[server:default]\n{certs.server_ec.section()}[client:default]\n{profile}")
            with UdpClient(host.port(UDP)) as udp:
                assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
            number = next(c["id"] for c in host.connections() if c["src_port"] == to.port)
            found[module] = places_of(host, number, b"a.chosen.test", b"chosen-profile")
    assert None not in found["packaged"], found
    assert found["ours"] == found["packaged"]
