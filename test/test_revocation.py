"""Revocation lists: a new one counts at once in every worker, a bad one changes nothing, a big one costs once."""

import base64
import contextlib
import datetime
import os
import re
import ssl

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import sip
from certs import DAY, NOW, der
from host import relay_script, wait_for
from peers import Client, Closed, Peer, UdpClient, client_context, connect, server_context, warm

SCRIPT = relay_script()
WORKERS = 8
SOON = datetime.timedelta(seconds=8)
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
NAMED = pytest.mark.parametrize("asked", ["localhost", "named.test"], ids=["default", "named"])
REFUSED = re.compile(r"^ *\d+\((\d+)\) NOTICE: .*TLS handshake failed: peer 127\.0\.0\.1:(\d+), .*certificate revoked", re.M)


def big_der(tag, content):
    """One DER element of any size."""
    size = len(content)
    return der(tag, content) if size < 1 << 16 else bytes([tag, 0x83]) + size.to_bytes(3, "big") + content


def utc_time(when):
    """A UTCTime."""
    return der(0x17, when.strftime("%y%m%d%H%M%SZ").encode())


def crl(issuer, revoked=(), extra=0, until=NOW + 30 * DAY):
    """A revocation list as PEM; written by hand, since libraries take a minute for 100,000 entries."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    serials = [p.x509.serial_number for p in revoked] + list(range(10 ** 12, 10 ** 12 + extra))
    since = utc_time(NOW - DAY)
    rows = b"".join(der(0x30, der(2, n.to_bytes(n.bit_length() // 8 + 1, "big")) + since) for n in serials)
    content = (b"\x02\x01\x01" + algorithm + issuer.x509.subject.public_bytes() + utc_time(NOW - 2 * DAY)
               + utc_time(until) + (big_der(0x30, rows) if rows else b""))
    signed = big_der(0x30, content)
    signature = issuer.private.sign(signed, ec.ECDSA(hashes.SHA256()))
    whole = big_der(0x30, signed + algorithm + big_der(3, b"\0" + signature))
    lines = base64.encodebytes(whole).decode()
    return f"-----BEGIN X509 CRL-----\n{lines}-----END X509 CRL-----\n"


class Site:
    """A host that looks its clients up in crl.pem, for its default domain and a named one, and what tests do to it."""

    def __init__(self, start, certs, **how):
        self.certs = certs
        self.host = start.make(script=SCRIPT, tcp_children=WORKERS, **how)
        self.lists()
        rules = {"verify_certificate": "yes", "require_certificate": "yes", "ca_list": certs.ca.cert,
                 "crl": self.host.path("crl.pem")}
        self.host.tls_cfg = (f"[server:default]\n{certs.server_ec.section(**rules)}\n"
                             f"[server:any]\n{certs.server_ec2.section(**rules, server_name='named.test')}\n"
                             f"[client:default]\nmethod = TLSv1.2+\n" + "".join(f"{k} = {v}\n" for k, v in rules.items()))
        self.host.start()

    def lists(self, *revoked, **how):
        """Writes a list with these in it, as an operator's job does: by a new file in the old one's place."""
        self.host.write("crl.pem", crl(self.certs.ca, revoked, **how))

    def revoke(self, *revoked, **how):
        """The same, and tls.reload."""
        self.lists(*revoked, **how)
        return self.host.rpc("tls.reload")

    def connect(self, pair, version=None, **how):
        """A client after its handshake."""
        return connect(self.host.port(), version, pair, **how)

    def fails(self, context, asked="localhost", session=None):
        """Whether the host refuses a client; the local port that it came from."""
        client = Client(self.host.port(), context, server_name=asked, session=session)
        port = client.sock.getsockname()[1]
        try:
            client.handshake()
            client.send(sip.request())
            client.message()
            return False, port
        except (ssl.SSLError, Closed):
            return True, port
        finally:
            client.close(notify=False)


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """The site of most tests."""
    return Site(module_host, certs)


@pytest.fixture
def site(shared):
    """The same, with nobody revoked before, and everything alive after."""
    shared.host.revive()
    shared.revoke()
    yield shared
    shared.host.check_alive()


# -- revoked ------------------------------------------------------------------------------------------------------

def refused_by_everyone(site, version, asked):
    """Revoked clients, several at a time, until each worker has refused some; none may get through."""
    port, context = site.host.port(), client_context(version, site.certs.client_revoked)
    mine, before = set(), len(site.host.log())

    def one_round():
        clients = [Client(port, context, server_name=asked) for _ in range(2 * WORKERS)]
        for client in clients:
            mine.add(client.sock.getsockname()[1])
            with contextlib.suppress(ssl.SSLWantReadError):
                client.tls.do_handshake()
            client.push(client.pull())
        for client in clients:
            with pytest.raises((ssl.SSLError, Closed)):
                client.handshake()
                client.message()
            client.close(notify=False)
        lines = REFUSED.findall(site.host.log()[before:])
        return {int(pid) for pid, peer in lines if int(peer) in mine} >= set(site.host.workers())

    wait_for(one_round, 60, "every worker to refuse a revoked client", interval=0)


@BOTH
@NAMED
def test_revoked_client_is_refused_by_every_worker(site, certs, version, asked):
    """Good until the list changes and is reloaded; then refused by each of eight workers, and others are not."""
    with site.connect(certs.client_revoked, version, server_name=asked) as client:
        assert client.ask().status == 200
    site.revoke(certs.client_revoked)
    refused_by_everyone(site, version, asked)
    with contextlib.ExitStack() as held:
        good = [held.enter_context(site.connect(certs.client_good, version, server_name=asked)) for _ in range(2 * WORKERS)]
        assert {client.ask().status for client in good} == {200}


@BOTH
@NAMED
def test_session_from_before_is_no_way_in(site, certs, version, asked):
    """The revoked client has tickets from every worker; none is taken, and the certificate is looked up."""
    context, other = (client_context(version, p) for p in (certs.client_revoked, certs.client_good))
    sessions = []
    for ctx in (context, other):
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(Client(site.host.port(), ctx, server_name=asked).handshake())
                       for _ in range(2 * WORKERS)]
            assert len({client.ask().get("x-pid") for client in clients}) > 1
            sessions.append([client.tls.session for client in clients])
    with Client(site.host.port(), context, server_name=asked, session=sessions[0][0]).handshake() as client:
        assert client.ask().status == 200 and client.tls.session_reused, "no session: this test says nothing"
    site.revoke(certs.client_revoked)
    for session in sessions[0]:
        failed, port = site.fails(context, asked, session)
        assert failed
        site.host.wait_log(rf"peer 127\.0\.0\.1:{port}, .*certificate revoked")
    for session in sessions[1][:4]:
        assert not site.fails(other, asked, session)[0]


@BOTH
def test_session_ends_with_the_list(site, certs, version):
    """It was made by a list that has ended since: the client has to be looked up again, and cannot be."""
    context, end = client_context(version, certs.client_good), datetime.datetime.utcnow().replace(microsecond=0) + SOON
    site.revoke(until=end)
    with Client(site.host.port(), context).handshake() as client:
        assert client.ask().status == 200
        session = client.tls.session
    with Client(site.host.port(), context, session=session).handshake() as client:
        assert client.ask().status == 200 and client.tls.session_reused, "no session: this test says nothing"
        session = client.tls.session
    wait_for(lambda: datetime.datetime.utcnow() > end, what="the end of the list")
    assert site.fails(context, session=session)[0]
    site.revoke()
    assert not site.fails(context, session=session)[0]


@BOTH
def test_unchanged_list_keeps_sessions(site, certs, version):
    """A reload that finds every file as it was costs no client a full handshake."""
    context = client_context(version, certs.client_good)
    with Client(site.host.port(), context).handshake() as client:
        client.ask()
        session = client.tls.session
    site.host.rpc("tls.reload")
    with Client(site.host.port(), context, session=session).handshake() as client:
        assert client.ask().status == 200 and client.tls.session_reused


def test_connections_that_stand_stay(site, certs):
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(site.connect(certs.client_revoked, ("1.2", "1.3")[i % 2])) for i in range(12)]
        site.revoke(certs.client_revoked)
        assert site.fails(client_context(pair=certs.client_revoked))[0]
        for round_ in range(3):
            assert {client.ask(cseq=round_ + 1).status for client in clients} == {200}


def test_revoked_in_the_middle_of_the_handshake(site, certs):
    """A client that has said hello before the reload is judged by the configuration that it began with."""
    client = Client(site.host.port(), client_context("1.2", certs.client_revoked))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.push(client.pull())
    client.feed()
    site.revoke(certs.client_revoked)
    with client.handshake():
        assert client.ask().status == 200


def test_taken_off_the_list(site, certs):
    """Back on the good side after the next list, in every worker."""
    context = client_context(pair=certs.client_revoked)
    site.revoke(certs.client_revoked)
    assert site.fails(context)[0]
    site.revoke()
    assert not any(site.fails(context)[0] for _ in range(2 * WORKERS))


def test_revoked_peer_is_not_connected_to(site, certs):
    """The list counts for connections of ours, too."""
    with Peer(server_context(certs.server_rsa)) as to, UdpClient(site.host.port("udp:127.0.0.1")) as udp:
        target = [f"X-Target: {to.uri()}"]
        assert udp.ask(headers=target).status == 200
        to.drop_connections()
        wait_for(lambda: not site.host.open_to(to.port), 20, "the old connection to go")
        site.revoke(certs.server_rsa)
        before = len(site.host.log())
        udp.send(headers=target)
        site.host.wait_log(rf"TLS handshake failed: peer 127\.0\.0\.1:{to.port}, .*certificate revoked", since=before)
        assert len(to.requests) == 1


# -- lists that are no good ------------------------------------------------------------------------------------------

def test_expired_list(site, certs):
    """It loads, as the last one there is; who is refused for it reads why in the log."""
    site.revoke(until=NOW - DAY)
    failed, port = site.fails(client_context(pair=certs.client_good))
    assert failed, "a list that has expired says nothing about this client"
    site.host.wait_log(rf"TLS handshake failed: peer 127\.0\.0\.1:{port}, .*CRL has expired")
    site.revoke()
    assert not site.fails(client_context(pair=certs.client_good))[0]


def test_expired_list_is_told_at_the_reload(site):
    """Not only when the first client is refused: the operator who loads it must see it, and so must tls.check."""
    site.lists(until=NOW - DAY)
    problems = [p["text"] for p in site.host.rpc("tls.check")["problems"]]
    assert any("crl.pem" in p and "expired" in p for p in problems), problems


def test_list_of_another_authority(site, certs):
    """The chain's authority has no list: its clients are refused, and the log says which list is missing."""
    site.host.write("crl.pem", crl(certs.other_ca, [certs.client_revoked]))
    site.host.rpc("tls.reload")
    failed, port = site.fails(client_context(pair=certs.client_good))
    assert failed
    site.host.wait_log(rf"TLS handshake failed: peer 127\.0\.0\.1:{port}, .*unable to get certificate CRL")


