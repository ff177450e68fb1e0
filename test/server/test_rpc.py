"""What operators ask over RPC, beside the packaged module's answers; the dry run; the host's own check, -c."""

import json
import os
import re
import subprocess
import urllib.request

import pytest

from certs import name, san
from host import TOP, relay_script, wait_for
from peers import Client, Peer, UdpClient, client_context, client_hello, connect, server_context

SCRIPT = relay_script()
UDP, TLS, TCP = "udp:127.0.0.1", "tls:127.0.0.1", "tcp:127.0.0.1"
MOVING = {"src_port", "dst_port", "timeout", "timestamp", "ct_wq_size"}


def kamcmd(host, *words):
    """What kamcmd prints."""
    return subprocess.run(["kamcmd", "-s", "unix:" + host.path("ctl"), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False).stdout


def make(start, module="ours", modparams=None, **how):
    """A host with kamcmd's socket."""
    host = start.make(module=module, modules=["ctl.so"], script=SCRIPT, modparams=modparams, **how)
    host.modparams["ctl"] = {"binrpc": "unix:" + host.path("ctl")}
    return host.start()


def sections(certs, **server):
    """A tls.cfg of two domains, each with what the test gives it."""
    return f"[server:default]\n{certs.server_ec.section(**server)}\n[client:default]\nmethod = TLSv1.2+\n"


def one(host):
    """The only connection in tls.list."""
    found = host.connections()
    assert len(found) == 1, found
    return found[0]


# -- beside the packaged module ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def twins(module_host, certs):
    """The same host twice."""
    params = certs.server_ec.params(ca_list=certs.ca.cert, verify_certificate=1)
    return [make(module_host, module, dict(params)) for module in ("packaged", "ours")]


def listed(command):
    """{field: (packaged, ours)} of the differences that doc/differences.md tells of."""
    with open(os.path.join(TOP, "doc", "differences.md"), encoding="utf-8") as f:
        text = f.read().split("\n## RPC commands\n", 1)[1].split("\n## ", 1)[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {field: (row[2].strip("`"), row[3].strip("`")) for row in rows if row[0].strip("`") == command
            for field in re.findall(r"`([^`]+)`", row[1])}


def compare(command, packaged, ours):
    """Every field of the packaged module's answer is there and says the same, or is listed."""
    known = listed(command)
    for field, value in packaged.items():
        assert field in ours, f"{command} has no {field}"
        if field in MOVING:
            continue
        differs = ours[field] != value
        assert differs == (field in known), f"{command}: {field} is {value!r} in the packaged module, {ours[field]!r} here"
        if differs and known[field][0] != "bytes":
            assert [str(v) if v is not None else "nothing" for v in (value, ours[field])] == list(known[field])
    assert list(ours)[:1] == list(packaged)[:1] or command == "tls.options", "what is new stands behind"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("who", [None, "client_good"])
def test_list_of_a_client(twins, certs, version, who):
    answers = []
    for host in twins:
        with connect(host.port(), version=version, pair=who and getattr(certs, who)) as client:
            client.ask()
            wait_for(lambda: one(host)["state"] == "established")
            answers.append(one(host))
            assert answers[-1]["src_port"] == client.sock.getsockname()[1]
            assert answers[-1]["dst_port"] == host.port()
        host.wait_no_connections()
    for answer in answers:
        answer["id"] = 0
    compare("tls.list", *answers)


def test_list_before_the_handshake(twins):
    """Silent, and in the middle of a ClientHello."""
    silent, half = [], []
    for host in twins:
        client = Client(host.port())
        wait_for(host.connections)
        silent.append(one(host))
        client.push(client_hello()[:50])
        wait_for(lambda: one(host)["state"] == "tls_accept")
        half.append(one(host))
        client.close(notify=False)
        host.wait_no_connections()
    for pair in (silent, half):
        for answer in pair:
            answer["id"] = 0
        compare("tls.list", *pair)


def test_list_of_an_outgoing_connection(twins):
    answers = []
    for host in twins:
        with Peer(behaviour="silent") as peer, UdpClient(host.port(UDP)) as client:
            client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
            wait_for(lambda: host.connections() and one(host)["state"] == "tls_connect")
            answers.append(one(host))
            assert answers[-1]["ct_wq_size"] > 300
        host.wait_no_connections()
    for answer in answers:
        answer["id"] = 0
    compare("tls.list", *answers)


def test_info(twins):
    answers = []
    for host in twins:
        with connect(host.port()) as client:
            client.ask()
            answers.append(host.rpc("tls.info"))
        host.wait_no_connections()
    compare("tls.info", *answers)


def test_options(twins):
    compare("tls.options", *(host.rpc("tls.options") for host in twins))


# -- what is new in the answers ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def host(module_host, certs):
    """A host with several domains; alice.test has two certificates."""
    rsa, ec = certs.server_rsa, certs.server_ec
    text = sections(certs, ca_list=certs.ca.cert, verify_certificate="yes") + f"""
[server:any]
{ec.section(server_name="alice.test", verify_certificate="no", certificate2=rsa.cert, private_key2=rsa.key)}
[server:127.0.0.1:0]
{certs.server_expired.section(server_name="old.test")}
[client:127.0.0.1:5999]
server_id = profile
"""
    return make(module_host, tls_cfg=text)


@pytest.fixture(autouse=True)
def everyone_alive(host):
    yield
    host.check_alive()


def test_documentation_names_every_command(host):
    with open(os.path.join(TOP, "doc", "operating.md"), encoding="utf-8") as f:
        text = f.read().split("\n| Command |", 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `(tls\.\w+)", text, re.M)
    commands = host.rpc("system.listMethods")
    assert sorted(rows) == sorted(c for c in commands if c.startswith("tls."))


def test_list_tells_who_is_connected(host, certs):
    number = host.rpc("tls.info")["generation"]
    with connect(host.port(), version="1.3", pair=certs.client_good, server_name="Alice.TEST") as client:
        client.ask()
        found = one(host)
        assert found["protocol"] == "TLSv1.3" and found["role"] == "server"
        assert found["server_name"].lower() == "alice.test"
        assert found["domain"] == "server:any (alice.test)"
        assert found["generation"] == number and found["resumed"] == 0
        assert found["verified"] == 0, "this domain asks for no certificate"
        assert 0 <= found["age"] < 60
        assert 8000 < found["memory"] < 100000
    host.wait_no_connections()
    with connect(host.port(), pair=certs.client_good) as client:
        client.ask()
        assert one(host)["verified"] == 1 and one(host)["domain"] == "server:default"
    host.wait_no_connections()


def test_list_tells_of_resumption(host):
    context = client_context("1.2")
    with Client(host.port(), context).handshake() as first:
        first.ask()
        session = first.tls.session
    host.wait_no_connections()
    with Client(host.port(), context, session=session).handshake() as client:
        client.ask()
        assert one(host)["resumed"] == 1
    host.wait_no_connections()


def test_list_of_an_established_outgoing_connection(host, certs):
    with Peer(server_context(certs.server_ec)) as peer, UdpClient(host.port(UDP)) as client:
        client.send(headers=[f"X-Target: sip:127.0.0.1:{peer.port};transport=tls"])
        peer.wait_requests(1)
        found = one(host)
        assert found["role"] == "client" and found["domain"] == "client:default"
        assert found["state"] == "established" and found["src_port"] == peer.port
    host.wait_no_connections()


def test_list_of_some(host):
    """A text chooses by peer and by domain."""
    with connect(host.port()) as first, connect(host.port(), server_name="alice.test") as second:
        first.ask()
        second.ask()
        assert len(host.connections()) == 2
        assert len(host.rpc("tls.list", "127.0.0.1")) == 2
        assert [c["domain"] for c in host.rpc("tls.list", "alice")] == ["server:any (alice.test)"]
        assert not host.rpc("tls.list", "nobody")
        assert kamcmd(host, "tls.list", "127").count("src_ip") == 2, "a number is a text, too"
    host.wait_no_connections()


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_list_by_address_and_port(start_host, certs, address):
    """As addresses and ports are written: one connection of several from there, and none that only has a part of it."""
    at = f"tls:{address}"
    host = make(start_host, listen=(UDP, at), tls_cfg=sections(certs))
    bare = address.strip("[]")
    with connect(host.port(at), address=bare) as first, connect(host.port(at), address=bare) as second:
        first.ask()
        second.ask()
        port = first.sock.getsockname()[1]
        assert [c["src_port"] for c in host.rpc("tls.list", f"{address}:{port}")] == [port]
        assert kamcmd(host, "tls.list", f"{address}:{port}").count("src_ip") == 1
        assert len(host.rpc("tls.list", bare)) == 2
        assert not host.rpc("tls.list", f"{address}:{port}0") and not host.rpc("tls.list", f"9{address}:{port}")


def test_info_tells_both_worlds_and_the_library(host):
    info = host.rpc("tls.info")
    assert info["domains"] == 5
    assert info["library"].startswith("OpenSSL 3.") and info["built_with"].startswith("OpenSSL 3.")
    assert info["shared_bytes"] > 10000 and info["private_bytes"] > 10000


def test_kill(host):
    with connect(host.port()) as client, connect(host.port()) as other:
        client.ask()
        other.ask()
        mine = next(c["id"] for c in host.connections() if c["src_port"] == client.sock.getsockname()[1])
        assert "closed" in str(host.rpc("tls.kill", mine))
        assert client.closed_by_server()
        assert other.ask().status == 200, "the other one stays"
    host.wait_no_connections()


def test_kill_of_nothing(host):
    assert "99999" in host.rpc_error("tls.kill", 99999)
    assert "tls.list" in host.rpc_error("tls.kill")
    assert "404" in kamcmd(host, "tls.kill", "99999")


HTTP = """
request_route {
	sl_send_reply("200", "OK");
	exit;
}

event_route[xhttp:request] {
	jsonrpc_dispatch();
}
"""


@pytest.mark.long
def test_list_of_many(start_host, certs, load):
    """A thousand connections are listed over HTTP; where they do not fit, that is said, and nothing breaks."""
    host = start_host.make(listen=(UDP, TLS, TCP), modparams=certs.server_ec.params(), modules=["ctl.so", "xhttp.so"], script=HTTP,
                           settings={"tcp_max_connections": 4096, "tcp_accept_no_cl": "yes"}, shm_mb=256)
    host.modparams.update({"ctl": {"binrpc": "unix:" + host.path("ctl")},
                           "jsonrpcs": {"transport": 5, "dgram_socket": host.path("rpc")}})
    host.start()
    held = load.start(host.port(), connections=1000, parallel=1000, rate=400, hold=110, timeout=110, time_limit=115)
    try:
        wait_for(lambda: host.open_tls() >= 1000, 90, "a thousand connections")
        ask = json.dumps({"jsonrpc": "2.0", "method": "tls.list", "id": 1}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{host.port(TCP)}/RPC", ask, timeout=60) as answer:
            found = json.load(answer)["result"]
        assert len({c["id"] for c in found}) == len({c["src_port"] for c in found}) >= 1000
        assert "too big" in kamcmd(host, "tls.list") and not kamcmd(host, "tls.list", "nobody")
        assert len(host.rpc("tls.list", str(found[0]["src_ip"]) + "x")) == 0
        with connect(host.port()) as client:
            assert client.ask().status == 200
    finally:
        held.kill()
        held.communicate()
    host.wait_no_connections(30)
    host.stop()


# -- tls.domains -------------------------------------------------------------------------------------------

def domain(host, name):
    """One domain of tls.domains."""
    found = [d for d in host.rpc("tls.domains") if d["domain"] == name]
    assert len(found) == 1, found
    return found[0]


def test_domains(host, certs):
    found = host.rpc("tls.domains")
    assert [(d["role"], d["address"], d["server_name"], d["server_id"]) for d in found] == [
        ("server", "default", "", ""), ("client", "default", "", ""), ("server", "any", "alice.test", ""),
        ("server", "127.0.0.1", "old.test", ""), ("client", "127.0.0.1:5999", "", "profile")]
    assert {d["generation"] for d in found} == {host.rpc("tls.info")["generation"]}
    alice = domain(host, "server:any (alice.test)")
    assert "CN=" in alice["subject"] and "DNS:localhost" in alice["alternative_names"]
    assert "URI:sip:example.test" in alice["alternative_names"]
    assert (alice["key_type"], alice["key_bits"]) == ("EC", 256)
    assert (alice["key_type2"], alice["key_bits2"]) == ("RSA", 2048)
    assert alice["days_to_expiry"] in (29, 30)
    assert domain(host, "server:127.0.0.1 (old.test)")["days_to_expiry"] < 0
    assert "subject" not in domain(host, "client:default"), "it has no certificate"


def test_domains_count_their_connections(host):
    with connect(host.port(), server_name="alice.test") as one_client, connect(host.port()) as other:
        one_client.ask()
        other.ask()
        assert domain(host, "server:any (alice.test)")["connections"] == 1
        assert domain(host, "server:default")["connections"] == 1
    wait_for(lambda: all(d["connections"] == 0 for d in host.rpc("tls.domains")), what="no connection in any domain")


def test_domains_by_kamcmd(host):
    text = kamcmd(host, "tls.domains", "alice")
    assert text.count("domain:") == 1 and "subject2:" in text


def test_long_names_are_whole(start_host, certs):
    """2,000 alternative names, as one text; and where that is too much, it is said."""
    key = certs.new_key()
    names = [f"DNS:host-{n}.some-long-domain.example.test" for n in range(2000)]
    made = certs.issue(name("many"), key, certs.ca, extensions=[san(*names)])
    text = (f"[server:default]\ncertificate = {certs.write('many.pem', certs.pem(made))}\n"
            f"private_key = {certs.write('many.key', certs.key_pem(key))}\n[client:default]\n")
    host = make(start_host, tls_cfg=text)
    found = domain(host, "server:default")["alternative_names"]
    assert found.split(", ") == names
    assert "Too much for one answer" in kamcmd(host, "tls.domains")
    assert "subject" not in kamcmd(host, "tls.domains", "client")


def test_too_many_domains_for_one_answer(start_host, certs):
    """kamcmd takes no answer of this size, and says so; a part can be asked for."""
    text = sections(certs) + "".join(f"[server:any]\n{certs.server_ec.section(server_name=f'n{i}.test')}"
                                     for i in range(500))
    host = make(start_host, tls_cfg=text)
    answer = kamcmd(host, "tls.domains")
    assert "too big" in answer and "domain:" not in answer, answer[:300]
    assert kamcmd(host, "tls.domains", "n499").count("domain:") == 1


# -- tls.reload, tls.check ---------------------------------------------------------------------------------

BROKEN = {
    "unknown key": ("no_such_key = 1\n", 1),
    "missing file": ("ca_list = /nowhere/ca.pem\n", 1),
    "wrong word": ("verify_client = perhaps\n", 1),
    "several": ("no_such_key = 1\nca_list = /nowhere/ca.pem\nverify_depth = x\n", 3),
}


@pytest.fixture
def changing(start_host, certs):
    """A host whose tls.cfg the test may spoil."""
    return make(start_host, tls_cfg=sections(certs))


@pytest.mark.parametrize("how", BROKEN)
def test_reload_error_is_readable_everywhere(changing, certs, how):
    """File, line and reason, in the 127 characters that JSON-RPC leaves, and not lost by kamcmd."""
    text, count = BROKEN[how]
    changing.write("tls.cfg", sections(certs) + text)
    said = changing.rpc_error("tls.reload")
    line = len(sections(certs).splitlines()) + 1
    assert re.search(rf"tls\.cfg:{line}: .*{text.split(' ', 1)[0]}", said), said
    assert ("tls.check" in said) >= (count > 1)
    assert f"tls.cfg:{line}: " in kamcmd(changing, "tls.reload")
    for wanted in text.splitlines():
        assert wanted.split(" ", 1)[0] in changing.log()


def test_reload_error_of_a_long_path(changing, certs):
    """What does not fit says where the rest is."""
    changing.write("tls.cfg", sections(certs, ca_list="/nowhere/" + "x" * 200 + "/ca.pem"))
    assert changing.rpc_error("tls.reload").rstrip("'}").endswith("... (see tls.check)")
    assert "tls.check" in kamcmd(changing, "tls.reload")
    assert "x" * 200 in changing.rpc("tls.check")["problems"][0]["text"]


def test_check_of_what_is_fine(changing):
    before = changing.rpc("tls.info")["generation"]
    assert changing.rpc("tls.check")["result"] == "ok"
    assert "result: ok" in kamcmd(changing, "tls.check")
    assert changing.rpc("tls.info")["generation"] == before


@pytest.mark.parametrize("how", BROKEN)
def test_check_tells_every_problem_and_changes_nothing(changing, certs, how):
    text, count = BROKEN[how]
    before = changing.rpc("tls.info")["generation"]
    changing.write("tls.cfg", sections(certs) + text)
    found = changing.rpc("tls.check")
    errors = [p["text"] for p in found["problems"] if p["severity"] == "error"]
    assert found["errors"] == count == len(errors) and found["result"] != "ok"
    first = len(sections(certs).splitlines()) + 1
    for number, line in enumerate(text.splitlines()):
        assert any(re.search(rf"tls\.cfg:{first + number}: .*{line.split(' ', 1)[0]}", e) for e in errors), errors
    shown = kamcmd(changing, "tls.check")
    assert shown.count("severity: error") == count
    assert changing.rpc("tls.info")["generation"] == before
    with connect(changing.port()) as client:
        assert client.ask().status == 200
    changing.write("tls.cfg", sections(certs))
    assert "Ok" in str(changing.rpc("tls.reload"))


def test_check_leaves_no_memory_behind(changing):
    for _ in range(3):
        changing.rpc("tls.check")
    before = changing.rpc("tls.info")
    for _ in range(20):
        changing.rpc("tls.check")
    after = changing.rpc("tls.info")
    assert after["shared_blocks"] == before["shared_blocks"] and after["shared_bytes"] == before["shared_bytes"]


# -- kamailio -c -------------------------------------------------------------------------------------------

def problems(text):
    """The texts of our ERROR lines."""
    return [re.sub(r"^.*?\(\): ", "", line) for line in text.splitlines() if re.search(r"ERROR: tls \[", line)]


def test_host_check_of_what_is_fine(start_host, certs):
    status, text = start_host.make(tls_cfg=sections(certs)).check_config()
    assert status == 0 and not problems(text), text


@pytest.mark.parametrize("how", BROKEN)
def test_host_check_finds_what_a_start_would(start_host, certs, how):
    host = start_host.make(tls_cfg=sections(certs) + BROKEN[how][0])
    status, text = host.check_config()
    assert status == 1, text
    found = problems(text)
    assert len(found) == BROKEN[how][1]
    assert "TLS configuration not ok" in text
    assert found == problems(host.refuses())


@pytest.mark.parametrize("params, said", [
    ({"connection_timeout": -5}, "parameter connection_timeout: -5 is out of range"),
    ({"certificate": "/nowhere/cert.pem"}, "parameter certificate"),
    ({"tls_method": "SSLv3"}, "RFC 7568"),
])
def test_host_check_of_module_parameters(start_host, params, said):
    host = start_host.make(modparams={"tls": {"private_key": "/nowhere/key.pem", **params}})
    status, text = host.check_config()
    assert status == 1 and any(said in p for p in problems(text)), text
    assert problems(text) == problems(host.refuses())


def test_host_check_without_tls(start_host):
    """With TLS off nothing of it matters."""
    host = start_host.make(modparams={"tls": {"certificate": "/nowhere/cert.pem"}}, settings={"enable_tls": "no"},
                           listen=(UDP,))
    status, text = host.check_config()
    assert status == 0, text


def test_host_check_with_an_error_of_the_host(start_host, certs):
    """Its own error is what counts, and we are not asked."""
    host = start_host.make(modparams=certs.server_ec.params(), script="request_route { no_such_function(); }\n")
    status, text = host.check_config()
    assert status != 0 and "TLS configuration" not in text
