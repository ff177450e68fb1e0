"""The packaged module is the reference: the same configuration and the same clients, every answer compared.

What differs on purpose stands in doc/differences.md, in a table that this test reads: a difference that is not there
fails, and so does a row that no longer describes anything.
"""

import functools
import itertools
import os
import re

import pytest

import questions
from host import TOP, host_version
from odd_certs import CLIENTS
from peers import Client, Peer, UdpClient, client_context, connect, server_context
from ws import ws_connect, WsClient

UDP = "udp:127.0.0.1"
PLAIN = ["none", "client_good", "client_chained", "client_no_chain", "client_expired", "client_not_yet",
         "client_self_signed", "client_wrong_ca", "client_many_names", "client_utf8", "client_nul_in_name",
         "client_bad_ip"] + [n for n in CLIENTS if n != "usable-among-unusable"]
KEMI = ["tls_" + v[5:] for v in questions.VARIABLES if v.startswith("$tls_")]
WEBSOCKET = """
event_route[xhttp:request] {
	set_reply_close();
	set_reply_no_connect();
	ws_handle_handshake();
	exit;
}
"""
RELAY = """
request_route {{
	$avp(part) = $hdr(X-Part);
	$ru = $hdr(X-Target);
	t_on_reply("ANSWERS");
	t_relay();
	exit;
}}
onreply_route[ANSWERS] {{
{}
}}
"""


# -- the list in the documentation -----------------------------------------------------------------------------------

class Difference:
    """One row of the table: what differs, for whom, and how."""

    def __init__(self, cells):
        self.what, self.whom = (self.patterns(c) for c in cells[:2])
        self.packaged, self.ours, self.why = cells[2].strip("`"), cells[3].strip("`"), cells[4]
        self.text, self.used = " | ".join(cells), False
        last = re.search(r"\bUp to (\d+)\.(\d+)\.", self.why)
        self.until = tuple(int(n) for n in last.groups()) if last else (99, 0)

    @staticmethod
    def patterns(cell):
        names = re.findall(r"`([^`]+)`", cell)
        assert names, f"no name in backquotes in {cell!r}"
        return [re.compile(re.escape(n).replace(r"\*", ".*") + "$", re.I) for n in names]

    @staticmethod
    def _is(value, word):
        if word in ("nothing", "something"):
            return (value is None) == (word == "nothing")
        return value is not None and value.decode() == word

    def covers(self, scenario, question, packaged, ours):
        """Whether this row tells of this difference."""
        return (any(p.match(question) for p in self.what) and any(p.match(scenario) for p in self.whom)
                and self._is(packaged, self.packaged) and self._is(ours, self.ours))


def section(title):
    """The rows of the table in one section of doc/differences.md, without its head."""
    with open(os.path.join(TOP, "doc", "differences.md"), encoding="utf-8") as f:
        text = f.read().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 2, f"no table in the section {title!r}"
    return rows[2:]


@functools.lru_cache(None)
def listed():
    """The rows about answers."""
    return [Difference(cells) for cells in section("Selects, variables and functions")]


# -- two hosts that differ in their module only ----------------------------------------------------------------------

def client_pair(certs, label):
    """A client's certificate by its scenario's name."""
    if label == "none":
        return None
    return CLIENTS[label](certs) if label in CLIENTS else getattr(certs, label)


class Twins:
    """The same host with the packaged module and with ours, and what both answered, by scenario."""

    def __init__(self, start):
        self.start, self.hosts, self.pairs = start, {}, {}

    def both(self, label, how):
        """The two hosts of one kind; `how` makes their arguments when they are first asked for."""
        if label not in self.hosts:
            made = [self.start(module=module, pkg_mb=64, shm_mb=128, **how()) for module in ("packaged", "ours")]
            made[0].allow(r" tls \[tls_")  # the reference says BUG where its own tables are wrong
            self.hosts[label] = made
        return self.hosts[label]

    def pair(self, certs, label):
        """Each certificate is made once: both modules see the same."""
        if label not in self.pairs:
            self.pairs[label] = client_pair(certs, label)
        return self.pairs[label]


