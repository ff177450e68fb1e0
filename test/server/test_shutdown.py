"""The end of a host in the middle of TLS work: a clean stop returns 0 and leaves nothing; a killed process takes the
whole host down, as the host means it, and whatever lock it held does not keep the others."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from host import HostError, processes_of_session, relay_script, wait_for
from peers import Peer, UdpClient, connect, server_context

UDP = "udp:127.0.0.1"
RELAY = relay_script()
SECONDS = 30  # a host that is not hindered needs a small part of it; one that is, its exit_timeout of 60
# What the host says, as CRITICAL or ALERT, when a process of its own dies.
DYING = [r"ALERT: <core>", r"CRITICAL: <core>", "core was not generated", "exited by a signal"]
ROUNDS = {"tcp receiver": 6, "tcp main process": 4, "timer": 3, "udp receiver": 3}


def busy_host(start_host, certs, workers=6):
    """A host with many workers, for which a random moment is a moment in somebody's handshake."""
    return start_host(modparams=certs.server_rsa.params(send_close_notify=1), tcp_children=workers, shm_mb=96, script=RELAY,
                      settings={"tcp_max_connections": 4096})


def wait_busy(host):
    """Until connections come and go."""
    wait_for(lambda: host.open_tls() > 5, 30, "the load to arrive")


def end_of(host, seconds=SECONDS):
    """Waits for the end of the host and of all its processes; returns how long it took."""
    started = time.monotonic()
    try:
        host.process.wait(seconds)
        wait_for(lambda: not processes_of_session(host.process.pid), seconds, "the last process to go")
    except (subprocess.TimeoutExpired, AssertionError):
        left = processes_of_session(host.process.pid)
        where = {}
        for pid in left:
            with open(f"/proc/{pid}/wchan", encoding="ascii") as f:
                where[pid] = f.read()
        raise AssertionError(f"the host hangs; left: {where}\n{host.log_tail()}") from None
    return time.monotonic() - started


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("victim", ROUNDS)
def test_a_killed_process_ends_the_host_and_hangs_nobody(start_host, certs, load, victim):
    """At random moments of a load of handshakes, resumed and not, and of broken ones."""
    choice = random.Random(victim)
    for turn in range(ROUNDS[victim]):
        host = busy_host(start_host, certs)
        host.allow(*DYING)
        load_process = load.start(host.port(), connections=100000, parallel=60, time_limit=20, kill_percent=30,
                                  resume=bool(turn % 2), seed=turn)
        try:
            wait_busy(host)
            time.sleep(choice.random() * 0.3)  # the moment is the random part of the test
            pids = [pid for pid, name in host.pids().items() if name.startswith(victim)]
            os.kill(choice.choice(pids), signal.SIGKILL)
            assert end_of(host) < SECONDS
        finally:
            load_process.kill()
            load_process.communicate()
        assert host.process.returncode != 0, "the host says that all was well"


# -- locks whose holder is dead -------------------------------------------------------------------------------------

def module_locks(host):
    """{file: address in shared memory} of the module's own locks: each is the first thing in what a static pointer of
    its file, `shared` or `keys`, points to."""
    symbols = subprocess.run(["readelf", "-sW", host.module], stdout=subprocess.PIPE, text=True, check=True).stdout
    pid, base, found, file = host.process.pid, None, {}, None
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        base = min(int(line.split("-")[0], 16) for line in f if line.rstrip().endswith(host.module))
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for words in map(str.split, symbols.splitlines()):
            if len(words) == 8 and words[3] == "FILE":
                file = words[7]
            elif len(words) == 8 and words[3] == "OBJECT" and words[7] in ("shared", "keys"):
                memory.seek(base + int(words[1], 16))
                found[file] = int.from_bytes(memory.read(8), sys.byteorder)
    return found


def stands_still(host):
    """Whether no handshake ends for a while."""
    before = host.rpc("stats.get_statistics", "handshakes_accepted")
    time.sleep(0.2)
    return host.rpc("stats.get_statistics", "handshakes_accepted") == before


