"""What goes out on a connection that its peer has opened: replies, what phones are sent, and nothing that is for somebody who is verified."""

import contextlib
import re
import socket

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

import sip
from certs import name, san
from host import Port, wait_for
from peers import Client, Peer, UdpClient, client_context, server_context
from ws import ROUTE, WsClient

UDP, TLS, TLS6, TCP = "udp:127.0.0.1", "tls:127.0.0.1", "tls:[::1]", "tcp:127.0.0.1"
# X-Id, X-Name: what the script chooses; X-Socket: the socket to send from.
SCRIPT = """
request_route {
	if ($hdr(X-Target) == $null) {
		sl_send_reply("200", "OK");
		exit;
	}
	if ($hdr(X-Id) != $null) {
		tls_set_connect_server_id("$hdr(X-Id)");
	}
	if ($hdr(X-Name) != $null) {
		$xavp(tls=>server_name) = $hdr(X-Name);
	}
	if ($hdr(X-Socket) != $null) {
		$fs = $hdr(X-Socket);
	}
	$ru = $hdr(X-Target);
	remove_hf("X-Target");
	if (!t_relay()) {
		sl_reply_error();
	}
	exit;
}
""" + ROUTE
SETTINGS = {"tcp_accept_aliases": "yes", "tcp_connect_timeout": 2, "tcp_accept_no_cl": "yes"}
PARAMS = {"tm": {"fr_timer": 8000, "fr_inv_timer": 8000}, "tls": {"xavp_cfg": "tls"}}
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


class Shown:
    """The certificates that the tests' peers show."""

    def __init__(self, certs):
        self.trunk_ca = certs.other_ca
        self.server = certs.server_ec
        self.trunk = self.issue(certs, "trunk", self.trunk_ca)
        self.another = self.issue(certs, "another", self.trunk_ca)
        self.ours = self.issue(certs, "trunk", certs.ca, "reuse-ours")  # the right name, of the authority that the server trusts
        self.client_only = self.issue(certs, "trunk", self.trunk_ca, "reuse-client-only", usage=BOTH[1:])
        self.expired = certs.client_expired
        between = certs.pair("reuse-between", name("Between"), self.trunk_ca, ca=True)
        self.chained = certs.pair("reuse-chained", name("trunk.test"), between, chain=[between.x509], usage=BOTH,
                                  extensions=[san("DNS:trunk.test", "IP:127.0.0.1")])

    @staticmethod
    def issue(certs, who, ca, file=None, usage=None):
        """A certificate for WHO.test, good in both roles unless `usage` says otherwise."""
        return certs.pair(file or f"reuse-{who}", name(f"{who}.test"), ca, usage=usage or BOTH,
                          extensions=[san(f"DNS:{who}.test", "IP:127.0.0.1", "IP:127.0.0.7", "IP:::1")])


@pytest.fixture(scope="module")
def shown(certs):
    """These certificates."""
    return Shown(certs)


def config(certs, default="", server="verify_client = optional_no_ca\n"):
    """A tls.cfg: one section for everybody, one that the script chooses, and one for an address."""
    trust = f"ca_list = {certs.other_ca.cert}\nverify_certificate = yes\n"
    return (f"[server:default]\n{certs.server_ec.section(ca_list=certs.ca.cert)}{server}"
            f"[client:default]\n{default}"
            f"[client:any]\nserver_id = trunk\nserver_name = trunk.test\n{trust}verify_name = yes\n"
            f"[client:any]\nserver_id = careless\nserver_name = careless.test\n"
            f"[client:192.0.2.1]\nserver_id = nameless\n{trust}"
            f"[client:192.0.2.2]\nserver_id = sip\n{trust}verify_purpose = sip\n"
            f"[client:127.0.0.7]\n{trust}")


def make(start, certs, **how):
    """A host with this configuration."""
    how.setdefault("tls_cfg", config(certs))
    how.setdefault("modparams", PARAMS)
    return start(listen=(UDP, TLS, TLS6, TCP), script=SCRIPT, modules=["tm.so", "xhttp.so", "websocket.so", "corex.so"],
                 settings=SETTINGS, children=1, tcp_children=2, **how)


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """One for most tests."""
    return make(module_host, certs)


