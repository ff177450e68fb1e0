"""A thousand domains that trust the system's authorities: their start, their reloads, and the traffic beside them."""

import contextlib
import os
import random
import ssl
import subprocess
import sys
import threading
import time

import pytest

from host import Host, HostError, process_seconds, relay_script, wait_for
from peers import Background, Peer, connect, server_context

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DOMAINS = 1000
LUMPS = 9 * 127 * 1024  # the busier the machine, the more workers, and whoever reloads, have a piece of their own; what is in use is exact
SCRIPT = relay_script(stateful=True)


@pytest.fixture(scope="module")
def bundle():
    """The system's authorities."""
    assert os.path.exists(BUNDLE), f"{BUNDLE} does not exist (Debian package: ca-certificates)"
    return BUNDLE


@pytest.fixture(scope="module")
def many(certs):
    """A certificate of its own for each domain."""
    return [certs.server(f"scale-{i}", names=[f"DNS:d{i}.test"]) for i in range(DOMAINS)]


def config(certs, pairs, count=DOMAINS, default=None, **settings):
    """A tls.cfg of so many name-based domains, with these certificates in turn."""
    rows = [f"[server:default]\n{(default or certs.server_ec).section()}\n[client:default]\nmethod = TLSv1.2+\n"]
    rows += [f"[server:any]\n{pairs[i % len(pairs)].section(server_name=f'd{i}.test', **settings)}\n" for i in range(count)]
    return "".join(rows)


def trusting(bundle):
    """What each domain has beside its certificate."""
    return {"ca_list": bundle, "verify_certificate": "yes"}


def start_seconds(text):
    """CPU time of the main process until the server is ready, and the shared memory in use then, in bytes."""
    with Host(shm_mb=256, tls_cfg=text, tcp_children=8, script=SCRIPT, modules=["tm.so"]) as host:
        memory = host.rpc("core.shmmem")
        return process_seconds(host.process.pid), memory["used"], memory["real_used"]


def memory(host):
    """Shared memory that the module uses, and that the host has given, in bytes. The module takes it in lumps of 127 KB,
    and where blocks come to lie, and so how many lumps there are, is never quite the same."""
    return host.rpc("tls.info")["shared_bytes"], host.shm_used()


def is_flat(before, after):
    """Whether not more than 1% was added, and a few lumps."""
    return after[0] <= before[0] * 1.01 and after[1] <= before[1] * 1.01 + LUMPS


def assert_flat(before, after):
    """The same, in words."""
    assert is_flat(before, after), f"in use: {before[0]} bytes, then {after[0]}; of the host: {before[1]}, then {after[1]}"


def memory_settled(host, before):
    """memory() when it is flat, or after some seconds, whether it is or not: what nobody needs goes back once a second."""
    with contextlib.suppress(HostError):
        wait_for(lambda: is_flat(before, memory(host)), 20, "memory to come back", 0.5)
    return memory(host)


def touch(*pairs):
    """As if these files had been renewed."""
    for pair in pairs:
        os.utime(pair.cert)
        os.utime(pair.key)


# -- what it costs ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["one certificate", "a certificate for each"])
def test_start_of_1000_domains(certs, many, bundle, kind):
    """Within 2 s of a start without them, or on a slow machine three times what OpenSSL takes; at most 64 MB of shared memory."""
    pairs = many if kind == "a certificate for each" else [certs.server_ec]
    without, used, real = start_seconds(config(certs, pairs, 0))
    seconds, with_used, with_real = start_seconds(config(certs, pairs, **trusting(bundle)))
    assert with_used - used <= with_real - real <= 64 << 20, f"{(with_real - real) / 2**20:.1f} MB"
    alone = seconds_of_openssl(pairs)
    assert seconds - without < max(2, 3 * alone), f"{seconds - without:.2f} s longer, OpenSSL alone {alone:.2f} s"


