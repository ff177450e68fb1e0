"""The packaged module is the reference: the same configuration and the same clients, every answer compared.

What differs on purpose stands in doc/differences.md, in a table that this test reads: a difference that is not there
fails, and so does a row that no longer describes anything.
"""

import concurrent.futures
import functools
import itertools
import os
import re
import ssl

import pytest

import questions
from host import TOP, host_version
from odd_certs import CLIENTS
from peers import Client, Closed, Peer, UdpClient, client_context, connect, server_context
from ws import ROUTE, WsClient, ws_connect

UDP = "udp:127.0.0.1"
PLAIN = ["none", "client_good", "client_chained", "client_no_chain", "client_expired", "client_not_yet",
         "client_self_signed", "client_wrong_ca", "client_many_names", "client_utf8", "client_nul_in_name",
         "client_bad_ip"] + [n for n in CLIENTS if n != "usable-among-unusable"]
KEMI = ["tls_" + v[5:] for v in questions.VARIABLES if v.startswith("$tls_")]
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
        "modparams": params(certs), "script": questions.script(questions.QUESTIONS) + ROUTE,
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


# -- who is let in ---------------------------------------------------------------------------------------------------------

TOLD = ["$tls_version", "$tls_peer_verified", "$tls_peer_revoked", "$tls_peer_expired", "$tls_peer_selfsigned",
        "$tls_peer_subject_cn", "is_peer_verified()"]
SHOWN = ("none", "client_good", "client_chained", "client_no_chain", "client_expired", "client_revoked", "client_wrong_ca",
         "client_self_signed")
WORDS = ("off", "on", "optional", "optional_no_ca")
SWITCHES = list(itertools.product(("no", "yes"), repeat=2))
METHODS = ["TLSv1", "TLSv1+", "TLSv1.1", "TLSv1.1+", "TLSv1.2", "TLSv1.2+", "SSLv23"]
VERIFYING = {"verify_certificate": "yes", "require_certificate": "yes"}


def sections():
    """{label: (settings of a section beside certificate and ca_list, the clients to try)}. CRL is the list of the root,
    CRLS that and the intermediate's."""
    found = {}
    for list_name in ("no crl", "crl", "crls"):
        crl = {} if list_name == "no crl" else {"crl": list_name}
        for depth in ("no depth", 0, 1, 2):
            more = {} if depth == "no depth" else {"verify_depth": depth}
            found[f"{depth if more else 'no'} depth, {list_name}"] = ({**VERIFYING, **crl, **more}, SHOWN)
        for word in WORDS:
            found[f"{word}, {list_name}"] = ({"verify_client": word, **crl}, SHOWN)
    for verify, require in SWITCHES:
        switches = {"verify_certificate": verify, "require_certificate": require}
        found[f"verify {verify}, require {require}"] = (switches, SHOWN[:2] + SHOWN[-2:])
        for word in WORDS:
            found[f"verify {verify}, require {require}, {word}"] = ({**switches, "verify_client": word}, SHOWN[:2] + SHOWN[-2:])
    for method in METHODS + (["TLSv1.3", "TLSv1.3+"] if host_version() >= (6, 0) else []):
        found[method] = ({"method": method}, SHOWN[:1])
    return found


SECTIONS = sections()
PLACES = {label: f"tls:127.0.1.{n}" for n, label in enumerate(SECTIONS, 1)}


def crl_files(certs):
    """{word: path} for the settings of sections()."""
    texts = []
    for path in (certs.crl_revoked, certs.crl("crl-of-intermediate.pem", issuer=certs.intermediate)):
        with open(path, encoding="ascii") as f:
            texts.append(f.read())
    return {"crl": certs.crl_revoked, "crls": certs.write("crls-of-both.pem", "".join(texts))}


@pytest.fixture(scope="module")
def doors(twins, certs):
    """The two hosts with all those sections, each at an address of its own; the settings of every other one in reverse.
    The host's default allocator would take the packaged module half a minute to start on."""
    files = crl_files(certs)

    def make(module):
        host = twins.start.make(module=module, listen=[UDP, *PLACES.values()], script=questions.script(TOLD), pkg_mb=64,
                                shm_mb=256, allocator="tlsf", settings=questions.host_settings())
        host.tls_cfg = f"[server:default]\n{certs.server_ec.section()}[client:default]\nmethod = TLSv1.2+\n"
        for n, (label, place) in enumerate(PLACES.items()):
            more = {k: files.get(v, v) for k, v in SECTIONS[label][0].items()}
            lines = certs.server_ec.section(ca_list=certs.ca.cert, **more).splitlines(keepends=True)
            host.tls_cfg += f"[server:{place[4:]}:{host.port(place)}]\n" + "".join(lines[::-1] if n % 2 else lines)
        host.allow(r" tls \[tls_")
        return host.start()

    return tuple(make(module) for module in ("packaged", "ours"))


def told(host, place, version, pair):
    """What the host knows of a client; None where it refuses it."""
    try:
        with connect(host.port(place), version, pair, address=place[4:]) as client:
            return questions.ask_all(client, TOLD)
    except (ssl.SSLError, Closed):
        return None


@functools.lru_cache(None)
def let_in():
    """The rows about it."""
    return [Difference(cells) for cells in section("Who is let in")]


@functools.lru_cache(None)
def unlisted_clients(twins, doors, certs, label):
    """Where the two differ about the clients of one section, beyond what the documentation lists."""
    found = []
    for who, version in itertools.product(SECTIONS[label][1], ("1.2", "1.3")):
        pair = twins.pair(certs, who)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            packaged, ours = pool.map(lambda host, to=(PLACES[label], version, pair): told(host, *to), doors)
        rows = [d for d in let_in() if packaged != ours and d.covers(who, label, packaged, ours)]
        for row in rows:
            row.used = True
        if packaged != ours and not rows:
            found.append(f"{label}, {who}, {version}: packaged {packaged}, ours {ours}")
    return found


@pytest.mark.parametrize("label", SECTIONS)
def test_who_is_let_in(twins, doors, certs, label):
    """By every combination of the settings that say it, in either order; and what a script is told of who is."""
    found = unlisted_clients(twins, doors, certs, label)
    assert not found, "differences that doc/differences.md does not list:\n" + "\n".join(found)


@pytest.mark.long
def test_every_row_about_clients_is_true(twins, doors, certs):
    for label in SECTIONS:
        unlisted_clients(twins, doors, certs, label)
    untrue = [d.text for d in let_in() if d.used != (host_version()[:2] <= d.until)]
    assert not untrue, "\n".join(untrue)


STRICT = {"verify_certificate": 1, "require_certificate": 1, "verify_depth": 0}


@pytest.mark.parametrize("order", ["config first", "config last", "crl first", "crl last"])
def test_order_of_parameters(start_host, certs, order):
    """Module parameters count in any order; beside a config those of sections do not."""
    params = {**certs.server_ec.params()["tls"], "ca_list": certs.ca.cert, **STRICT}
    more = ({"config": certs.write("lax.cfg", f"[server:default]\n{certs.server_ec.section()}[client:default]\n")}
            if "config" in order else {"crl": certs.crl_revoked})
    params = {**more, **params} if "first" in order else {**params, **more}
    answers = []
    for module in ("packaged", "ours"):
        host = start_host(module=module, modparams={"tls": params}, script=questions.script(TOLD))
        answers.append([told(host, "tls:127.0.0.1", "1.3", who and getattr(certs, who))
                        for who in (None, "client_good", "client_chained", "client_revoked")])
    assert answers[0] == answers[1]
    assert [one is not None for one in answers[1]] == ([True] * 4 if "config" in order else [False, True, False, False])