class Source:
    """An address and port of our own, to connect from."""

    def __init__(self, address="127.0.0.1"):
        self.held, self.address = Port(), address
        self.port = self.held.number

    def socket(self, to, port):
        """A TCP connection from there."""
        sock = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.address, self.port))
        sock.settimeout(20)
        sock.connect((to, port))
        return sock


@pytest.fixture
def source():
    """Makes such sources."""
    made = []

    def make_source(address="127.0.0.1"):
        made.append(Source(address))
        return made[-1]
    yield make_source
    for one in made:
        one.held.release()


@contextlib.contextmanager
def joined(host, at, pair=None, spec=TLS, kind=Client, version=None, alias=None, context=None, session=None):
    """A client that connects from there, with this certificate, and asks once, so that the connection is in use."""
    client = kind.__new__(kind)
    to = "::1" if spec == TLS6 else "127.0.0.1"
    real, socket.create_connection = socket.create_connection, lambda where, timeout: at.socket(to, host.port(spec))
    try:
        client.__init__(host.port(spec), context or client_context(version, pair), session=session)
    finally:
        socket.create_connection = real
    with client.handshake():
        if kind is WsClient:
            client.upgrade()
            client.ask()
        else:
            ask(client, alias)
        yield client


def ask(client, alias=None):
    """One request with its reply; with `alias` it names that port as its own (RFC 5923)."""
    data = sip.request(via=f"127.0.0.1:{alias};alias" if alias else "127.0.0.1:5099")
    client.send(data)
    assert client.message().status == 200


def headers(at, transport="tls", **how):
    """What has the script send a request to there: anything with an address and a port."""
    where = f"[{at.address}]" if ":" in at.address else at.address
    return [f"X-Target: sip:x@{where}:{at.port};transport={transport}", *(f"X-{k.title()}: {v}" for k, v in how.items())]


def relayed(udp, client, at, transport="tls", **how):
    """Whether a request to there comes over this client's connection; it is answered then. It has failed else."""
    call_id = udp.send(headers=headers(at, transport, **how))
    hear = client.hear if isinstance(client, WsClient) else client.message
    client.sock.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        while True:
            with contextlib.suppress(TimeoutError):
                client.timeout = 0.05
                request = hear()
                assert request.get("call-id") == call_id
                answer = sip.reply(request)
                if isinstance(client, WsClient):
                    client.say(answer)
                else:
                    client.send(answer)
                assert udp.final(call_id).status == 200
                return True
            if call_id in udp.finals or is_answered(udp, call_id):
                assert udp.finals.pop(call_id).status >= 400
                return False
    return None


def is_answered(udp, call_id):
    """Whether the final reply has come."""
    with contextlib.suppress(TimeoutError):
        udp.finals[call_id] = udp.final(call_id, 0.05)
    return call_id in udp.finals


# -- what a stranger gets ------------------------------------------------------------------------------------------------

TRUNK = pytest.mark.parametrize("how", [{"id": "trunk"}, {"name": "trunk.test"}, {"name": "trunk.test.:5061"}, {"id": "nameless"}], ids=str)


@TRUNK
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_stranger_without_a_certificate(host, udp, source, how, version):
    """Whoever has connected from the right address and port gets nothing that is for somebody who is verified."""
    at = source()
    with joined(host, at, version=version) as stranger:
        for _ in range(3):
            assert not relayed(udp, stranger, at, **how)
        ask(stranger)


@pytest.mark.parametrize("who, how", [
    ("another", {"id": "trunk"}), ("ours", {"id": "trunk"}), ("ours", {"id": "nameless"}), ("expired", {"id": "nameless"}),
    ("client_only", {"id": "trunk"}), ("trunk", {"id": "trunk", "name": "192.0.2.9:5061"}), ("trunk", {"id": "trunk", "name": "another.test"})], ids=str)
