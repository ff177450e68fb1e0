"""A real SIP host in the foreground, in a folder and on ports of its own.

    with Host(listen=["udp:127.0.0.1", "tls:127.0.0.1"], modparams={"tls": {...}}) as host:
        host.port("tls:127.0.0.1"); host.rpc("tls.list"); host.log(); host.shm_used()

`module` says which tls.so is under test: "ours" (the one built in this checkout, or $TLS_MODULE), "packaged"
(the one that the distribution ships, the reference), or a path.

A host is stopped by `stop()`, which also judges it: exit status 0, no process lost, no line in the log that
speaks of a crash. `close()` ends it in every case, by its process ids, and removes its folder.
"""

import functools
import glob
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tools"))

from house import ROOMS  # noqa: E402  pylint: disable=wrong-import-position

DEFAULT_MODULES = ["kex.so", "sl.so", "pv.so", "textops.so", "xlog.so", "jsonrpcs.so"]
DEFAULT_SCRIPT = """
request_route {
	append_to_reply("X-Pid: $pp\\r\\n");
	sl_send_reply("200", "OK");
	exit;
}
"""
BAD_LINE = re.compile(
    r"(?:^|\s)(?:CRITICAL|ALERT|BUG|EMERG\w*):|already freed|exited by a signal|core was (?:not )?generated"
    r"|segmentation fault|AddressSanitizer|runtime error:", re.I)
# What the host itself prints, as CRITICAL or BUG, whenever its processes end in an unlucky order: the other end of a
# socket between two of them is gone.
GONE = "(?:Connection reset by peer|Broken pipe)"
STOP_NOISE = re.compile("|".join((
    r"receive_fd\(\): (?:EOF on \d+|recvmsg on \d+ failed: " + GONE + ")",
    r"recv_all\(\): (?:1st|2nd) recv on \d+ failed: " + GONE,
    r"send_all\(\): send on \d+ failed: " + GONE,
    r"send_fd\(\): sendmsg failed sending \d+ on \d+: " + GONE,
    r"handle_tcp_child\(\): read from tcp child \d+ .*" + GONE,
    r"handle_ser_child\(\): read from child \d+ ",  # behind "EOF on", with an error number that means nothing
    r"(?:tcp_main|connection \S+) command \d+ sending failed \(write\):" + GONE,
    r"CONN_GET_FD: (?:send_fd )?send_all (?:fallback )?failed",
    r"handle_io\(\): read_fd: ",  # likewise
)))


# What the host says of a process that has got no processor for a moment: what is for it waits, and nothing is lost.
BUSY_NOISE = re.compile(r"CRITICAL: .*tcp_main\.c:\d+\]: \w+\(\): (?:tcp child \d+, socket \d+: )?queue full")


class HostError(AssertionError):
    """The host did not do what a host must; the message carries the end of its log."""


def module_sources(top=TOP):
    """The module's own C files, as paths below `top`."""
    found = [name for name in os.listdir(top) if re.fullmatch(r"tls_\w+\.c", name)]
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(top, room)):
            found += [os.path.relpath(os.path.join(folder, name), top) for name in names if name.endswith(".c")]
    return sorted(found)


def wait_for(check, timeout=20.0, what="the expected state", interval=0.02):
    """Calls check() until it returns something true, and returns that; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise HostError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


def relay_script(answer='sl_send_reply("200", "OK");', stateful=False):
    """A script that sends a request on to where its X-Target says, through tm if `stateful`; one without gets `answer`."""
    send = "if (!t_relay()) {\n\t\t\tsl_reply_error();\n\t\t}" if stateful else "forward();"
    return f"""
