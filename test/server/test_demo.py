"""What a new user does: make run, its proof, Ctrl-C; the example configuration carries a call; the sample tls.cfg."""

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import time

import pytest

import sip
from host import TOP, Port
from peers import Client, client_context

SECONDS = 180  # what has changed is built on the way
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def ports():
    """Two ports: for TLS, and for UDP and TCP."""
    held = [Port(), Port()]
    yield [port.number for port in held]
    for port in held:
        port.release()


def make_run(ports, *more):
    """The command, and an environment without the marks of a make that runs the tests."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "CFLAGS", "CC"))}
    return ["make", "-C", TOP, "run", f"TLS_PORT={ports[0]}", f"SIP_PORT={ports[1]}", *more], env


class Terminal:
    """A command on a terminal of its own; it is interrupted at the end of a `with`, if it still runs then."""

    def __init__(self, words, env):
        self.pid, self.tty = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, env)
        self.text, self.ended = "", None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.ended is None:
            self.press(b"\x03")
            self.status()
        os.close(self.tty)

    def read(self, pattern, seconds=SECONDS):
        """Reads until the text has the pattern; None: until the command ends."""
        end = time.monotonic() + seconds
        while pattern is None or not re.search(pattern, self.text):
            assert time.monotonic() < end, f"waited in vain for {pattern}:\n{self.text}"
            if not select.select([self.tty], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.tty, 65536)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                assert pattern is None, f"it ended before {pattern}:\n{self.text}"
                break
            self.text += data.decode(errors="replace")
        return self.text

    def press(self, key):
        os.write(self.tty, key)

    def status(self):
        """Waits for the end of the command; returns its exit status."""
        self.read(None)
        self.ended = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.ended


def hosts_of(port):
    """The processes of the demonstration on this port, by their command lines."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if f"TLS_PORT={port}".encode() in f.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            pass
    return found


def test_run_once(ports):
    """It proves itself with one request, ends with 0 and leaves nothing."""
    words, env = make_run(ports, "ONCE=1")
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=env, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    assert "SIP/2.0 200 OK" in done.stdout
    assert re.search(r"^-- TLSv1\.3, TLS_\w+, \d+ bits", done.stdout, re.M), done.stdout
    assert "CRITICAL" not in done.stdout
    assert not hosts_of(ports[0])


def test_run_until_ctrl_c(ports):
    """In the foreground until Ctrl-C, then make itself ends with 0 and nothing is left."""
    with Terminal(*make_run(ports)) as terminal:
        terminal.read("Ctrl-C stops it")
        assert len(hosts_of(ports[0])) > 4
        terminal.press(b"\x03")
        assert terminal.status() == 0, terminal.text
        assert "CRITICAL" not in terminal.text and "Error" not in terminal.text, terminal.text
    assert not hosts_of(ports[0])
    assert not os.path.exists(f"{TOP}/build/demo/run-{ports[0]}")


@pytest.mark.parametrize("which, kind, variable", [
    (0, socket.SOCK_STREAM, "TLS_PORT"), (1, socket.SOCK_STREAM, "SIP_PORT"), (1, socket.SOCK_DGRAM, "SIP_PORT")])
def test_run_port_taken(ports, which, kind, variable):
    """A port that is taken gives one line that says which and what to do."""
    with socket.socket(socket.AF_INET, kind) as taken:
        # connections of another test that used it may still linger
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
        taken.bind(("127.0.0.1", ports[which]))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        words, env = make_run(ports, "ONCE=1")
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env=env, timeout=SECONDS, check=False)
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if line.startswith("tls: ")]
    assert len(said) == 1 and str(ports[which]) in said[0] and f"{variable}=" in said[0], done.stdout


def converse(alice, bob):
    """Alice registers; Bob sends her a message."""
    alice.handshake()
    bob.handshake()
    # an address where nobody listens: only the connection leads to her
    contact = "Contact: <sip:alice@127.0.0.1:9;transport=tls>\r"
    register = sip.request("REGISTER", "sip:example.com").decode().replace("bob@example.test", "alice@example.com")
    alice.send(re.sub(r"Contact: .*\r", contact, register).encode())
    assert alice.final().status == 200
    bob.send(sip.request("MESSAGE", "sip:alice@example.com", headers=["Content-Type: text/plain"], body=b"hello"))
    got = alice.message()
    assert got.method == "MESSAGE" and got.body == b"hello"
    alice.send(sip.reply(got))
    assert bob.final().status == 200


def test_example_carries_a_message(ports):
    """examples/ser.cfg: a user registers over TLS and gets a message over that very connection."""
    with Terminal(*make_run(ports)) as terminal:
        terminal.read("Ctrl-C stops it")
        context = client_context(ca=f"{TOP}/build/demo/ca.pem")
        with Client(ports[0], context, server_name="example.com") as alice, \
                Client(ports[0], context, server_name="example.com") as bob:
            converse(alice, bob)
        terminal.press(b"\x03")
        assert terminal.status() == 0, terminal.text
        assert terminal.text.count("over TLS, without a certificate") >= 3


def test_sample_tls_cfg(start_host, certs):
    """The tls.cfg at the top loads as it is once its paths exist."""
    with open(f"{TOP}/tls.cfg", encoding="utf-8") as f:
        sample = f.read()
    host = start_host.make(tls_cfg=sample)
    os.mkdir(host.path("tls"))
    subprocess.run([f"{TOP}/tools/demo-certs.sh", host.path("tls")], check=True)
    host.start()
    context = client_context(ca=host.path("tls/ca.pem"))
    with Client(host.port(), context, server_name="example.com") as client:
        client.handshake()
        assert client.version == "1.3"
        assert client.ask().status == 200


def test_demo_certificates_are_remade(tmp_path):
    """Good ones stay; what does not fit together is made anew."""
    script, folder = f"{TOP}/tools/demo-certs.sh", tmp_path / "demo"
    subprocess.run([script, folder], check=True)
    before = (folder / "server.pem").read_bytes()
    subprocess.run([script, folder], check=True)
    assert (folder / "server.pem").read_bytes() == before
    shutil.copy(folder / "server.pem", folder / "ca.pem")
    subprocess.run([script, folder], check=True, env=dict(os.environ, KEY_TYPE="rsa"))
    subprocess.run(["openssl", "verify", "-CAfile", folder / "ca.pem", folder / "server.pem", folder / "client.pem"],
                   check=True, stdout=subprocess.DEVNULL)
    assert (folder / "server.key").stat().st_mode & 0o077 == 0