def test_stranger_with_a_certificate(host, udp, source, shown, who, how):
    """One of another authority, for another name, for clients alone, or one that has expired."""
    at = source()
    with joined(host, at, getattr(shown, who)) as stranger:
        for _ in range(2):
            assert not relayed(udp, stranger, at, **how)


def test_stranger_at_the_address_of_a_section(host, udp, source):
    """The script chooses nothing; there is a section for the address."""
    at = source("127.0.0.7")
    with joined(host, at) as stranger:
        assert not relayed(udp, stranger, at)
        assert not relayed(udp, stranger, at, socket=f"tls:127.0.0.1:{host.port()}")


def test_stranger_over_ipv6(host, udp, source):
    at = source("::1")
    with joined(host, at, spec=TLS6) as stranger:
        assert not relayed(udp, stranger, at, id="trunk")
        assert relayed(udp, stranger, at)


def test_stranger_with_a_socket_of_ours(host, udp, source):
    """The script says which of our sockets to send from: the stranger has connected to that."""
    at = source()
    with joined(host, at) as stranger:
        assert not relayed(udp, stranger, at, id="trunk", socket=f"tls:127.0.0.1:{host.port()}")


def test_stranger_with_an_alias(host, udp, certs, source, shown):
    """A stranger at another port claims the trunk's by an alias: the message goes to the trunk, over a connection of ours."""
    at = source()
    with Peer(server_context(shown.trunk)) as trunk, joined(host, at, alias=trunk.port) as stranger:
        for i in range(3):
            assert udp.ask(headers=headers(trunk, id="trunk")).status == 200
            assert len(trunk.requests) == i + 1
        assert trunk.accepted == 1
        assert relayed(udp, stranger, trunk), "what is for everybody went elsewhere"
        ask(stranger)


def test_stranger_over_plain_tcp(host, udp, source):
    """The host may take a connection that is not even encrypted."""
    at = source()
    with at.socket("127.0.0.1", host.port(TCP)) as stranger:
        stranger.sendall(sip.request(transport="TCP"))
        assert sip.cut(stranger.recv(65536))[0].status == 200
        assert udp.ask(headers=headers(at, id="trunk")).status >= 400
        stranger.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stranger.recv(65536)


def test_stranger_who_is_a_browser(host, udp, source):
    """A WebSocket takes neither what is for it by its protocol, nor what is sent as plain SIP over TLS."""
    at = source()
    with joined(host, at, kind=WsClient) as stranger:
        assert relayed(udp, stranger, at, "ws")
        assert not relayed(udp, stranger, at, "ws", id="trunk")
        assert relayed(udp, stranger, at, "ws")
        assert not relayed(udp, stranger, at, id="trunk")
    host.allow("connection for WebSocket could not be found")


# -- who is who it should be ------------------------------------------------------------------------------------------------

@TRUNK
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("who", ["trunk", "chained"])
def test_peer_that_is_good_by_the_section(host, udp, source, shown, how, version, who):
    """Its certificate is of the section's authority, which the server section does not know, and has the name."""
    at = source()
    with joined(host, at, getattr(shown, who), version=version) as peer:
        for _ in range(3):
            assert relayed(udp, peer, at, **how)


def test_peer_at_the_address_of_a_section(host, udp, source, shown):
    at = source("127.0.0.7")
    with joined(host, at, shown.trunk) as peer:
        assert relayed(udp, peer, at)


def test_peer_with_an_alias(host, udp, source, shown):
    """RFC 5923: the trunk connects from any port, and says at which one it can be reached."""
    at, listed = source(), source()
    with joined(host, at, shown.trunk, alias=listed.port) as peer:
        assert relayed(udp, peer, listed, id="trunk")
        assert not relayed(udp, peer, listed, id="trunk", name="another.test")
        assert relayed(udp, peer, listed, id="trunk")