@pytest.mark.parametrize("file", ["limit.c", "tls_generation.c", "list.c", "tls_reload.c", "ticket.c"])
def test_a_lock_that_nobody_gives_back(start_host, certs, load, file):
    """As if the killed process had held it: every other runs into it before the host notices, and still all ends."""
    host = start_host(modparams=certs.server_ec.params(max_handshakes_per_address=1000), tcp_children=4)
    host.allow(*DYING)
    load_process = load.start(host.port(), connections=100000, parallel=40, time_limit=20)
    try:
        wait_busy(host)
        victim = host.workers()[0]
        with open(f"/proc/{host.process.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(module_locks(host)[file])
            memory.write((1).to_bytes(4, sys.byteorder))
        if file != "tls_reload.c":  # which is only tried, by a reload
            wait_for(lambda: stands_still(host), 20, "everyone to run into the lock")
        os.kill(victim, signal.SIGKILL)
        assert end_of(host) < SECONDS
    finally:
        load_process.kill()
        load_process.communicate()


# Kills its process when that has just taken a lock of OpenSSL's and the file named in $DIE_FILE is there.
DIES_WITH_A_LOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
	static int (*real)(pthread_rwlock_t *);
	const char *file = getenv("DIE_FILE");
	int result;

	if (real == NULL)
		real = (int (*)(pthread_rwlock_t *))dlsym(RTLD_NEXT, "pthread_rwlock_wrlock");
	result = real(lock);
	if (file != NULL && unlink(file) == 0)
		kill(getpid(), SIGKILL);
	return result;
}
"""


@pytest.mark.parametrize("work", ["handshakes", "reload"])
def test_a_lock_of_openssl_whose_holder_is_dead(start_host, certs, load, tmp_path, work):
    """A process dies with a lock of the shared library context in its hands."""
    source, library, die = tmp_path / "dies.c", tmp_path / "dies.so", tmp_path / "die"
    source.write_text(DIES_WITH_A_LOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    host = start_host(modparams=certs.server_rsa.params(), tcp_children=4,
                      env={"LD_PRELOAD": str(library), "DIE_FILE": str(die)})
    host.allow(*DYING)
    load_process = None
    if work == "handshakes":
        load_process = load.start(host.port(), connections=100000, parallel=40, time_limit=20)
        wait_busy(host)
    try:
        die.write_text("")
        if work == "reload":
            os.utime(certs.server_rsa.cert)  # a file that has changed is loaded anew
            with pytest.raises(AssertionError):
                host.rpc("tls.reload", timeout=2)
        assert end_of(host) < SECONDS
        assert not die.exists(), "nobody took a lock: the test says nothing"
    finally:
        if load_process:
            load_process.kill()
            load_process.communicate()


@pytest.mark.long
def test_many_killed_at_once(start_host, certs, load):
    """Half of the workers in one blow."""
    host = busy_host(start_host, certs)
    host.allow(*DYING)
    load_process = load.start(host.port(), connections=100000, parallel=60, time_limit=20)
    try:
        wait_busy(host)
        victims = host.workers()[::2]
        host.process.send_signal(signal.SIGSTOP)  # or it ends the others when it hears of the first
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        host.process.send_signal(signal.SIGCONT)
        assert end_of(host) < SECONDS
    finally:
        load_process.kill()
        load_process.communicate()


@pytest.mark.long
def test_killed_while_it_reloads(start_host, certs, load):
    """The process that builds a new configuration dies in the middle of it. On a busy machine it may be done before it can be
    killed: such a turn has to end well, too, but does not count."""
    def config(pair):
        return f"[server:default]\n{pair.section()}" + "".join(
            f"[server:any]\n{pair.section(server_name=f'n{n}.test')}" for n in range(200))

    in_the_middle = 0
    for turn in range(9):
        host = start_host(tls_cfg=config(certs.server_rsa), shm_mb=96)
        host.allow(*DYING)
        load_process = load.start(host.port(), connections=100000, parallel=30, time_limit=20)
        try:
            wait_busy(host)
            pid = next(pid for pid, name in host.pids().items() if "JSONRPC" in name.upper() or "datagram" in name)
            host.write("tls.cfg", config(certs.server_ec))
            try:
                host.rpc("tls.reload", timeout=0.002 * (turn % 3 + 1))
            except HostError:
                in_the_middle += 1
            os.kill(pid, signal.SIGKILL)
            assert end_of(host) < SECONDS
        finally:
            load_process.kill()
            load_process.communicate()
        if in_the_middle == 3:
            break
    assert in_the_middle > 0, "every reload was done at once: the test says nothing"


@pytest.mark.long
@pytest.mark.parametrize("kind", ["handshakes", "requests", "broken", "outgoing"])
def test_clean_stop_under_load(start_host, certs, load, kind):
    """Status 0, no process, no socket, no line that speaks of a crash: host.stop() judges that."""
    for _ in range(2):
        host = busy_host(start_host, certs)
        options = {"handshakes": {}, "requests": {"requests": 100000, "pipeline": 5}, "broken": {"kill_percent": 60},
                   "outgoing": {}}[kind]
        with Peer(server_context(certs.server_ec)) as good, Peer(behaviour="silent") as silent:
            load_process = load.start(host.port(), connections=100000, parallel=60, time_limit=20, **options)
            try:
                wait_busy(host)
                if kind == "outgoing":
                    with UdpClient(host.port(UDP)) as udp:
                        for _ in range(20):
                            udp.send(headers=[f"X-Target: {good.uri()}"])
                            udp.send(headers=[f"X-Target: {silent.uri()}"])
                        good.wait_requests(20)
                started = time.monotonic()
                host.stop(busy=True)
                assert time.monotonic() - started < SECONDS
            finally:
                load_process.kill()
                load_process.communicate()
        host.close()


def test_stop_while_it_starts(start_host, certs):
    """SIGTERM between the module's start and the host's first look at its signals: it keeps one signal till then, and
    that must not be one that the module has caused."""
    def stopped_in_time(fork_delay):
        """Whether the moment was there: on a machine that stands still the start may be over before we look."""
        host = start_host.make(modparams=certs.server_ec.params(), settings={"fork_delay": fork_delay})
        host.spawn()
        try:
            wait_for(lambda: len(processes_of_session(host.process.pid)) > 2, 30, "the first processes", 0.002)
            host.process.send_signal(signal.SIGTERM)
            in_time = len(processes_of_session(host.process.pid)) < 10
            host.wait_log("Thank you for flying", 40)
            return in_time
        finally:
            host.close()  # its end is not waited for: the youngest process may not hear of it (doc/troubleshooting.md)

    assert any(stopped_in_time(100000 * n) for n in (1, 2, 4, 8)), "it had started already: the test says nothing"


def test_stop_with_idle_connections(start_host, certs):
    """Clients that stay connected are told by a FIN, and keep nobody."""
    host = start_host(modparams=certs.server_ec.params())
    clients = [connect(host.port(), version) for version in ("1.2", "1.3") for _ in range(20)]
    for client in clients:
        client.ask()
    host.stop()
    for client in clients:
        assert client.closed_by_server()
        client.sock.close()
