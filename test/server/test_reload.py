"""tls.reload: built aside, swapped whole, the old one freed with its last connection; a bad one changes nothing."""

import contextlib
import os
import ssl
import threading

import pytest

import sip
from certs import name
from host import relay_script, wait_for
from peers import (Background, Client, Peer, UdpClient, client_context, client_hello, connect, raw_exchange, refused,
                   server_context)

UDP = "udp:127.0.0.1"
PIECE = 128000  # bytes of shared memory that the module takes from the host at a time
RELAY = relay_script(stateful=True)


def text(pair, server=None, client=None):
    """A tls.cfg that serves this pair; more keys for either side."""
    more = "".join(f"{k} = {v}\n" for k, v in (client or {}).items())
    return f"[server:default]\n{pair.section(**(server or {}))}\n[client:default]\nmethod = TLSv1.2+\n{more}"


def make(start, certs, **how):
    """A host that relays, from a tls.cfg with the first certificate."""
    how.setdefault("tls_cfg", text(certs.server_ec))
    how.setdefault("settings", {"tcp_rd_buf_size": 65536})
    return start(modules=["tm.so"], script=RELAY, modparams={"tm": {"fr_timer": 8000}, "tls": {}}, **how)


@pytest.fixture
def host(module_host_, certs):
    """The shared host, back on its first configuration, with everything alive before and after."""
    module_host_.revive()
    module_host_.write("tls.cfg", text(certs.server_ec))
    module_host_.rpc("tls.reload")
    yield module_host_
    module_host_.check_alive()


@pytest.fixture(scope="module")
def module_host_(module_host, certs):
    """One host for most tests of this file."""
    return make(module_host, certs)


def reload_to(host, config):
    """Writes a tls.cfg and reloads."""
    host.write("tls.cfg", config)
    return host.rpc("tls.reload")


def serial(host, certs, **how):
    """The serial number that a new connection sees."""
    with connect(host.port(), ca=certs.ca.cert, **how) as client:
        assert client.ask().status == 200
        return client.server_serial()


def serials(host, certs, count=8):
    """What new connections see that are held at the same time, so that every worker gets one."""
    workers, seen = set(), set()

    def asked():
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(connect(host.port(), ca=certs.ca.cert)) for _ in range(count)]
            workers.update(client.ask().get("x-pid") for client in clients)
            seen.update(client.server_serial() for client in clients)
        return len(workers) == len(host.workers())

    wait_for(asked, 60, "an answer of every worker")
    return seen


# -- good reloads -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("to", ["server_ec2", "server_rsa", "server_chained"])
def test_new_connections_get_the_new_certificate(host, certs, to):
    assert serials(host, certs) == {certs.server_ec.x509.serial_number}
    reload_to(host, text(getattr(certs, to)))
    assert serials(host, certs) == {getattr(certs, to).x509.serial_number}


def test_held_connections_go_on(host, certs):
    """Connections from before two reloads, one of which forbids them today, go on in every worker."""
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(connect(host.port(), ("1.2", "1.3")[i % 2])) for i in range(12)]
        reload_to(host, text(certs.server_ec2))
        reload_to(host, text(certs.server_ec2, server={"verify_certificate": "yes", "require_certificate": "yes",
                                                       "ca_list": certs.other_ca.cert}))
        assert refused(host.port())
        for round_ in range(3):
            for client in clients:
                assert client.ask(size=20000, cseq=round_ + 1).status == 200


def test_certificate_renewed_in_its_file(host, certs):
    """The usual renewal: the same paths, new contents."""
    copy = {}
    for kind in ("cert", "key"):
        copy[kind] = host.path("renewed." + kind)
    for pair in (certs.server_ec, certs.server_ec2, certs.server_rsa):
        for kind, to in copy.items():
            with open(getattr(pair, kind), encoding="ascii") as f:
                host.write(os.path.basename(to), f.read())
        reload_to(host, text(certs.server_ec, server={"certificate": copy["cert"], "private_key": copy["key"]}))
        assert serials(host, certs) == {pair.x509.serial_number}