@pytest.fixture(scope="module")
def twins(module_host):
    """The hosts of this file."""
    return Twins(module_host)


def params(certs, **more):
    """A server that wants to know its clients, but serves them all."""
    return certs.server_chained.params(**{"ca_list": certs.ca.cert, "verify_client": "optional_no_ca", **more})


def plain(twins, certs, **more):
    """The hosts that most clients talk to."""
    return twins.both("plain" + "".join(more), lambda: {
        "modparams": params(certs, **more), "script": questions.script(questions.QUESTIONS),
        "settings": questions.host_settings()})


def asked(hosts, open_client, names=None):
    """What both hosts answer to a client of the same making."""
    found = []
    for host in hosts:
        with open_client(host) as client:
            found.append(questions.ask_all(client, names or questions.QUESTIONS))
    return found


# -- the scenarios ---------------------------------------------------------------------------------------------------

def accepted(twins, certs, client, version):
    """A client with one certificate connects."""
    pair = twins.pair(certs, client)
    return asked(plain(twins, certs), lambda h: connect(h.port(), version, pair))


def no_server_name(twins, certs, _, version):
    """A client that names no server."""
    return asked(plain(twins, certs), lambda h: connect(h.port(), version, server_name=None))


def revocation(twins, certs, client, version):
    """A client where there is a revocation list."""
    pair = twins.pair(certs, client)
    return asked(plain(twins, certs, crl=certs.crl_revoked), lambda h: connect(h.port(), version, pair))


def rsa_server(twins, certs, client, version):
    """A server with an RSA certificate."""
    hosts = twins.both("rsa", lambda: {
        "modparams": {"tls": {**params(certs)["tls"], **certs.server_rsa.params()["tls"]}},
        "script": questions.script(questions.QUESTIONS), "settings": questions.host_settings()})
    return asked(hosts, lambda h: connect(h.port(), version, twins.pair(certs, client)))


def udp(twins, certs, *_):
    """No TLS at all."""
    return asked(plain(twins, certs), lambda h: UdpClient(h.port(UDP)))


def websocket(twins, certs, client, version):
    """Secure WebSocket."""
    hosts = twins.both("websocket", lambda: {
        "modparams": params(certs), "script": questions.script(questions.QUESTIONS) + WEBSOCKET,
        "modules": ["tm.so", "xhttp.so", "websocket.so"],
        "settings": questions.host_settings(tcp_accept_no_cl="yes", tcp_rd_buf_size=262144)})
    pair = twins.pair(certs, client)
    return asked(hosts, lambda h: WsClient(h.port(), client_context(version, pair)).handshake().upgrade())


def outgoing(twins, certs, peer, version):
    """The host is the client, and a reply comes over the connection that it made."""
    names = questions.VARIABLES + questions.SELECTS
    block = questions.answers_block(names, "append_hf", "$avp(part)")
    hosts = twins.both("outgoing", lambda: {
        "modparams": {**params(certs), "tm": {"fr_timer": 10000}}, "modules": ["tm.so"], "script": RELAY.format(block),
        "settings": questions.host_settings()})
    with Peer(server_context(getattr(certs, peer), version)) as to:
        found = []
        for host in hosts:
            with UdpRelay(host, to) as client:
                found.append(questions.ask_all(client, names))
    return found


class UdpRelay(UdpClient):
    """A client whose requests the host relays to one peer."""

    def __init__(self, host, to):
        super().__init__(host.port(UDP))
        self.to = to

    def ask(self, headers=(), **how):  # pylint: disable=arguments-differ
        """Sends a request that is to be relayed."""
        return super().ask(headers=[*headers, f"X-Target: {self.to.uri()}"], **how)


