"""Who the client is: certificates good and bad, and is_peer_verified()."""

import datetime
import socket
import ssl

import pytest

import sip
from host import wait_for
from peers import Client, Closed, client_context, connect, openssl_client, refused

SCRIPT = """
request_route {
	if (is_peer_verified()) {
		sl_send_reply("200", "Verified");
	} else {
		sl_send_reply("200", "Unknown");
	}
	exit;
}
"""
LISTEN = ("udp:127.0.0.1", "tls:127.0.0.1", "tcp:127.0.0.1")


def make(module_host, certs, **tls):
    """A host that trusts the test authority."""
    return module_host(listen=LISTEN, modparams=certs.server_ec.params(ca_list=certs.ca.cert, **tls), script=SCRIPT,
                       modules=["tm.so"])


@pytest.fixture(scope="module")
def strict(module_host, certs):
    """Wants a certificate and checks it."""
    return make(module_host, certs, verify_certificate=1, require_certificate=1)


@pytest.fixture(scope="module")
def lax(module_host, certs):
    """Checks a certificate if there is one."""
    return make(module_host, certs, verify_certificate=1, require_certificate=0)


@pytest.fixture(scope="module")
def careless(module_host, certs):
    """Asks for nothing."""
    return make(module_host, certs, verify_certificate=0, require_certificate=0)


def reason(host, **how):
    """What is_peer_verified() said of this client."""
    with connect(host.port(), **how) as client:
        return client.ask().start.split(" ", 2)[2]


@pytest.fixture(autouse=True)
def everyone_alive(strict, lax, careless):
    """After each test the hosts have all their processes and clean logs."""
    hosts = (strict, lax, careless)
    for host in hosts:
        host.revive()
    yield
    for host in hosts:
        host.check_alive()


GOOD = ["client_good", "client_chained", "client_many_names", "client_utf8", "client_empty_subject",
        "client_nul_in_name", "client_bad_ip"]
BAD = ["client_no_chain", "client_expired", "client_not_yet", "client_self_signed", "client_wrong_ca", "client_deep",
       "client_huge"]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("who", GOOD)
def test_good_certificate(strict, lax, certs, who, version):
    """Odd names are no reason to refuse, nor to crash: the chain is good."""
    for host in (strict, lax):
        assert reason(host, pair=getattr(certs, who), version=version) == "Verified"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("who", BAD)
def test_bad_certificate(strict, lax, certs, who, version):
    """A certificate that does not verify is refused, required or not; others are served."""
    for host in (strict, lax):
        assert refused(host.port(), pair=getattr(certs, who), version=version)
        assert reason(host, pair=certs.client_good, version=version) == "Verified"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_no_certificate(strict, lax, careless, version):
    assert refused(strict.port(), version=version)
    assert reason(lax, version=version) == "Unknown"
    assert reason(careless, version=version) == "Unknown"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_nothing_is_verified_where_nothing_is_asked(careless, certs, version):
    """The host did not ask for a certificate: whatever the client has, it is not verified."""
    for who in ("client_good", "client_wrong_ca"):
        assert reason(careless, pair=getattr(certs, who), version=version) == "Unknown"


# What a section says of clients, and what becomes of those with no certificate, a good and a bad one: None, refused.
RULES = [
    ({"require_certificate": "yes"}, (None, "Verified", None)),
    ({"require_certificate": "yes", "verify_certificate": "no"}, (None, "Verified", None)),
    ({"verify_client": "off"}, ("Unknown", "Unknown", "Unknown")),
    ({"verify_client": "off", "verify_certificate": "yes"}, ("Unknown", "Verified", None)),
    ({"verify_client": "off", "require_certificate": "yes"}, (None, "Verified", None)),
    ({"verify_client": "on", "verify_certificate": "no", "require_certificate": "no"}, (None, "Verified", None)),
    ({"verify_client": "optional"}, ("Unknown", "Verified", None)),
    ({"verify_client": "optional", "require_certificate": "yes"}, (None, "Verified", None)),
    ({"verify_client": "optional_no_ca"}, ("Unknown", "Verified", "Unknown")),
    ({"verify_client": "optional_no_ca", "verify_certificate": "yes"}, ("Unknown", "Verified", "Unknown")),
    ({"verify_client": "optional_no_ca", "require_certificate": "yes"}, (None, "Verified", "Unknown")),
]


