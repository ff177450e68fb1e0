"""TLS compression between two hosts: no client that is packaged here has it. A tap on the wire tells what they agreed
on and how many bytes a message took."""

import contextlib
import os
import socket
import threading

import pytest

from host import Port, wait_for
from peers import UdpClient, connect

RELAY = """
request_route {
	$ru = $hdr(X-Target);
	remove_hf("X-Target");
	if (!t_relay()) {
		sl_reply_error();
	}
	exit;
}
"""
ECHO = """
request_route {
	if ($rb != $null) {
		set_reply_body("$rb", "application/octet-stream");
	}
	append_to_reply("X-Pid: $pp\\r\\n");
	sl_send_reply("200", "OK");
	exit;
}
"""
UDP, ANYWHERE = "udp:127.0.0.1", "tls:0.0.0.0"
ON = {"tls_disable_compression": 0}
SETTINGS = {"tcp_rd_buf_size": 262144, "pv_buffer_size": 131072}
LOW = "DEFAULT:@SECLEVEL=1"
TEXT = b"0123456789abcdef, and again the same text.\n" * 1300
NOISE = os.urandom(56000).replace(b"\0", b"1")
DEFLATE, NONE = 1, 0


def section(role, **keys):
    """A default section of tls.cfg."""
    return f"[{role}:default]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def server_cfg(certs, ciphers=LOW):
    """The file of the host that answers."""
    pair = certs.server_ec
    return section("server", certificate=pair.cert, private_key=pair.key, method="TLSv1.2+", cipher_list=ciphers)


def client_cfg(certs, method="TLSv1.2"):
    """The file of the host that relays."""
    return server_cfg(certs) + section("client", method=method, cipher_list=LOW)


def relaying(start, cfg, tls=ON, **how):
    """Starts a host that relays from UDP to TLS."""
    return start(listen=(UDP, "tls:127.0.0.1"), modparams={"tls": tls, "tm": {"fr_timer": 10000, "wt_timer": 500}}, modules=["tm.so"], script=RELAY,
                 tls_cfg=cfg, settings=SETTINGS, **how)


def answering(start, cfg, tls=ON, **how):
    """Starts a host that sends the body of a request back."""
    return start(listen=(ANYWHERE,), modparams={"tls": tls}, script=ECHO, tls_cfg=cfg, settings=SETTINGS, **how)


@pytest.fixture(scope="module")
def relay(module_host, certs):
    """A host that asks for compression."""
    return relaying(module_host, client_cfg(certs), children=4, shm_mb=256)


@pytest.fixture(scope="module")
def answerer(module_host, certs):
    """A host that compresses."""
    return answering(module_host, server_cfg(certs))


class Tap:
    """Stands between two hosts and keeps what passes."""

    def __init__(self, port):
        self.target, self.sent, self.received = port, [], []
        self._held = Port()
        self.port = self._held.number
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.sockets = [self.listener]
        self.threads = []
        self._run(self._accept)

    def _run(self, work, *args):
        thread = threading.Thread(target=work, args=args)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                here, _ = self.listener.accept()
                there = socket.create_connection(("127.0.0.1", self.target))
                self.sockets += [here, there]
                self._run(self._copy, here, there, self.sent)
                self._run(self._copy, there, here, self.received)

    @staticmethod
    def _copy(from_, to, kept):
        with contextlib.suppress(OSError):
            while data := from_.recv(65536):
                kept.append(data)
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def offered(self):
        """The compression methods of the ClientHello."""
        hello = b"".join(self.sent)
        at = 44 + hello[43]
        at += 2 + int.from_bytes(hello[at:at + 2], "big")
        return list(hello[at + 1:at + 1 + hello[at]])

    def chosen(self):
        """The compression method of the ServerHello."""
        return chosen(b"".join(self.received))

    def counts(self):
        """Bytes so far, (to the server, to the client)."""
        return sum(map(len, self.sent)), sum(map(len, self.received))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in list(self.sockets):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in list(self.threads):
            thread.join(10)
        for s in self.sockets:
            s.close()
        self._held.release()


def chosen(received):
    """The compression method in the ServerHello that the raw bytes of a server begin with."""
    assert received[0] == 22 and received[5] == 2, "the server's first message is no ServerHello"
    return received[44 + received[43] + 2]


def target(port, address="127.0.0.1"):
    """The header that tells the script where to send a request."""
    return [f"X-Target: sip:echo@{address}:{port};transport=tls"]


def echo(udp, port, body, address="127.0.0.1"):
    """Sends a body through both hosts and back; returns the process that answered."""
    answer = udp.ask(headers=target(port, address), body=body)
    assert answer.status == 200
    assert answer.body == body, "the body came back changed"
    return answer.get("x-pid")


def seen(host):
    """What tls.list says of the compression of each connection."""
    return {c["compression"] for c in host.connections() if c["state"] == "established"}


def agreed(relay, answerer):
    """One small request: (methods offered, method chosen)."""
    with Tap(answerer.port(ANYWHERE)) as tap, UdpClient(relay.port(UDP)) as udp:
        echo(udp, tap.port, b"hello")
        return tap.offered(), tap.chosen()


def hang_up(*hosts):
    """Ends all connections; returns how many bytes OpenSSL then has in the shared memory of each host."""
    for host in hosts:
        for connection in host.connections():
            with contextlib.suppress(AssertionError):  # gone with its other end
                host.rpc("tls.kill", connection["id"])
        host.wait_no_connections()
    return tuple(still(host) for host in hosts)


def still(host):
    """The bytes when they have stopped changing: a connection that is no longer listed is still being freed."""
    last = []

    def unchanged():
        last.append(host.rpc("tls.info")["shared_bytes"])
        return len(last) > 5 and len(set(last[-5:])) == 1

    wait_for(unchanged, 20, "memory to settle", 0.05)
    return last[-1]