request_route {{
	if ($hdr(X-Target) != $null) {{
		$ru = $hdr(X-Target);
		remove_hf("X-Target");
		{send}
		exit;
	}}
	append_to_reply("X-Pid: $pp\\r\\n");
	{answer}
	exit;
}}
"""


class Port:
    """A port that no other test takes: held by an abstract socket, which vanishes with this process.

    It lies below the range that the kernel hands to outgoing connections, so a load of clients can't grab it
    between its choice and the moment when the host binds it.
    """

    _next = itertools.count(os.getpid() * 37)

    def __init__(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            top = int(f.read().split()[0])
        low = top - 12000 if top > 14000 else 2000
        for n in itertools.islice(self._next, 4000):
            self.number = low + n % (min(top, 60000) - low)
            if self._claim():
                return
        raise HostError("no free port found on the loopback interface")

    def _claim(self):
        self._lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._lock.bind(f"\0tls-test-port-{self.number}")
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(family, kind) as s:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        s.bind((address, self.number))
        except OSError:
            self.release()
            return False
        return True

    def release(self):
        """Gives the port back to other tests."""
        self._lock.close()


@functools.cache
def host_version():
    """The installed host's version, such as (5, 6, 3)."""
    said = subprocess.run([host_program(), "-v"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return tuple(int(n) for n in re.match(r"version: \S+ (\d+)\.(\d+)\.(\d+)", said).groups())


def host_program():
    """The path of the installed host."""
    return shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:" + os.defpath)


def need_messages_of(size):
    """Skips a test where the host takes no messages of so many bytes."""
    if size > limits().get("msg_recv_max_size", size):
        pytest.skip(f"this host takes messages of {limits()['msg_recv_max_size']} bytes at the most")


def limits():
    """Limits that newer hosts have, as far up as they go: they would hide what the module does."""
    if host_version() < (6, 0):
        return {}
    return {"msg_recv_max_size": 1 << 20 if host_version() < (6, 1) else 65535, "tcp_accept_iplimit": 0}


def host_modules_folder():
    """The folder of the installed host's own modules."""
    found = glob.glob("/usr/lib/*/kamailio/modules") + glob.glob("/usr/lib*/kamailio/modules")
    if not found:
        raise HostError("the host's modules are not installed (Debian package: kamailio)")
    return found[0]


def module_path(module):
    """The path of the tls.so that `module` names: "ours", "packaged" or a path."""
    if module == "packaged":
        path = os.path.join(host_modules_folder(), "tls-distrib.so")  # aside, where our own package is installed
        if not os.path.exists(path):
            path = os.path.join(host_modules_folder(), "tls.so")
    elif module == "ours":
        path = os.environ.get("TLS_MODULE", "ours")
        if path == "packaged":
            return module_path("packaged")
        if path == "ours":
            path = os.path.join(TOP, "tls.so")
    else:
        path = module
    if not os.path.exists(path):
        raise HostError(f"{path} does not exist: run make first")
    return os.path.abspath(path)


def quote(value):
    """A value as the host's configuration language wants it."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def process_stat(pid):
    """(name, fields from the third on) of /proc/PID/stat; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            text = f.read()
    except OSError:
        return None
    return text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()


def process_seconds(pid):
    """CPU time of one process, all its threads, those that have ended too."""
    fields = process_stat(pid)[1]
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes_of_session(sid):
    """The processes of one session, by /proc: {pid: name}. Zombies are left out."""
    found = {}
    for entry in os.listdir("/proc"):
        stat = process_stat(entry) if entry.isdigit() else None
        if stat and int(stat[1][3]) == sid and stat[1][0] != "Z":
            found[int(entry)] = stat[0]
    return found


class Host:
    """One host. Everything is chosen at construction; start() writes the files and starts it.

    settings    core options of ser.cfg, {name: value}; a value of type str is written as it is
    modparams   {module: {parameter: value}}; a list of values writes the parameter several times
    tls_cfg     text of tls.cfg, or None for none
    listen      "proto:address"; a port of its own is added to each, or "proto:address:port" as it is
    modules     loaded after tls.so, beside DEFAULT_MODULES
    script      request_route and everything after it
    shm_mb, pkg_mb, allocator     -m, -M, -x
    wrapper     words put before the command, e.g. ["valgrind", "--trace-children=yes"]
    """

    def __init__(self, module="ours", listen=("udp:127.0.0.1", "tls:127.0.0.1"), settings=None, modparams=None,
                 tls_cfg=None, modules=(), script=DEFAULT_SCRIPT, tcp_children=4, children=1, shm_mb=64, pkg_mb=8,
                 allocator=None, wrapper=None, env=None, defines=(), load_tls=True):
        self.module = module_path(module)
        self.dir = tempfile.mkdtemp(prefix="tls-host-")
        self.settings = {"debug": 2, "log_stderror": "yes", "auto_aliases": "no", "dns": "no", "rev_dns": "no",
                         "enable_tls": "yes", "children": children, "tcp_children": tcp_children}
        self.settings.update(limits())
        self.settings.update(settings or {})
        self.modparams = {k: dict(v) for k, v in (modparams or {}).items()}
        self.tls_cfg, self.modules, self.script = tls_cfg, list(modules), script
        self.shm_mb, self.pkg_mb, self.allocator = shm_mb, pkg_mb, allocator
        self.wrapper = list(wrapper or shlex.split(os.environ.get("TLS_TEST_WRAPPER", "")))
        self.env = dict(os.environ, **(env or {}))
        self.defines, self.load_tls = list(defines), load_tls
        self.allowed, self.process, self._stopped_at, self._names = [], None, None, {}
        self._calls = itertools.count(1)
        self._ports, self.listen = {}, []
        for spec in listen:
            self._add_listen(spec)

    def _add_listen(self, spec):
        if re.search(r":\d+$", spec) and not re.search(r"\[[^\]]*$", spec):
            self._ports[spec.rsplit(":", 1)[0]] = int(spec.rsplit(":", 1)[1])
            self.listen.append(spec)
            return
        held = Port()
        self._ports[spec] = held
        self.listen.append(f"{spec}:{held.number}")

    def port(self, spec="tls:127.0.0.1"):
        """The port that `listen` got for this "proto:address"."""
        held = self._ports[spec]
        return held if isinstance(held, int) else held.number

    # -- files ---------------------------------------------------------------------------------------------

    def path(self, name):
        """A path in the host's folder."""
        return os.path.join(self.dir, name)

    def write(self, name, text):
        """Writes a file into the host's folder, whole or not at all, and returns its path."""
        with open(self.path(name + ".new"), "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.path(name + ".new"), self.path(name))
        return self.path(name)

    def _config(self):
        lines = ["#!KAMAILIO", *(f"#!define {d}" for d in self.defines)]
        lines += [f"{k}={v}" for k, v in self.settings.items()]
        lines += [f"listen={spec}" for spec in self.listen]
        lines += [f'mpath="{host_modules_folder()}/"']
        if self.load_tls:
            lines.append(f'loadmodule "{self.module}"')
        lines += [f'loadmodule "{m}"' for m in DEFAULT_MODULES + self.modules]
        params = dict(self.modparams)
        params["jsonrpcs"] = {"transport": 4, "dgram_socket": self.path("rpc"), **params.get("jsonrpcs", {})}
        if self.tls_cfg is not None:
            params.setdefault("tls", {})["config"] = self.write("tls.cfg", self.tls_cfg)
        for module, values in params.items():
            for name, value in values.items():
                for one in value if isinstance(value, list) else [value]:
                    lines.append(f'modparam("{module}", "{name}", {quote(one)})')
        return "\n".join(lines) + "\n" + self.script

    def command(self, *extra):
        """The command line that starts this host."""
        words = [*self.wrapper, host_program(), "-f", self.path("ser.cfg"), "-m", str(self.shm_mb),
                 "-M", str(self.pkg_mb), "-Y", self.dir, "-w", self.dir]
        if self.allocator:
            words += ["-x", self.allocator]
        return words + list(extra)

    # -- life ----------------------------------------------------------------------------------------------

    def spawn(self):
        """Starts the host without waiting for it."""
        self.write("ser.cfg", self._config())
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(self.command("-DD", "-E"), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.dir, env=self.env, start_new_session=True)
        return self

    def start(self, timeout=60):
        """Starts the host and waits until its last process runs and answers."""
        self.spawn()
        timeout *= 10 if self.wrapper else 1
        wait_for(self._ready, timeout, "the host to be ready; its log ends with:\n" + self.log_tail())
        self.first_pids = self.pids()
        self._wait_asleep(timeout)
        return self

    def _wait_asleep(self, timeout):
        """Waits until each process has been seen waiting for work. The host forgets a SIGTERM that a process gets
        before it runs for the first time, and then stops only after its exit_timeout (doc/troubleshooting.md)."""
        awake = set(self.first_pids)

        def all_slept():
            awake.difference_update([pid for pid in awake if (process_stat(pid) or ("", "S"))[1][0] == "S"])
            return not awake

        wait_for(all_slept, timeout, "every process to wait for work", 0.002)

    def _ready(self):
        if self.process.poll() is not None:
            raise HostError(f"the host ended with status {self.process.returncode} at its start:\n{self.log_tail()}")
        if not os.path.exists(self.path("rpc")):
            return False
        try:
            names = [p["DSC"] for p in self.rpc("core.psx", timeout=1)]
        except (OSError, HostError):
            return False
        last = "udp receiver" if not any(s.startswith(("tcp", "tls")) for s in self.listen) else "tcp main process"
        return any(last in n for n in names)

    def refuses(self, timeout=60):
        """Starts a host that must not start; returns its log. Fails if it runs."""
        self.spawn()
        wait_for(lambda: self.process.poll() is not None or self._running(), timeout, "the host to end")
        if self.process.poll() is None:
            self.close()
            raise HostError("the host started, though it must refuse to")
        assert self.process.returncode != 0, "the host ended with status 0, though it must refuse to start"
        assert self.process.returncode > 0, f"the host died of signal {-self.process.returncode}:\n{self.log_tail()}"
        self.no_bad_lines(also_allowed=[r"CRITICAL: .*main\.c", r"CRITICAL: .*sr_module"])
        return self.log()

    def _running(self):
        try:
            return self._ready()
        except HostError:
            return False

    def check_config(self):
        """Runs the host's configuration check (-c): (status, what it printed)."""
        self.write("ser.cfg", self._config())
        done = subprocess.run(self.command("-c", "-E"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, cwd=self.dir, env=self.env, timeout=60, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    def pids(self):
        """{pid: description} of the host's processes, as the kernel sees them."""
        alive = processes_of_session(self.process.pid)
        if not set(alive) <= set(self._names):
            self._names = {p["PID"]: p["DSC"] for p in self.rpc("core.psx")}
        return {pid: self._names.get(pid, name) for pid, name in alive.items()}

    def workers(self):
        """The pids of the TCP workers."""
        return [pid for pid, name in self.pids().items() if name.startswith("tcp receiver")]

    def check_alive(self):
        """Fails if a process was lost or replaced since the start, or the log speaks of a crash."""
        lost = set(self.first_pids) - set(processes_of_session(self.process.pid))
        assert not lost, f"lost {len(lost)} processes, {[self.first_pids[p] for p in lost][:3]}:\n{self.log_tail(8)}"
        self.no_bad_lines()

    def revive(self):
        """Starts the host anew if an earlier test, which told of it, left it dead or with a bad log."""
        try:
            self.check_alive()
            self.rpc("core.uptime", timeout=5)
            return
        except (AssertionError, OSError):
            pass
        wait_for(self._end_all, 30, "the host's processes to end")
        self.process.wait(30)
        for name in ("log", "rpc"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self._stopped_at, self._names = None, {}
        self.start()

    def stop(self, timeout=60, busy=False):
        """Stops the host as an operator does and judges how it ended. Unless `busy`, its processes may first finish what
        they are at: one that SIGTERM ends within the host's allocator leaves a heap on which the main process, which
        frees everything at the end, may die (doc/troubleshooting.md)."""
        self.check_alive()
        names = dict(self.first_pids)
        self._stopped_at = len(self.log())
        if not busy:
            self._rest(5)
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout * (5 if self.wrapper else 1))
        except subprocess.TimeoutExpired:
            raise HostError(f"the host did not end in {timeout} s after SIGTERM; left: {self._left()}\n"
                            f"{self.log_tail()}") from None
        left = processes_of_session(self.process.pid)
        assert not left, f"still there after the end: {[names.get(p, n) for p, n in left.items()]}"
        assert status == 0, f"the host ended with status {status}:\n{self.log_tail()}"
        self.no_bad_lines()

    def _rest(self, seconds):
        """Waits until all processes wait for work, but no longer than so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stats = map(process_stat, processes_of_session(self.process.pid))
            if all(stat is None or stat[1][0] == "S" for stat in stats):
                return
            time.sleep(0.002)

    def _left(self):
        """Which processes are left, where each waits in the kernel, and which signals it holds back."""
        told = []
        for pid in processes_of_session(self.process.pid):
            try:
                with open(f"/proc/{pid}/wchan", encoding="ascii") as f, open(f"/proc/{pid}/status", encoding="ascii") as g:
                    blocked = re.search(r"SigBlk:\s*(\w+)", g.read()).group(1)
                    told.append(f"{self.first_pids.get(pid, pid)} in {f.read()}, signals blocked {blocked}")
            except OSError:
                pass
        return told

    def close(self):
        """Ends every process of the host, whatever its state, and removes its folder."""
        if self.process:
            wait_for(self._end_all, 30, "the host's processes to end")
            self.process.wait(30)
        for held in self._ports.values():
            if isinstance(held, Port):
                held.release()
        if os.environ.get("TLS_TEST_KEEP"):  # to look at its log and its core
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _end_all(self):
        left = processes_of_session(self.process.pid)
        if self.process.poll() is None:
            left[self.process.pid] = ""
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind, value, trace):
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
            elif kind is None and self._stopped_at is None:
                raise HostError(f"the host ended by itself, status {self.process.returncode}:\n{self.log_tail()}")
        finally:
            self.close()

    # -- what it says --------------------------------------------------------------------------------------

    def log(self):
        """The whole log."""
        try:
            with open(self.path("log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=25):
        """The end of the log, for messages."""
        return "\n".join(self.log().splitlines()[-lines:])

    def wait_log(self, pattern, timeout=20, since=0):
        """Waits for a line that matches; returns the match."""
        return wait_for(lambda: re.search(pattern, self.log()[since:]), timeout, f"the log line {pattern!r}")

    def allow(self, *patterns):
        """Names bad lines that the test means to cause."""
        self.allowed += patterns

    def no_bad_lines(self, also_allowed=()):
        """Fails on a line that speaks of a bug or a crash, unless the test allowed it."""
        allowed = [re.compile(p) for p in [*self.allowed, *also_allowed]]
        text = self.log()
        at = 0
        for line in text.splitlines(keepends=True):
            ending = self._stopped_at is not None and at >= self._stopped_at and STOP_NOISE.search(line)
            if BAD_LINE.search(line) and not ending and not BUSY_NOISE.search(line) and not any(p.search(line) for p in allowed):
                raise AssertionError(f"the host's log has a line that it must not have:\n{line}")
            at += len(line)

    def rpc(self, method, *params, timeout=20):
        """One call over the host's JSON-RPC datagram socket; returns the result or raises HostError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            number = next(self._calls)
            mine = self.path(f"c{os.getpid()}-{number}")
            s.bind(mine)
            os.chmod(mine, 0o777)  # the host may be another user
            s.settimeout(timeout * (10 if self.wrapper else 1))
            try:
                s.sendto(json.dumps({"jsonrpc": "2.0", "method": method, "params": list(params), "id": number}).encode(),
                         self.path("rpc"))
                answer = json.loads(s.recv(1 << 22))
            except TimeoutError:
                raise HostError(f"no answer to the RPC {method} in {timeout} s") from None
            finally:
                os.unlink(mine)
        if "error" in answer:
            raise HostError(f"RPC {method}: {answer['error']}")
        return answer["result"]

    def rpc_error(self, method, *params):
        """A call that must fail; returns what the host said."""
        try:
            result = self.rpc(method, *params)
        except HostError as e:
            return str(e)
        raise AssertionError(f"{method} succeeded, though it must fail: {result}")

    def shm_used(self):
        """Bytes of shared memory in use, with the allocator's own overhead."""
        return self.rpc("core.shmmem")["real_used"]

    def shm_live(self):
        """The same without what the module has taken, a piece at a time, and keeps free: by this, leaks show to the byte."""
        used, info = self.shm_used(), self.rpc("tls.info")
        return used - (info["shared_held"] - info["shared_bytes"] if "shared_held" in info else 0)

    def shm_settled(self, limit, timeout=30):
        """Waits until shm_live() is at most `limit` bytes; returns it, whether it got there or not."""
        end = time.monotonic() + timeout
        while True:
            used = self.shm_live()
            if used <= limit or time.monotonic() > end:
                return used
            time.sleep(0.2)

    def connections(self):
        """What tls.list tells: a list of dicts."""
        found = self.rpc("tls.list")
        return [found] if isinstance(found, dict) else found

    def open_tls(self):
        """How many TLS connections the host's core holds."""
        return self.rpc("core.tcp_info")["opened_tls_connections"]

    def wait_no_connections(self, timeout=30):
        """Waits until the host holds no TCP or TLS connection: it counts one no more when it is closed, the module when it is
        freed, which is later when a worker has it."""
        try:
            wait_for(lambda: self.rpc("core.tcp_info")["opened_connections"] == 0, timeout, "the host to close its connections")
            if "opened_connections" in self.tls_info():
                wait_for(lambda: self.tls_info()["opened_connections"] == 0, timeout, "the module to free its connections")
        except HostError as e:
            raise HostError(f"{e}: {self.rpc('core.tcp_info')}, {self.rpc('core.tcp_list')}, {self.tls_info()}") from None

    def tls_info(self):
        """What tls.info tells, an empty dict on a host without a TLS module."""
        try:
            return self.rpc("tls.info")
        except HostError as e:
            if "not found" not in str(e).lower():
                raise
            return {}

    def sockets(self):
        """Every socket inode that a process of the host holds: {inode: [pid, ...]}."""
        held = {}
        for pid in processes_of_session(self.process.pid):
            try:
                names = os.listdir(f"/proc/{pid}/fd")
            except OSError:
                continue
            for fd in names:
                try:
                    to = os.readlink(f"/proc/{pid}/fd/{fd}")
                except OSError:
                    continue
                if to.startswith("socket:["):
                    held.setdefault(int(to[8:-1]), []).append(pid)
        return held

    def tcp_states(self):
        """The kernel's view of this host's TCP sockets: [(local port, remote port, state name)]."""
        mine, found = self.sockets(), []
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table, encoding="ascii") as f:
                for line in f.readlines()[1:]:
                    words = line.split()
                    if int(words[9]) in mine:
                        found.append((int(words[1].split(":")[1], 16), int(words[2].split(":")[1], 16),
                                      TCP_STATES.get(words[3], words[3])))
        return found

    def wait_no_close_wait(self, timeout=20):
        """Waits until no socket is left that its peer has closed."""
        wait_for(lambda: not [s for s in self.tcp_states() if s[2] == "CLOSE_WAIT"], timeout, "no socket in CLOSE_WAIT")

    def open_to(self, *ports):
        """The host's sockets to these remote ports that it has not closed. A worker's cache of descriptors may keep
        one that is closed already (FIN_WAIT2) until the peer closes too; that is the host's way."""
        return [s for s in self.tcp_states() if s[1] in ports and s[2] in ("ESTABLISHED", "SYN_SENT", "CLOSE_WAIT")]

    def cpu_seconds(self):
        """CPU time of all processes so far, user and system."""
        total = 0
        for pid in processes_of_session(self.process.pid):
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def reload_seconds(self):
        """CPU time of one tls.reload. On a machine with nothing else to do it is what the operator waits."""
        pid = next(pid for pid, name in self.pids().items() if name == "JSONRPCS DATAGRAM")
        before = process_seconds(pid)
        self.rpc("tls.reload", timeout=120)
        return process_seconds(pid) - before

    def private_kb(self):
        """Private memory of every process: {pid: KB}."""
        found = {}
        for pid in processes_of_session(self.process.pid):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                found[pid] = sum(int(line.split()[1]) for line in f if line.startswith("Private_Dirty"))
        return found


TCP_STATES = {"01": "ESTABLISHED", "02": "SYN_SENT", "03": "SYN_RECV", "04": "FIN_WAIT1", "05": "FIN_WAIT2",
              "06": "TIME_WAIT", "07": "CLOSE", "08": "CLOSE_WAIT", "09": "LAST_ACK", "0A": "LISTEN", "0B": "CLOSING"}