@pytest.fixture(scope="module")
def ruled(module_host, certs):
    """A section for each of the rules: r0.test, r1.test, ..."""
    host = module_host(script=SCRIPT, tls_cfg=f"[server:default]\n{certs.server_ec.section()}\n" + "".join(
        f"[server:any]\nserver_name = r{i}.test\n{certs.server_ec.section(ca_list=certs.ca.cert, **rule)}\n"
        for i, (rule, _) in enumerate(RULES)))
    yield host
    host.check_alive()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("number", range(len(RULES)), ids=[" ".join(f"{k}={v}" for k, v in rule.items()) for rule, _ in RULES])
def test_rules_together(ruled, certs, number, version):
    """As in the packaged module: what one setting asks for is not taken back by another."""
    asked, answers = f"r{number}.test", []
    for pair in (None, certs.client_good, certs.client_wrong_ca):
        if refused(ruled.port(), pair=pair, version=version, server_name=asked):
            answers.append(None)
        else:
            answers.append(reason(ruled, pair=pair, version=version, server_name=asked))
    assert tuple(answers) == RULES[number][1]


def test_tcp_is_never_verified(strict):
    """is_peer_verified() on a connection without TLS is false and touches nothing."""
    with socket.create_connection(("127.0.0.1", strict.port("tcp:127.0.0.1")), 20) as s:
        s.sendall(sip.request(transport="TCP"))
        assert s.recv(65536).startswith(b"SIP/2.0 200 Unknown")


def test_verification_holds_for_each_worker(strict, certs):
    """Many connections over all workers; good and bad ones by turns, none takes the other's result."""
    for i in range(20):
        assert reason(strict, pair=certs.client_good, version=("1.2", "1.3")[i % 2]) == "Verified"
        assert refused(strict.port(), pair=certs.client_wrong_ca, version=("1.2", "1.3")[i % 2])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_resumed_session_is_still_verified(strict, certs, version):
    """A resumed session carries the client's certificate with it."""
    context = client_context(version, certs.client_good)
    session = None
    for resumed in (False, True, True):
        with Client(strict.port(), context, session=session).handshake() as client:
            assert client.ask().start.endswith("Verified")
            assert client.tls.session_reused == resumed
            session = client.tls.session


def test_session_ends_with_the_certificate(strict, certs):
    """It is resumed until the certificate expires; then the client is refused as any other."""
    end = datetime.datetime.utcnow().replace(microsecond=0) + datetime.timedelta(seconds=15)
    contexts = [client_context(version, certs.client("expires-soon", end=end)) for version in ("1.2", "1.3")]
    sessions = []
    for context in contexts:
        session = None
        for resumed in (False, True):
            with Client(strict.port(), context, session=session).handshake() as client:
                assert client.ask().start.endswith("Verified") and client.tls.session_reused == resumed
                session = client.tls.session
        sessions.append(session)
    wait_for(lambda: datetime.datetime.utcnow() > end + datetime.timedelta(seconds=1), what="the certificate to expire")
    for context, session in zip(contexts, sessions):
        with pytest.raises((ssl.SSLError, Closed)), Client(strict.port(), context, session=session).handshake() as client:
            client.ask()


@pytest.mark.parametrize("depth, accepted", [(0, False), (1, True)])
def test_verify_depth(start_host, certs, depth, accepted):
    """One intermediate is one step."""
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_certificate=1,
                                                       require_certificate=1, verify_depth=depth))
    assert refused(host.port(), pair=certs.client_chained) != accepted
    assert not refused(host.port(), pair=certs.client_good)


def test_ca_names_are_sent(strict, certs):
    """A client with several certificates picks one by the names that the server sends."""
    output = openssl_client(strict.port(), "-tls1_2", "-cert", certs.client_good.cert, "-key", certs.client_good.key)
    assert "Acceptable client certificate CA names" in output and "Test Root" in output, output