SCENARIOS = ([("accepted", c) for c in PLAIN] + [("revocation", "client_revoked"), ("revocation", "client_good")]
             + [("rsa_server", "rsa"), ("no_server_name", ""), ("udp", "")]
             + [("websocket", "none"), ("websocket", "client_good")]
             + [("outgoing", "server_ec"), ("outgoing", "server_expired"), ("outgoing", "client_utf8")])
CASES = [(how, who, version) for (how, who), version in itertools.product(SCENARIOS, ("1.2", "1.3"))
         if how != "udp" or version == "1.3"]


@functools.lru_cache(None)
def unlisted(twins, certs, how, who, version):
    """The differences of one scenario that the documentation does not list."""
    scenario, (packaged, ours) = who if how == "accepted" else how, globals()[how](twins, certs, who, version)
    found = []
    for question, theirs in packaged.items():
        if theirs == ours[question]:
            continue
        rows = [d for d in listed() if d.covers(scenario, question, theirs, ours[question])]
        for row in rows:
            row.used = True
        if not rows:
            found.append(f"{scenario}, {question}: packaged {theirs!r}, ours {ours[question]!r}")
    return found


@pytest.mark.parametrize("how,who,version", CASES, ids=lambda v: v)
def test_answers(twins, certs, how, who, version):
    """Every select, every variable, every function."""
    found = unlisted(twins, certs, how, who, version)
    assert not found, "differences that doc/differences.md does not list:\n" + "\n".join(found)


@pytest.mark.long
def test_every_row_is_true(twins, certs):
    """No row of the table describes a difference that is gone: "Up to 6.0." in a row says until which host it is one."""
    for case in CASES:
        unlisted(twins, certs, *case)
    untrue = [d.text for d in listed() if d.used != (host_version()[:2] <= d.until)]
    assert not untrue, "\n".join(untrue)


def kemi_answers(twins, certs, client):
    """KSR.tls.cget of every variable, in both."""
    def how():
        path = certs.write("cget.js", questions.kemi_script(KEMI))
        return {"modparams": {**params(certs), "app_jsdt": {"load": path}}, "modules": ["app_jsdt.so"],
                "script": 'cfgengine "jsdt"\n'}
    for host in twins.both("kemi", how):
        with connect(host.port(), pair=twins.pair(certs, client)) as one:
            yield questions.parse_kemi(one.ask(), KEMI)


@pytest.mark.parametrize("client", ["none", "client_good"])
def test_cget(twins, certs, client):
    """What the packaged module gives by cget, ours gives; what it does not give stands in the documentation."""
    keys = sum((Difference.patterns(cells[0]) for cells in section("KSR.tls.cget")), [])
    packaged, ours = kemi_answers(twins, certs, client)
    different = [key for key in KEMI if packaged[key] != ours[key]]
    assert all(packaged[key] == "" for key in different), "ours has another value"
    assert not [key for key in different if not any(k.match(key) for k in keys)], "not in doc/differences.md"
    assert not [k.pattern for k in keys if not any(k.match(key) for key in different)], "no longer true"


def newer():
    """(name, what the module packaged for this host does with it: refuses, knows, or knows in vain)."""
    for cells in section("Names that the packaged module refuses"):
        since = re.match(r"(\d+)\.(\d+)(, in vain)?$", cells[2])
        known = since and host_version() >= (int(since[1]), int(since[2]))
        yield cells[0].strip("`"), "refuses" if not known else "in vain" if since[3] else "knows"


@pytest.mark.parametrize("name, packaged", newer())
def test_newer_names(start_host, certs, name, packaged):
    """What the table says is refused there is refused there, and works here; what is known there says the same."""
    def answer(host):
        with connect(host.port(), pair=certs.client_many_names) as client:
            return questions.ask_all(client, [name])[name]

    how = {"modparams": params(certs), "script": questions.script([name])}
    ours = answer(start_host(**how))
    assert ours is not None
    if packaged == "knows":
        assert answer(start_host(module="packaged", **how)) == ours
    elif packaged == "refuses":
        assert start_host.make(module="packaged", **how).spawn().process.wait(60) != 0, "the packaged module starts"