def bad_lists(certs):
    """{case: text of a crl.pem that is none}."""
    good = crl(certs.ca, [certs.client_revoked])
    head, *body = good.splitlines(keepends=True)
    with open(certs.ca.cert, encoding="ascii") as f:
        certificate = f.read()
    return {"empty": "", "text": "no list at all\n", "cut": "".join([head, *body[:2]]), "no end": "".join([head, *body[:-1]]),
            "bad base64": head + "@@@@" + "".join(body), "bad der": head + "AAAA\n" + body[-1],
            "a certificate": certificate, "a good one and half of another": good + "".join([head, *body[:2]])}


@pytest.mark.parametrize("case", ["missing", "folder", "empty", "text", "cut", "no end", "bad base64", "bad der",
                                  "a certificate", "a good one and half of another"])
def test_bad_list_changes_nothing(site, certs, case):
    """The reload fails and names the file; the list from before goes on to refuse; the next good one counts."""
    site.revoke(certs.client_revoked)
    revoked, good = (client_context(pair=p) for p in (certs.client_revoked, certs.client_good))
    path = site.host.path("crl.pem")
    os.unlink(path)
    if case == "folder":
        os.mkdir(path)
    elif case != "missing":
        site.host.write("crl.pem", bad_lists(certs)[case])
    for _ in range(2):
        assert "crl.pem" in site.host.rpc_error("tls.reload")
    for _ in range(WORKERS):
        assert site.fails(revoked)[0] and not site.fails(good)[0]
    if case == "folder":
        os.rmdir(path)
    site.revoke(certs.client_good)
    assert site.fails(good)[0] and not site.fails(revoked)[0]


