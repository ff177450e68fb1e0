"""Secure WebSocket: the connection changes its type after the handshake, and everything still holds."""

import contextlib
import hashlib

import pytest

import sip
from host import need_messages_of
from peers import connect
from ws import ROUTE, WsClient, client_context, ws_connect

SCRIPT = """
request_route {
	append_to_reply("X-Pid: $pp\\r\\nX-Proto: $proto\\r\\n");
	if ($rb != $null) {
		append_to_reply("X-Md5: $(rb{s.md5})\\r\\n");
	}
	if (method == "MESSAGE") {
		set_reply_body("$rb$rb", "text/plain");
	}
	if (is_peer_verified()) {
		sl_send_reply("200", "Verified");
	}
	sl_send_reply("200", "OK");
	exit;
}
""" + ROUTE


@pytest.fixture(scope="module")
def host(module_host, certs):
    """A host that takes SIP, HTTPS and WebSocket on one TLS port."""
    return module_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_certificate=1), script=SCRIPT,
                       modules=["tm.so", "xhttp.so", "websocket.so"], shm_mb=128,
                       settings={"tcp_accept_no_cl": "yes", "tcp_rd_buf_size": 262144, "pv_buffer_size": 131072,
                                 "tcp_conn_wq_max": 4 << 20})


@pytest.fixture(autouse=True)
def everyone_alive(host):
    """After each test the host has all its processes and a clean log."""
    host.revive()
    yield
    host.check_alive()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sip_over_websocket(host, version):
    with ws_connect(host.port(), version) as client:
        for i in range(10):
            answer = client.ask(cseq=i + 1)
            assert answer.status == 200 and answer.get("x-proto").lower() == "wss"


@pytest.mark.parametrize("size", [16385, 20430, 65500])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_messages(host, version, size):
    with ws_connect(host.port(), version) as client:
        data = sip.request(transport="WSS", via="client.invalid", size=size)
        client.say(data)
        assert client.hear().get("x-md5") == hashlib.md5(sip.cut(data)[0].body).hexdigest()
        assert client.ask().status == 200


@pytest.mark.parametrize("size", [65536, 70000, 200000])
def test_more_than_the_host_takes(host, size):
    """The host's websocket module takes 65,534 bytes in a frame: more is refused in words (1009), never truncated."""
    need_messages_of(size + 500)
    with ws_connect(host.port()) as client:
        client.say(sip.request(transport="WSS", via="client.invalid", size=size))
        opcode, reason = client.hear_frame()
        assert opcode == 8 and reason[:2] == b"\x03\xf1", reason


@pytest.mark.parametrize("size", [8300, 16385, 30000])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_big_replies(host, version, size):
    """The reply has the body twice: up to 60,000 bytes in one frame, which is near the host's own limit."""
    body = bytes(range(33, 123)) * (size // 90)
    with ws_connect(host.port(), version) as client:
        answer = client.ask(method="MESSAGE", body=body, headers=["Content-Type: text/plain"])
        assert answer.body == body + body


@pytest.mark.parametrize("step", [1, 7, 100])
def test_any_fragmentation(host, step):
    client = WsClient(host.port(), client_context())
    with client.handshake(step).upgrade(split=step):
        client.say(sip.request(transport="WSS", via="client.invalid", size=900), step=step)
        assert client.hear().status == 200


def test_many_frames_in_one_segment(host):
    with ws_connect(host.port()) as client:
        for i in range(30):
            client.tls.write(client.frame(sip.request(transport="WSS", via="client.invalid", cseq=i + 1)))
        client.push(client.pull())
        assert [client.hear().get("cseq") for _ in range(30)] == [f"{i + 1} OPTIONS" for i in range(30)]


def test_first_frame_with_the_upgrade(host):
    """The client does not wait for the 101: request and first frame in one segment."""
    client = WsClient(host.port(), client_context()).handshake()
    with client:
        original = client.send
        frame = client.frame(sip.request(transport="WSS", via="client.invalid"))
        client.send = lambda data, *a: original(data + frame, *a)
        client.upgrade()
        client.send = original
        assert client.hear().status == 200


def test_list_shows_websockets(host):
    """tls.list tells of a connection whose type has changed."""
    with ws_connect(host.port(), "1.3") as client, connect(host.port()) as other:
        client.ask()
        other.ask()
        ports = {c["src_port"]: c for c in host.connections()}
        for one in (client, other):
            entry = ports.get(one.sock.getsockname()[1])
            assert entry and entry["state"] == "established" and "TLSv1.3" in entry["cipher"]


def test_kill_over_websocket(host):
    """tls.kill closes a connection whose type has changed, and no other."""
    with ws_connect(host.port()) as client, ws_connect(host.port()) as other:
        client.ask()
        other.ask()
        mine = next(c["id"] for c in host.connections() if c["src_port"] == client.sock.getsockname()[1])
        assert "closed" in host.rpc("tls.kill", mine)
        assert client.closed_by_server(10)
        assert other.ask().status == 200


def test_peer_is_verified_over_websocket(host, certs):
    with WsClient(host.port(), client_context(pair=certs.client_good)).handshake().upgrade() as client:
        assert client.ask().start.endswith("Verified")
    with ws_connect(host.port()) as client:
        assert client.ask().start.endswith("OK")


def test_ping_and_close(host):
    with ws_connect(host.port()) as client:
        client.send(client.frame(b"are you there", opcode=9))
        assert client.hear_frame() == (10, b"are you there")
        client.send(client.frame(b"\x03\xe8", opcode=8))
        assert client.hear_frame()[0] == 8
        assert client.closed_by_server(10)


def test_plain_https(host):
    """An HTTPS request that is no upgrade is answered as such."""
    with connect(host.port()) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b"nothing here" not in answer:
            answer += client.read()
        assert answer.startswith(b"HTTP/1.1 404")


def test_websockets_leave_nothing(host):
    """Clients that go in every way give back their memory and their sockets."""
    def round_of_clients():
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(ws_connect(host.port(), ("1.2", "1.3")[i % 2])) for i in range(24)]
            for i, client in enumerate(clients):
                client.ask(size=30000)
                if i % 3 == 0:
                    client.reset()
                elif i % 3 == 1:
                    client.send(client.frame(b"\x03\xe8", opcode=8))
        host.wait_no_connections()
        return host.shm_live()

    round_of_clients()
    first = round_of_clients()
    round_of_clients()
    # the websocket module keeps what it knows of a closed connection for some seconds
    assert host.shm_settled(first * 1.01, timeout=40) <= first * 1.01
    host.wait_no_close_wait()
