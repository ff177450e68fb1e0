#!/usr/bin/python3
"""The benchmark: this module, the packaged one and haproxy, each above what plain TCP costs the same host, compared with
what OpenSSL alone needs.

    bench/bench.py [--quick] [--out build/bench] [PART ...]

Parts: floor, split, cost, many, requests, latency, idle, growth, crowd, workers, domains, settings, profile, death. What is compared is measured
in turns, again and again, in one run; every value is kept in numbers.json, by part, subject and round. Parts that are not
named keep what stands there from an earlier run. bench/report.py makes tables and pictures of it.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from measure import (HAPROXY, LOAD, TOP, Bare, Died, Proxy, Server, Standing, floor,  # noqa: E402  pylint: disable=wrong-import-position
                     floor_words, machine_idle, sample, settle, turns_words, wait_for)
from host import HostError, host_version  # noqa: E402  pylint: disable=wrong-import-position
from certs import Certs  # noqa: E402  pylint: disable=wrong-import-position

PLAIN = ("plain", "", "")
FULL = ("ec", "1.3", "full")
KINDS = [(key, version, how) for key in ("ec", "rsa") for version in ("1.3", "1.2") for how in ("full", "resumed")]
ALLOCATORS = ("qm", "fm", "tlsf")
PROFILE_HZ = 4000
PAUSE_US = 300  # about what a client at work leaves a server to sleep, here
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def label(kind):
    """("ec", "1.3", "full") as a key of numbers.json."""
    return " ".join(word for word in kind if word)


def library_name(path):
    """A short name of what perf says of where a sample was."""
    name = os.path.basename(path).split(".so")[0]
    return "kernel" if "kernel" in name or path.startswith("[") or path.endswith(".ko") else name


def shortened(value):
    """The same with numbers of five digits: more of them say nothing."""
    if isinstance(value, dict):
        return {name: shortened(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def plain_text(text):
    """A line of a log without its head and what no page can show."""
    return re.sub(r"^.*?\): (?=[A-Z]+: )|[^ -~]+|0x[0-9a-f]+", "", text).strip()


class Bench:
    """One run: what was asked for, the certificates, the numbers."""

    def __init__(self, asked, certs):
        self.asked, self.certs, self.quick = asked, certs, asked.quick
        self.rounds = asked.rounds or (3 if self.quick else 5)
        self.numbers = {}

    def size(self, full, quick):
        """How many of something."""
        if self.asked.tiny:
            return max(1, full // 100)
        return quick if self.quick else full

    def add(self, part, subject, **values):
        """Keeps one round's values of a subject."""
        rows = self.numbers.setdefault(part, {}).setdefault(subject, {})
        for name, value in values.items():
            rows.setdefault(name, []).append(value)

    def note(self, part, subject, text):
        """Keeps what is to be said about a subject once."""
        self.numbers.setdefault(part, {}).setdefault(subject, {})["note"] = text
        print(f"   {subject}: {text}", flush=True)

    def sample(self, part, subject, target, kind, connections, **options):
        """One load, kept; a server that dies is noted, and is not asked again. Returns the values or None."""
        if "note" in self.numbers.get(part, {}).get(subject, {}):
            return None
        try:
            found = sample(target, kind, connections, **options)
        except (Died, AssertionError, OSError) as e:
            self.note(part, subject, f"ended: {e}")
            return None
        self.add(part, subject, **found)
        return found

    def beside(self, part):
        """The floor, at the same time as what is compared with it."""
        self.add(part, f"floor {label(FULL)}", cpu_us=floor(self.certs, FULL)["connection_us"])

    def server(self, stack, *words, **options):
        """A server for this part."""
        return stack.enter_context(Server(self.certs, *words, **options))

    def allocators(self):
        """Those that this run tries, the host's own choice first."""
        return ALLOCATORS[:1] if self.asked.tiny else ALLOCATORS[:2] if self.quick else ALLOCATORS

    def proxy(self, stack, targets, server):
        """haproxy among the targets, where it is installed."""
        if os.path.exists(HAPROXY):
            targets["haproxy"] = stack.enter_context(Proxy(self.certs, server))

    # -- the floor ----------------------------------------------------------------------------------------

    def floor(self):
        """OpenSSL alone: time, allocations, and what an idle connection keeps."""
        kinds = KINDS[:2] if self.asked.tiny else KINDS
        for kind in kinds:
            self.add("floor", label(kind), **floor(self.certs, kind, "--count"))
            fresh = floor(self.certs, kind, "--count", "--requests", "0")
            self.add("floor", label(kind), live_no_request=fresh["live_fresh"])
        for _ in range(self.rounds):
            for kind in kinds:
                self.add("floor", label(kind), **{k: v for k, v in floor(self.certs, kind, connections=self.size(500, 300)).items()
                                                  if k.endswith("_us")})

    # -- from the floor to a server, step by step ----------------------------------------------------------

    def split(self):
        """Where the CPU of a connection goes: OpenSSL, with this module around it, after a sleep, with sockets, in the host."""
        alone = {"floor": lambda *more: floor_words(self.certs, FULL, *more), "turns": turns_words}
        for name, words in alone.items():
            found = self.instructions(words)
            if found:
                self.add("split", name, instructions=found)
        with contextlib.ExitStack() as stack:
            targets = {f"ours {n}": self.server(stack, "ours", None, workers=n) for n in (8, 1)}
            targets["bare"] = stack.enter_context(Bare(self.certs))
            for turn in range(self.rounds + 1):
                part = "split" if turn else "warm-up"
                for name, words in alone.items():
                    for pause in (0, PAUSE_US):
                        found = json.loads(said(*words(self.size(200, 200), pause)))
                        self.add(part, f"{name} {pause}" if pause else name, cpu_us=found["connection_us"])
                for name, target in targets.items():
                    for kind in (PLAIN, FULL):
                        self.sample(part, f"{name} {label(kind)}", target, kind, self.size(200, 150))

    def instructions(self, words):
        """Instructions of a connection, by valgrind where it is installed: what twice as many connections need more."""
        if not shutil.which("valgrind"):
            return None
        counted = []
        for connections in (40, 80):
            done = subprocess.run(["valgrind", "--tool=callgrind", "--collect-atstart=no", "--callgrind-out-file=/dev/null",
                                   *words(connections, 0)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True)
            counted.append(sum(map(int, re.findall(r"Collected : (\d+)", done.stderr))))  # a child that proves the locks has none
        return (counted[1] - counted[0]) / 40

    # -- one client ---------------------------------------------------------------------------------------

    def cost(self):
        """CPU for a connection, one client at a time; "bare" is sockets and OpenSSL alone."""
        kinds = KINDS[:2] if self.asked.tiny else [*KINDS[:3], KINDS[4]] if self.quick else KINDS
        with contextlib.ExitStack() as stack:
            targets = {}
            for allocator in self.allocators():
                for module in ("ours", "packaged"):
                    targets[f"{module} {allocator}"] = self.server(stack, module, allocator)
            self.proxy(stack, targets, targets[f"ours {self.allocators()[0]}"])
            targets["bare"] = stack.enter_context(Bare(self.certs))
            for turn in range(self.rounds + 1):
                self.cost_round(targets, kinds, turn)

    def cost_round(self, targets, kinds, turn):
        """Every subject once, in another order each time; round 0 warms up and is not kept."""
        part, count = ("cost", self.size(200, 150)) if turn else ("warm-up", self.size(60, 40))
        for kind in kinds:
            self.add(part, f"floor {label(kind)}", cpu_us=floor(self.certs, kind)["connection_us"])
        names = list(targets)
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            for kind in [PLAIN, *kinds]:
                self.sample(part, f"{name} {label(kind)}", targets[name], kind, count)

    # -- many clients -------------------------------------------------------------------------------------

    def many(self):
        """CPU for a connection and connections a second with 1, 50 and 200 clients at once, as fast as they can."""
        with contextlib.ExitStack() as stack:
            ours = self.server(stack, "ours", None, shm_mb=768)
            fast = self.server(stack, "ours", "fm", shm_mb=768)
            targets = {"ours": ours, "ours fm": fast}
            self.proxy(stack, targets, ours)
            for turn in range(self.rounds + 1):
                self.beside("many" if turn else "warm-up")
                for name, target in targets.items():
                    for kind in (PLAIN, FULL) if name != "haproxy" else (FULL,):
                        for clients in (1, 50, 200):
                            self.sample("many" if turn else "warm-up", f"{name} {label(kind)} {clients}", target, kind,
                                        self.size(1200 if clients > 1 else 300, 600 if clients > 1 else 150),
                                        parallel=clients, processes=2 if clients > 1 else 1)
            if not self.quick:
                self.many_kinds(targets)

    def many_kinds(self, targets):
        """The same with 200 clients, for the other kinds of connections."""
        for turn in range(self.rounds + 1):
            part = "many" if turn else "warm-up"
            for kind in KINDS[1:]:
                self.add(part, f"floor {label(kind)}", cpu_us=floor(self.certs, kind, connections=200)["connection_us"])
                for name, target in targets.items():
                    self.sample(part, f"{name} {label(kind)} 200", target, kind, self.size(500, 500), parallel=200, processes=2)

    def death(self):
        """What the packaged module does when 50 clients come at once."""
        for turn in range(1 if self.quick else 3):
            with contextlib.ExitStack() as stack:
                target = self.server(stack, "packaged", None)
                began = time.monotonic()
                try:
                    sample(target, FULL, self.size(5000, 2000), parallel=50, processes=2, time_limit=20)
                    said = "stood it"
                except (Died, AssertionError, OSError) as e:
                    said = plain_text(str(e))[:72]
                self.add("death", "packaged 50", seconds=time.monotonic() - began, said=said,
                         log=[plain_text(line)[:160] for line in target.host.log().splitlines() if re.search(
                             "already freed|overwritten|exited by a signal", line)][:1])
            print(f"   packaged, 50 clients, try {turn + 1}: {said}", flush=True)

    # -- requests -----------------------------------------------------------------------------------------

    def requests(self):
        """CPU for a request of 400 bytes on a connection that stands. The handshake is in it, one among thousands."""
        count = self.size(4000, 2000)
        with contextlib.ExitStack() as stack:
            targets = {f"{module} {allocator}": self.server(stack, module, allocator)
                       for allocator in self.allocators() for module in ("ours", "packaged")}
            self.proxy(stack, targets, targets[f"ours {self.allocators()[0]}"])
            for turn in range(self.rounds + 1):
                for name, target in targets.items():
                    for kind in (PLAIN, FULL):
                        found = self.sample("requests" if turn else "warm-up", f"{name} {label(kind)}", target, kind, 1,
                                            requests=count)
                        if found and turn:
                            self.add("requests", f"{name} {label(kind)}", request_us=found["cpu_us"] / count)

    # -- latency ------------------------------------------------------------------------------------------

    def latency(self):
        """Latencies of handshakes and first replies at half of what this module can do at most."""
        with contextlib.ExitStack() as stack:
            ours = self.server(stack, "ours", None)
            targets = {"ours": ours}
            self.proxy(stack, targets, ours)
            full = [sample(ours, FULL, self.size(1500, 800), parallel=50, processes=2)["per_second"] for _ in range(3)]
            rate = max(1, int(sorted(full)[1] / 2))
            for _ in range(self.rounds):
                for name, kind in [(name, FULL) for name in targets] + [("ours", PLAIN)]:
                    self.sample("latency", f"{name} {label(kind)}", targets[name], kind, rate * self.size(4, 2),
                                parallel=500, rate=rate)
            self.add("latency", "rate", per_second=rate)

    # -- memory -------------------------------------------------------------------------------------------

    def idle(self):
        """Shared memory that an idle connection keeps, in states that connections are in."""
        states = {"fresh": (FULL, 0), "asked": (FULL, 1), "resumed": (("ec", "1.3", "resumed"), 1),
                  "asked 1.2": (("ec", "1.2", "full"), 1)}
        count = 100 if self.asked.tiny else 200 if self.quick else 1000  # what allocators take in lumps counts little
        for allocator in self.allocators():
            with contextlib.ExitStack() as stack:
                targets = {module: self.server(stack, module, allocator) for module in ("ours", "packaged")}
                for name, target in targets.items():
                    self.sample("warm-up", name, target, PLAIN, 50)
                    self.sample("warm-up", name, target, FULL, 100)
                    self.hold("idle", f"{name} {allocator} plain", target, PLAIN, 1, count)
                    for state, (kind, requests) in states.items():
                        self.hold("idle", f"{name} {allocator} {state}", target, kind, requests, count)

    def hold(self, part, subject, target, kind, requests, count):
        """Holds connections, and sees how much more memory is in use."""
        try:
            settle(target)
            before = target.memory()
            standing = Standing(target, kind, count, requests=requests, hold=600, at_once=1)
            held = target.memory() - before
            report = standing.end()
            target.check()
        except (Died, AssertionError, OSError) as e:
            self.note(part, subject, f"ended: {e}")
            return
        if report["failed"]:
            self.note(part, subject, f"{report['failed']} of {count} connections failed: {report['first_error']}")
        self.add(part, subject, bytes=held / count, connections=count, resumed=report["resumed"])

    # -- growth -------------------------------------------------------------------------------------------

    def growth(self):
        """Memory of a connection and CPU of a new one, with so many connections standing."""
        for count in (100, 1000) if self.quick else (100, 1000, 10000):
            count = self.size(count, count)
            with contextlib.ExitStack() as stack:
                ours = self.server(stack, "ours", None, shm_mb=1024)
                for kind in (PLAIN, FULL):
                    self.sample("warm-up", "ours", ours, kind, 100)
                    self.grow(ours, kind, count)

    def grow(self, target, kind, count):
        settle(target)
        before = target.memory()
        standing = Standing(target, kind, count, hold=600, at_once=50)
        held = target.memory() - before
        self.add("growth", f"{label(kind)} {count}", bytes=held / count)
        for _ in range(self.rounds):
            self.beside("growth")
            cpu, new = target.cpu(), self.size(200, 200)
            LOAD(target.port(kind[0]), host=target.address(kind[0]), connections=new, parallel=1, plain=kind == PLAIN,
                 tls=kind[1] or None, size=400)
            self.add("growth", f"{label(kind)} {count}", cpu_us=(target.cpu() - cpu) * 1e6 / new)
        if standing.end()["failed"]:
            self.note("growth", f"{label(kind)} {count}", "some of the standing connections failed")
        wait_for(lambda: target.open() == 0, 60, "the connections to go")
        self.add("growth", f"{label(kind)} {count}", left=target.memory() - before)

    def crowd(self):
        """10,000 connections stand and ask now and then; in turns it is quiet, or 200 new ones come every second."""
        count, rate = self.size(10000, 1000), self.size(200, 200)
        for kind in (PLAIN, FULL):
            with contextlib.ExitStack() as stack:
                target = self.server(stack, "ours", None, shm_mb=1024)
                standing = Standing(target, kind, count, request_rate=500, at_once=50)
                for _ in range(self.rounds):
                    self.crowd_round(target, kind, standing, rate)
                last = standing.end()
                self.add("crowd", f"{label(kind)} standing", failed=last["failed"], connections=count)
                target.check()

    def crowd_round(self, target, kind, standing, rate):
        seconds = self.size(6, 3)
        for state in ("quiet", "busy"):
            cpu, idle, new = target.cpu(), machine_idle(), None
            if state == "busy":
                new = LOAD.start(target.port(kind[0]), host=target.address(kind[0]), connections=rate * seconds, parallel=1000,
                                 rate=rate, plain=kind == PLAIN, tls=kind[1] or None, size=400, time_limit=60)
            time.sleep(seconds)
            found = standing.report()
            self.add("crowd", f"{label(kind)} {state}", cpu=(target.cpu() - cpu) / seconds,
                     idle=(machine_idle() - idle) / seconds / os.cpu_count(), reply_us=found["reply_us"],
                     requests=found["reply_us"]["count"] / seconds)
            if new:
                said = LOAD.finish(new)
                self.add("crowd", f"{label(kind)} new", ok=said["ok"], failed=said["failed"], wanted=rate * seconds,
                         handshake_us=said["handshake_us"], reply_us=said["reply_us"])
                standing.report()

    # -- workers ------------------------------------------------------------------------------------------

    def workers(self):
        """What more workers cost: at the start, in memory, and for a connection."""
        with contextlib.ExitStack() as stack:
            targets = {}
            for number in (2, 8) if self.quick else (2, 4, 8, 16):
                began = time.monotonic()
                targets[number] = self.server(stack, "ours", None, workers=number)
                self.add("workers", str(number), start=time.monotonic() - began, memory=targets[number].memory())
            for turn in range(self.rounds + 1):
                self.beside("workers" if turn else "warm-up")
                for number, target in targets.items():
                    for kind in (PLAIN, FULL):
                        for clients in (1, 50):
                            self.sample("workers" if turn else "warm-up", f"{number} {label(kind)} {clients}", target, kind,
                                        self.size(400, 200), parallel=clients)

    # -- domains ------------------------------------------------------------------------------------------

    def domains(self):
        """Start, reload and memory with many domains, each with a certificate of its own and the system's authorities."""
        pairs = [self.certs.server(f"domain-{i}", names=[f"DNS:d{i}.example.test"], cn=f"d{i}.example.test")
                 for i in range(self.size(1000, 100))]
        for turn in range(min(self.rounds, 3)):
            self.domains_case("ours", "none", [], turn)
            for number in sorted({1, min(100, len(pairs)), len(pairs)}):
                self.domains_case("ours", number, pairs[:number], turn)
        self.domains_case("packaged", "none", [], 0)
        self.domains_case("packaged", 1, pairs[:1], 0)  # every further one costs as much again

    def domains_case(self, module, number, pairs, turn):
        ca = f"ca_list = {CA_BUNDLE}\n"
        text = f"[server:default]\n{self.certs.server_ec.section()}{ca if pairs else ''}[client:default]\nmethod = TLSv1.2+\n"
        for i, pair in enumerate(pairs):
            text += f"[server:any]\n{pair.section(server_name=f'd{i}.example.test')}{ca}"
        with contextlib.ExitStack() as stack:
            server = Server(self.certs, module, None, shm_mb=1024, tls_cfg=text)
            began = time.monotonic()
            try:
                server.host.start(120)
                stack.enter_context(contextlib.closing(server.host))
                start, memory = time.monotonic() - began, server.memory()
                began = time.monotonic()
                server.host.rpc("tls.reload", timeout=120)
                reload = time.monotonic() - began
                for pair in pairs:  # renewed, as it were
                    os.utime(pair.cert)
                    os.utime(pair.key)
                began = time.monotonic()
                server.host.rpc("tls.reload", timeout=120)
                self.add("domains", f"{module} {number}", start=start, memory=memory, reload=reload, renewal=time.monotonic() - began,
                         after_reload=server.memory())
            except (HostError, OSError) as e:
                server.host.close()
                self.note("domains", f"{module} {number}", f"no start: {plain_text(str(e).splitlines()[0])[:80]}")

    # -- profile ------------------------------------------------------------------------------------------

    def profile(self):
        """Where the CPU of a connection goes, by perf where it is installed: by library, and in which process."""
        if not shutil.which("perf"):
            print("   perf is not installed (Debian package: linux-perf)")
            return
        with contextlib.ExitStack() as stack:
            targets = {f"ours {allocator}": self.server(stack, "ours", allocator) for allocator in ALLOCATORS[:2]}
            targets["packaged fm"] = self.server(stack, "packaged", "fm")
            targets["bare"] = stack.enter_context(Bare(self.certs))
            for turn in range(self.rounds):
                for name, target in targets.items():
                    for kind in (PLAIN, FULL):
                        self.sample("warm-up", name, target, kind, self.size(200, 100))
                        self.profile_one(f"{name} {label(kind)}", target, kind, self.size(500, 200))
                self.add("profile", "floor", us=floor(self.certs, FULL)["connection_us"])

    def profile_one(self, subject, target, kind, count):
        """Microseconds of a connection by place, "process library"."""
        names = target.processes()
        path = os.path.join(self.certs.folder, "perf.data")
        recorder = subprocess.Popen(["perf", "record", "-q", "-o", path, "-e", "cpu-clock", "-F", str(PROFILE_HZ), "-p",
                                     ",".join(map(str, names))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: recorder.poll() is not None or (os.path.exists(path) and os.path.getsize(path)), 10, "perf to record")
        if recorder.poll() is not None:
            return  # it may not, in some containers
        time.sleep(0.3)  # it opens its counters one by one, and says nothing when it is done
        found = sample(target, kind, count)
        recorder.send_signal(signal.SIGINT)
        recorder.wait(20)
        said = subprocess.run(["perf", "script", "-i", path, "-F", "pid,ip,sym,dso"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False, text=True, errors="replace").stdout
        os.unlink(path)
        places, symbols = {}, {}
        for pid, symbol, library in re.findall(r"^\s*(\d+)\s+[0-9a-f]+ (.*) \((.*?)\)$", said, re.M):
            place = f"{names.get(int(pid), '?')}|{library_name(library)}"
            places[place] = places.get(place, 0) + 1e6 / PROFILE_HZ / count
            symbols[f"{library_name(library)} {symbol}"] = symbols.get(f"{library_name(library)} {symbol}", 0) + 1e6 / PROFILE_HZ / count
        top = sorted(((us, s) for s, us in symbols.items()), reverse=True)[:40]
        self.add("profile", subject, places=places, cpu_us=found["cpu_us"])
        self.numbers["profile"][subject]["top"] = top  # of the last round

    # -- settings -----------------------------------------------------------------------------------------

    def settings(self):
        """What single settings cost or bring, with OpenSSL alone: (kind of connection, words for bench/floor.c)."""
        rsa = ["--cert2", self.certs.server_rsa.cert, "--key2", self.certs.server_rsa.key]
        resumed, old = ("ec", "1.3", "resumed"), ("ec", "1.2", "full")
        cases = {
            "as it is": (FULL, []), "no ticket": (FULL, ["--tickets", "0"]), "two tickets": (FULL, ["--tickets", "2"]),
            "four tickets": (FULL, ["--tickets", "4"]),
            "groups: X25519 alone": (FULL, ["--groups", "X25519"]),
            "groups: P-256 alone": (FULL, ["--groups", "P-256", "--client-groups", "P-256"]),
            "groups: P-384 alone": (FULL, ["--groups", "P-384", "--client-groups", "P-384"]),
            "groups: the client guesses wrong": (FULL, ["--groups", "P-256", "--client-groups", "X25519:P-256"]),
            "signatures: ECDSA with P-256 alone": (FULL, ["--sigalgs", "ECDSA+SHA256"]),
            "suites: AES-128 first": (FULL, ["--suites", "TLS_AES_128_GCM_SHA256"]),
            "suites: ChaCha20 alone": (FULL, ["--suites", "TLS_CHACHA20_POLY1305_SHA256"]),
            "resumed, AES-128 first": (resumed, ["--suites", "TLS_AES_128_GCM_SHA256"]),
            "sessions in memory": (FULL, ["--stateful"]), "buffers kept": (FULL, ["--keep-buffers"]),
            "a second certificate, RSA": (FULL, rsa), "RSA": (("rsa", "1.3", "full"), []), "resumed": (resumed, []),
            "TLS 1.2": (old, []), "TLS 1.2, sessions in memory": (old, ["--stateful"]), "TLS 1.2, RSA": (("rsa", "1.2", "full"), []),
            "TLS 1.2, resumed": (("ec", "1.2", "resumed"), []),
        }
        for name, (kind, words) in cases.items():
            found = floor(self.certs, kind, "--count", *words)
            self.add("settings", name, live=found["live_asked"], allocations=found["allocations"], left=found["left"])
        for turn in range(self.rounds + 1):
            for name, (kind, words) in cases.items():
                found = floor(self.certs, kind, *words, connections=self.size(1000, 300))
                if turn:
                    self.add("settings", name, cpu_us=found["connection_us"], resumed=found["resumed"] / found["connections"])


PARTS = {name: getattr(Bench, name) for name in ("floor", "split", "cost", "many", "requests", "latency", "idle", "growth", "crowd", "workers",
                                                 "domains", "settings", "profile", "death")}
QUICK_PARTS = ("floor", "cost", "many", "requests", "idle", "growth", "domains", "settings")


def said(*command):
    """What a command prints, "" when there is no such command."""
    with contextlib.suppress(OSError):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True).stdout.strip()
    return ""


def machine():
    """What the numbers were made on, as far as it matters."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    return {"cores": os.cpu_count(), "processor": model[1] if model else platform.machine(), "openssl": said("openssl", "version"),
            "host": ".".join(map(str, host_version())), "haproxy": said(HAPROXY, "-v").split("\n")[0],
            "module": said("git", "-C", TOP, "log", "-1", "--format=%h", "--", ":(glob)tls*")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the main rows, in a few minutes")
    parser.add_argument("--tiny", action="store_true", help="a hundredth of everything: whether it works, not what comes out")
    parser.add_argument("--rounds", type=int, help="how often each subject has its turn (5, quick 3)")
    parser.add_argument("--out", default=os.path.join(TOP, "build", "bench"))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    if not set(asked.parts) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    os.makedirs(asked.out, exist_ok=True)
    path = os.path.join(asked.out, "numbers.json")
    numbers = {}
    if asked.parts and os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            numbers = json.load(f)
    with tempfile.TemporaryDirectory(prefix="tls-bench-") as folder:
        bench, failed = Bench(asked, Certs(folder)), []
        for name in asked.parts or (QUICK_PARTS if asked.quick else PARTS):
            began, load = time.monotonic(), os.getloadavg()[0]
            print(f"== {name}: {PARTS[name].__doc__}", flush=True)
            numbers.pop(name, None)
            try:
                PARTS[name](bench)
            except (AssertionError, OSError, Died, subprocess.SubprocessError) as e:
                print(f"   FAILED: {e}", flush=True)
                failed.append(name)
            bench.numbers.pop("warm-up", None)
            numbers.update(bench.numbers)
            numbers["machine"] = machine()
            numbers.setdefault("runs", {})[name] = {"seconds": round(time.monotonic() - began), "load": [round(load, 1), round(os.getloadavg()[0], 1)],
                                                    "module": numbers["machine"]["module"], "rounds": bench.rounds,
                                                    "ahead": os.sched_getscheduler(0) != os.SCHED_OTHER}
            with open(path + ".new", "w", encoding="utf-8") as f:
                json.dump(shortened(numbers), f, indent=0)
            os.rename(path + ".new", path)
            print(f"   {numbers['runs'][name]['seconds']} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
