"""Revocation lists: a new one counts at once in every worker, a bad one changes nothing, a big one costs once."""

import base64
import contextlib
import datetime
import os
import re
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import sip
from certs import DAY, NOW, der, name
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
    wait_for(lambda: datetime.datetime.utcnow() > end + datetime.timedelta(seconds=1), what="the end of the list")
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


def test_list_that_ends_is_told_at_the_next_reload(site):
    """Its file is as it was, and the check that found nothing was made before: the end of a list is looked for all the same."""
    for seconds in (4, 16):  # a busy machine gets more time to look before the end
        end = datetime.datetime.utcnow().replace(microsecond=0) + datetime.timedelta(seconds=seconds)
        site.lists(until=end)
        before = [site.host.rpc("tls.check")["problems"], site.host.rpc("tls.reload"), site.host.rpc("tls.check")["problems"]]
        if in_time := datetime.datetime.utcnow() < end:
            break
    assert in_time and before[0] == before[2] == [], before
    # the module's clock has whole seconds, and may be some milliseconds behind
    wait_for(lambda: datetime.datetime.utcnow() > end + datetime.timedelta(seconds=1), what="the end of the list")
    problems = [p["text"] for p in site.host.rpc("tls.check")["problems"]]
    assert any("crl.pem" in p and "expired" in p for p in problems), problems


def test_list_of_another_authority(site, certs):
    """The chain's authority has no list: its clients are refused, and the log says which list is missing."""
    site.host.write("crl.pem", crl(certs.other_ca, [certs.client_revoked]))
    site.host.rpc("tls.reload")
    failed, port = site.fails(client_context(pair=certs.client_good))
    assert failed
    site.host.wait_log(rf"TLS handshake failed: peer 127\.0\.0\.1:{port}, .*unable to get certificate CRL")


# What is in crl.pem, piece by piece; and what a warning says of it, None: everybody good gets in, and there is no warning.
OTHER_POINT = x509.IssuingDistributionPoint([x509.UniformResourceIdentifier("http://example.test/1.crl")], None, False, False, None, False,
                                            False)


def kind_of_list(**values):
    """An issuing distribution point without a place."""
    wanted = {"full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
              "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False, **values}
    return x509.IssuingDistributionPoint(**wanted)


PIECES = {  # of the root, unless "by" names another pair of Lists
    "current": {}, "expired": {"since": -9, "until": -2}, "future": {"since": 2, "until": 9}, "older": {"since": -5},
    "of another key": {"by": "twin"}, "of another key, named": {"by": "twin", "key_id": True}, "of this key, named": {"key_id": True},
    "older of another key": {"by": "twin", "since": -5},
    "delta": {"extensions": [(x509.DeltaCRLIndicator(1), True)]},
    "indirect": {"extensions": [(kind_of_list(indirect_crl=True), True)]},
    "for users": {"extensions": [(kind_of_list(only_contains_user_certs=True), True)]},
    "for authorities": {"extensions": [(kind_of_list(only_contains_ca_certs=True), True)]},
    "for a reason": {"extensions": [(kind_of_list(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])), True)]},
    "for its point": {"extensions": [(OTHER_POINT, True)]},
    "strange": {"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), b"\x05\0"), True)]},
    "of another authority": {"by": "other"}, "of nobody, expired": {"by": "nobody", "since": -9, "until": -2},
}
COMBINATIONS = {
    "current": None, "expired": "it has expired", "future": "it is not valid yet", "expired, current": None, "current, expired": None,
    "future, current": None, "future, expired": "it has expired|it is not valid yet", "older, current": None,
    "of another key": "it is not signed by the key", "of another key, current": "it is not signed by the key",
    "current, older of another key": None, "of another key; named": "it is for another key of that name",
    "of another key; named, current": None, "of another key; named, of this key; named": None,
    "of another key, of this key; named": "it is not signed by the key",
    "delta": "it is a delta list", "delta, current": None, "indirect": "it is an indirect list", "indirect, current": None,
    "for users": "it covers only some of the certificates", "for authorities": "it covers only some of the certificates", "for users, for authorities": None,
    "for a reason": "it covers only some reasons", "for its point": "it covers only some of the certificates", "for its point, current": None, "strange": "critical extension", "strange, current": None,
    "of another authority": "every certificate of such an authority is refused",
}


