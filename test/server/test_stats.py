"""What is counted, and that operators see it: through the host's statistics and through Prometheus."""

import calendar
import os
import re
import socket
import ssl
import urllib.request

import pytest

import sip
from host import TOP, relay_script, wait_for
from peers import (Client, Peer, UdpClient, client_context, client_hello, connect, raw_exchange, refused, reset,
                   server_context)

SCRIPT = relay_script() + """
event_route[xhttp:request] {
	prom_dispatch();
}
"""
UDP, TLS, TCP = "udp:127.0.0.1", "tls:127.0.0.1", "tcp:127.0.0.1"
FAILURES = ["failed_timeout", "failed_peer_closed", "failed_version", "failed_cipher", "failed_server_name",
            "failed_no_certificate", "failed_certificate_expired", "failed_certificate_revoked",
            "failed_certificate_unknown_issuer", "failed_certificate_other", "failed_own_certificate", "failed_alert",
            "failed_bad_data", "failed_memory", "failed_internal"]
GAUGES = ["max_connections", "opened_connections", "clear_text_write_queued_bytes", "generation", "domains",
          "soonest_expiry", "files_changed", "files_unreadable", "shared_bytes", "shared_blocks", "shared_held", "shared_available",
          "shared_refused"]
COUNTERS = ["handshakes_accepted", "handshakes_connected", "handshakes_resumed", "handshakes_tls_1_0",
            "handshakes_tls_1_1", "handshakes_tls_1_2", "handshakes_tls_1_3", "handshakes_failed",
            "connections_broken", "connections_crowded", "connections_refused", "queue_refused", "bytes_received", "bytes_sent",
            "wire_bytes_received", "wire_bytes_sent", "records_received", "records_sent", "reloads", "reloads_failed"]
# The library of the tests is asked for retired versions on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


def make(module_host, certs, extra="", **settings):
    """A host with the statistics on the web. `extra` stands behind the two default sections of its tls.cfg."""
    text = f"[server:default]\n{certs.server_ec.section(**settings)}\n[client:default]\nmethod = TLSv1.2+\n{extra}"
    return module_host(listen=(UDP, TLS, TCP), tls_cfg=text, modules=["xhttp.so", "xhttp_prom.so"], script=SCRIPT,
                       modparams={"xhttp_prom": {"xhttp_prom_stats": "tls:"},
                                  "tls": {"handshake_timeout": 5, "unknown_server_name": 0}},
                       settings={"tcp_accept_no_cl": "yes", "tcp_rd_buf_size": 65536})


@pytest.fixture(scope="module")
def host(module_host, certs):
    """A server that asks for nothing; example.test is served by a stricter domain."""
    strict = certs.server_ec.section(server_name="example.test", verify_certificate="yes", require_certificate="yes",
                                     ca_list=certs.ca.cert, crl=certs.crl_revoked)
    return make(module_host, certs, f"[server:any]\n{strict}", method="TLSv1.2+")


@pytest.fixture(autouse=True)
def everyone_alive(host):
    yield
    host.check_alive()


def stats(host):
    """{name: value} of the group, through the host's own command."""
    lines = host.rpc("stats.get_statistics", "tls:")
    return {name.strip(): int(value) for name, value in (line.split(":", 1)[1].split("=") for line in lines)}