# -- a big one ---------------------------------------------------------------------------------------------------------

ENTRIES = 125000


@pytest.mark.long
def test_list_of_4_mb(start_host, certs):
    """Unchanged, reloads cost nothing; changed, it is replaced and the old one freed; refused clients stay refused."""
    site = Site(start_host, certs, shm_mb=384)
    host, revoked = site.host, client_context(pair=certs.client_revoked)
    warm(host, certs.client_good)
    light, held = host.shm_live(), host.rpc("tls.info")["shared_held"]
    site.lists(certs.client_revoked, extra=ENTRIES)
    assert os.path.getsize(host.path("crl.pem")) > 4 << 20

    first = host.reload_seconds()
    assert site.fails(revoked)[0] and not site.fails(client_context(pair=certs.client_good))[0]
    host.wait_no_connections()
    heavy = host.shm_live()
    assert heavy > light + (4 << 20), "the list weighs nothing: this test says nothing"

    unchanged = sum(host.reload_seconds() for _ in range(100))
    assert unchanged < 5 * first, f"a hundred times unchanged: {unchanged} s of CPU, the first time: {first} s"
    assert host.shm_live() <= heavy + 20000

    sizes = []
    for round_ in range(3):
        site.lists(certs.client_revoked, extra=ENTRIES - round_)
        assert host.reload_seconds() > first / 4, "a changed list was not read"
        assert site.fails(revoked)[0]
        host.wait_no_connections()
        sizes.append(host.shm_settled(heavy * 1.01))
    assert max(sizes) <= heavy * 1.01, f"{heavy} bytes with one list, then {sizes}"
    assert site.revoke() and host.shm_settled(light * 1.05) <= light * 1.05, "the big list was not freed"
    wait_for(lambda: host.rpc("tls.info")["shared_held"] < held + (1 << 20), 30, "the big list's memory to go back to the host")
    assert not site.fails(revoked)[0]
    host.stop()