@pytest.fixture(scope="module")
def thousand(module_host, certs, bundle):
    """A host with 1,000 domains and one certificate."""
    return module_host(shm_mb=384, tls_cfg=config(certs, [certs.server_ec], **trusting(bundle)), tcp_children=8,
                       script=SCRIPT, modules=["tm.so"])


def test_unchanged_reload(thousand):
    """Nothing is read or built again."""
    seconds, usage = [], []
    for _ in range(12):
        seconds.append(thousand.reload_seconds())
        usage.append(memory(thousand))
    assert min(seconds) < 0.2, f"{seconds} s"
    assert_flat(usage[1], usage[-1])


@pytest.mark.parametrize("how", ["another file", "the file renewed", "another setting"])
def test_changed_reload(thousand, certs, bundle, how):
    """Every domain is built anew: under a second, and what was before is given back."""
    first = config(certs, [certs.server_ec], **trusting(bundle))
    texts = {"another file": config(certs, [certs.server_ec2], **trusting(bundle)), "the file renewed": first,
             "another setting": config(certs, [certs.server_ec], **trusting(bundle), verify_depth=5)}
    usage, taken = [], []
    for round_ in range(7):
        if how == "the file renewed":
            touch(certs.server_ec)
        thousand.write("tls.cfg", texts[how] if round_ % 2 == 0 else first)
        taken.append(thousand.reload_seconds())
        usage.append(memory(thousand))
    assert min(taken) < 1, f"{taken} s"
    assert_flat(max(usage[:4]), max(usage[4:]))
    with connect(thousand.port(), server_name=f"d{DOMAINS - 1}.test") as client:
        assert client.ask().status == 200


def seconds_of_openssl(pairs):
    """CPU time that OpenSSL alone takes to load these certificates and keys into contexts, here and now: the measure of
    what the machine can do at this moment."""
    before = time.process_time()
    for pair in pairs:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.cert, pair.key)
    return time.process_time() - before


def test_changed_reload_of_1000_certificates(start_host, certs, many, bundle):
    """The same with a certificate and key of its own for each domain, all renewed at once. While a reload runs there are
    two configurations in memory, and what that leaves room for is used by the next."""
    host = start_host(shm_mb=384, tls_cfg=config(certs, many, **trusting(bundle)), script=SCRIPT, modules=["tm.so"])
    taken, usage, alone = [], [], []
    for _ in range(5):
        touch(*many)
        alone.append(seconds_of_openssl(many))
        taken.append(host.reload_seconds())
        usage.append(memory(host))
    one = []
    for _ in range(3):
        touch(many[7])
        one.append(host.reload_seconds())
    assert min(one) < max(0.2, min(alone) / 2), f"{one} s when one of them has changed, OpenSSL alone for all {alone} s"
    assert_flat(max(usage[:3]), max(usage[3:]))
    assert usage[-1][1] < 64 << 20, usage
    assert min(taken) < max(1, 2 * min(alone)), f"{taken} s, OpenSSL alone {alone} s"


# -- others' traffic ----------------------------------------------------------------------------------------------------

# Seconds that a busy machine may add to the slowest percent. A handshake takes hundreds of blocks from the memory that
# the reload takes from, too: whoever has its lock may lose the processor with it.
NOISE = {"replies": 0.03, "handshakes": 0.2}


def ended(load, process, least=1):
    """Ends a load; nothing but what the end cut off may have failed, and `least` were served. Returns its counts."""
    process.terminate()
    counts = load.finish(process)
    assert not set(counts["reasons"]) - {"unfinished"} and counts["ok"] >= least, counts
    return counts


