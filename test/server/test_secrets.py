"""Keys and the secrets of connections: wiped when they are freed, not in core dumps, not in logs, and their files
readable by those who must."""

import contextlib
import os
import resource
import signal
import ssl
import subprocess
import time

import pytest

import sip
from forge import DATA, Forger, expand_label, forger
from host import processes_of_session, relay_script, wait_for
from peers import Client, Peer, UdpClient, client_context, connect, refused, server_context
from test_shutdown import module_locks

VERSIONS = ["1.2", "1.3"]
UDP = "udp:127.0.0.1"
RELAY = relay_script()


# -- what there is in memory ---------------------------------------------------------------------------------------

def mappings(pid):
    """[(start, end, permissions, flags)] of a process."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            words = line.split()
            if words[0] == "VmFlags:":
                found[-1][3] = words[1:]
            elif not words[0].endswith(":"):
                start, end = (int(n, 16) for n in words[0].split("-"))
                found.append([start, end, words[1], []])
    return found


def shared_memory(host):
    """The host's shared memory, as bytes. It is the largest shared mapping."""
    start, end, *_ = max((m for m in mappings(host.process.pid) if m[2] == "rw-s"), key=lambda m: m[1] - m[0])
    with open(f"/proc/{host.process.pid}/mem", "rb") as f:
        f.seek(start)
        return f.read(end - start)


def private_memory(pid):
    """Everything that a process may write and has for itself."""
    found = []
    with open(f"/proc/{pid}/mem", "rb") as f:
        for start, end, permissions, _ in mappings(pid):
            if permissions == "rw-p":
                with contextlib.suppress(OSError, ValueError):
                    f.seek(start)
                    found.append(f.read(end - start))
    return b"".join(found)