def test_stricter_settings_hold_at_once_in_every_worker(host, certs):
    strict = {"verify_certificate": "yes", "require_certificate": "yes", "ca_list": certs.ca.cert}
    assert not refused(host.port())
    reload_to(host, text(certs.server_ec, server=strict))
    for _ in range(8):
        assert refused(host.port())
        assert not refused(host.port(), pair=certs.client_good)
    reload_to(host, text(certs.server_ec, server={"method": "TLSv1.2"}))
    for _ in range(8):
        assert refused(host.port(), version="1.3") and not refused(host.port(), version="1.2")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_from_before_a_reload(host, certs, version):
    """A client that resumes after a reload is served, resumed or not."""
    context = client_context(version)
    with Client(host.port(), context).handshake() as first:
        first.ask()
        session = first.tls.session
    reload_to(host, text(certs.server_ec2))
    with Client(host.port(), context, session=session).handshake() as client:
        assert client.ask().status == 200


def test_resumption_does_not_get_around_a_stricter_reload(host, certs):
    """A session made when no certificate was wanted is no way in once one is."""
    context = client_context("1.2")
    with Client(host.port(), context).handshake() as first:
        first.ask()
        session = first.tls.session
    reload_to(host, text(certs.server_ec, server={"verify_certificate": "yes", "require_certificate": "yes",
                                                  "ca_list": certs.ca.cert}))
    with pytest.raises(ssl.SSLError):
        Client(host.port(), context, session=session).handshake()


