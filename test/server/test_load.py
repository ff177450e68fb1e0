"""Standing under load: thousands of connections, none failed, no process lost, no memory kept.

A host serves one kind of key; 5,000 connections for each protocol version and each kind of key make 20,000 in all.
"""

import pytest

from host import wait_for
from peers import Background, HttpsServer, UdpClient, connect, server_context

WORKERS = 8
SETTINGS = {"tcp_max_connections": 4096, "tcp_connection_lifetime": 60}
KINDS, VERSIONS = ["ec", "rsa"], ["1.2", "1.3"]
ROUNDS = [(kind, version) for kind in KINDS for version in VERSIONS]


@pytest.fixture(scope="module")
def hosts(module_host, certs):
    """Hosts with 8 TCP workers, one for each kind of key."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = module_host(modparams=getattr(certs, "server_" + kind).params(), tcp_children=WORKERS,
                                     shm_mb=256, settings=SETTINGS)
        made[kind].revive()
        return made[kind]

    return get


def settled(host):
    """Shared memory in use, after the last connection has gone."""
    host.wait_no_connections(30)
    return host.shm_live()


def back_within_one_percent(host, before):
    """Fails if shared memory in use does not come back to what it was."""
    host.wait_no_connections(30)
    after = host.shm_settled(before * 1.01)
    assert after <= before * 1.01, f"shared memory in use grew from {before} to {after} bytes"


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind, version", ROUNDS)
def test_5000_connections_200_at_a_time(hosts, certs, load, kind, version):
    host = hosts(kind)
    options = {"parallel": 200, "tls": version, "ca": certs.ca.cert, "sni": "localhost"}
    load.clean(host.port(), connections=1000, **options)
    before = settled(host)
    counts = load.clean(host.port(), connections=5000, **options)
    assert counts["version"] == "TLSv" + version
    back_within_one_percent(host, before)
    host.check_alive()


@pytest.mark.long
def test_resumption_under_load(hosts, load):
    host = hosts("ec")
    for version in VERSIONS:
        load.clean(host.port(), connections=400, parallel=100, tls=version, resume=True)
        before = settled(host)
        counts = load.clean(host.port(), connections=2000, parallel=100, tls=version, resume=True)
        assert counts["resumed"] >= 1900, "sessions were not resumed by whichever worker came first"
        back_within_one_percent(host, before)


@pytest.mark.long
@pytest.mark.parametrize("kind, version", ROUNDS)
def test_clients_killed_in_the_middle_of_handshakes(hosts, load, kind, version):
    host = hosts(kind)
    options = {"parallel": 100, "tls": version, "kill_percent": 60}
    load.clean(host.port(), connections=500, **options)
    before = settled(host)
    counts = load.clean(host.port(), connections=1500, seed=7, **options)
    assert counts["killed"] > 500
    back_within_one_percent(host, before)
    host.check_alive()


@pytest.mark.long
def test_100_handshakes_at_once_then_the_client_is_killed(hosts, load):
    """A client process with 100 handshakes under way dies by SIGKILL, again and again."""
    host = hosts("rsa")
    load.clean(host.port(), connections=200, parallel=100)
    before = settled(host)
    for _ in range(12):
        client = load.start(host.port(), connections=100000, parallel=100, time_limit=20)
        with connect(host.port()) as own:
            own.ask()
        client.kill()
        client.communicate()
    back_within_one_percent(host, before)
    host.check_alive()


def test_new_connections_on_top_of_500_idle_ones(hosts, load):
    """500 idle connections and 250 new ones a second: none fails for want of memory."""
    host = hosts("ec")
    idle = load.start(host.port(), connections=500, parallel=500, hold=3000, timeout=60, time_limit=200)
    try:
        counts = load.clean(host.port(), connections=1500, parallel=200, rate=250)
        assert counts["failed"] == 0
        wait_for(lambda: load.interim(idle)["requests_ok"] >= 500, what="the idle ones to have asked")
        assert host.open_tls() >= 500
    finally:
        idle.terminate()
        held = load.finish(idle)
    assert held["failed"] == 0 and held["ok"] == 500, held
    host.check_alive()
    assert "no shared memory" not in host.log() and "no more" not in host.log()


def test_many_requests_on_few_connections(hosts, load):
    """Connections that stay busy, so that they move from worker to worker under pipelined requests."""
    host = hosts("ec")
    counts = load.clean(host.port(), connections=16, parallel=16, requests=2000, pipeline=7, size=900)
    assert counts["requests_ok"] == 32000
    host.check_alive()


def test_three_register_streams(hosts):
    """Three clients that register in a tight loop over connections of their own; no worker may hang."""
    host = hosts("ec")

    def stream():
        with connect(host.port()) as client:
            for i in range(20):
                assert client.ask(method="REGISTER", cseq=i + 1).status == 200

    workers = Background(stream, threads=3)
    with UdpClient(host.port("udp:127.0.0.1")) as udp:
        for _ in range(200):
            assert udp.ask().status == 200
    assert workers.stop() > 3
    host.check_alive()


def test_slow_bytes_under_load(hosts, load):
    """Half of the clients send one byte a segment, while the others go at full speed."""
    host = hosts("ec")
    slow = load.start(host.port(), connections=300, parallel=60, drip=True, timeout=60, time_limit=100)
    load.clean(host.port(), connections=1500, parallel=60)
    counts = load.finish(slow)
    assert counts["failed"] == 0, counts
    host.check_alive()


# -- while the workers use OpenSSL outside the module ----------------------------------------------------------

CRYPTO = """
request_route {
	crypto_aes_encrypt("$ci and some text", "a key of some length", "$var(sealed)");
	crypto_aes_decrypt("$var(sealed)", "a key of some length", "$var(open)");
	if ($var(open) != $ci + " and some text") {
		sl_send_reply("500", "Crypto");
		exit;
	}
	append_to_reply("X-Pid: $pp\\r\\n");
	sl_send_reply("200", "OK");
	exit;
}
"""
HTTPS = """
request_route {
	$var(code) = http_client_query("URL", "$var(answer)");
	if ($var(code) != 200) {
		sl_send_reply("500", "HTTPS $var(code)");
		exit;
	}
	sl_send_reply("200", "OK");
	exit;
}
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_workers_use_crypto_too(start_host, certs, load, kind):
    host = start_host(modparams=getattr(certs, "server_" + kind).params(), tcp_children=WORKERS, shm_mb=256,
                      modules=["crypto.so"], script=CRYPTO, settings=SETTINGS)
    load.clean(host.port(), connections=500, parallel=100)
    before = settled(host)
    for version in VERSIONS:
        load.clean(host.port(), connections=1500, parallel=100, tls=version, kill_percent=20)
    back_within_one_percent(host, before)
    host.stop()


