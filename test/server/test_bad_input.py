"""Bad input: from the operator, who gets an error to act on; from the network, which touches nothing else."""

import contextlib
import os
import random
import socket

import pytest

import sip
from host import wait_for
from peers import client_hello, connect, raw_exchange, refused, reset

# -- what the operator writes ------------------------------------------------------------------------------------


def refusal(start_host, expected, **how):
    """The host must not start, and its log must name each of `expected`."""
    host = start_host.make(**how)
    log = host.refuses()
    errors = "\n".join(line for line in log.splitlines() if "ERROR" in line or "CRITICAL" in line)
    for word in expected:
        assert word in errors, f"the errors do not name {word!r}:\n{errors}"


@pytest.mark.parametrize("kind", ["empty", "text", "binary", "header-only", "no-end", "cut", "bad-base64", "bad-der", "der"])
@pytest.mark.parametrize("setting", ["certificate", "private_key", "ca_list"])
def test_malformed_file(start_host, certs, setting, kind):
    path = certs.malformed[kind]
    more = {"verify_certificate": 1} if setting == "ca_list" else {}
    refusal(start_host, [path], modparams=certs.server_ec.params(**{setting: path}, **more))


@pytest.mark.parametrize("setting", ["certificate", "private_key", "ca_list"])
def test_missing_file(start_host, certs, setting):
    path = certs.path("no-such-file.pem")
    refusal(start_host, [path, "No such file"], modparams=certs.server_ec.params(**{setting: path}))


@pytest.mark.parametrize("setting", ["certificate", "private_key", "ca_list"])
def test_folder_in_place_of_a_file(start_host, certs, setting):
    refusal(start_host, [certs.folder], modparams=certs.server_ec.params(**{setting: certs.folder}))


@pytest.mark.parametrize("setting", ["certificate", "private_key", "ca_list"])
def test_unreadable_file(start_host, certs, setting):
    """Root reads everything, so root starts the host as nobody."""
    path = certs.write(f"unreadable-{setting}.pem", "")
    os.chmod(path, 0)
    wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    host = start_host.make(modparams=certs.server_ec.params(**{setting: path}), wrapper=wrapper)
    os.chmod(host.dir, 0o777)
    log = host.refuses()
    assert path in log and "Permission denied" in log, log


@pytest.mark.parametrize("wrong", ["server_rsa", "server_ec2"])
def test_key_of_another_certificate(start_host, certs, wrong):
    key = getattr(certs, wrong).key
    refusal(start_host, [key, certs.server_ec.cert], modparams=certs.server_ec.params(private_key=key))


def test_encrypted_key_without_password(start_host, certs):
    refusal(start_host, [certs.key_encrypted], modparams=certs.server_ec.params(private_key=certs.key_encrypted))


def test_certificate_in_place_of_the_key(start_host, certs):
    pair = certs.server_ec
    refusal(start_host, [pair.cert], modparams=pair.params(private_key=pair.cert))


@pytest.mark.parametrize("method", ["SSLv2", "SSLv3"])
def test_retired_protocols(start_host, certs, method):
    refusal(start_host, [method, {"SSLv2": "6176", "SSLv3": "7568"}[method]],
            modparams=certs.server_ec.params(tls_method=method))


@pytest.mark.parametrize("setting, value", [("tls_method", "TLSv9"), ("cipher_list", "NO-SUCH-CIPHER"),
                                            ("verify_depth", -5)])
def test_nonsense_values(start_host, certs, setting, value):
    refusal(start_host, [str(value)], modparams=certs.server_ec.params(**{setting: value}))


