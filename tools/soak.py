#!/usr/bin/python3
"""A long run of everything at once against a real server, and a report of how it stood it.

    tools/soak.py [--seconds 3600] [--folder build/soak] [--rate 60]

Clients of TLS 1.2 and 1.3 that resume or not, send byte by byte, pipeline, or break off in their handshakes; relays from
UDP and TLS to peers that answer and to peers that do not; reloads, good and broken; connections closed by tls.kill;
readers of every RPC command; a worker's own HTTPS calls and ciphers with the same OpenSSL; clients that stay for the
whole run. Every 20 seconds all pause, and the memory is compared with that of the earlier pauses.

Writes report.md, soak.svg and samples.csv into the folder. Ends with 1 when memory grows, when a request is lost that no
peer is to blame for, when a process is lost, or when the log has a CRITICAL line.
"""

import argparse
import contextlib
import csv
import itertools
import os
import random
import ssl
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "test", "lib"))
sys.dont_write_bytecode = True

from certs import Certs  # noqa: E402  pylint: disable=wrong-import-position
from host import Host, wait_for  # noqa: E402  pylint: disable=wrong-import-position
from load import Load  # noqa: E402  pylint: disable=wrong-import-position
from peers import (Closed, HttpsServer, Peer, UdpClient, client_hello, connect,  # noqa: E402  pylint: disable=wrong-import-position
                   raw_exchange, server_context)

CYCLE = 20  # seconds between two pauses
LUMPS_KB = 4 * 127  # the module takes shared memory in lumps of 127 KB; how many it holds varies by a few
HELD = 30   # clients that stay for the whole run
UDP = "udp:127.0.0.1"
SCRIPT = """
request_route {
	crypto_aes_encrypt("$ci and some text", "a key of some length", "$var(sealed)");
	crypto_aes_decrypt("$var(sealed)", "a key of some length", "$var(open)");
	if ($var(open) != $ci + " and some text") {
		sl_send_reply("500", "Crypto");
		exit;
	}
	if ($hdr(X-Https) != $null) {
		$var(code) = http_client_query("$hdr(X-Https)", "$var(answer)");
		if ($var(code) != 200) {
			sl_send_reply("500", "HTTPS");
			exit;
		}
	}
	if ($hdr(X-Target) != $null) {
		$ru = $hdr(X-Target);
		remove_hf("X-Target");
		forward();
		exit;
	}
	sl_send_reply("200", "OK");
	exit;
}
"""
# What a round of the load generator may do beside the ordinary.
ROUNDS = [{}, {"resume": True}, {"kill_percent": 40}, {"requests": 8, "pipeline": 4}, {"drip": True}, {"hold": 3},
          {"size": 20000}, {"resume": True, "requests": 3}]
CULPRITS = ("silent", "garbage", "close_early", "reset_early", "close_later")


