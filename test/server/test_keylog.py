"""Secrets for Wireshark: only when asked for, all of them, and to nobody else."""

import os
import pwd
import re
import shutil
import socket
import stat
import time

import pytest

from host import Port, relay_script, wait_for
from peers import Client, Peer, UdpClient, client_context, connect, server_context

SCRIPT = relay_script()
UDP = "udp:127.0.0.1"
LOG, FILE, PEER, FILTER, ON = 4, 8, 16, 1024, 3
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
LABELS = {"1.2": {"CLIENT_RANDOM"},
          "1.3": {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0",
                  "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"}}
LINE = re.compile(r"^([A-Z_0-9]+) ([0-9a-f]{64}) ((?:[0-9a-f]{2}){32,64})$")


class Sink:
    """Where keylog_peer sends to."""

    def __init__(self, address="127.0.0.1"):
        self.held = Port()
        self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((address, self.held.number))
        self.text = (f"[{address}]" if ":" in address else address) + f":{self.held.number}"

    def lines(self):
        """What has come since, a datagram each."""
        self.sock.setblocking(False)
        found = []
        while True:
            try:
                found.append(self.sock.recv(4096).decode().rstrip("\n"))
            except BlockingIOError:
                return found

    def close(self):
        """Gives the port back."""
        self.sock.close()
        self.held.release()


@pytest.fixture
def sink():
    """Sinks that end with the test."""
    made = []

    def make(*where):
        made.append(Sink(*where))
        return made[-1]

    yield make
    for one in made:
        one.close()


def make(start, certs, mode, where=None, **tls):
    """A host with a key log; keylog_file is below its folder."""
    host = start.make(script=SCRIPT, modparams=certs.server_ec.params(keylog_mode=mode, **tls))
    if where is not None:
        host.modparams["tls"]["keylog_file"] = host.path(where)
    return host


def file_lines(host, name="keys"):
    """What the key log's file holds; None when there is none."""
    try:
        with open(host.path(name), encoding="ascii") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return None


def secrets(path):
    """The secrets that the other side noted by itself."""
    with open(path, encoding="ascii") as f:
        return {line.strip() for line in f if not line.startswith("#")}


def noting(context, tmp_path):
    """The context, noting its own secrets, and where to."""
    context.keylog_filename = str(tmp_path / f"own-{time.monotonic_ns()}")
    return context, context.keylog_filename


def labels(lines):
    """The labels of these lines, each of which has the right form."""
    found = [LINE.match(line) for line in lines]
    assert all(found), lines
    return {m.group(1) for m in found}


# -- the secrets are the right ones -------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def filing(module_host, certs):
    """A host that writes to a file."""
    return make(module_host, certs, ON | FILE, "keys").start()


@BOTH
def test_secrets_of_a_clients_connection(filing, tmp_path, version):
    """What the client knows is what is written, all of it: with these lines the traffic can be read."""
    before = len(file_lines(filing))
    context, own = noting(client_context(version), tmp_path)
    with Client(filing.port(), context).handshake() as client:
        assert client.ask().status == 200
    lines = set(file_lines(filing)[before:])
    assert labels(lines) >= LABELS[version]
    assert lines == secrets(own)
    filing.check_alive()


@BOTH
def test_secrets_of_a_connection_of_ours(filing, certs, tmp_path, version):
    """The host as a client: the same."""
    before = len(file_lines(filing))
    context, own = noting(server_context(certs.server_ec, version), tmp_path)
    with Peer(context) as to, UdpClient(filing.port(UDP)) as udp:
        assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
    lines = set(file_lines(filing)[before:])
    assert labels(lines) >= LABELS[version]
    assert lines == secrets(own)
    filing.check_alive()


@BOTH
def test_resumed_connections_too(filing, tmp_path, version):
    context, own = noting(client_context(version), tmp_path)
    with Client(filing.port(), context).handshake() as client:
        client.ask()
        session = client.tls.session
    before = len(file_lines(filing))
    with Client(filing.port(), context, session=session).handshake() as client:
        assert client.ask().status == 200 and client.tls.session_reused
    lines = set(file_lines(filing)[before:])
    assert labels(lines) >= LABELS[version] and lines <= secrets(own)