def test_traffic_during_reloads(thousand, certs, bundle, load):
    """Replies go on as in quiet: their 99th percentile at most doubles. In quiet another process is as busy as the one
    that reloads: what the tests' machine lacks in processors is not the reload's fault."""
    def traffic(meanwhile):
        process = load.start(thousand.port(), connections=100000, parallel=20, rate=200, requests=4, time_limit=280)
        meanwhile()
        counts = ended(load, process)
        assert counts["ok"] > 50, counts
        return [counts[k]["p99"] / 1e6 for k in ("reply_us", "handshake_us")]

    texts = [config(certs, [p], **trusting(bundle)) for p in (certs.server_ec2, certs.server_ec)]

    def reloads():
        for text in 2 * texts:
            thousand.write("tls.cfg", text)
            thousand.rpc("tls.reload", timeout=60)

    def spin():
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            threading.Event().wait(3)
            other.kill()

    def problems():
        """By the best of each so far: others can only make them worse."""
        return [f"{name}: p99 {before * 1000:.1f} ms in quiet, {after * 1000:.1f} ms in reloads"
                for name, before, after in zip(NOISE, map(min, zip(*quiet)), map(min, zip(*busy)))
                if after >= 2 * before + NOISE[name]]

    quiet, busy = [traffic(spin)], [traffic(reloads)]
    while problems() and len(busy) < 5:
        quiet.append(traffic(spin))
        busy.append(traffic(reloads))
    assert not problems(), problems()


def test_200_reloads_under_traffic(start_host, certs, bundle, load):
    """Connections that stand from the beginning, new ones, killed ones, TLS relayed to TLS: nobody is failed, and from
    the 10th reload to the 200th shared memory is flat."""
    count = 20
    texts = [config(certs, [p], count, p, **trusting(bundle)) for p in (certs.server_rsa, certs.server_ec2, certs.server_ec)]
    host = start_host(shm_mb=256, tls_cfg=texts[2], tcp_children=8, script=SCRIPT, modules=["tm.so"])
    cseq = iter(range(1, 1 << 30))

    def visit():
        with connect(host.port(), server_name=f"d{random.randrange(count)}.test") as client:
            for _ in range(3):
                assert client.ask(headers=[f"X-Target: {to.uri()}"], cseq=next(cseq)).status == 200

    def reloads(first, last, old):
        killed = load.start(host.port(), connections=100000, parallel=20, rate=80, kill_percent=50, time_limit=280)
        clean = load.start(host.port(), connections=100000, parallel=10, rate=60, resume=True, sni="d7.test", time_limit=280)
        with Background(visit, threads=2, pause=0.1):
            for number in range(first, last + 1):
                host.write("tls.cfg", texts[number % 3])
                host.rpc("tls.reload")
                if number % 10 == 0:
                    killed.kill()  # in the middle of its handshakes
                    killed.communicate()
                    killed = load.start(host.port(), connections=100000, parallel=20, rate=80, kill_percent=50,
                                        seed=number, time_limit=280)
                    assert {client.ask(cseq=next(cseq)).status for client in old} == {200}
                threading.Event().wait(0.01)
        killed.kill()  # it may have just begun, and know nothing of SIGTERM yet
        killed.communicate()
        ended(load, clean, least=(last - first) // 100)

    def quiet(old):
        host.write("tls.cfg", texts[2])
        host.rpc("tls.reload")
        wait_for(lambda: len([c for c in host.connections() if c["role"] == "server"]) == len(old), 60, "the others to go")
        wait_for(lambda: host.rpc("tm.stats")["current"] == 0, 60, "tm's transactions to end")
        return memory(host)

    with contextlib.ExitStack() as held:
        to = held.enter_context(Peer(server_context(certs.server_ec)))
        old = [held.enter_context(connect(host.port(), server_name=f"d{i}.test")) for i in range(8)]
        assert {client.ask(cseq=next(cseq)).status for client in old} == {200}
        reloads(1, 10, old)
        tenth = quiet(old)
        reloads(11, 200, old)
        quiet(old)
        assert_flat(tenth, memory_settled(host, tenth))
        assert {client.ask(cseq=next(cseq)).status for client in old} == {200}
        assert int(host.rpc("stats.fetch", "tls:")["tls.reloads"]) == 202
    host.stop()