class Soak:
    """One run."""

    def __init__(self, asked, certs):
        self.asked, self.certs = asked, certs
        self.choice, self.lock = random.Random(asked.seed), threading.Lock()
        self.counts, self.failures = {}, []
        self.samples, self.pauses = [], []
        self.load = Load(os.path.join(TOP, "build", "load"))
        self.started = self.host = self.end = self.finish = None
        self.good, self.bad, self.held, self.web, self.log_lines = [], [], [], None, 0
        self.over = threading.Event()

    # -- counting -------------------------------------------------------------------------------------------

    def count(self, name, number=1):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + number

    def fail(self, what):
        """Something that must not be; the run goes on."""
        with self.lock:
            self.failures.append(f"{time.monotonic() - self.started:.0f} s: {what}")
        print(f"FAILED: {what}", flush=True)

    def pick(self, things):
        with self.lock:
            return self.choice.choice(things)

    # -- what is done all the time -------------------------------------------------------------------------

    def clients(self):
        """A round of the load generator."""
        seconds = max(3, min(8, self.end - time.monotonic()))
        options = dict(self.pick(ROUNDS), tls=self.pick(["1.2", "1.3"]), parallel=40, rate=self.asked.rate // 2,
                       ca=self.certs.ca.cert, sni=self.pick(["localhost", "sip.example.test"]), timeout=30,
                       connections=int(self.asked.rate // 2 * seconds), time_limit=90, seed=self.pick(range(1, 10 ** 6)))
        counts = self.load(self.host.port(), **options)
        for name in ("ok", "killed", "requests_ok", "resumed"):
            self.count({"ok": "connections", "requests_ok": "requests"}.get(name, name), counts[name])
        if counts["failed"]:
            self.fail(f"{counts['failed']} of {options['connections']} connections failed: {counts} {options}")

    def relays_from_udp(self):
        with UdpClient(self.host.port(UDP)) as udp:
            for _ in range(5):
                answer = self.tried(lambda: udp.ask(timeout=5, headers=[f"X-Target: {self.pick(self.good).uri()}"]))
                self.judge("relays", answer, "a relay from UDP")

    def tried(self, ask):
        """UDP may lose a message: its sender repeats it, as RFC 3261 says."""
        for _ in range(3):
            try:
                return ask()
            except TimeoutError:
                self.count("repeated over UDP")
        return None

    def relays_from_tls(self):
        with connect(self.host.port(), self.pick(["1.2", "1.3"])) as client:
            for _ in range(5):
                self.judge("relays", client.ask(headers=[f"X-Target: {self.pick(self.good).uri()}"]), "a relay from TLS")

    def judge(self, name, answer, what):
        if answer is None or answer.status != 200:
            self.fail(f"{what} was {'lost' if answer is None else answer.start}")
        else:
            self.count(name)

    def bad_peers(self):
        """Requests to peers that will not answer, and none is expected to."""
        with UdpClient(self.host.port(UDP)) as udp:
            udp.send(headers=[f"X-Target: {self.pick(self.bad).uri()}"])
            self.count("requests to bad peers")

    def calls(self):
        """A worker makes an HTTPS call of its own."""
        with connect(self.host.port()) as client:
            self.judge("HTTPS calls", client.ask(headers=[f"X-Https: https://127.0.0.1:{self.web.port}/"]), "an HTTPS call")

    def reloads(self):
        """Another configuration, at times one that is wrong."""
        if self.pick(range(5)) == 0:
            self.host.write("tls.cfg", "[server:default]\nnonsense = 1\n")
            self.host.rpc_error("tls.reload")
            self.count("refused reloads")
        self.host.write("tls.cfg", self.config())
        self.host.rpc("tls.reload", timeout=30)
        self.count("reloads")

    def config(self):
        pair = self.pick([self.certs.server_ec, self.certs.server_rsa, self.certs.server_ec2])
        return (f"[server:default]\n{pair.section(ca_list=self.certs.ca.cert)}"
                f"[server:any]\n{pair.section(server_name='sip.example.test')}[client:default]\nmethod = TLSv1.2+\n")

    def readers(self):
        for command, *words in (("tls.list", "127.0.0.1:1"), ("tls.info",), ("tls.options",), ("tls.domains",), ("tls.check",),
                                ("stats.get_statistics", "tls:")):
            self.host.rpc(command, *words, timeout=30)
            self.count("RPC commands")

    def kills(self):
        """tls.kill ends this connection and no other."""
        client = connect(self.host.port(), self.pick(["1.2", "1.3"]))
        with contextlib.closing(client.sock):
            client.ask()
            port = client.sock.getsockname()[1]
            mine = [c for c in self.host.connections() if c["src_port"] == port]
            if len(mine) != 1:
                self.fail(f"tls.list shows {len(mine)} connections of one client")
                return
            self.host.rpc("tls.kill", mine[0]["id"])
            if not client.closed_by_server(10):
                self.fail("tls.kill did not end its connection")
            self.count("kills")

    def strangers(self):
        """Bytes that are no TLS, and hellos that end anywhere."""
        hello = client_hello()
        for data in (b"OPTIONS sip:a SIP/2.0\r\n\r\n", os.urandom(300), hello[:self.pick(range(1, len(hello)))]):
            _, closed = raw_exchange(self.host.port(), data, timeout=15)
            self.count("strangers")
            if not closed:
                self.fail("a stranger keeps its connection")

    def stayers(self):
        """Those who stay are asked now and then."""
        for client in self.held:
            self.judge("requests of those who stay", client.ask(), "a request of one who stays")

    # -- the run ---------------------------------------------------------------------------------------------

    ALWAYS = ((clients, 0), (clients, 0), (relays_from_udp, 0.1), (relays_from_tls, 0.1), (bad_peers, 0.5), (calls, 0.3),
              (reloads, 2), (readers, 1), (kills, 0.5), (strangers, 0.5), (stayers, 5))

    def again(self, work, pause, end):
        """Does it again and again until the pause."""
        while time.monotonic() < end and not self.over.is_set():
            if self.host.process.poll() is not None:
                return  # the pause tells
            try:
                work(self)
            except (OSError, AssertionError, ssl.SSLError, Closed, ValueError) as e:
                self.fail(f"{work.__name__}: {type(e).__name__}: {e}")
                time.sleep(1)
            self.over.wait(pause)

    def cycle(self):
        self.end = min(time.monotonic() + CYCLE, self.finish)
        with ThreadPoolExecutor(len(self.ALWAYS)) as pool:
            for work, pause in self.ALWAYS:
                pool.submit(self.again, work, pause, self.end)
        self.pause()

    def pause(self):
        """When all but those who stay have gone, memory shows what is left behind."""
        if self.host.process.poll() is not None:
            raise AssertionError(f"the server has ended with status {self.host.process.returncode}:\n{self.host.log_tail(8)}")
        for peer in [*self.good, *self.bad]:
            peer.drop_connections()
        wait_for(lambda: self.host.rpc("core.tcp_info")["opened_connections"] == len(self.held), 60,
                 "all connections but those that stay to go")
        self.host.check_alive()
        self.pauses.append(self.look())
        last = self.pauses[-1]
        print(f"{last['seconds']:6.0f} s  {self.counts.get('connections', 0):7} connections  {self.counts.get('relays', 0):6} relays  "
              f"{self.counts.get('reloads', 0):4} reloads  shared {last['shared_kb']} KB, of it TLS {last['tls_kb']} KB  "
              f"private {last['private_kb']} KB  failures {len(self.failures)}", flush=True)

    def look(self):
        """One sample."""
        private = self.host.private_kb()
        info = self.host.rpc("tls.info", timeout=30)
        return {"seconds": time.monotonic() - self.started, "shared_kb": self.host.shm_used() // 1024,
                "tls_kb": info["shared_bytes"] // 1024, "blocks": info["shared_blocks"],
                "private_kb": sum(private.values()), "largest_kb": max(private.values()), "processes": len(private),
                "connections": info["opened_connections"], "requests": sum(self.counts.get(name, 0) for name in (
                    "requests", "relays", "HTTPS calls", "requests of those who stay")),
                "cpu": self.host.cpu_seconds(), "failures": len(self.failures)}

    def watch(self):
        """Samples for the picture."""
        step = max(1.0, self.asked.seconds / 400)
        while not self.over.wait(step):
            with contextlib.suppress(AssertionError, OSError):
                self.samples.append(self.look())

    def start(self, stack):
        context = server_context(self.certs.server_ec)
        self.good = [stack.enter_context(Peer(server_context(self.certs.server_ec))) for _ in range(4)]
        self.bad = [stack.enter_context(Peer(context, kind)) for kind in CULPRITS]
        self.web = stack.enter_context(HttpsServer(server_context(self.certs.server_ec)))
        self.host = stack.enter_context(Host(
            listen=(UDP, "tls:127.0.0.1"), tls_cfg=self.config(), tcp_children=6, children=2, shm_mb=128, script=SCRIPT,
            modules=["crypto.so", "http_client.so"], settings={"tcp_max_connections": 4096, "tcp_rd_buf_size": 65536},
            modparams={"tls": {"handshake_timeout": 5, "connection_timeout": 600},
                       "http_client": {"verify_peer": 1, "cacert": self.certs.ca.cert, "connection_timeout": 10}}))
        self.held = [stack.enter_context(connect(self.host.port(), ("1.2", "1.3")[i % 2])) for i in range(HELD)]
        for client in self.held:
            client.ask()

    def cycles(self):
        """The run itself, and its end: the host is stopped and judged."""
        with contextlib.ExitStack() as stack:
            self.start(stack)
            watcher = threading.Thread(target=self.watch, daemon=True)
            watcher.start()
            try:
                while time.monotonic() < self.finish - 2:
                    self.cycle()
            finally:
                self.over.set()
                watcher.join(60)
                self.log_lines = len(self.host.log().splitlines())
            for client in self.held:
                client.close()
            self.host.wait_no_connections(30)

    def run(self):
        """Returns whether all was well."""
        self.started = time.monotonic()
        self.finish = self.started + self.asked.seconds
        try:
            self.cycles()
        except (AssertionError, OSError) as e:
            self.fail(f"{type(e).__name__}: {e}")
        if self.pauses:
            self.growth()
        return not self.failures

    def growth(self):
        """Compares the pauses of the last third with those of the first, behind two of warming up. Private memory with those
        of the second: it rises for the first half hour, ever more slowly, and stands still after that."""
        calm = self.pauses[2:] if len(self.pauses) > 4 else self.pauses[-2:]
        share = max(1, len(calm) // 3)
        for key, allowed, third in (("shared_kb", 0.01, 0), ("tls_kb", 0.01, 0), ("blocks", 0.01, 0), ("private_kb", 0.01, 1),
                                    ("processes", 0, 0)):
            first = statistics.median(p[key] for p in (calm[third * share:(third + 1) * share] or calm[:share]))
            last = statistics.median(p[key] for p in calm[-share:])
            lumps = LUMPS_KB if key == "shared_kb" else 0
            if last > first * (1 + allowed) + lumps or (key == "processes" and last != first):
                self.fail(f"{key} grew from {first} to {last}")

    # -- the report ------------------------------------------------------------------------------------------

    def report(self, good):
        last = self.pauses[-1] if self.pauses else {"seconds": 0}
        rows = "\n".join(f"| {name} | {number} |" for name, number in sorted(self.counts.items()))
        memory = "\n".join(
            f"| {p['seconds']:.0f} | {p['requests']} | {p['processes']} | {p['shared_kb']} | {p['tls_kb']} | {p['blocks']} | "
            f"{p['private_kb']} |" for p in every(self.pauses, 12))
        found = "\n".join(f"- {f}" for f in self.failures) or "None: no request was lost, no process, no line of the log " \
            "speaks of a crash, and memory is where it was."
        return (f"Ran for {last['seconds']:.0f} s: {'all was well' if good else 'NOT well'}. CPU of the server: "
                f"{last.get('cpu', 0):.0f} s. {self.log_lines} lines in its log.\n\n"
                f"| What was done | times |\n|---|---|\n{rows}\n\n"
                "| After, s | requests | processes | shared memory, KB | of it TLS, KB | blocks | private memory of all, KB |\n"
                f"|---|---|---|---|---|---|---|\n{memory}\n\nFailures:\n\n{found}\n")

    def write(self, good):
        os.makedirs(self.asked.folder, exist_ok=True)
        text = self.report(good)
        with open(os.path.join(self.asked.folder, "report.md"), "w", encoding="utf-8") as f:
            f.write(text)
        with open(os.path.join(self.asked.folder, "samples.csv"), "w", encoding="utf-8", newline="") as f:
            if self.samples:
                table = csv.DictWriter(f, self.samples[0])
                table.writeheader()
                table.writerows(self.samples)
        with open(os.path.join(self.asked.folder, "soak.svg"), "w", encoding="utf-8") as f:
            f.write(picture(self.samples, self.pauses))
        print(text)


def every(things, wanted):
    """At most about so many of them, first and last included."""
    step = max(1, -(-len(things) // wanted))
    return [t for i, t in enumerate(things) if i % step == 0 or i == len(things) - 1]


# -- the picture -----------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP_SPACE, GAP = 900, 120, 80, 30, 45
PANELS = (("Requests answered", "requests"), ("Connections", "connections"), ("Shared memory in use, KB", "shared_kb"),
          ("Shared memory of TLS, KB", "tls_kb"), ("Private memory of all processes, KB", "private_kb"),
          ("Processes", "processes"), ("Failures", "failures"))


def panel(number, title, key, samples, pauses):
    """One curve, and a dot for each pause."""
    top = TOP_SPACE + number * (HEIGHT + GAP)
    span = max(1.0, *(s["seconds"] for s in [samples[-1], *pauses]))
    most = max(1, max(s[key] for s in [*samples, *pauses]))

    def place(s):
        return f"{LEFT + s['seconds'] / span * WIDTH:.1f},{top + HEIGHT * (1 - s[key] / most):.1f}"

    line = " ".join(map(place, samples))
    dots = "".join('<circle cx="{}" cy="{}" r="2.5"/>'.format(*place(p).split(",")) for p in pauses)
    ticks = "".join(f'<text x="{LEFT - 6}" y="{top + HEIGHT * (1 - share) + 4:.0f}" text-anchor="end">{most * share:.0f}</text>'
                    for share in (0, 0.5, 1))
    minutes = "".join(f'<text x="{LEFT + WIDTH * share:.0f}" y="{top + HEIGHT + 14}" text-anchor="middle">'
                      f'{span * share / 60:.1f} min</text>' for share in (0, 0.25, 0.5, 0.75, 1))
    return (f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>'
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>{ticks}{minutes}'
            f'<polyline points="{line}" fill="none" stroke="#3060a0"/><g fill="#c03020">{dots}</g>\n')


def picture(samples, pauses):
    """SVG, every curve from zero; dots are the pauses, when only those who stay are connected."""
    if not samples:
        samples = pauses or [dict.fromkeys((key for _, key in PANELS), 0) | {"seconds": 1}]
    height = TOP_SPACE + len(PANELS) * (HEIGHT + GAP)
    body = "".join(panel(i, title, key, samples, pauses) for i, (title, key) in zip(itertools.count(), PANELS))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 40} {height}" font-family="sans-serif" '
            f'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n{body}</svg>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--folder", default=os.path.join(TOP, "build", "soak"))
    parser.add_argument("--rate", type=int, default=60, help="new connections a second, about")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tls-soak-") as folder:
        soak = Soak(asked, Certs(folder))
        good = soak.run()
        soak.write(good)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