def scrape(host):
    """The same as Prometheus reads it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{host.port(TCP)}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith("kamailio_tls_")}


class Change:
    """What a stretch of work changes: with Change(host) as change: ...; change.wait(name=1, ...)"""

    def __init__(self, host):
        self.host = host

    def __enter__(self):
        self.host.wait_no_connections()  # what others leave behind would be counted, too
        self.before = stats(self.host)
        return self

    def __exit__(self, *_):
        pass

    def now(self):
        """{name: difference}, without what has not changed and without the gauges."""
        after = stats(self.host)
        return {name: after[name] - self.before[name] for name in after
                if name not in GAUGES and after[name] != self.before[name]}

    def wait(self, **expected):
        """Waits until the counters named have grown by exactly so much."""
        try:
            wait_for(lambda: {name: self.now().get(name, 0) for name in expected} == expected, 30)
        except AssertionError:
            raise AssertionError(f"expected {expected}, found {self.now()}\n{self.host.log_tail(5)}") from None
        return self.now()


# -- visible -----------------------------------------------------------------------------------------------

def test_every_statistic_is_seen_everywhere(host):
    names = sorted(FAILURES + GAUGES + COUNTERS)
    assert sorted(stats(host)) == names
    assert sorted(scrape(host)) == ["kamailio_tls_" + name for name in names]


def test_documentation_names_every_statistic():
    """doc/operating.md has a row for each, and none for what there is not."""
    with open(os.path.join(TOP, "doc", "operating.md"), encoding="utf-8") as f:
        text = f.read().split("\n| Counter |", 1)[1]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([^`]+)`", "".join(rows))) == sorted(FAILURES + GAUGES + COUNTERS)


def test_prometheus_reads_what_the_host_counts(host, certs):
    host.wait_no_connections()
    before = scrape(host)
    with connect(host.port(), version="1.3", ca=certs.ca.cert) as client:
        client.ask()
        during = scrape(host)
        assert during["kamailio_tls_opened_connections"] == 1
    wait_for(lambda: scrape(host)["kamailio_tls_opened_connections"] == 0, 20, "the connection to go")
    for name in ("handshakes_accepted", "handshakes_tls_1_3"):
        assert during["kamailio_tls_" + name] == before["kamailio_tls_" + name] + 1
    assert during["kamailio_tls_bytes_received"] > before["kamailio_tls_bytes_received"]


# -- handshakes --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_handshakes_by_version(host, version):
    with Change(host) as change:
        for _ in range(3):
            with connect(host.port(), version=version) as client:
                client.ask()
        name = "handshakes_tls_" + version.replace(".", "_")
        found = change.wait(**{"handshakes_accepted": 3, name: 3})
    assert not [n for n in found if n.startswith(("failed", "handshakes_failed", "connections_"))], found


def test_retired_versions(certs, module_host):
    """TLS 1.0 and 1.1, where an operator still lets them in."""
    how = {"method": "TLSv1+", "cipher_list": "ALL:@SECLEVEL=0"}
    old = make(module_host, certs, **how)
    for version, minimum in (("1_0", ssl.TLSVersion.TLSv1), ("1_1", ssl.TLSVersion.TLSv1_1)):
        context = client_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = minimum
        with Change(old) as change:
            with Client(old.port(), context).handshake() as client:
                client.ask()
            change.wait(**{"handshakes_tls_" + version: 1, "handshakes_accepted": 1})


def test_resumed(host):
    context = client_context("1.2")
    with Change(host) as change:
        with Client(host.port(), context).handshake() as first:
            first.ask()
            session = first.tls.session
        with Client(host.port(), context, session=session).handshake() as second:
            second.ask()
            assert second.tls.session_reused
        change.wait(handshakes_accepted=2, handshakes_resumed=1)


def test_outgoing(host, certs):
    with Change(host) as change, Peer(server_context(certs.server_ec)) as peer, UdpClient(host.port(UDP)) as client:
        client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
        peer.wait_requests(1)
        change.wait(handshakes_connected=1, handshakes_accepted=0, handshakes_tls_1_3=1, records_sent=1)


# -- why a handshake failed --------------------------------------------------------------------------------

def silent(host, certs):
    with socket.create_connection(("127.0.0.1", host.port())) as s:
        s.settimeout(30)
        assert s.recv(1) == b"", "the server closes it"


def leaves(host, certs):
    raw_exchange(host.port(), client_hello(), finish=True)


def breaks(host, certs):
    s = socket.create_connection(("127.0.0.1", host.port()))
    s.sendall(client_hello())
    s.recv(1)
    reset(s)


def old_version(host, certs):
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        Client(host.port(), context).handshake()


def other_cipher(host, certs):
    """The server has an ECDSA certificate; the client can only verify RSA ones."""
    with pytest.raises(ssl.SSLError):
        Client(host.port(), client_context("1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256")).handshake()


def shows(name):
    """A client that goes to the strict domain with this certificate."""
    def act(host, certs):
        assert refused(host.port(), pair=name and getattr(certs, name), server_name="example.test")
    return act


def mistrusts(host, certs):
    context = ssl.create_default_context(cafile=certs.other_ca.cert)
    context.check_hostname = False
    with pytest.raises(ssl.SSLError):
        Client(host.port(), context).handshake()


def gives_up(host, certs):
    """A ClientHello, and behind it the alert handshake_failure."""
    raw_exchange(host.port(), client_hello("1.2") + bytes.fromhex("15030300020228"), finish=False)


def talks_http(host, certs):
    raw_exchange(host.port(), b"GET / HTTP/1.0\r\n\r\n", finish=False)


CAUSES = [
    ("failed_timeout", silent),
    ("failed_peer_closed", leaves),
    ("failed_peer_closed", breaks),
    ("failed_version", old_version),
    ("failed_cipher", other_cipher),
    ("failed_no_certificate", shows(None)),
    ("failed_certificate_expired", shows("client_expired")),
    ("failed_certificate_revoked", shows("client_revoked")),
    ("failed_certificate_unknown_issuer", shows("client_self_signed")),
    ("failed_certificate_other", shows("client_deep")),
    ("failed_own_certificate", mistrusts),
    ("failed_alert", gives_up),
    ("failed_bad_data", talks_http),
]


@pytest.mark.parametrize("name, cause", CAUSES, ids=[f"{n}-{f.__name__}" for n, f in CAUSES])
def test_failure_is_counted_by_its_reason(host, certs, name, cause):
    with Change(host) as change:
        cause(host, certs)
        found = change.wait(**{name: 1, "handshakes_failed": 1})
    assert [n for n in found if n.startswith("failed_")] == [name], "counted once, as one reason"


def test_unknown_server_name(module_host, certs):
    strict = module_host(listen=(UDP, TLS, TCP), modparams=certs.server_ec.params(unknown_server_name=1))
    with Change(strict) as change:
        assert refused(strict.port(), server_name="nobody.test")
        change.wait(failed_server_name=1, handshakes_failed=1)


def test_failure_of_our_own_client(host, certs):
    with Change(host) as change, Peer(behaviour="garbage") as peer, UdpClient(host.port(UDP)) as client:
        client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
        change.wait(failed_bad_data=1, handshakes_failed=1, handshakes_connected=0)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_peer_that_wants_a_certificate(host, certs, version):
    """In TLS 1.3 its verdict comes when our side of the handshake is done and the message is sent: it is the same failure."""
    context = server_context(certs.server_ec, version=version, ca=certs.ca.cert)
    with Change(host) as change, Peer(context) as peer, UdpClient(host.port(UDP)) as client:
        since = len(host.log())
        client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
        found = change.wait(**{"failed_own_certificate" if version == "1.3" else "failed_alert": 1,
                               "handshakes_failed": 1, "connections_broken": 0})
        assert not peer.requests
        host.wait_log(rf"TLS handshake failed: peer 127.0.0.1:{peer.port}, domain client:default: .*alert", since=since)
    assert len([name for name in found if name.startswith("failed_")]) == 1, "counted once, as one reason"


def test_broken_afterwards(host):
    """Bytes that are no record, after the handshake: no handshake has failed."""
    with Change(host) as change, connect(host.port()) as client:
        client.ask()
        client.push(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert client.closed_by_server()
        change.wait(connections_broken=1, handshakes_failed=0)


# -- bytes -------------------------------------------------------------------------------------------------

def test_bytes_and_records(host):
    """Both directions to the byte, and the records of a request of 40,000 bytes: three."""
    data = sip.request(size=40000)
    with Change(host) as change, connect(host.port(), version="1.3") as client:
        client.send(data)
        answer = client.read()
        assert answer.endswith(b"\r\n\r\n"), "a short reply is one record"
        found = change.wait(bytes_received=len(data), records_received=3, bytes_sent=len(answer), records_sent=1)
        assert len(data) < found["wire_bytes_received"] < len(data) + 3000
        assert len(answer) < found["wire_bytes_sent"] < len(answer) + 4000


# -- gauges ------------------------------------------------------------------------------------------------

def test_gauges(host, certs):
    now = stats(host)
    assert now["domains"] == 3
    assert now["soonest_expiry"] == calendar.timegm(certs.server_ec.x509.not_valid_after.timetuple())
    assert 10000 < now["shared_bytes"] < 64 << 20 and now["shared_blocks"] > 100
    assert 0 < now["shared_available"] < 64 << 20
    assert now["shared_refused"] == 0 and now["clear_text_write_queued_bytes"] == 0


def test_queued_bytes(host):
    """What waits for a peer that never answers the handshake is seen, and gone with its connection."""
    with Peer(behaviour="silent") as peer, UdpClient(host.port(UDP)) as client:
        client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
        wait_for(lambda: stats(host)["clear_text_write_queued_bytes"] > 300, 20, "the request to wait")
        wait_for(lambda: stats(host)["clear_text_write_queued_bytes"] == 0, 30, "the handshake to time out")


def test_reloads(host):
    with Change(host) as change:
        number = stats(host)["generation"]
        host.rpc("tls.reload")
        change.wait(reloads=1, reloads_failed=0)
        assert stats(host)["generation"] == number + 1
        good = open(host.path("tls.cfg"), encoding="utf-8").read()
        host.write("tls.cfg", good + "no such setting = 1\n")
        host.rpc_error("tls.reload")
        assert stats(host)["generation"] == number + 1, "a reload that failed changes nothing"
        host.write("tls.cfg", good)
        change.wait(reloads=1, reloads_failed=1)
    with connect(host.port()) as client:
        assert client.ask().status == 200


def test_reset(host):
    """Counters can be reset, gauges can not."""
    host.wait_no_connections()
    with connect(host.port()) as client:
        client.ask()
        host.rpc("stats.reset_statistics", "tls:")
        now = stats(host)
        assert now["handshakes_accepted"] == 0 and now["handshakes_failed"] == 0
        assert now["opened_connections"] == 1 and now["shared_bytes"] > 0