def test_many_at_once_write_whole_lines(filing, load):
    """Every worker writes to the one file: no line is torn, none is lost."""
    before = len(file_lines(filing))
    load.clean(filing.port(), connections=300, parallel=40, tls="1.2")
    lines = file_lines(filing)[before:]
    assert labels(lines) == {"CLIENT_RANDOM"}
    assert len(set(lines)) == 300
    filing.check_alive()


def test_file_is_the_owners_only(filing):
    mode = os.stat(filing.path("keys"))
    assert stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == os.getuid()


def test_file_survives_a_reload_and_its_removal(filing):
    """After tls.reload lines go on to come; a file that was taken away is made anew, as private as before."""
    filing.rpc("tls.reload")
    os.rename(filing.path("keys"), filing.path("taken"))
    with connect(filing.port(), "1.2") as client:
        client.ask()
    assert labels(file_lines(filing)) == {"CLIENT_RANDOM"}
    assert stat.S_IMODE(os.stat(filing.path("keys")).st_mode) == 0o600


# -- where to -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", [0, 1, 2, 3, 7, 11, 19, 28, 29, 30, 31, 1024, 1052, 1055])
def test_mode_bits(start_host, certs, sink, mode):
    """1 and 2 must both be there; 4, 8 and 16 say where to, each by itself."""
    to = sink()
    host = make(start_host, certs, mode, "keys", keylog_peer="udp:" + to.text).start()
    with connect(host.port(), "1.2") as client:
        assert client.ask().status == 200
    on = mode & ON == ON
    in_log = re.findall(r"keylog: (.*)", host.log())
    in_file, at_peer = file_lines(host) or [], to.lines()
    for got, bit in ((in_log, LOG), (in_file, FILE), (at_peer, PEER)):
        assert len(got) == (1 if on and mode & bit else 0), (got, mode)
        assert labels(got) <= {"CLIENT_RANDOM"}
    assert len({*in_log, *in_file, *at_peer}) <= 1, "they say different things"
    assert ("secrets of ALL TLS connections" in host.log()) == on, "the warning at the start"
    assert on and mode & FILE or not os.path.exists(host.path("keys"))


@pytest.mark.parametrize("filtered", [0, FILTER])
def test_filter(start_host, certs, tmp_path, filtered):
    """With the bit 1024 only what reading takes: no `RSA` line, which OpenSSL writes of a key exchange of our own."""
    host = make(start_host, certs, ON | FILE | filtered, "keys").start()
    context, own = noting(server_context(certs.server_rsa, "1.2"), tmp_path)
    context.set_ciphers("AES128-GCM-SHA256")
    with Peer(context) as to, UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
    found = [line.split()[0] for line in file_lines(host)]
    assert sorted(found) == ["CLIENT_RANDOM"] if filtered else sorted(found) == ["CLIENT_RANDOM", "RSA"]
    assert secrets(own) == {line for line in file_lines(host) if line.startswith("CLIENT_RANDOM")}
    with connect(host.port(), "1.3") as client:
        assert client.ask().status == 200
    assert {line.split()[0] for line in file_lines(host)[len(found):]} == LABELS["1.3"], "the rest goes through"


def test_off_by_default(start_host, certs, sink):
    """Without keylog_mode, file and peer alone write nothing."""
    to = sink()
    host = start_host.make(script=SCRIPT, modparams=certs.server_ec.params(keylog_peer="udp:" + to.text))
    host.modparams["tls"]["keylog_file"] = host.path("keys")
    host.start()
    with connect(host.port()) as client:
        client.ask()
    assert file_lines(host) is None and not to.lines() and "keylog" not in host.log()


