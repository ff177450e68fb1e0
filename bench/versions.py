#!/usr/bin/python3
"""Two builds of the module, or more, side by side: what TLS adds to the server's CPU time for a connection with one
request, and to its shared memory for one that is idle; what memory a flood leaves behind, and what a long mixed run.

    bench/versions.py [--rounds 5] [--connections 1000] [--idle 1000] [--flood 10000] [--mixed 60] [--allocators qm,fm,tlsf]
                      NAME=tls.so ...

All take turns in each round, and with plain TCP beside them, so that other work on the machine hits them alike. Times are
given as ratios to the first; the least of all rounds counts.
"""

import argparse
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "test", "lib"))
sys.dont_write_bytecode = True

from certs import Certs  # noqa: E402  pylint: disable=wrong-import-position
from host import TOP, Host  # noqa: E402  pylint: disable=wrong-import-position
from load import Load  # noqa: E402  pylint: disable=wrong-import-position

LISTEN = ("udp:127.0.0.1", "tcp:127.0.0.1", "tls:127.0.0.1")


class Server:
    """A host with one of the builds."""

    def __init__(self, module, pair, allocator, workers=4):
        self.host = Host(module=module, listen=LISTEN, modparams=pair.params(), allocator=allocator, shm_mb=1024,
                         tcp_children=workers, settings={"tcp_max_connections": 24000, "tls_max_connections": 24000})
        self.host.allow("queue full")  # what the host says of a crowd that comes or goes at once; nothing is lost
        self.host.start()
        self.load = Load(os.path.join(TOP, "build", "load"))

    def go(self, plain=False, **options):
        """Runs the load; returns CPU time in microseconds for each connection."""
        port = self.host.port("tcp:127.0.0.1" if plain else "tls:127.0.0.1")
        before = self.host.cpu_seconds()
        self.load.clean(port, plain=plain, **({} if plain else {"tls": "1.3"}), **options)
        self.host.wait_no_connections(60)
        return (self.host.cpu_seconds() - before) * 1e6 / options["connections"]

    def settle(self):
        """Shared memory in use, once it does not change any more."""
        last, same = None, 0
        while same < 3:
            now = self.host.shm_used()
            same = same + 1 if now == last else 0
            last = now
            time.sleep(0.5)
        return last

    def live(self):
        """The live bytes of the module and of OpenSSL."""
        return self.host.rpc("tls.info")["shared_bytes"]

    def idle(self, count, plain=False):
        """(shared memory, live bytes) of each of `count` idle connections."""
        self.host.wait_no_connections(60)
        before = self.settle(), self.live()
        port = self.host.port("tcp:127.0.0.1" if plain else "tls:127.0.0.1")
        running = self.load.start(port, connections=count, parallel=count, hold=18, timeout=60, plain=plain)
        wanted = "opened_connections" if plain else "opened_tls_connections"
        end = time.monotonic() + 60
        while self.host.rpc("core.tcp_info")[wanted] < count and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(6)  # what is idle goes back to the host's main process after 5 s
        after = self.settle(), self.live()
        self.load.finish(running)
        self.host.wait_no_connections(60)
        return [(a - b) / count for a, b in zip(after, before)]


def ratios(title, found, plain):
    first = None
    for name, values in found.items():
        value = min(values)
        mine = value - min(plain[name])
        first = first if first is not None else mine
        print(f"  {title} {name}: {mine / first:.3f} of the first ({mine:.0f} us above plain TCP's {min(plain[name]):.0f})", flush=True)


def compare_cpu(servers, rounds, connections):
    found = {name: [] for name in servers}
    plain = {name: [] for name in servers}
    for server in servers.values():
        server.go(connections=200, parallel=8)
    for _ in range(rounds):
        for name, server in servers.items():
            plain[name].append(server.go(plain=True, connections=connections, parallel=8))
            found[name].append(server.go(connections=connections, parallel=8))
    ratios("CPU", found, plain)


def compare_memory(servers, count):
    for name, server in servers.items():
        plain = server.idle(count, plain=True)[0]
        taken, live = server.idle(count)
        print(f"  idle {name}: {taken - plain:.0f} bytes above plain TCP's {plain:.0f}; live {live:.0f}; "
              f"ratio {(taken - plain) / live:.3f}", flush=True)


def compare_floods(servers, count):
    for name, server in servers.items():
        before = server.settle()
        running = server.load.start(server.host.port(), connections=count, parallel=count, hold=20, timeout=100, time_limit=200)
        peak = 0
        while running.poll() is None:
            peak = max(peak, server.host.shm_used())
            time.sleep(0.5)
        server.load.finish(running)
        server.host.wait_no_connections(60)
        left = server.settle() - before
        print(f"  flood {name}: {before / 1e6:.2f} MB before, {peak / 1e6:.1f} MB at most, {left / 1e3:.0f} KB left", flush=True)


def compare_mixed(servers, seconds):
    """Handshakes, resumption, broken handshakes, requests of all sizes, on top of connections that come and stay."""
    for name, server in servers.items():
        before, end, turn = server.settle(), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            turn += 1
            stay = server.load.start(server.host.port(), connections=100, parallel=100, hold=4, seed=turn)
            server.load(server.host.port(), connections=300, parallel=40, requests=3, size=300 + turn % 20 * 700,
                        kill_percent=20, resume=turn % 2 == 0, tls="1.3" if turn % 3 else "1.2", seed=turn)
            server.load.finish(stay)
        server.host.wait_no_connections(60)
        print(f"  mixed {name}: {(server.settle() - before) / 1e3:.0f} KB more after {turn} turns", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--flood", type=int, default=10000)
    parser.add_argument("--mixed", type=int, default=60)
    parser.add_argument("--allocators", default="qm,fm,tlsf")
    parser.add_argument("modules", nargs="+", metavar="NAME=FILE")
    asked = parser.parse_args()
    modules = dict(word.split("=", 1) for word in asked.modules)
    with tempfile.TemporaryDirectory(prefix="tls-versions-") as folder:
        pair = Certs(folder).server_ec
        for allocator in asked.allocators.split(","):
            servers = {name: Server(path, pair, allocator) for name, path in modules.items()}
            print(f"-x {allocator}", flush=True)
            for compare, size in ((lambda s, n: compare_cpu(s, n, asked.connections), asked.rounds),
                                  (compare_memory, asked.idle), (compare_floods, asked.flood), (compare_mixed, asked.mixed)):
                if size:
                    compare(servers, size)
            for server in servers.values():
                server.host.stop()
                server.host.close()


if __name__ == "__main__":
    main()