@pytest.mark.parametrize("who, known", [("trunk", True), ("chained", False)])
def test_peer_that_resumes(host, udp, source, shown, who, known):
    """A session has the peer's own certificate in it, and no intermediates."""
    context, session = client_context("1.2", getattr(shown, who)), None
    for resumed in (False, True):
        at = source()
        with joined(host, at, context=context, session=session) as peer:
            assert peer.tls.session_reused == resumed
            assert relayed(udp, peer, at, id="trunk") == (known or not resumed)
            session = peer.tls.session


def test_purpose_of_the_section(host, udp, source, shown):
    """What its certificate must be for is as that section says."""
    at = source()
    with joined(host, at, shown.client_only) as peer:
        assert relayed(udp, peer, at, id="sip")
        assert not relayed(udp, peer, at, id="nameless")


def test_reload_takes_trust_away(start_host, certs, source, shown):
    """What was found out counts as long as the configuration that it was found out by."""
    host, at = make(start_host, certs), source()
    with UdpClient(host.port(UDP)) as udp, joined(host, at, shown.trunk) as peer:
        assert relayed(udp, peer, at, id="trunk")
        host.write("tls.cfg", config(certs).replace(certs.other_ca.cert, certs.ca.cert))
        host.rpc("tls.reload")
        assert not relayed(udp, peer, at, id="trunk")
        host.write("tls.cfg", config(certs))
        host.rpc("tls.reload")
        assert relayed(udp, peer, at, id="trunk")


# -- what goes on ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", [{}, {"id": "careless"}], ids=str)
def test_phones_are_reached(host, udp, source, how):
    """By their own connections, as before, when nobody was chosen, or somebody who is not verified."""
    at = source()
    with joined(host, at) as phone:
        for _ in range(3):
            assert relayed(udp, phone, at, **how)


def test_phones_are_reached_where_the_default_section_verifies(start_host, certs, source):
    """As Debian's tls.cfg has it; and reached again after a message that was not for them."""
    trust = f"ca_list = {certs.ca.cert}\nverify_certificate = yes\nrequire_certificate = yes\n"
    host, at = make(start_host, certs, tls_cfg=config(certs, default=trust)), source()
    with UdpClient(host.port(UDP)) as udp, joined(host, at) as phone:
        for _ in range(2):
            assert relayed(udp, phone, at)
            assert not relayed(udp, phone, at, id="trunk")
            assert not relayed(udp, phone, at, name="nobody.test"), "the script has named somebody else"


def test_reuse_verified_only(start_host, certs, source, shown):
    """The default section, too, uses the connections of those alone whom it would take for servers."""
    trust = f"ca_list = {certs.ca.cert}\nverify_certificate = yes\nreuse_verified_only = yes\n"
    host, places = make(start_host, certs, tls_cfg=config(certs, default=trust)), [source(), source(), source()]
    with UdpClient(host.port(UDP)) as udp:
        for at, who, expected in zip(places, (None, shown.ours, shown.trunk), (False, True, False)):
            with joined(host, at, who) as peer:
                assert relayed(udp, peer, at) == expected
                ask(peer)


def test_without_match_profile(start_host, certs, source):
    """By the address alone, as the host does it up to 6.0."""
    host, at = make(start_host, certs, modparams={**PARAMS, "tls": {"xavp_cfg": "tls", "match_profile": 0}}), source()
    with UdpClient(host.port(UDP)) as udp, joined(host, at) as stranger:
        assert relayed(udp, stranger, at, id="trunk")


@pytest.mark.parametrize("text, told", [
    ("[client:any]\nserver_id = x\nreuse_verified_only = yes\n", "has no effect: no certificate is verified here"),
    ("[server:any]\nserver_name = x.test\nreuse_verified_only = yes\n", "has no effect in a server section: it is about connections to servers")])
def test_reuse_verified_only_in_vain(start_host, certs, text, told):
    """Said with file and line."""
    text = text.replace("[server:any]\n", f"[server:any]\n{certs.server_ec.section()}")
    host = make(start_host, certs, tls_cfg=config(certs) + text)
    line = (config(certs) + text).count("\n")
    assert re.search(rf"tls\.cfg:{line}: reuse_verified_only: {re.escape(told)}", host.log()), host.log()