def numbers_of(key):
    """What is secret about a private key, as OpenSSL keeps it: little-endian."""
    numbers = key.private_numbers()
    secret = [numbers.private_value] if hasattr(numbers, "private_value") else [numbers.p, numbers.q, numbers.d]
    return [n.to_bytes((n.bit_length() + 7) // 8, "little") for n in secret]


def derived(secrets):
    """{name: bytes}: secrets, and the keys that follow from those of TLS 1.3."""
    found = {}
    for name, secret in secrets.items():
        found[name] = secret
        if name != "CLIENT_RANDOM":
            found[name + ", key"] = expand_label(secret, b"key", 32 if len(secret) == 48 else 16, "sha384"
                                                 if len(secret) == 48 else "sha256")
    return found


def of_client(client):
    """The same of a Forger."""
    return derived({name: secret for name, (_, secret) in client.secrets.items()})


def no_trace(host, secrets):
    """Fails if one of {name: bytes} is in shared memory."""
    host.wait_no_connections()

    def left():
        memory = shared_memory(host)
        return [name for name, secret in secrets.items() if secret in memory]

    end = time.monotonic() + 10  # the last one is counted no more before it is freed
    while (found := left()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not found, f"found in shared memory after the last connection: {found}"


@pytest.fixture(scope="module")
def host(module_host, certs):
    """With a key that each process copies."""
    return module_host(modparams=certs.server_rsa.params(ca_list=certs.ca.cert, verify_client="optional_no_ca"),
                       listen=(UDP, "tls:127.0.0.1"), script=RELAY, tcp_children=2)


@pytest.mark.parametrize("pair", [None, "client_good"])
@pytest.mark.parametrize("version", VERSIONS)
def test_secrets_of_connections_are_wiped(host, certs, version, pair):
    secrets, in_use = {}, 0
    for turn in range(4):
        client = forger(host.port(), version, pair=pair and getattr(certs, pair))
        client.forge(DATA, sip.request())
        assert client.message().status == 200
        memory = shared_memory(host)
        mine = of_client(client)
        in_use += sum(secret in memory for secret in mine.values())
        secrets.update({(turn, name): secret for name, secret in mine.items()})
        client.close()
    assert in_use >= 4, "not even the secrets in use were found: the test says nothing"
    no_trace(host, secrets)


@pytest.mark.parametrize("version", VERSIONS)
def test_secrets_of_broken_handshakes_are_wiped(host, version):
    """A client that leaves in place of its last flight; in TLS 1.2 one that is done and broken off."""
    secrets = {}
    for turn in range(4):
        client = Forger(host.port(), version).handshake(hold_last=version == "1.3")
        secrets.update({(turn, name): secret for name, secret in of_client(client).items()})
        client.reset()
        os.unlink(client.secrets_file)
    no_trace(host, secrets)


# The clock that nobody sets is some hours ahead: as many as $HOURS_FILE has bytes.
CLOCK = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int result = (int)syscall(SYS_clock_gettime, clock, out);
	struct stat hours;

	if (clock == CLOCK_BOOTTIME && stat(getenv("HOURS_FILE"), &hours) == 0)
		out->tv_sec += 3600 * hours.st_size;
	return result;
}
"""


def test_ticket_keys_of_a_quiet_server_are_replaced_and_wiped(start_host, certs, tmp_path):
    """By the timer: no client comes, so nobody else looks at them."""
    source, library, hours = tmp_path / "clock.c", tmp_path / "clock.so", tmp_path / "hours"
    source.write_text(CLOCK)
    hours.write_text("")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    host = start_host(modparams=certs.server_ec.params(), env={"LD_PRELOAD": str(library), "HOURS_FILE": str(hours)})
    at = module_locks(host)["ticket.c"] + 8  # behind the lock: two keys of 96 bytes

    def keys():
        with open(f"/proc/{host.process.pid}/mem", "rb") as f:
            f.seek(at)
            return f.read(96), f.read(96)

    first, none = keys()
    assert none == bytes(96) != first
    hours.write_text("h" * 13)
    wait_for(lambda: keys()[0] != first, 20, "another key")
    assert keys()[1] == first, "tickets of a moment ago are good for nothing"
    second = keys()[0]
    hours.write_text("h" * 16)
    wait_for(lambda: keys()[1] == none, 20, "the end of the first key")
    assert keys()[0] == second
    assert first[17:81] not in shared_memory(host)
    with connect(host.port()) as client:
        assert client.ask().status == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_secrets_of_resumed_sessions_are_wiped(host, certs, version, tmp_path):
    context, session = client_context(version), None
    context.keylog_filename = str(tmp_path / "secrets")
    for _ in range(3):
        with Client(host.port(), context, session=session).handshake() as client:
            client.ask()
            assert client.tls.session_reused == (session is not None)
            session = client.tls.session
    no_trace(host, lines_of(tmp_path / "secrets"))


def lines_of(path):
    """The secrets of a file that a client's library wrote."""
    with open(path, encoding="ascii") as f:
        words = [line.split() for line in f if not line.startswith("#")]
    assert words
    return {(at, w[0], name): secret for at, w in enumerate(words)
            for name, secret in derived({w[0]: bytes.fromhex(w[2])}).items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_secrets_of_outgoing_connections_are_wiped(host, certs, version, tmp_path):
    context = server_context(certs.server_ec, version)
    context.keylog_filename = str(tmp_path / "secrets")
    with UdpClient(host.port(UDP)) as udp:
        with Peer(context) as peer:
            assert udp.ask(headers=[f"X-Target: {peer.uri()}"]).status == 200
    no_trace(host, lines_of(tmp_path / "secrets"))


@pytest.mark.parametrize("old, new", [("server_ec", "server_ec2"), ("server_rsa", "server_ec")])
def test_keys_are_wiped_when_the_last_connection_lets_go(start_host, certs, old, new):
    """Of a configuration that a reload has replaced: the key, and the copies that processes have made of it."""
    old, new = getattr(certs, old), getattr(certs, new)
    host = start_host(tls_cfg="[server:default]\n" + old.section())
    client = connect(host.port())
    client.ask()
    for _ in range(8):
        assert not refused(host.port())
    host.write("tls.cfg", "[server:default]\n" + new.section())
    host.rpc("tls.reload")
    memory = shared_memory(host)
    assert all(number in memory for number in numbers_of(old.private)), "the key in use is not found: the test says nothing"
    client.close()
    no_trace(host, dict(enumerate(numbers_of(old.private))))
    assert all(number in shared_memory(host) for number in numbers_of(new.private))


@pytest.mark.parametrize("kind", ["server_ec", "server_rsa"])
def test_keys_are_not_in_private_memory(start_host, certs, kind):
    """Files are read, and texts decoded, in private memory, which every process inherits: nothing of a key stays there.
    Nor does its text in shared memory."""
    pair = getattr(certs, kind)
    with open(pair.key, "rb") as f:
        lines = f.read().splitlines()[1:-1]
    assert lines
    host = start_host(modparams=pair.params(), tcp_children=2)
    for version in VERSIONS:
        with connect(host.port(), version) as client:
            client.ask()
    host.rpc("tls.reload")
    numbers = numbers_of(pair.private)
    secrets = [*lines[1:], *numbers, *(n[::-1] for n in numbers)]
    memory = shared_memory(host)
    assert not [s for s in [*lines[1:], *(n[::-1] for n in numbers)] if s in memory], "the text of the key is there"
    for pid, name in host.pids().items():
        memory = private_memory(pid)
        assert len(memory) > 1 << 20
        assert not [s for s in secrets if s in memory], f"{name} has the key in its own memory"


# -- core dumps ----------------------------------------------------------------------------------------------------

def left_out(host):
    """Whether the shared memory is marked as not to be dumped, in every process; a set."""
    flags = set()
    for pid in processes_of_session(host.process.pid):
        largest = max((m for m in mappings(pid) if m[2] == "rw-s"), key=lambda m: m[1] - m[0])
        flags.add("dd" in largest[3])
    return flags


@pytest.mark.parametrize("dump", [0, 1])
def test_shared_memory_and_core_dumps(start_host, certs, dump):
    host = start_host(modparams=certs.server_ec.params(dump_shared_memory=dump))
    assert left_out(host) == {not dump}


@pytest.mark.parametrize("dump", [0, 1])
def test_core_of_a_worker(start_host, certs, dump):
    """A real one, where the kernel is told to write it into the working directory."""
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as f:
        pattern = f.read().strip()
    if not pattern.isalnum():
        pytest.skip(f"core dumps go elsewhere here: {pattern}")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("core dumps are limited here")
    host = start_host(modparams=certs.server_ec.params(dump_shared_memory=dump), shm_mb=16)
    host.allow(r"ALERT: <core>", r"CRITICAL: <core>", "core was generated", "exited by a signal")
    with connect(host.port()) as client:
        client.ask()
    os.kill(host.workers()[0], signal.SIGABRT)
    host.process.wait(60)
    wait_for(lambda: not processes_of_session(host.process.pid), 60, "the last process to go")
    cores = [name for name in os.listdir(host.dir) if name.startswith(pattern)]
    assert cores, "no core was written"
    with open(host.path(cores[0]), "rb") as f:
        content = f.read()
    assert (numbers_of(certs.server_ec.private)[0] in content) == bool(dump)


# -- logs ----------------------------------------------------------------------------------------------------------

def test_nothing_secret_in_the_log(start_host, certs, tmp_path):
    """At the level of debugging: handshakes good and bad, reloads, an encrypted key, a wrong password."""
    encrypted, password = certs.key_encrypted, "secret"
    real = certs.secret("logged.key", certs.key_pem(certs.server_ec.private, b"x7Qpassword"))
    text = f"[server:default]\ncertificate = {certs.server_ec.cert}\nprivate_key = {{}}\nprivate_key_password = {{}}\n"
    host = start_host(tls_cfg=text.format(real, "x7Qpassword"), settings={"debug": 3}, tcp_children=2,
                      modparams={"tls": {"tls_log": -1, "tls_debug": -1}})
    secrets = {}
    for version in VERSIONS:
        client = forger(host.port(), version)
        client.forge(DATA, sip.request())
        client.message()
        secrets.update({(version, name): value for name, value in of_client(client).items()})
        client.close()
        with pytest.raises(ssl.SSLError):
            Client(host.port(), client_context(version, ca=certs.other_ca.cert)).handshake()
    host.write("tls.cfg", text.format(encrypted, "x7Qwrong"))
    host.rpc_error("tls.reload")
    host.write("tls.cfg", text.format(encrypted, password))
    host.rpc("tls.reload")
    for command in ("tls.info", "tls.options", "tls.list", "tls.domains", "tls.check"):
        host.rpc(command)
    log = host.log().lower()
    assert "tls" in log and "debug" in log
    for name, value in secrets.items():
        assert value.hex() not in log, f"{name} is in the log"
    for number in numbers_of(certs.server_ec.private):
        assert number.hex() not in log and number[::-1].hex() not in log
    assert "x7qpassword" not in log and "x7qwrong" not in log
    with open(real, encoding="ascii") as f:
        assert not [line for line in f if not line.startswith("-") and line.strip().lower() in log]


# -- files -----------------------------------------------------------------------------------------------------------

WARNING = r"WARNING: tls .*{}: every user of this machine may {} this private key; run chmod o-rw"


@pytest.mark.parametrize("mode, what", [(0o600, None), (0o400, None), (0o640, None), (0o660, None), (0o644, "read"),
                                        (0o604, "read"), (0o602, "write"), (0o666, "read")], ids=lambda v: str(v))
@pytest.mark.parametrize("kind", ["key", "combined"])
def test_key_that_every_user_can_read(start_host, certs, kind, mode, what):
    """A group may: Debian has one for that. The file with certificate and key in it is a key, too."""
    pair = certs.combined if kind == "combined" else certs.server_ec
    with open(pair.key, "rb") as f:
        path = certs.write(f"{kind}-{mode:o}.key", f.read())
    os.chmod(path, mode)
    params = {"tls": {"certificate": path if kind == "combined" else pair.cert, "private_key": path}}
    host = start_host(modparams=params)
    warned = "every user of this machine" in host.log()
    assert warned == bool(what)
    if what:
        host.wait_log(WARNING.format(path, what))
        assert host.rpc("tls.check")["warnings"] == 1
    assert not refused(host.port())
