"""What the benchmark measures with: servers and what they have used, the load generator, the floor.

Every server offers the same ports: "plain" is TCP, "ec" and "rsa" are TLS with a certificate of that kind. Times are CPU
time of the server's processes, all of them, from /proc; the load generator is none of these.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "test", "lib"))
sys.dont_write_bytecode = True

from host import Host, HostError, Port, wait_for  # noqa: E402  pylint: disable=wrong-import-position
from load import Load  # noqa: E402  pylint: disable=wrong-import-position

ADDRESS = {"plain": "127.0.0.1", "ec": "127.0.0.1", "rsa": "127.0.0.2"}
LISTEN = {"plain": "tcp:127.0.0.1", "ec": "tls:127.0.0.1", "rsa": "tls:127.0.0.2"}
HAPROXY = "/usr/sbin/haproxy"
LOAD = Load(os.path.join(TOP, "build", "load"))


class Died(Exception):
    """A server did not stand what it was given; the text says what happened."""


def cpu_of(pids):
    """CPU seconds that these processes have used, with all their threads."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total / 1e9


def machine_idle():
    """Seconds that the machine's cores have been idle, all together."""
    with open("/proc/stat", encoding="ascii") as f:
        words = f.readline().split()
    return (int(words[4]) + int(words[5])) / os.sysconf("SC_CLK_TCK")


def answering(target, kind):
    """Waits until a process that was just started serves this kind of connection, and ends it if it does not."""
    try:
        wait_for(lambda: LOAD(target.port(kind), host=target.address(kind), connections=1, parallel=1, time_limit=5)["ok"], 20,
                 f"{target.name} to answer")
    except BaseException:
        target.__exit__(None, None, None)
        raise


class Server:
    """The host with a module."""

    def __init__(self, certs, module="ours", allocator=None, workers=8, shm_mb=512, tls_cfg=None, **settings):
        self.name = module
        settings = {"tcp_max_connections": 20000, "tls_max_connections": 20000, "tcp_connection_lifetime": 3600, **settings}
        self.host = Host(module=module, listen=list(LISTEN.values()), allocator=allocator, tcp_children=workers, shm_mb=shm_mb,
                         settings=settings)
        self.host.allow(r"queue full")  # what the host says of a crowd that comes or goes at once; nothing is lost
        self.host.tls_cfg = tls_cfg or self.sections(certs)

    def sections(self, certs):
        """A tls.cfg with a section for each kind of certificate."""
        text = f"[server:default]\n{certs.server_ec.section()}[client:default]\nmethod = TLSv1.2+\n"
        for kind, pair in (("ec", certs.server_ec), ("rsa", certs.server_rsa)):
            text += f"[server:{ADDRESS[kind]}:{self.port(kind)}]\n{pair.section()}"
        return text

    def port(self, kind):
        return self.host.port(LISTEN[kind])

    def address(self, kind):
        return ADDRESS[kind]

    def cpu(self):
        return self.host.cpu_seconds()

    def processes(self):
        """{pid: what it does}, in short."""
        return {pid: "main" if name.startswith("tcp main") else "worker" if name.startswith("tcp receiver") else "other"
                for pid, name in self.host.pids().items()}

    def memory(self):
        """Bytes of shared memory in use."""
        return self.host.shm_used()

    def open(self):
        """How many connections the host holds."""
        return self.host.rpc("core.tcp_info")["opened_connections"]

    def check(self):
        """Raises Died when it is not what it was at its start."""
        try:
            self.host.check_alive()
        except AssertionError as e:
            raise Died(" ".join(str(e).split("\n")[:2])) from None

    def __enter__(self):
        self.host.__enter__()
        return self

    def __exit__(self, kind, value, trace):
        """What the packaged module does at its end is not judged."""
        if self.name == "packaged" or kind:
            self.host.close()
        else:
            self.host.__exit__(kind, value, trace)


