"""What a server is for: clients of every kind connect, ask, and are answered, byte for byte."""

import contextlib
import hashlib
import re
import ssl
import subprocess
import threading
import warnings

import pytest

import sip
from host import need_messages_of, wait_for
from peers import (Client, Closed, baresip_registers, client_context, connect, gnutls_client, openssl_client, refused)

ECHO = """
request_route {
	append_to_reply("X-Pid: $pp\\r\\n");
	if ($rb != $null) {
		append_to_reply("X-Md5: $(rb{s.md5})\\r\\n");
	}
	if (method == "MESSAGE") {
		set_reply_body("$rb", "text/plain");
	}
	sl_send_reply("200", "OK");
	exit;
}
"""
LISTEN = ("udp:127.0.0.1", "tls:127.0.0.1", "tls:[::1]")
V4, V6 = ("127.0.0.1", "tls:127.0.0.1"), ("::1", "tls:[::1]")
BIG = {"tcp_rd_buf_size": 262144, "pv_buffer_size": 131072, "tcp_conn_wq_max": 4 << 20}


@pytest.fixture(scope="module")
def host(module_host, certs):
    """The host of most tests: an ECDSA certificate."""
    return module_host(listen=LISTEN, modparams=certs.server_ec.params(), script=ECHO, settings=BIG, shm_mb=128)


@pytest.fixture(scope="module")
def hosts(module_host, certs, host):
    """One host for each kind of key, made when asked for."""
    made = {"ec": host}

    def get(kind):
        if kind not in made:
            made[kind] = module_host(listen=LISTEN, modparams=getattr(certs, "server_" + kind).params(), script=ECHO)
        return made[kind]

    return get


@pytest.fixture(autouse=True)
def everyone_alive(host):
    """After each test the shared host has all its processes and a clean log."""
    host.revive()
    yield
    host.check_alive()


def digest(body):
    """The digest that the script answers with."""
    return hashlib.md5(body).hexdigest()


# -- versions, keys, addresses, clients ---------------------------------------------------------------------

@pytest.mark.parametrize("address, listen", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_request_is_answered(hosts, certs, version, kind, address, listen):
    with connect(hosts(kind).port(listen), version=version, ca=certs.ca.cert, address=address) as client:
        assert client.ask().status == 200
        assert client.version == version
        assert client.server_serial() == getattr(certs, "server_" + kind).x509.serial_number


def test_every_worker_serves(host):
    seen = set()

    def asked():
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(connect(host.port())) for _ in range(12)]
            seen.update(int(client.ask().get("x-pid")) for client in clients)
        return seen >= set(host.workers())

    wait_for(asked, 60, "every worker to answer")
    assert seen == set(host.workers())


def test_intermediate_is_sent(start_host, certs):
    host = start_host(modparams=certs.server_chained.params())
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.ask().status == 200


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_server_chain(start_host, certs, version):
    host = start_host(modparams=certs.server_big_chain.params())
    for step in (None, 3):
        client = Client(host.port(), client_context(version, ca=certs.ca.cert))
        with client.handshake(step):
            assert client.ask().status == 200