def piece(certs, twin, by="ca", since=-2, until=30, key_id=False, extensions=()):
    """A list as PEM."""
    pair = {"twin": twin, "other": certs.other_ca, "ca": certs.ca, "nobody": certs.pair("nobody", name("Nobody"), ca=True)}[by]
    builder = (x509.CertificateRevocationListBuilder().issuer_name(pair.x509.subject).last_update(NOW + since * DAY)
               .next_update(NOW + until * DAY))
    if key_id:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(pair.private.public_key()), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(pair.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def twin(certs):
    """An authority with the root's name and a key of its own."""
    return certs.pair("twin", certs.ca.x509.subject, ca=True)


def list_warnings(host):
    """What tls.check says of crl.pem."""
    return [p["text"] for p in host.rpc("tls.check")["problems"] if ": crl: " in p["text"]]


@pytest.mark.parametrize("case", COMBINATIONS)
def test_warning_is_the_truth(site, certs, twin, case):
    """A good client is refused exactly where tls.check warns: once, with file, issuer and reason."""
    names = [name_.replace(";", ",") for name_ in case.split(", ")]
    site.host.write("crl.pem", "".join(piece(certs, twin, **PIECES[n]) for n in names))
    said, words = [line for line in list_warnings(site.host) if " has no effect" not in line], COMBINATIONS[case]
    site.host.rpc("tls.reload")
    refused = site.fails(client_context(pair=certs.client_good))[0]
    assert refused == (words is not None), f"refused: {refused}; said: {said}"
    assert len(said) == (words is not None), said
    again = [line for line in list_warnings(site.host) if " has no effect" not in line]
    assert again == said, f"at the next look at the same files: {again}"
    if words:
        assert re.search(rf"tls\.cfg:\d+: crl: \S+/crl\.pem(?::\d+)?: .*/O=Example/CN=Test Root.*(?:{words})", said[0]), said


@pytest.mark.parametrize("kind", ["delta", "indirect", "for a reason"])
def test_list_that_is_not_used(site, certs, twin, kind):
    """Beside a full one it keeps nobody out, nor does it let anybody in whom only the full one names; a warning says so."""
    full = crl(certs.ca, [certs.client_revoked])
    for text in (full + piece(certs, twin, **PIECES[kind]), piece(certs, twin, **{**PIECES[kind], "since": -1}) + full):
        site.host.write("crl.pem", text)
        said = list_warnings(site.host)
        assert len(said) == 1 and "the revocation list of /O=Example/CN=Test Root has no effect: it " in said[0], said
        site.host.rpc("tls.reload")
        assert site.fails(client_context(pair=certs.client_revoked))[0] and not site.fails(client_context(pair=certs.client_good))[0]


def test_line_of_the_list(site, certs, twin):
    """Of several lists the one in the way is named by its line."""
    first = piece(certs, twin, **PIECES["of another authority"])
    site.host.write("crl.pem", first + "# the root's\n" + piece(certs, twin, **PIECES["expired"]))
    assert f"crl.pem:{len(first.splitlines()) + 2}: every certificate of /O=Example/CN=Test Root is refused" in list_warnings(site.host)[0]


def test_list_of_an_intermediate_authority(site, certs, twin):
    """Peers send its certificate along: of its list only the time is known."""
    current, expired = piece(certs, twin), piece(certs, twin, **PIECES["of nobody, expired"])
    site.host.write("crl.pem", current + expired)
    said = list_warnings(site.host)
    assert len(said) == 1 and "every certificate of /CN=Nobody is refused because of its revocation list: it has expired" in said[0], said
    site.host.write("crl.pem", current + expired + piece(certs, twin, by="nobody"))
    assert list_warnings(site.host) == []


def test_authorities_without_lists(site, certs, twin):
    """All of them in one warning, and none about one that has expired itself."""
    authorities = [certs.pair(f"more-{i}", name(f"More {i}"), ca=True) for i in range(3)]
    authorities.append(certs.pair("more-old", name("More Old"), ca=True, start=NOW - 9 * DAY, end=NOW - DAY))
    text = "".join(open(p.cert, encoding="ascii").read() for p in [certs.ca, *authorities])  # pylint: disable=consider-using-with
    config = site.host.tls_cfg.replace(certs.ca.cert, site.host.write("authorities.pem", text))
    site.host.write("tls.cfg", config)
    site.host.write("crl.pem", piece(certs, twin))
    said = list_warnings(site.host)
    site.host.write("tls.cfg", site.host.tls_cfg)
    assert len(said) == 1 and re.search(r"there is no revocation list of /CN=More \d and 2 other trusted authorities: ", said[0]), said


def test_nobody_is_refused_who_is_not_asked(site):
    """A section that verifies nobody, or takes everything, has no warning."""
    config = site.host.tls_cfg
    site.lists(until=NOW - DAY)
    site.host.write("tls.cfg", re.sub("(verify|require)_certificate = yes", r"\1_certificate = no", config))
    said = list_warnings(site.host)
    site.host.write("tls.cfg", config)
    assert said == [] and len(list_warnings(site.host)) == 1


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
    small = sum(host.reload_seconds() for _ in range(100))
    site.lists(certs.client_revoked, extra=ENTRIES)
    assert os.path.getsize(host.path("crl.pem")) > 4 << 20

    first = host.reload_seconds()
    assert site.fails(revoked)[0] and not site.fails(client_context(pair=certs.client_good))[0]
    host.wait_no_connections()
    heavy = host.shm_live()
    assert heavy > light + (4 << 20), "the list weighs nothing: this test says nothing"

    unchanged = sum(host.reload_seconds() for _ in range(100))
    assert unchanged < 2 * small + first, \
        f"a hundred times unchanged: {unchanged} s of CPU, with a small list: {small} s, the first time: {first} s"
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