class Proxy:
    """haproxy with one thread, which ends TLS in front of a server's plain TCP."""

    name = "haproxy"

    def __init__(self, certs, server):
        self.server, self.process = server, None
        self.folder = tempfile.mkdtemp(prefix="tls-bench-proxy-")
        self.ports = {"ec": Port(), "rsa": Port()}
        lines = ["global", "    nbthread 1", "    maxconn 9000", "defaults", "    mode tcp", "    timeout connect 5s",
                 "    timeout client 1h", "    timeout server 1h"]
        for kind, held in self.ports.items():
            lines += [f"frontend {kind}", f"    bind {ADDRESS[kind]}:{held.number} ssl crt {self.pem(certs, kind)} "
                      "ssl-min-ver TLSv1.2", "    default_backend sip"]
        lines += ["backend sip", f"    server sip 127.0.0.1:{server.port('plain')}"]
        with open(os.path.join(self.folder, "haproxy.cfg"), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")

    def pem(self, certs, kind):
        """Certificate and key in one file, as it wants them."""
        pair, path = getattr(certs, "server_" + kind), os.path.join(self.folder, kind + ".pem")
        with open(path, "wb") as out:
            for part in (pair.cert, pair.key):
                with open(part, "rb") as f:
                    out.write(f.read())
        return path

    def port(self, kind):
        return self.ports[kind].number if kind in self.ports else self.server.port(kind)

    def address(self, kind):
        return ADDRESS[kind]

    def cpu(self):
        return cpu_of([self.process.pid]) + self.server.cpu()

    def memory(self):
        """Its own memory, with that of the server behind it."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as f:
            private = sum(int(line.split()[1]) for line in f if line.startswith("Private_Dirty"))
        return private * 1024 + self.server.memory()

    def open(self):
        return self.server.open()

    def check(self):
        if self.process.poll() is not None:
            raise Died(f"haproxy ended with status {self.process.returncode}")
        self.server.check()

    def __enter__(self):
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen([HAPROXY, "-db", "-f", os.path.join(self.folder, "haproxy.cfg")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        answering(self, "ec")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        for held in self.ports.values():
            held.release()
        shutil.rmtree(self.folder, ignore_errors=True)


class Bare:
    """bench/bare.c: sockets, OpenSSL and nothing else."""

    name = "bare"

    def __init__(self, certs):
        self.ports = {kind: Port() for kind in ADDRESS}
        words = [os.path.join(TOP, "build", "bare"), str(self.port("plain"))]
        for kind in ("ec", "rsa"):
            pair = getattr(certs, "server_" + kind)
            words += [str(self.port(kind)), pair.cert, pair.key]
        self.words, self.process, self.listening = words, None, 0

    def port(self, kind):
        return self.ports[kind].number

    def address(self, _):
        return "127.0.0.1"

    def cpu(self):
        return cpu_of([self.process.pid])

    def processes(self):
        return {self.process.pid: "worker"}

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def open(self):
        return self.files() - self.listening

    def check(self):
        if self.process.poll() is not None:
            raise Died(f"bare ended with status {self.process.returncode}")

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL)
        answering(self, "rsa")
        self.listening = 7  # three standard ones, the poller's, three that listen
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        for held in self.ports.values():
            held.release()


# -- loads ---------------------------------------------------------------------------------------------------------

def options_of(kind):
    """("ec", "1.3", "resumed") as options of the load generator."""
    certificate, version, how = kind
    if certificate == "plain":
        return {"plain": True}
    return {"tls": version, "resume": how == "resumed"}


def load_of(target, kind, **more):
    """Those, with address and port: what LOAD.start() takes."""
    return {"port": target.port(kind[0]), "host": target.address(kind[0]), **options_of(kind), **more}


def settle(target, timeout=20):
    """Waits until the connections of the load have gone."""
    try:
        wait_for(lambda: target.open() == 0, timeout, "the connections to go")
    except (HostError, OSError) as e:
        target.check()
        raise Died(str(e).split("\n", maxsplit=1)[0]) from None


def run_loads(target, kind, count, **options):
    """So many load generators at once, all with these options: their reports."""
    running = [LOAD.start(**load_of(target, kind, seed=i + 1, **options)) for i in range(count)]
    return [LOAD.finish(process) for process in running]


def sample(target, kind, connections, parallel=1, processes=1, **more):
    """One load to its end: CPU microseconds of the server for a connection, and how it went. Raises Died."""
    settle(target)
    options = {"connections": connections // processes, "parallel": max(1, parallel // processes), "size": 400,
               "time_limit": 60, **more}
    cpu, idle, began = target.cpu(), machine_idle(), time.monotonic()
    reports = run_loads(target, kind, processes, **options)
    took = time.monotonic() - began
    idle = (machine_idle() - idle) / took / os.cpu_count()
    mine = target.cpu() - cpu + sum(r["cpu_seconds"] for r in reports)
    target.check()
    settle(target)
    ok = sum(r["ok"] for r in reports)
    failed = sum(r["failed"] for r in reports)
    if failed:
        raise Died(f"{failed} of {ok + failed} connections failed: {reports[0]['first_error'] or reports[-1]['first_error']}")
    return {"cpu_us": (target.cpu() - cpu) * 1e6 / ok, "per_second": sum(r["connections_per_second"] for r in reports),
            "busy": max(r["busy"] for r in reports), "idle": idle, "others": max(0, 1 - idle - mine / took / os.cpu_count()), "resumed": sum(r["resumed"] for r in reports) / ok,
            "requests": sum(r["requests_ok"] for r in reports), "handshake_us": reports[0]["handshake_us"],
            "reply_us": reports[0]["reply_us"], "starved": sum(r["starved"] for r in reports)}


class Standing:
    """Connections that stay; with request_rate they ask so many times a second in all."""

    def __init__(self, target, kind, connections, **more):
        self.process = LOAD.start(**load_of(target, kind, connections=connections, parallel=connections, size=400,
                                            time_limit=3600, timeout=60, **more))
        try:
            wait_for(self.listens, 10, "the load generator to take signals")
            wait_for(lambda: self.all_stand(connections), 60 + connections / 50, f"{connections} connections to stand", 0.2)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise

    def listens(self):
        """Whether it would survive a SIGUSR1 by now; before its first lines it would not."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            caught = next((int(line.split()[1], 16) for line in f if line.startswith("SigCgt:")), 0)
        return caught >> signal.SIGUSR1 - 1 & 1

    def all_stand(self, connections):
        found = self.report()
        if found["failed"]:
            raise Died(f"{found['failed']} connections failed: {found['first_error']}")
        return found["standing"] >= connections

    def report(self):
        """What happened since the last report."""
        self.process.send_signal(signal.SIGUSR1)
        line = self.process.stdout.readline()
        if not line:
            raise Died(f"the load generator has ended: {self.process.stderr.read()}")
        return json.loads(line)

    def end(self):
        """Lets them go; returns the last report."""
        self.process.terminate()
        return LOAD.finish(self.process, 60)


def floor_words(certs, kind, connections, pause=0):
    """The command line of bench/floor.c for this kind of connection."""
    certificate, version, how = kind
    pair = getattr(certs, "server_" + certificate)
    return [os.path.join(TOP, "build", "floor"), "--cert", pair.cert, "--key", pair.key, "--tls", version, "--connections",
            str(connections), "--pause", str(pause)] + (["--resume"] if how == "resumed" else [])


def turns_words(connections, pause=0):
    """The same of test/unit/turns.c, which knows one kind."""
    return [os.path.join(TOP, "build", "turns"), str(connections), str(pause)]


def floor(certs, kind, *words, connections=300):
    """The report of bench/floor.c for this kind of connection."""
    command = [*floor_words(certs, kind, connections), *words]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