@pytest.mark.parametrize("form", ["udp:{}", "{}"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_peer_forms(start_host, certs, sink, address, form):
    to = sink(address)
    host = make(start_host, certs, ON | PEER, keylog_peer=form.format(to.text)).start()
    with connect(host.port(), "1.3") as client:
        client.ask()
    lines = []
    wait_for(lambda: lines.extend(to.lines()) or len(lines) >= 5, 20, "five secrets at the peer")
    assert labels(lines) >= LABELS["1.3"]


def test_peer_that_nobody_listens_at(start_host, certs, load):
    """The log is a courtesy: connections go on as if it were there."""
    held = Port()
    host = make(start_host, certs, ON | PEER, keylog_peer=f"udp:127.0.0.1:{held.number}").start()
    load.clean(host.port(), connections=100, parallel=10)
    held.release()


def test_file_that_cannot_be_written_any_more(start_host, certs):
    """The same when the file's place is taken by something else while the host runs."""
    host = make(start_host, certs, ON | FILE, "keys").start()
    os.unlink(host.path("keys"))
    os.symlink(host.path("elsewhere"), host.path("keys"))
    for _ in range(2):
        with connect(host.port()) as client:
            assert client.ask().status == 200
    assert not os.path.exists(host.path("elsewhere")), "secrets went where a link points"
    assert len(re.findall(rf"ERROR: .*keylog_file {host.path('keys')}: it is a symbolic link", host.log())) == 1
    os.unlink(host.path("keys"))
    with connect(host.port(), "1.2") as client:
        client.ask()
    assert labels(file_lines(host)) == {"CLIENT_RANDOM"}


# -- a server that starts as root and becomes another user ----------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")


def make_for_nobody(start, certs, folder_mode=0o755, owner=0):
    """A host of nobody's whose keylog_file is in a folder of its own."""
    host = make(start, certs, ON | FILE, "logs/keys")
    host.settings["user"] = '"nobody"'
    os.chmod(host.dir, 0o755)
    os.mkdir(host.path("logs"))
    os.chown(host.path("logs"), owner, 0)
    os.chmod(host.path("logs"), folder_mode)
    return host


def is_nobodys(path):
    """Whether the file is that user's, and nobody else's to read."""
    found = os.lstat(path)
    return (found.st_uid, stat.S_IMODE(found.st_mode)) == (NOBODY.pw_uid, 0o600)


@as_root
@pytest.mark.parametrize("folder", ["root's", "its own", "everybody's"])
def test_file_is_of_the_user_who_writes_it(start_host, certs, folder):
    """Whoever may make files in that folder; kamailio -c has made it before, as it always did."""
    mode, owner = {"root's": (0o755, 0), "its own": (0o700, NOBODY.pw_uid), "everybody's": (0o1777, 0)}[folder]
    host = make_for_nobody(start_host, certs, mode, owner)
    assert host.check_config()[0] == 0 and is_nobodys(host.path("logs/keys"))
    host.start()
    with connect(host.port(), "1.2") as client:
        client.ask()
    assert labels(file_lines(host, "logs/keys")) == {"CLIENT_RANDOM"} and is_nobodys(host.path("logs/keys"))
    assert not re.search("ERROR: .*keylog", host.log())


@as_root
def test_file_that_cannot_be_made_anew(start_host, certs):
    """It is taken away, and the user may make no other in root's folder: told once, with the reason, by all workers together."""
    host = make_for_nobody(start_host, certs).start()
    os.rename(host.path("logs/keys"), host.path("taken"))
    for _ in range(4):
        with connect(host.port(), "1.2") as client:
            assert client.ask().status == 200
    assert len(re.findall(r"ERROR: .*keylog_file \S+/logs/keys: Permission denied \(user nobody\).*; no secrets are written", host.log())) == 1


@as_root
@pytest.mark.parametrize("case", ["root's file", "closed folder", "link", "hard link", "somebody's"])
def test_file_that_would_be_another_users(start_host, certs, case):
    """Nothing is written to, made or given away where somebody else has a hand in it; the start says what to do."""
    host = make_for_nobody(start_host, certs, 0o700 if case == "closed folder" else 0o755 if case == "root's file" else 0o1777)
    path, other = host.path("logs/keys"), host.path("other")
    with open(os.open(other, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write("precious")
    if case == "root's file":
        shutil.copy(other, path)
        os.chmod(path, 0o600)
    elif case == "link":
        os.symlink(other, path)
    elif case in ("hard link", "somebody's"):
        os.link(other, path)
        os.chown(path, NOBODY.pw_uid if case == "hard link" else 1, 0)
        os.chmod(path, 0o600 if case == "hard link" else 0o666)
    before = os.stat(other)
    log = host.refuses()
    words = {"root's file": r"Permission denied \(user nobody\)", "closed folder": r"Permission denied \(user nobody\)",
             "link": "it is a symbolic link", "hard link": r"a second name \(a hard link\); remove that",
             "somebody's": "must belong to user nobody.*chown nobody|Permission denied"}[case]
    assert re.search(rf"ERROR: .*keylog_file {path}: .*(?:{words})", log), log
    after = os.stat(other)
    assert (after.st_uid, after.st_mode, after.st_size) == (before.st_uid, before.st_mode, before.st_size)
    assert os.path.lexists(path) == (case != "closed folder")


@as_root
def test_root_makes_no_file_where_a_link_leads(start_host, certs):
    """The server's user has put a link in the way: root makes nothing for it in a folder that it may not write to."""
    host = make_for_nobody(start_host, certs, 0o755, NOBODY.pw_uid)
    host.modparams["tls"]["keylog_file"] = host.path("logs/sub/keys")
    os.mkdir(host.path("roots"), 0o755)
    os.symlink(host.path("roots"), host.path("logs/sub"))
    log = host.refuses()
    assert re.search(r"ERROR: .*keylog_file \S+/logs/sub/keys: Permission denied \(user nobody\)", log), log
    assert not os.listdir(host.path("roots"))


# -- what must not start ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
def test_file_that_others_may_use(start_host, certs, mode):
    host = make(start_host, certs, ON | FILE, "keys")
    with open(host.path("keys"), "w", encoding="ascii"):
        pass
    os.chmod(host.path("keys"), mode)
    log = host.refuses()
    assert re.search(r"keylog_file \S+/keys: .*chmod 600", log), log
    assert file_lines(host) == []


def test_file_that_is_made_private_is_taken(start_host, certs):
    """An old one of our own is written on."""
    host = make(start_host, certs, ON | FILE, "keys")
    with open(os.open(host.path("keys"), os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write("# mine\n")
    host.start()
    with connect(host.port(), "1.2") as client:
        client.ask()
    lines = file_lines(host)
    assert lines[0] == "# mine" and labels(lines[1:]) == {"CLIENT_RANDOM"}


@pytest.mark.parametrize("case", ["link", "folder", "no folder", "pipe", "unset"])
def test_file_that_is_none(start_host, certs, case):
    """The start fails and names the file: a link may lead anywhere, a pipe may block a worker."""
    host = make(start_host, certs, ON | FILE, {"no folder": "no/keys", "unset": None}.get(case, "keys"))
    if case == "link":
        os.symlink(host.path("elsewhere"), host.path("keys"))
    elif case == "folder":
        os.mkdir(host.path("keys"))
    elif case == "pipe":
        os.mkfifo(host.path("keys"), 0o600)
    try:
        log = host.refuses()
    finally:
        host.close()
    assert "keylog_file" in log
    assert not os.path.exists(host.path("elsewhere"))


@pytest.mark.parametrize("text", ["", "udp:", "127.0.0.1", "udp:127.0.0.1:", "udp:127.0.0.1:x", "udp::9",
                                  "udp:[::1:9", "tcp:127.0.0.1:9", "udp:no.such.host.test:9", "udp:127.0.0.1:70000"])
def test_peer_that_is_none(start_host, certs, text):
    log = make(start_host, certs, ON | PEER, keylog_peer=text).refuses()
    assert re.search(r'keylog_peer "[^"]*": give it as udp:ADDRESS:PORT', log), log


@pytest.mark.parametrize("mode, said", [(-1, "-1 is out of range; allowed: 0 to 1055"), (1056, "1056 is out of range"),
                                        (32, "32 of it means nothing"), (1000, "992 of it means nothing"), (515, "512 of")])
def test_mode_out_of_range(start_host, certs, mode, said):
    """The bits that are known, and no others."""
    log = make(start_host, certs, mode).refuses()
    assert re.search(rf"keylog_mode.*{said}", log), log