@pytest.mark.long
def test_workers_make_https_calls_too(start_host, certs, load):
    """Each request makes the worker that handles it a TLS client of its own, of the same library."""
    with HttpsServer(server_context(certs.server_ec)) as web:
        params = certs.server_ec.params()
        params["http_client"] = {"verify_peer": 1, "verify_host": 2, "cacert": certs.ca.cert, "connection_timeout": 10}
        host = start_host(modparams=params, tcp_children=WORKERS, shm_mb=256, modules=["http_client.so"],
                          script=HTTPS.replace("URL", f"https://127.0.0.1:{web.port}/"), settings=SETTINGS)
        load.clean(host.port(), connections=100, parallel=16)
        before, private = settled(host), host.private_kb()
        counts = load.clean(host.port(), connections=400, parallel=16, requests=2, timeout=60)
        assert counts["requests_ok"] == 800 and len(web.requests) == 900
        back_within_one_percent(host, before)
        grown = {host.first_pids[p]: kb - private[p] for p, kb in host.private_kb().items() if kb > private[p] + 1000}
        assert not grown, f"private memory grew: {grown} KB"
        host.stop()


@pytest.mark.long
@pytest.mark.parametrize("allocator", ["qm", "fm", "tlsf"])
def test_every_allocator(start_host, certs, load, allocator):
    """Start, serve, stop with each of the host's allocators; a clean stop after traffic."""
    host = start_host(modparams=certs.server_ec.params(), tcp_children=WORKERS, allocator=allocator)
    load.clean(host.port(), connections=1000, parallel=100, kill_percent=10)
    host.stop()


# -- when memory ends --------------------------------------------------------------------------------------------

@pytest.mark.long
def test_shared_memory_runs_out_in_handshakes(start_host, certs, load):
    """Little shared memory and many connections at once: some may fail, the host may not, and it recovers."""
    host = start_host(modparams=certs.server_ec.params(), tcp_children=4, shm_mb=12, settings=SETTINGS)
    host.allow(r"CRITICAL: .*(no more|out of|not enough).* memory", r"qm_malloc\(.*\): .*not enough", r"could not allocate shared memory")
    load.clean(host.port(), connections=50, parallel=5)
    before = settled(host)
    for _ in range(2):
        counts = load(host.port(), connections=1500, parallel=700, hold=3, timeout=15, time_limit=60)
        assert counts["failed"] > 0, "memory never ran out: the test says nothing"
        host.wait_no_connections(30)
        load.clean(host.port(), connections=200, parallel=5)
    back_within_one_percent(host, before * 1.02)
    host.check_alive()