@pytest.mark.parametrize("options", [("-tls1_2",), ("-tls1_3",), ("-tls1_3", "-groups", "P-384"),
                                     ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")], ids=" ".join)
def test_openssl_client(host, certs, options):
    output = openssl_client(host.port(), *options, "-CAfile", certs.ca.cert, "-verify_return_error")
    assert "SIP/2.0 200 OK" in output, output
    assert "Verify return code: 0 (ok)" in output, output


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("priority", ["NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                      "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP521R1"])
def test_gnutls_client(hosts, certs, priority, kind):
    output = gnutls_client(hosts(kind).port(), "--x509cafile", certs.ca.cert, "--priority", priority)
    assert "SIP/2.0 200 OK" in output, output
    assert "The certificate is trusted" in output, output


def test_baresip_registers(host, certs):
    output = baresip_registers(host.port(), certs.ca.cert)
    assert "200 OK" in output, output


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
def test_old_versions_are_refused(host, version):
    context = client_context(ciphers="ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version|unsupported protocol"):
        Client(host.port(), context).handshake()
    assert connect(host.port()).ask().status == 200


@pytest.mark.parametrize("words", [("-tls1_2",), ("-tls1_2", "-legacy_renegotiation")], ids=["secure", "legacy"])
def test_renegotiation_is_refused(host, words):
    """openssl asks for a second handshake on the command R; a host that does it lets the program end in peace."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{host.port()}", *words], input=b"R\n",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    output = done.stdout.decode(errors="replace")
    assert "RENEGOTIATING" in output, output
    assert re.search("no renegotiation|unexpected eof|closed", output), output


# -- resumption ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_is_resumed_by_every_worker(host, version):
    context = client_context(version)
    with contextlib.ExitStack() as held:
        first = held.enter_context(Client(host.port(), context).handshake())
        workers = {first.ask().get("x-pid")}
        session = first.tls.session
        for turn in range(80):  # on until all have had one: some may still have the clients of before
            client = held.enter_context(Client(host.port(), context, session=session).handshake())
            workers.add(client.ask().get("x-pid"))
            assert client.tls.session_reused
            session = client.tls.session
            if turn >= 7 and len(workers) == len(host.workers()):
                break
    assert len(workers) == len(host.workers()), "one worker alone resumed its own sessions"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_from_before_a_restart(start_host, certs, version):
    context, session = client_context(version), None
    for _ in range(2):
        host = start_host(modparams=certs.server_ec.params())
        with Client(host.port(), context, session=session).handshake() as client:
            assert client.ask().status == 200
            assert not client.tls.session_reused
            session = client.tls.session
        host.stop()


def test_broken_ticket_means_full_handshake(host):
    """A ticket that the server cannot read, seen from the raw bytes: the client is not turned away."""
    context = client_context("1.2")
    with Client(host.port(), context).handshake() as first:
        first.ask()
        session = first.tls.session
    client = Client(host.port(), context, session=session)
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = bytearray(client.pull())
    ticket = hello.find(b"\x00\x23")
    assert ticket > 0
    hello[ticket + 24] ^= 0xFF
    client.push(bytes(hello))
    while not certificate_sent(client.received):
        client.feed()
    client.close(notify=False)


def certificate_sent(received):
    """Whether a Certificate message follows the ServerHello, in the same record or in the next: no resumption."""
    if len(received) < 200:
        return False
    assert received[0] == 22 and received[5] == 2, "no ServerHello came"
    rest = received[9 + int.from_bytes(received[6:9], "big"):]
    assert rest[:1] == b"\x0b" or rest[5:6] == b"\x0b", "the server did not fall back to a full handshake"
    return True


# -- the bytes of a stream -----------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [350, 16383, 16384, 16385, 20430, 65536, 70000, 200000])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_requests(host, version, size):
    need_messages_of(size)
    with connect(host.port(), version) as client:
        data = sip.request(size=size)
        assert len(data) == size
        client.send(data)
        answer = client.message()
        assert answer.status == 200
        if size > 400:
            assert answer.get("x-md5") == digest(sip.cut(data)[0].body)
        assert client.ask().status == 200, "the connection is out of step after it"


@pytest.mark.parametrize("size", [16385, 20430, 50000, 100000])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_replies(host, version, size):
    need_messages_of(size + 500)
    with connect(host.port(), version) as client:
        body = bytes(range(33, 123)) * (size // 90)
        answer = client.ask(method="MESSAGE", body=body, headers=["Content-Type: text/plain"])
        assert answer.body == body
        assert client.ask().status == 200


def test_replies_larger_than_the_socket_takes(host):
    """A client that does not read: the host's queue takes what the socket does not, in order, and nothing is lost."""
    with connect(host.port()) as client:
        bodies = [bytes([65 + i % 26]) * 20000 + str(i).encode() for i in range(60)]
        for i, body in enumerate(bodies):
            client.send(sip.request(method="MESSAGE", body=body, cseq=i + 1, headers=["Content-Type: text/plain"]))
        for i, body in enumerate(bodies):
            answer = client.message()
            assert answer.get("cseq").split()[0] == str(i + 1)
            assert answer.body == body


# A socket that takes a large piece whole, of the next one a half, and then all there is again.
TAKES_A_HALF = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/socket.h>

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
	static ssize_t (*real)(int, const void *, size_t, int);
	static int large;

	if (real == NULL)
		real = (ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
	return real(fd, bytes, size > 30000 && ++large == 2 ? size / 2 : size, flags);
}
"""


def test_last_reply_that_the_socket_takes_in_pieces(start_host, certs, tmp_path):
    """A large reply behind which the script wants the connection closed: not before all of it is sent."""
    need_messages_of(110500)
    source, library = tmp_path / "half.c", tmp_path / "half.so"
    source.write_text(TAKES_A_HALF)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    host = start_host(modparams=certs.server_ec.params(), settings=BIG, pkg_mb=16, env={"LD_PRELOAD": str(library)},
                      script=ECHO.replace("request_route {", "request_route {\n\tset_reply_close();", 1))
    with connect(host.port()) as client:
        body = b"x" * 110000
        assert client.ask(method="MESSAGE", body=body, headers=["Content-Type: text/plain"]).body == body
        assert client.closed_by_server(20)


@pytest.mark.parametrize("step", [1, 2, 7, 100])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_any_fragmentation(host, version, step):
    client = Client(host.port(), client_context(version))
    with client.handshake(step):
        for size in (400, 1500):
            data = sip.request(size=size)
            client.send(data, step)
            assert client.message().get("x-md5") == digest(sip.cut(data)[0].body)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_one_byte_a_record(host, version):
    """Each byte of a request in a TLS record of its own, all of them in few segments."""
    with connect(host.port(), version) as client:
        data = sip.request(size=900)
        for at in range(len(data)):
            client.tls.write(data[at:at + 1])
        client.push(client.pull())
        assert client.message().get("x-md5") == digest(sip.cut(data)[0].body)


@pytest.mark.parametrize("together", ["records", "one record"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_many_requests_in_one_segment(host, version, together):
    with connect(host.port(), version) as client:
        requests = [sip.request(cseq=i + 1) for i in range(40)]
        if together == "records":
            for data in requests:
                client.tls.write(data)
        else:
            client.tls.write(b"".join(requests))
        client.push(client.pull())
        assert [client.message().get("cseq") for _ in requests] == [f"{i + 1} OPTIONS" for i in range(40)]


def test_record_boundaries_inside_messages(host):
    """Records that end in the middle of a message's headers and body, many in one segment."""
    with connect(host.port()) as client:
        stream = b"".join(sip.request(size=700 + 13 * i, cseq=i + 1) for i in range(30))
        for at in range(0, len(stream), 331):
            client.tls.write(stream[at:at + 331])
        client.push(client.pull())
        assert [client.message().get("cseq") for _ in range(30)] == [f"{i + 1} OPTIONS" for i in range(30)]


def test_first_request_with_finished_tls13(host):
    for _ in range(40):
        with Client(host.port(), client_context("1.3")).handshake(hold_last=True) as client:
            client.tls.write(sip.request())
            client.push(client.pull())
            assert client.message().status == 200


def test_first_request_with_finished_tls12(host):
    """In TLS 1.2 the client is the last to speak only when it resumes."""
    context = client_context("1.2")
    with Client(host.port(), context).handshake() as first:
        first.ask()
        session = first.tls.session
    for _ in range(40):
        with Client(host.port(), context, session=session).handshake(hold_last=True) as client:
            assert client.tls.session_reused
            client.tls.write(sip.request())
            client.push(client.pull())
            assert client.message().status == 200


def test_request_split_from_finished(host):
    """Finished and the first half of a request in one segment, the rest later."""
    for cut in (1, 5, 6, 40, 200):
        with Client(host.port(), client_context("1.3")).handshake(hold_last=True) as client:
            finished = client.pull()
            client.tls.write(sip.request(size=600))
            record = client.pull()
            client.push(finished + record[:cut])
            client.push(record[cut:])
            assert client.message().status == 200


def test_request_and_close_in_one_segment(host):
    """A request, close_notify and FIN at once: the request is served before the end is noticed."""
    before = host.rpc("core.tcp_info")["opened_connections"]
    client = connect(host.port())
    client.tls.write(sip.request())
    try:
        client.tls.unwrap()
    except ssl.SSLError:
        pass
    client.push(client.pull())
    client.sock.shutdown(1)
    data = b""
    while True:
        piece = client.sock.recv(65536)
        if not piece:
            break
        data += piece
    client.incoming.write(data)
    assert b"200 OK" in client.tls.read(65536)
    client.sock.close()
    wait_for(lambda: host.rpc("core.tcp_info")["opened_connections"] <= before, what="the connection to go")


def test_key_update(host):
    """TLS 1.3 key updates in the middle of a stream; openssl sends them on the commands K and k."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{host.port()}", "-tls1_3"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        output = b""
        for expected in range(1, 4):
            process.stdin.write(b"K\n")
            process.stdin.flush()
            while output.count(b"KEYUPDATE") < expected:
                output += process.stdout.read1(65536) or b"KEYUPDATE"
            process.stdin.write(sip.request(headers=[f"X-Round: {expected}"]))
            process.stdin.flush()
            while output.count(b"SIP/2.0 200 OK") < expected:
                piece = process.stdout.read1(65536)
                assert piece, output
                output += piece
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


# -- beside other users of the library ------------------------------------------------------------------------

LITTER = """
request_route {
	crypto_aes_decrypt("bm8gY2lwaGVyIHRleHQgYXQgYWxsLCBidXQgbG9uZw==", "a key", "$var(nothing)");
	sl_send_reply("200", "OK");
	exit;
}
"""


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_errors_that_another_module_leaves(start_host, certs, version):
    """A failed call of another module leaves its error in the worker's queue: it is not taken for ours."""
    host = start_host(modparams=certs.server_ec.params(), modules=["crypto.so"], script=LITTER, tcp_children=1)
    for _ in range(5):
        with connect(host.port(), version) as client:
            for i in range(10):
                client.send(sip.request(cseq=i + 1), step=60)
                assert client.message().status == 200
    assert "crypto" in host.log(), "the other module did not fail: the test says nothing"


# -- what is told about connections --------------------------------------------------------------------------

def test_list_and_info(host):
    with connect(host.port(), "1.3") as client:
        client.ask()
        mine = [c for c in host.connections() if c["src_port"] == client.sock.getsockname()[1]]
        assert len(mine) == 1
        entry = mine[0]
        assert {"id", "timeout", "src_ip", "src_port", "dst_ip", "dst_port", "cipher", "ct_wq_size", "enc_rd_buf",
                "flags", "state"} <= set(entry)
        assert (entry["src_ip"], entry["dst_ip"], entry["dst_port"]) == ("127.0.0.1", "127.0.0.1", host.port())
        assert entry["state"] == "established" and "TLSv1.3" in entry["cipher"] and entry["ct_wq_size"] == 0
        info = host.rpc("tls.info")
        assert info["opened_connections"] == len(host.connections()) >= 1
        assert info["clear_text_write_queued_bytes"] == 0
        assert info["max_connections"] > 0


def test_connections_leave_nothing(host):
    """Connections that come and go, by every way to go, give their memory and their sockets back."""
    def round_of_clients():
        for i in range(60):
            client = connect(host.port(), ("1.2", "1.3")[i % 2])
            client.ask()
            if i % 3 == 0:
                client.reset()
            else:
                client.close(notify=i % 3 == 1)
        host.wait_no_connections()
        return host.shm_live()

    first = round_of_clients()
    for _ in range(2):
        round_of_clients()
    assert host.shm_settled(first * 1.01) <= first * 1.01
    host.wait_no_close_wait()


def test_a_refused_client_is_told(host):
    """No cipher in common: an alert, not silence, and the next client is served."""
    context = client_context("1.2", ciphers="AES128-SHA")
    with pytest.raises(ssl.SSLError, match="(?i)handshake failure"):
        Client(host.port(), context).handshake()
    assert not refused(host.port())


def test_close_notify_is_answered_by_a_close(host):
    client = connect(host.port())
    client.ask()
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.push(client.pull())
    assert client.closed_by_server()
    client.sock.close()
    with pytest.raises(Closed):
        client.push(b"x" * 10)