def assert_clean(counts):
    """Nobody was failed."""
    assert counts["failed"] == 0 and counts["ok"] == 600, counts


@pytest.mark.long
def test_big_list_while_clients_come_and_go(start_host, certs, load):
    """Hourly reloads, quicker: a changed list again and again under traffic; nobody good is failed."""
    site = Site(start_host, certs, shm_mb=512)
    texts = [crl(certs.ca, [certs.client_revoked], extra=ENTRIES // 8 + i) for i in range(2)]
    pair = certs.client_good
    traffic = load.start(site.host.port(), connections=600, parallel=20, rate=200, cert=pair.cert, key=pair.key,
                         time_limit=200)
    revoked = client_context(pair=certs.client_revoked)
    rounds = 0
    while traffic.poll() is None or rounds < 2:
        if traffic.poll() is not None:  # too fast for the reloads: more of it
            assert_clean(load.finish(traffic))
            traffic = load.start(site.host.port(), connections=600, parallel=20, rate=200, cert=pair.cert, key=pair.key,
                                 time_limit=200)
        site.host.write("crl.pem", texts[rounds % 2])
        site.host.rpc("tls.reload")
        assert site.fails(revoked)[0]
        rounds += 1
    assert_clean(load.finish(traffic))
    site.host.stop()