BAD_CONFIGS = {
    "unknown key": ("[server:default]\n{good}no_such_key = 1\n", ["no_such_key", ":5"]),
    "unknown section": ("[server:default]\n{good}[nonsense:default]\n", ["nonsense", ":5"]),
    "no section": ("method = TLSv1.2+\n", [":1"]),
    "bad address": ("[server:default]\n{good}[server:300.1.2.3:5061]\n", ["300.1.2.3", ":5"]),
    "bad port": ("[server:default]\n{good}[server:127.0.0.1:99999]\n", ["99999", ":5"]),
    "no value": ("[server:default]\n{good}verify_depth\n", ["verify_depth", ":5"]),
    "not a number": ("[server:default]\n{good}verify_depth = deep\n", ["deep", ":5"]),
    "not a boolean": ("[server:default]\n{good}verify_certificate = perhaps\n", ["perhaps", ":5"]),
    "open quote": ("[server:default]\n{good}cipher_list = \"HIGH\n", [":5"]),
    "open bracket": ("[server:default\n{good}", [":1"]),
    "bad method": ("[server:default]\nmethod = TLSv7\n", ["TLSv7", ":2"]),
    "old method": ("[client:default]\nmethod = SSLv3\n[server:default]\n{good}", ["SSLv3", ":2"]),
    "missing file": ("[server:default]\n{good}ca_list = /no/such/ca.pem\n", ["/no/such/ca.pem"]),
    "two of a kind": ("[server:default]\n{good}[server:default]\n{good}", ["default"]),
    "binary": ("\x01\x02\x03\x04 \ufffd\n", []),
    "long line": ("[server:default]\n" + "x" * 70000 + " = 1\n", []),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_tls_cfg(start_host, certs, case):
    text, expected = BAD_CONFIGS[case]
    refusal(start_host, ["tls.cfg", *expected], modparams={"tls": {}},
            tls_cfg=text.replace("{good}", certs.server_ec.section()))


def test_missing_tls_cfg(start_host, certs):
    path = certs.path("no-such.cfg")
    refusal(start_host, [path], modparams={"tls": {"config": path}})


def test_expired_certificate_starts_with_a_warning(start_host, certs):
    host = start_host(modparams=certs.server_expired.params())
    warnings = [line for line in host.log().splitlines() if "WARNING" in line and certs.server_expired.cert in line]
    assert any("expired" in line for line in warnings), f"no warning names the expired file: {warnings}"
    with connect(host.port()) as client:
        assert client.ask().status == 200


def test_port_taken(start_host, certs):
    """Another program has the port: an error that names it, no half-started host."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        host = start_host.make(modparams=certs.server_ec.params(), listen=[f"tls:127.0.0.1:{port}"])
        log = host.refuses()
    assert str(port) in log and "in use" in log


def test_second_start_after_a_refusal(start_host, certs):
    """What a refused start leaves does not stand in the way of the next."""
    host = start_host.make(modparams=certs.server_ec.params(certificate="/no/such/file"))
    host.refuses()
    host.modparams = certs.server_ec.params()
    host.start()
    with connect(host.port()) as client:
        assert client.ask().status == 200


# -- what the network sends --------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def host(module_host, certs):
    """One host stands all of it."""
    return module_host(modparams=certs.server_ec.params(), tcp_children=2)


@pytest.fixture
def bystander(host):
    """A connection that must not notice anything: after the test it, a new client and all processes are there."""
    host.revive()
    with connect(host.port()) as client:
        client.ask()
        yield client
        host.check_alive()
        assert client.ask().status == 200
        assert not refused(host.port())


def hello_record(**how):
    """A good ClientHello."""
    return client_hello(**how)


GARBAGE = {
    "plain SIP": sip.request(transport="TCP"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "SSLv2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),
    "random": random.Random(1).randbytes(5000),
    "zeros": bytes(3000),
    "CRLF pings": b"\r\n\r\n" * 20,
    "empty handshake record": b"\x16\x03\x01\x00\x00" * 50,
    "too long a record": b"\x16\x03\x01\xff\xff" + bytes(65535),
    "alert first": b"\x15\x03\x01\x00\x02\x02\x28",
    "warning alerts": b"\x15\x03\x01\x00\x02\x01\x5a" * 50,
    "application data first": b"\x17\x03\x03\x00\x20" + bytes(32),
    "ChangeCipherSpec first": b"\x14\x03\x03\x00\x01\x01",
    "many ChangeCipherSpecs": b"\x14\x03\x03\x00\x01\x01" * 200,
    "heartbeat": b"\x18\x03\x02\x00\x03\x01\x40\x00",
    "huge hello length": b"\x16\x03\x01\x00\x2f\x01\xff\xff\xff\x03\x03" + bytes(41),
    "version 9.9": b"\x16\x09\x09\x00\x2f\x01\x00\x00\x2b\x09\x09" + bytes(41),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_closes_the_connection(host, bystander, kind):
    _, closed = raw_exchange(host.port(), GARBAGE[kind], finish=False, timeout=3)
    if not closed:  # what may yet become a ClientHello is waited for; the end of the stream ends it
        _, closed = raw_exchange(host.port(), GARBAGE[kind], finish=True)
    assert closed, f"{kind}: the host keeps the connection"


@pytest.mark.parametrize("kind", ["plain SIP", "HTTP", "random"])
def test_no_request_is_taken_from_garbage(host, bystander, kind):
    answer, _ = raw_exchange(host.port(), GARBAGE[kind])
    assert b"SIP/2.0" not in answer and len(answer) < 100


@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_hello_cut_anywhere(host, bystander, version, end):
    """Every prefix of a ClientHello, all at once, each then ended."""
    hello = hello_record(version=version)
    before = None
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", host.port()), 20))
                       for _ in range(0, len(hello), 3)]
            for at, s in zip(range(0, len(hello), 3), sockets):
                s.sendall(hello[:at])
            for s in sockets:
                if end == "reset":
                    reset(s)
                else:
                    s.shutdown(socket.SHUT_WR)
                    assert read_to_end(s) < 4000
        wait_for(lambda: host.open_tls() == 1, 30, "the cut connections to go")
        before = before or host.shm_live()
    assert host.shm_settled(before * 1.01) <= before * 1.01


def read_to_end(s):
    """How many bytes came before the end of the stream."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            size += len(piece)
    return size


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_hello_with_any_byte_changed(host, bystander, version):
    """One bit of the ClientHello flipped, at every place: refused or not, nothing else happens."""
    hello = hello_record(version=version)
    before = None
    for seed in (1, 2):
        choice = random.Random(seed)
        for start in range(0, len(hello), 64):
            with contextlib.ExitStack() as stack:
                for at in range(start, min(start + 64, len(hello)), 2):
                    changed = bytearray(hello)
                    changed[at] ^= 1 << choice.randrange(8)
                    s = stack.enter_context(socket.create_connection(("127.0.0.1", host.port()), 20))
                    s.sendall(changed)
                    s.shutdown(socket.SHUT_WR)
            wait_for(lambda: host.open_tls() == 1, 30, "the connections to go")
        before = before or host.shm_live()
    assert host.shm_settled(before * 1.01) <= before * 1.01


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_broken_record_after_the_handshake(host, bystander, version):
    """Bytes that fail their authentication end this connection and no other."""
    for where in ("head", "body", "plain"):
        client = connect(host.port(), version)
        client.ask()
        client.tls.write(sip.request())
        record = bytearray(client.pull())
        if where == "head":
            record[0] = 0x55
        elif where == "body":
            record[len(record) // 2] ^= 1
        else:
            record = sip.request()
        client.push(bytes(record))
        assert client.closed_by_server(), f"{where}: the host keeps the connection"
        client.sock.close()


def test_bad_sip_inside_tls(host, bystander):
    """SIP that is none, in good TLS: this connection may end, nothing else."""
    for text in (b"\x00" * 3000, b"NONSENSE\r\n\r\n", b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -5\r\n\r\n",
                 b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n", b"A" * 100000):
        with connect(host.port()) as client:
            client.send(text)
            client.sock.close()


def test_connect_and_leave(host, bystander):
    """Clients that connect and go without a byte."""
    for i in range(200):
        s = socket.create_connection(("127.0.0.1", host.port()), 20)
        if i % 2:
            reset(s)
        else:
            s.close()
    wait_for(lambda: host.open_tls() == 1, 30, "the connections to go")