def test_resumption_keeps_no_cipher_that_a_reload_forbids(host, certs):
    """A session of TLS 1.2 made with a cipher that is no longer allowed means a full handshake, with another; else it is resumed."""
    context = client_context("1.2", ciphers="ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256")

    def come(session=None):
        with Client(host.port(), context, session=session).handshake() as client:
            assert client.ask().status == 200
            return client.tls.session, client.tls.session_reused, client.tls.cipher()[0]

    reload_to(host, text(certs.server_ec, server={"cipher_list": "ECDHE-ECDSA-AES128-SHA"}))
    session, _, cipher = come()
    assert cipher == "ECDHE-ECDSA-AES128-SHA" and come(session)[1:] == (True, cipher)
    reload_to(host, text(certs.server_ec, server={"cipher_list": "ECDHE-ECDSA-AES128-GCM-SHA256"}))
    assert come(session)[1:] == (False, "ECDHE-ECDSA-AES128-GCM-SHA256")
    reload_to(host, text(certs.server_ec, server={"cipher_list": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA"}))
    assert come(session)[1:] == (True, cipher)


# -- in the middle of things --------------------------------------------------------------------------------------

def test_reload_between_accept_and_hello(host, certs):
    client = Client(host.port(), client_context(ca=certs.ca.cert))
    wait_for(lambda: host.open_tls() >= 1, 20, "the connection to be accepted")
    reload_to(host, text(certs.server_ec2))
    reload_to(host, text(certs.server_rsa))
    with client.handshake():
        assert client.ask().status == 200


@pytest.mark.parametrize("cut", [1, 5, 40, 200])
def test_reload_within_the_hello(host, certs, cut):
    client = Client(host.port(), client_context(ca=certs.ca.cert))
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.pull()
    client.push(hello[:cut])
    wait_for(lambda: host.open_tls() >= 1, 20, "the connection to be accepted")
    reload_to(host, text(certs.server_ec2))
    client.push(hello[cut:])
    with client.handshake():
        assert client.ask().status == 200


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_reload_before_the_last_flight(host, certs, version):
    """The server has answered with the old certificate; the client finishes after two reloads."""
    client = Client(host.port(), client_context(version, ca=certs.ca.cert))
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.push(client.pull())
    while True:  # until the server's flight is complete, and ours is in memory
        client.feed()
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        if client.outgoing.pending:
            break
    reload_to(host, text(certs.server_ec2))
    reload_to(host, text(certs.server_rsa))
    with client.handshake():
        assert client.server_serial() == certs.server_ec.x509.serial_number
        assert client.ask().status == 200


def test_outgoing_connection_goes_on(host, certs):
    with Peer(server_context(certs.server_ec)) as to, UdpClient(host.port(UDP)) as udp:
        for i in range(4):
            assert udp.ask(headers=[f"X-Target: {to.uri()}"], cseq=i + 1).status == 200
            reload_to(host, text((certs.server_ec, certs.server_ec2)[i % 2]))
        assert len(to.requests) == 4 and to.accepted == 1


def test_new_outgoing_connections_follow_the_reload(host, certs):
    """After [client:default] begins to verify, a peer that is not trusted is no longer reached."""
    with Peer(server_context(certs.client_wrong_ca)) as to, UdpClient(host.port(UDP)) as udp:
        assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
        to.drop_connections()
        reload_to(host, text(certs.server_ec, client={"verify_certificate": "yes", "require_certificate": "yes",
                                                      "ca_list": certs.ca.cert}))
        wait_for(lambda: not host.open_to(to.port), 20, "the old connection to go")
        assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status >= 400
        assert len(to.requests) == 1


# -- bad reloads --------------------------------------------------------------------------------------------------

def bad_configs(certs):
    """{case: (tls.cfg, what the error must name)}."""
    good = certs.server_ec
    broken = {kind: (text(good, server={"certificate": path}), path) for kind, path in certs.malformed.items()}
    return {
        **broken,
        "missing certificate": (text(good, server={"certificate": "/no/such.pem"}), "/no/such.pem"),
        "missing key": (text(good, server={"private_key": "/no/such.key"}), "/no/such.key"),
        "key of another": (text(good, server={"private_key": certs.server_rsa.key}), certs.server_rsa.key),
        "encrypted key": (text(good, server={"private_key": certs.key_encrypted}), certs.key_encrypted),
        "bad CA": (text(good, server={"ca_list": certs.malformed["text"]}), certs.malformed["text"]),
        "bad client side": (text(good, client={"ca_list": "/no/such-ca.pem"}), "/no/such-ca.pem"),
        "bad cipher list": (text(good, server={"cipher_list": "NOTHING"}), "NOTHING"),
        "unknown key": (text(good, server={"no_such_key": 1}), "no_such_key"),
        "no configuration": ("nonsense\n", "tls.cfg"),
        "empty section name": ("[]\n", "tls.cfg"),
    }


CASES = ["empty", "text", "binary", "header-only", "no-end", "cut", "bad-base64", "bad-der", "der",
         "missing certificate", "missing key", "key of another", "encrypted key", "bad CA", "bad client side",
         "bad cipher list", "unknown key", "no configuration", "empty section name"]


@pytest.mark.parametrize("case", CASES)
def test_bad_reload_changes_nothing(host, certs, case):
    config, named = bad_configs(certs)[case]
    before = len(host.log())
    with connect(host.port(), ca=certs.ca.cert) as held:
        host.write("tls.cfg", config)
        for _ in range(2):
            host.rpc_error("tls.reload")
        errors = [line for line in host.log()[before:].splitlines() if "ERROR" in line]
        assert any(named in line for line in errors), f"no error names {named}: {errors}"
        assert held.ask().status == 200
    assert serials(host, certs) == {certs.server_ec.x509.serial_number}
    reload_to(host, text(certs.server_ec2))
    assert serials(host, certs) == {certs.server_ec2.x509.serial_number}


def test_missing_config_at_reload(host, certs):
    os.unlink(host.path("tls.cfg"))
    host.rpc_error("tls.reload")
    assert serial(host, certs) == certs.server_ec.x509.serial_number
    reload_to(host, text(certs.server_ec2))
    assert serial(host, certs) == certs.server_ec2.x509.serial_number


def test_bad_reloads_leave_nothing(host, certs):
    """What a failed reload built is given back."""
    def round_of_failures():
        for config, _ in bad_configs(certs).values():
            host.write("tls.cfg", config)
            host.rpc_error("tls.reload")
        return host.shm_live()

    first = round_of_failures()
    for _ in range(3):
        last = round_of_failures()
    assert min(last, host.shm_settled(first * 1.005)) <= first * 1.005


def test_errors_left_by_others_do_not_fail_a_reload(host, certs):
    """Failed handshakes leave errors in the library's queue of some process; a good reload is still good."""
    for _ in range(10):
        raw_exchange(host.port(), b"no TLS at all, but long enough to be read as a record\r\n\r\n")
        raw_exchange(host.port(), client_hello()[:100])
        host.write("tls.cfg", "nonsense")
        host.rpc_error("tls.reload")
        reload_to(host, text(certs.server_ec2))
    assert serial(host, certs) == certs.server_ec2.x509.serial_number


LITTER = """
request_route {
	if (crypto_aes_decrypt("bm8gY2lwaGVyIHRleHQgYXQgYWxsLCBidXQgbG9uZw==", "a key", "$var(nothing)")) {
		sl_send_reply("500", "No Litter");
		exit;
	}
	if (tls_reload()) {
		sl_send_reply("200", "Reloaded");
	} else {
		sl_send_reply("200", "As Before");
	}
	exit;
}
"""


def test_errors_of_another_module_do_not_fail_a_reload(start_host, certs):
    """The process that reloads has errors of another module in its queue; what is good at a start is good then, too."""
    full = {"ca_list": certs.ca.cert, "verify_certificate": "yes", "cipher_list": "HIGH"}
    host = start_host(tls_cfg=text(certs.server_ec, server=full), modules=["crypto.so"], script=LITTER)
    with UdpClient(host.port(UDP)) as udp:
        for pair in (certs.server_ec2, certs.server_rsa, certs.server_chained, certs.server_ec):
            host.write("tls.cfg", text(pair, server=full, client=full))
            assert udp.ask().start.endswith("Reloaded")
            with connect(host.port(), ca=certs.ca.cert) as client:
                assert client.server_serial() == pair.x509.serial_number


# -- memory -------------------------------------------------------------------------------------------------------

def bundle(certs, count=150):
    """A file of many authorities, so that a configuration has a weight."""
    path = certs.path(f"bundle-{count}.pem")
    if not os.path.exists(path):
        pems = [certs.pem(certs.issue(name(f"Authority {i}"), certs.new_key(), ca=True)) for i in range(count)]
        certs.write(os.path.basename(path), b"".join(pems))
    return path


def test_old_configuration_goes_with_its_last_connection(start_host, certs):
    """A heavy configuration, held by connections through a reload to a light one, and then let go."""
    host = make(start_host, certs, shm_mb=128)
    light, heavy = text(certs.server_ec), text(certs.server_ec2, server={"ca_list": bundle(certs)})

    def use():
        with contextlib.ExitStack() as held:
            for _ in range(8):
                held.enter_context(connect(host.port())).ask()
        host.wait_no_connections()

    use()
    reload_to(host, light)
    use()
    base = host.shm_live()
    reload_to(host, heavy)
    loaded = host.shm_live()
    assert loaded > base + 100000, "the heavy configuration weighs nothing: the test says nothing"
    with connect(host.port()) as one, connect(host.port()) as two:
        one.ask()
        two.ask()
        reload_to(host, light)
        assert host.shm_live() > base + 100000, "the old configuration is gone while connections use it"
        assert one.ask().status == 200 and two.ask().status == 200
    host.wait_no_connections()
    use()
    assert host.shm_settled(base * 1.01) <= base * 1.01
    host.stop()


def test_100_idle_reloads_are_flat(host, certs):
    configs = [text(certs.server_ec, server={"ca_list": bundle(certs)}), text(certs.server_rsa)]
    for i in range(10):
        reload_to(host, configs[i % 2])
    before = host.shm_live()
    private = host.private_kb()
    for i in range(100):
        reload_to(host, configs[i % 2])
    assert host.shm_settled(before * 1.01) <= before * 1.01
    grown = {host.first_pids[p]: kb - private[p] for p, kb in host.private_kb().items() if kb > private[p] + 600}
    assert not grown, f"private memory grew: {grown} KB"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_100_reloads_under_traffic(start_host, certs, load):
    """New connections, killed ones, TLS relayed to TLS, and a reload every few milliseconds: no one is failed."""
    host = make(start_host, certs, tcp_children=8, shm_mb=256)
    configs = [text(certs.server_ec), text(certs.server_rsa, server={"ca_list": bundle(certs, 30)}),
               text(certs.server_ec2)]
    host.write("tls.cfg", "nonsense")

    def reload_once(round_):
        if round_ % 10 == 9:
            host.write("tls.cfg", "nonsense")
            host.rpc_error("tls.reload")
        reload_to(host, configs[round_ % 3])

    def traffic():
        with Peer(server_context(certs.server_ec)) as to:
            def relay():
                with connect(host.port()) as client:
                    for _ in range(5):
                        assert client.ask(headers=[f"X-Target: {to.uri()}"]).status == 200

            with Background(relay, threads=2, pause=0.02):
                killed = load.start(host.port(), connections=1500, parallel=50, kill_percent=50, rate=300, time_limit=200)
                clean = load.start(host.port(), connections=1500, parallel=50, resume=True, rate=300, time_limit=200)
                for round_ in range(100):
                    reload_once(round_)
                    threading.Event().wait(0.02)
                for process in (killed, clean):
                    counts = load.finish(process)
                    assert counts["failed"] == 0 and counts["ok"] + counts["killed"] == 1500, counts
        reload_to(host, configs[0])
        host.wait_no_connections(30)
        wait_for(lambda: host.rpc("tm.stats")["current"] == 0, 40, "tm's transactions to end")
        return host.shm_live(), host.rpc("tls.info")["shared_blocks"], host.rpc("tls.info")["shared_held"]

    # The number of blocks shows what is left behind: a connection has 40, a configuration hundreds. The bytes vary more, as tables of
    # the library grow and shrink: 18 rounds with OpenSSL 3.5 ended with 3.449 to 3.490 MB in 7526 to 7533 blocks.
    before, blocks_before, held_before = traffic()
    after, _, held_after = traffic()
    wait_for(lambda: host.rpc("tls.info")["shared_blocks"] <= blocks_before + 20, 30, f"no more than the {blocks_before} blocks of before")
    assert min(after, host.shm_settled(before * 1.03)) <= before * 1.03
    wait_for(lambda: host.rpc("tls.info")["shared_held"] <= held_before + 8 * PIECE, 30,
             f"free memory to go back to the host; it held {held_before} bytes before, {held_after} after")
    host.stop()


def test_rapid_reloads_while_clients_are_killed(start_host, certs, load):
    """The client process dies by SIGKILL with handshakes under way, again and again, between reloads."""
    host = make(start_host, certs, tcp_children=4, shm_mb=128)
    for _ in range(10):
        client = load.start(host.port(), connections=100000, parallel=60, time_limit=20)
        for pair in (certs.server_ec2, certs.server_rsa, certs.server_ec):
            reload_to(host, text(pair))
        client.kill()
        client.communicate()
    host.wait_no_connections(30)
    assert serial(host, certs) == certs.server_ec.x509.serial_number
    host.stop()


def test_request_sent_before_the_reload_is_answered(host, certs):
    """Requests on their way while the configuration is swapped."""
    with connect(host.port()) as client:
        for i in range(30):
            client.send(sip.request(cseq=i + 1))
            if i % 3 == 0:
                reload_to(host, text((certs.server_ec, certs.server_ec2)[i % 2]))
        assert [client.message().get("cseq") for _ in range(30)] == [f"{i + 1} OPTIONS" for i in range(30)]