# -- on ---------------------------------------------------------------------------------------------------------

def test_the_log_says_what_it_means(relay, answerer):
    for host in (relay, answerer):
        assert host.log().count("CRIME") == 1
        assert host.log().count("@SECLEVEL=1") == 1


def test_large_messages_both_ways(relay, answerer):
    with Tap(answerer.port(ANYWHERE)) as tap, UdpClient(relay.port(UDP)) as udp:
        echo(udp, tap.port, b"hello")
        assert (tap.offered(), tap.chosen()) == ([DEFLATE, NONE], DEFLATE)
        before = tap.counts()
        echo(udp, tap.port, TEXT)
        for grown in (now - then for now, then in zip(tap.counts(), before)):
            assert grown < len(TEXT) / 10, f"{len(TEXT)} bytes of text took {grown} bytes on the wire"
        for body in (NOISE, b"x", TEXT, NOISE[:16384], TEXT[:1]):
            echo(udp, tap.port, body)


def test_tls_list(relay, answerer):
    hang_up(relay, answerer)
    with UdpClient(relay.port(UDP)) as udp:
        echo(udp, answerer.port(ANYWHERE), b"hello")
        assert seen(relay) == seen(answerer) == {"DEFLATE"}
    hang_up(relay, answerer)
    with connect(answerer.port(ANYWHERE), "1.2") as client:
        client.ask()
        assert seen(answerer) == {"none"}


def test_cost_of_a_connection(relay, answerer):
    """26 KB to send, 11 KB to receive, 18 KB of OpenSSL's (28 from 3.2 on). 20 KB without compression."""
    before, _ = hang_up(relay, answerer)
    with UdpClient(relay.port(UDP)) as udp:
        for address in range(1, 21):
            echo(udp, answerer.port(ANYWHERE), TEXT, f"127.0.0.{address}")
        each = (relay.rpc("tls.info")["shared_bytes"] - before) / 20
    assert 37 * 1024 < each < (26 + 11 + 28 + 20) * 1024, f"{each} bytes a connection"


def test_many_connections(relay, answerer):
    """Every worker takes part in every connection; when all are gone, so is their memory."""
    used = []

    def talk(first):
        with UdpClient(relay.port(UDP)) as udp:
            for turn in range(6):
                for address in range(first, first + 10):
                    echo(udp, answerer.port(ANYWHERE), (TEXT, NOISE, TEXT[:900])[turn % 3], f"127.0.0.{address}")

    for _ in range(4):
        failures = in_threads(talk, range(1, 61, 10))
        assert not failures, failures[0]
        assert answerer.open_tls() >= 60
        used.append(hang_up(relay, answerer))
    assert used[-1] == used[1], f"shared memory of OpenSSL after each round, in both hosts: {used}"


def test_connections_that_move(relay, answerer):
    """A worker lets go of a connection that is silent for 5 s; another one goes on where it was."""
    port, addresses = answerer.port(ANYWHERE), [f"127.0.1.{n}" for n in range(1, 13)]
    with UdpClient(relay.port(UDP)) as udp:
        before = [echo(udp, port, TEXT, address) for address in addresses]
        wait_for(lambda: not held(answerer, answerer.workers()), 40, "the workers to let go of their connections")
        for address in reversed(addresses):
            echo(udp, port, NOISE, address)
        after = [echo(udp, port, TEXT, address) for address in addresses]
    assert before != after, "no connection has moved"


def held(host, pids):
    """The sockets of TLS connections that one of these processes holds."""
    ports, pids = {host.port(ANYWHERE)}, set(pids)
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    mine = {int(row[9]) for row in rows if int(row[1].split(":")[1], 16) in ports and row[3] == "01"}
    return [inode for inode, holders in host.sockets().items() if inode in mine and pids & set(holders)]


def in_threads(work, arguments):
    """Runs work(argument) for all of them at once; returns what went wrong."""
    failures = []

    def one(argument):
        try:
            work(argument)
        except BaseException as e:  # pylint: disable=broad-except
            failures.append(e)

    threads = [threading.Thread(target=one, args=(a,)) for a in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_clients_without_it(answerer, version):
    with connect(answerer.port(ANYWHERE), version) as client:
        assert client.ask(body=TEXT[:30000]).body == TEXT[:30000]
        assert chosen(client.received) == NONE


def test_connection_that_breaks(relay, answerer):
    """Its streams go with it."""
    before = hang_up(relay, answerer)
    with Tap(answerer.port(ANYWHERE)) as tap, UdpClient(relay.port(UDP)) as udp:
        echo(udp, tap.port, TEXT)
    for host in (relay, answerer):
        host.wait_no_connections()
    assert hang_up(relay, answerer) == before


# -- off --------------------------------------------------------------------------------------------------------

def test_off_by_default(start_host, certs, relay):
    plain = answering(start_host, server_cfg(certs), tls={})
    assert "CRIME" not in plain.log()
    assert agreed(relay, plain) == ([DEFLATE, NONE], NONE)


def test_off_in_the_client(start_host, certs, answerer):
    plain = relaying(start_host, client_cfg(certs), tls={})
    assert agreed(plain, answerer) == ([NONE], NONE)


def test_not_at_security_level_2(start_host, certs, relay):
    strict = answering(start_host, server_cfg(certs, ciphers="DEFAULT:@SECLEVEL=2"))
    assert agreed(relay, strict) == ([DEFLATE, NONE], NONE)


def test_not_in_tls_1_3(start_host, certs, answerer):
    modern = relaying(start_host, client_cfg(certs, method="TLSv1.3"))
    assert agreed(modern, answerer) == ([NONE], NONE)
