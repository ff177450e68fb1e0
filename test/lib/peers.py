"""The other side of the tests: clients and servers that are not ours, well behaved and not.

Client is Python's TLS over memory, so a test decides which bytes go out when: one at a time, cut short, or many
records in one segment. The servers run in threads of the test's own process, on loopback, and are closed by their
`with` block. Wrappers run other people's clients: openssl, gnutls-cli, baresip, sipp.
"""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import sip
from host import Port, wait_for

TIMEOUT = 20.0  # for what takes a small part of it on a machine that has nothing else to do
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Closed(Exception):
    """The peer closed the connection, or broke it."""


def client_context(version=None, pair=None, ca=None, ciphers=None):
    """A client's TLS context: one protocol version or any, a certificate or none, trust in `ca` or in anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = ca is not None
    context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def server_context(pair, version=None, ca=None):
    """A server's TLS context; with `ca` it wants a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca)
    return context


class Client:
    """A TLS client whose bytes pass through the test's hands.

    connect() + handshake() make a connection; send() and message() talk over it. The pieces below them, feed(),
    pull() and push(), let a test hold bytes back. `received` keeps every raw byte that the server sent.
    """

    def __init__(self, port, context=None, address="127.0.0.1", server_name="localhost", session=None, timeout=TIMEOUT):
        self.sock = socket.create_connection((address, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self.incoming, self.outgoing, server_hostname=server_name,
                                                          session=session)
        self.received, self.clear, self.timeout = b"", b"", timeout

    # -- bytes ---------------------------------------------------------------------------------------------

    def pull(self):
        """The encrypted bytes that wait to be sent, taken out."""
        return self.outgoing.read()

    def push(self, data, step=None, pause=0.0):
        """Sends raw bytes, `step` at a time if given, each in a segment of its own."""
        try:
            for at in range(0, len(data), step or max(len(data), 1)):
                self.sock.sendall(data[at:at + (step or len(data))])
                if pause:
                    time.sleep(pause)
        except OSError as e:
            raise Closed(str(e)) from None

    def feed(self):
        """Reads once from the network into the TLS engine."""
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError as e:
            raise Closed(str(e)) from None
        if not data:
            raise Closed("the server closed the connection")
        self.received += data
        self.incoming.write(data)

    # -- a conversation ------------------------------------------------------------------------------------

    def handshake(self, step=None, hold_last=False):
        """Does the handshake; `hold_last` keeps the client's last flight for a later pull()."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.push(self.pull(), step)
                self.feed()
            except ssl.SSLError:
                with contextlib.suppress(Closed):
                    self.push(self.pull())
                raise
        if not hold_last:
            self.push(self.pull(), step)
        return self

    def send(self, data, step=None, pause=0.0):
        """Encrypts and sends."""
        self.tls.write(data)
        self.push(self.pull(), step, pause)

    def read(self):
        """Waits for decrypted bytes; raises Closed at the end of the connection."""
        while True:
            try:
                data = self.tls.read(65536)
                if not data:
                    raise Closed("close_notify")
                return data
            except ssl.SSLWantReadError:
                self.push(self.pull())
                self.feed()
            except ssl.SSLError as e:
                raise Closed(str(e)) from None

    def message(self, timeout=None):
        """The next whole SIP message."""
        end = time.monotonic() + (timeout or self.timeout)
        while True:
            message, self.clear = sip.cut(self.clear)
            if message:
                return message
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            self.clear += self.read()

    def final(self, timeout=None):
        """The next final reply."""
        while True:
            answer = self.message(timeout)
            if answer.status >= 200:
                return answer

    def ask(self, **how):
        """Sends one request and returns the final reply to it, which must be to it."""
        data = sip.request(**how)
        self.send(data)
        answer = self.final()
        assert answer.get("call-id") == sip.cut(data)[0].get("call-id"), "the reply is to another request"
        return answer

    def closed_by_server(self, timeout=TIMEOUT):
        """Waits until the server ends the connection; False if it does not in time."""
        end = time.monotonic() + timeout
        try:
            while True:
                self.sock.settimeout(max(0.01, end - time.monotonic()))
                self.read()
        except TimeoutError:
            return False
        except Closed:
            return True

    @property
    def version(self):
        """The protocol agreed on, "1.2" or "1.3"."""
        return self.tls.version()[len("TLSv"):]

    def server_serial(self):
        """The serial number of the server's certificate; the context must verify it."""
        return int(self.tls.getpeercert()["serialNumber"], 16)

    def server_hello(self):
        """(random, session id) of the server's first message, from the raw bytes."""
        assert self.received[0] == 22 and self.received[5] == 2, "the server's first message is no ServerHello"
        size = self.received[43]
        return self.received[11:43], self.received[44:44 + size]

    def close(self, notify=True):
        """Ends the connection: with close_notify and FIN, or with FIN alone."""
        if notify:
            with contextlib.suppress(ssl.SSLError, Closed, ValueError):
                self.tls.unwrap()
            with contextlib.suppress(Closed):
                self.push(self.pull())
        self.sock.close()

    def reset(self):
        """Breaks the connection with an RST."""
        reset(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def reset(sock):
    """Closes a socket so that the other side sees an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def connect(port, version=None, pair=None, ca=None, **how):
    """A client after its handshake."""
    client = Client(port, client_context(version, pair, ca), **how)
    try:
        return client.handshake()
    except BaseException:
        client.close(notify=False)
        raise


def warm(host, pair=None):
    """Has every worker serve a client: what a process keeps from its first one, as its random generators, is there."""
    with contextlib.ExitStack() as held:
        for _ in range(2 * len(host.workers())):
            held.enter_context(connect(host.port(), pair=pair)).ask()
    host.wait_no_connections()


def refused(port, timeout=TIMEOUT, **how):
    """True if the server refuses this client in its handshake, or right after it as TLS 1.3 does."""
    try:
        with connect(port, **how) as client:
            client.send(sip.request())
            client.message(timeout)
            return False
    except (ssl.SSLError, Closed):
        return True


def client_hello(version=None, server_name="localhost"):
    """The bytes of a real ClientHello."""
    outgoing = ssl.MemoryBIO()
    tls = client_context(version).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def raw_exchange(port, data, finish=True, timeout=TIMEOUT, step=None, pause=0.0, address="127.0.0.1"):
    """Sends raw bytes and reads until the server closes: (what it sent, whether it closed in time)."""
    answer = b""
    with socket.create_connection((address, port), timeout) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(data), step or max(1, len(data))):
                s.sendall(data[at:at + (step or len(data))])
                time.sleep(pause)
            if finish:
                s.shutdown(socket.SHUT_WR)
            while True:
                piece = s.recv(65536)
                if not piece:
                    return answer, True
                answer += piece
        except TimeoutError:
            return answer, False
        except OSError:
            return answer, True


class UdpClient:
    """A SIP client over UDP."""

    def __init__(self, port, address="127.0.0.1", timeout=TIMEOUT):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((address, port))
        self.sock.settimeout(timeout)
        self.finals = {}

    def send(self, **how):
        """Sends a request; returns its Call-ID."""
        via = "%s:%d" % self.sock.getsockname()
        data = sip.request(transport="UDP", via=via, **how)
        self.sock.send(data)
        return sip.cut(data)[0].get("call-id")

    def final(self, call_id, timeout=TIMEOUT):
        """The final reply to one request; those to others are kept for their own call."""
        end = time.monotonic() + timeout
        while call_id not in self.finals:
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            message = sip.cut(self.sock.recv(65535))[0]
            if message and message.status >= 200:
                self.finals[message.get("call-id")] = message
        return self.finals.pop(call_id)

    def ask(self, timeout=TIMEOUT, **how):
        """Sends a request and returns its final reply."""
        return self.final(self.send(**how), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


class Peer:
    """A server that the host under test connects to. `behaviour` says how it treats a connection:

    answer          TLS, then 200 to each request
    silent          accepts and never sends a byte
    silent_later    completes the handshake, then never sends a byte
    close_early     closes after the client's first bytes
    reset_early     the same with an RST
    close_later     completes the handshake, then closes
    garbage         sends bytes that are no TLS
    deaf            listens, but never accepts: its queue fills up

    With `gated` the handshake waits until open_gate(); `ask_back` makes the peer send a request of its own after
    its first reply, and keep the reply to it in `replies`.
    """

    def __init__(self, context=None, behaviour="answer", address="127.0.0.1", code=200, gated=False, ask_back=False,
                 port=None):
        self.context, self.behaviour, self.code, self.ask_back = context, behaviour, code, ask_back
        self._gate = threading.Event()
        if not gated:
            self._gate.set()
        self.requests, self.replies, self.names, self.errors, self.peer_certs = [], [], [], [], []
        self.accepted, self.identities = 0, []
        self._held = port or Port()
        self.port, self.address = self._held.number, address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, self.port))
        self.listener.listen(0 if behaviour == "deaf" else 128)
        self._open, self._lock, self._closing = set(), threading.Lock(), False
        if context:
            context.sni_callback = self._note_name
        self._threads = []
        if behaviour != "deaf":
            self._start(self._accept)

    def _note_name(self, tls, name, _context):
        tls.asked = name
        self.names.append(name)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closing:
                    conn.close()
                    return
                self.accepted += 1
                self._open.add(conn)
            self._start(self._serve, conn)

    def _serve(self, conn):
        try:
            getattr(self, "_do_" + self.behaviour)(conn)
        except (OSError, ValueError) as e:
            self.errors.append(str(e))
        finally:
            with self._lock:
                self._open.discard(conn)
            conn.close()

    @staticmethod
    def _wait_end(conn):
        while conn.recv(65536):
            pass

    def _tls(self, conn):
        """The handshake; the TLS socket takes the plain one's place."""
        self._gate.wait(60)
        tls = self.context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open.discard(conn)
            self._open.add(tls)
            too_late = self._closing  # close() has not seen this one
        try:
            if too_late:
                raise OSError("closing")
            tls.do_handshake()
        except (OSError, ValueError, AttributeError) as e:  # the last two are what Python makes of shutdown() in another thread
            with self._lock:
                self._open.discard(tls)
            tls.close()
            raise OSError(str(e)) from None
        self.peer_certs.append(tls.getpeercert())
        return tls

    def _do_answer(self, conn):
        tls, data = self._tls(conn), b""
        try:
            while True:
                piece = tls.recv(65536)
                if not piece:
                    return
                data += piece
                message, data = sip.cut(data)
                while message:
                    self._take(tls, message)
                    message, data = sip.cut(data)
        finally:
            with self._lock:
                self._open.discard(tls)
            tls.close()

    def _take(self, tls, message):
        """One message that came: a reply is kept, a request is kept and answered."""
        if message.start.startswith("SIP/2.0 "):
            self.replies.append(message)
            return
        subject = (tls.getpeercert() or {}).get("subject", ())
        with self._lock:
            self.identities.append((dict(x[0] for x in subject).get("commonName"), getattr(tls, "asked", None)))
            self.requests.append(message)
        if message.method != "ACK":
            tls.sendall(sip.reply(message, self.code))
        if self.ask_back and len(self.requests) == 1:
            tls.sendall(sip.request(via=f"{self.address}:{self.port}"))

    def open_gate(self):
        """Lets handshakes go on."""
        self._gate.set()

    def drop_connections(self):
        """Ends every connection, but goes on listening."""
        with self._lock:
            still_open = list(self._open)
        for conn in still_open:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)

    def _do_silent(self, conn):
        self._wait_end(conn)

    def _do_silent_later(self, conn):
        tls = self._tls(conn)
        with contextlib.closing(tls):
            while tls.recv(65536):
                pass

    def _do_close_early(self, conn):
        conn.recv(65536)

    def _do_reset_early(self, conn):
        conn.recv(65536)
        reset(conn)

    def _do_close_later(self, conn):
        self._tls(conn).close()

    def _do_garbage(self, conn):
        conn.recv(65536)
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        self._wait_end(conn)

    def uri(self, scheme="sip", name=None):
        """Where the host can reach it."""
        address = name or (f"[{self.address}]" if ":" in self.address else self.address)
        return f"{scheme}:peer@{address}:{self.port};transport=tls"

    def wait_requests(self, count, timeout=TIMEOUT):
        """Waits until that many requests came."""
        wait_for(lambda: len(self.requests) >= count, timeout, f"{count} requests at the peer")
        return self.requests

    def close(self):
        """Ends every connection and the threads."""
        self.open_gate()
        with self._lock:
            self._closing, still_open = True, list(self._open)
        for s in [self.listener, *still_open]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for s in [self.listener, *still_open]:
            s.close()
        self._held.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class HttpsServer(Peer):
    """A web server that answers every request with a few bytes, for the host's own HTTPS calls."""

    def _do_answer(self, conn):
        tls, data = self._tls(conn), b""
        with contextlib.closing(tls):
            while True:
                piece = tls.recv(65536)
                if not piece:
                    return
                data += piece
                while b"\r\n\r\n" in data:
                    data = data.split(b"\r\n\r\n", 1)[1]
                    self.requests.append("GET")
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")


class Background:
    """Runs a function again and again in a thread until stop(); a failure in it fails the test at stop()."""

    def __init__(self, work, threads=1, pause=0.0):
        self.rounds, self._stop, self._failure, self._pause = 0, threading.Event(), None, pause
        self._work = work
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                self._work()
            except BaseException as e:  # pylint: disable=broad-except
                self._failure = self._failure or e
                return
            self.rounds += 1
            self._stop.wait(self._pause)

    def stop(self):
        """Ends the threads and returns how many rounds they did."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        if self._failure:
            raise self._failure
        return self.rounds

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        self._stop.set()


# -- programs that are not ours ------------------------------------------------------------------------------

def program(name, package):
    """The path of a program; a clear failure says which package has it."""
    path = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    assert path, f"{name} is not installed (Debian package: {package})"
    return path


def _talk(words, message, done, timeout):
    """Gives a program a SIP message on its input and reads its output until `done` matches."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    output = b""
    try:
        process.stdin.write(message)
        process.stdin.flush()
        while not re.search(done, output):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            output += piece
    except BrokenPipeError:
        pass
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()
    return output.decode(errors="replace")


def openssl_client(port, *options, message=None, address="127.0.0.1", timeout=TIMEOUT):
    """openssl s_client: connects, sends a request, returns what it printed."""
    host = f"[{address}]" if ":" in address else address
    words = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", "-nocommands", "-ign_eof", *options]
    return _talk(words, message or sip.request(), rb"SIP/2\.0 \d+[\s\S]*\r?\n\r?\n", timeout)


def gnutls_client(port, *options, message=None, address="127.0.0.1", timeout=TIMEOUT):
    """gnutls-cli: connects, sends a request, returns what it printed."""
    words = [program("gnutls-cli", "gnutls-bin"), "--port", str(port), *options, address]
    return _talk(words, message or sip.request(), rb"SIP/2\.0 \d+[\s\S]*\r?\n\r?\n|Fatal error|Handshake failed", timeout)


def baresip_registers(port, ca, seconds=40):
    """Runs the user agent baresip with one account over TLS until it is registered; returns its output."""
    path = program("baresip", "baresip-core")
    modules = next(p for p in ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules") if os.path.isdir(p))
    with tempfile.TemporaryDirectory(prefix="tls-baresip-") as folder:
        with open(os.path.join(folder, "config"), "w", encoding="ascii") as f:
            f.write(f"sip_listen 127.0.0.1:0\nsip_cafile {ca}\nsip_verify_server yes\nmodule_path {modules}\n"
                    "module_app account.so\nmodule_app menu.so\n")
        with open(os.path.join(folder, "accounts"), "w", encoding="ascii") as f:
            f.write(f"<sip:alice@localhost:{port};transport=tls>;outbound=\"sip:127.0.0.1:{port};transport=tls\""
                    ";auth_pass=none;regint=60\n")
        with open(os.path.join(folder, "contacts"), "w", encoding="ascii") as f:
            f.write("")
        process = subprocess.Popen([path, "-f", folder, "-s", "-v"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        return _until(process, rb"200 OK \(|useragent.*registered|All \d+ useragents? registered", seconds)


def _until(process, done, seconds):
    """Reads a program's output until `done` matches or the time is over, then ends it."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    output = b""
    try:
        while not re.search(done, output):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            output += piece
    finally:
        timer.cancel()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
    return output.decode(errors="replace")


SIPP_SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="options">
<send retrans="500"><![CDATA[
OPTIONS sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 20
From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""


def sipp_options(port, calls=200, rate=100, timeout=60):
    """sipp sends OPTIONS over UDP and wants 200: (failed calls, its exit code)."""
    with tempfile.TemporaryDirectory(prefix="tls-sipp-") as folder:
        scenario = os.path.join(folder, "options.xml")
        with open(scenario, "w", encoding="ascii") as f:
            f.write(SIPP_SCENARIO)
        held = Port()
        try:
            done = subprocess.run(
                [program("sipp", "sip-tester"), f"127.0.0.1:{port}", "-sf", scenario, "-i", "127.0.0.1", "-p",
                 str(held.number), "-m", str(calls), "-r", str(rate), "-timeout", str(timeout), "-recv_timeout", "20000",
                 "-timeout_error", "-trace_stat", "-stf", os.path.join(folder, "stat.csv"), "-nostdin"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
                timeout=timeout + 20, check=False)
        finally:
            held.release()
        with open(os.path.join(folder, "stat.csv"), encoding="ascii") as f:
            rows = [line.rstrip(";\n").split(";") for line in f]
        return int(rows[-1][rows[0].index("FailedCall(C)")]), done.returncode
