"""The reference in doc/ and the code say the same: every setting, every function, every example."""

import errno
import json
import os
import re
import shutil
import subprocess

import pytest

from host import TOP, module_sources, wait_for
from peers import (Client, Peer, UdpClient, client_context, client_hello, connect, raw_exchange, refused,
                   server_context)

UDP, TLS, TLS6 = "udp:127.0.0.1", "tls:127.0.0.1", "tls:[::1]"
INT_MIN, INT_MAX = -2 ** 31, 2 ** 31 - 1


def page(name):
    """The text of a page of doc/."""
    with open(os.path.join(TOP, "doc", name), encoding="utf-8") as f:
        return f.read()


def fenced(name, language):
    """The examples of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), re.M | re.S)


# -- doc/parameters.md and the table of settings ---------------------------------------------------------------------

@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The rows of the table, {name: row}, as the module's own code has them."""
    with open(os.path.join(TOP, "test", "unit", "test_config.c"), encoding="utf-8") as f:
        links = re.search(r"(?:links|sources): (.*?) *\*/", f.read())[1].split()
    program = str(tmp_path_factory.mktemp("reference") / "dump_settings")
    sources = [os.path.join(TOP, name) for name in links if name.endswith(".c")]
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-I", TOP, "-o", program,
                    os.path.join(TOP, "test", "lib", "dump_settings.c"), *sources], check=True)
    rows = json.loads(subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout)
    assert len({row["name"] for row in rows}) == len(rows) > 50
    return {row["name"]: row for row in rows}


def allowed_numbers(row):
    """" 1 to 10 s", as the module's messages put it."""
    if (row["min"], row["max"]) == (INT_MIN, INT_MAX):
        return ""
    special = f" {row['default']} or" if row["default"] < row["min"] else ""
    area = f"{row['min']} or more" if row["max"] == INT_MAX else f"{row['min']} to {row['max']}"
    return f"{special} {area}" + (f" {row['unit']}" if row["unit"] else "")


def kind(row):
    """What may be written."""
    if row["type"] == "int":
        return "Number" + allowed_numbers(row)
    if row["type"] == "bool":
        return "Switch"
    if row["type"] == "choice":
        return "Word: " + ", ".join(f"`{word}`" for word, taken in row["listed"] if taken)
    return "Secret text" if row["secret"] else "Path" if row["path"] else "Text"


def default(row):
    """What it is when nobody sets it."""
    if row["no_effect"]:
        return "No effect"
    if row["type"] == "int":
        return f"Default {row['default']}"
    if row["type"] == "bool":
        return f"Default {'yes' if row['default'] else 'no'}"
    word = row["default_text"] if row["type"] == "string" else row.get("default_word")
    return f"Default `{word}`" if word else "No default"


def run_time(row):
    """Its name in the run-time group: a domain's has one only when the table gives it one."""
    name = row["run_name"] or ("" if row["of_domain"] else row["name"])
    return f"Run time: `{name}`{', can be changed' if row['runtime'] else ''}" if name else "Not at run time"


def expected_line(row):
    """The line below a setting's head."""
    return f"{kind(row)}. {default(row)}. {run_time(row)}."


def entries():
    """{name: (alias, its group's head, the line, the text)} of the page."""
    found = {}
    for group in page("parameters.md").split("\n## ")[1:]:
        head, *rest = re.split(r"^### ", group, flags=re.M)
        for entry in rest:
            title, line, text = (part.strip() for part in (entry + "\n\n").split("\n\n", 2))
            names = re.findall(r"`([^`]+)`", title)
            assert names and names[0] not in found, f"{title!r}: no name, or twice"
            found[names[0]] = (names[1] if len(names) > 1 else None, head.splitlines()[0], line, text)
    return found


def test_parameters_are_those_of_the_table(table):
    """Every setting has an entry, and no entry is about something else."""
    told = entries()
    assert set(told) == set(table)
    assert {name: entry[0] for name, entry in told.items()} == {name: row["alias"] for name, row in table.items()}


def test_parameters_have_the_types_and_limits_of_the_table(table):
    """Type, allowed values, default, name at run time."""
    told = entries()
    wrong = [f"{name}\n    page:  {told[name][2]}\n    table: {expected_line(row)}"
             for name, row in table.items() if told[name][2] != expected_line(row)]
    assert not wrong, "\n".join(wrong)


def test_parameters_stand_where_the_table_says(table):
    """What may stand in tls.cfg is in the groups about a domain; everything is a module parameter."""
    for name, (_, group, _, text) in entries().items():
        row = table[name]
        assert row["modparam"] and row["file"] == row["of_domain"] == group.startswith("A domain's"), name
        assert len(text) > 20, f"{name} is not explained"


def test_switches(table):
    """The words of a switch, and the numbers."""
    told = re.search(r"^A \*switch\* is (.*?) in\s`tls.cfg`", page("parameters.md"), re.M | re.S)[1]
    for row in table.values():
        if row["type"] == "bool":
            assert sorted(re.findall(r"`([^`]+)`", told)) == sorted(row["said"].split(", "))


def test_refused_words(table):
    """Words that end the start are named, with their RFC."""
    refused_words = [word for word, taken in table["tls_method"]["listed"] if not taken]
    text = entries()["tls_method"][3]
    assert refused_words and all(f"`{word}`" in text for word in refused_words)


def test_new_settings_are_marked(table):
    """Those that the packaged module does not have are named in doc/moving.md."""
    text = re.search(r"^## What is new\n(.*?)(?=^## )", page("moving.md"), re.M | re.S)[1]
    for name in ("send_timeout", "handshake_timeout", "unknown_server_name", "reload_on_change"):
        assert name in table and f"`{name}`" in text


# -- doc/tls-cfg.md ---------------------------------------------------------------------------------------------------

def write_files(host, certs, example):
    """Makes every file that an example names, below the folder of the host's configuration."""
    password = re.search(r'^private_key_password = "(.*)"$', example, re.M)
    for key, path in re.findall(r"^(\w+) = (?:\\\n *)?\"?(tls/[^\s\"#]+)", example, re.M):
        target = host.path(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if key == "ca_path":
            os.makedirs(target, exist_ok=True)
            shutil.copy(certs.ca.cert, target)
            subprocess.run(["openssl", "rehash", target], check=True)
        elif key == "private_key" and password:
            os.chmod(host.write(path, certs.key_pem(certs.server_ec.private, password[1].encode()).decode()), 0o600)
        else:
            shutil.copy(file_for(certs, key), target)


def file_for(certs, key):
    """A file that fits a setting."""
    second = key.endswith("2")
    pair = certs.server_rsa if second else certs.server_ec
    return {"certificate": pair.cert, "private_key": pair.key, "ca_list": certs.ca.cert,
            "crl": certs.crl_revoked}[key.rstrip("2")]


@pytest.fixture(scope="module")
def checker(module_host, certs):
    """A host that checks one tls.cfg after the other."""
    return module_host(tls_cfg=f"[server:default]\n{certs.server_ec.section()}[client:default]\n")


EXAMPLES = fenced("tls-cfg.md", "ini")


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_tls_cfg_example(checker, certs, number):
    """Each example is good as it stands, once its files are there."""
    write_files(checker, certs, EXAMPLES[number])
    os.chmod(checker.write("tls.cfg", EXAMPLES[number]), 0o640)  # as is right where a password is in it
    assert checker.rpc("tls.check") == {"result": "ok", "errors": 0, "warnings": 0, "problems": []}


def test_tls_cfg_examples_name_every_form_of_a_head(checker, certs):
    """The heads of the table are taken, and where they stand makes no difference."""
    heads = re.findall(r"^\| `(\[.*?\])` \|", page("tls-cfg.md"), re.M)
    assert len(heads) == 5
    heads = [head.replace("client:...", "client:" + place) for head in heads
             for place in ("any", "default", "192.0.2.1", "192.0.2.1:0", "[2001:db8::1]:5061")]
    text = "".join(f"{head}\n{certs.server_ec.section()}" for head in sorted(set(heads)) if "192.0.2.1:0" not in head)
    checker.write("tls.cfg", text)
    assert checker.rpc("tls.check")["result"] == "ok"


def test_which_section_serves_a_client(start_host, certs):
    """The table of doc/tls-cfg.md: who asks for what, at which address, and what it is served with."""
    text = re.search(r"^## Which section serves a client\n(.*?)^## ", page("tls-cfg.md"), re.M | re.S)[1]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines()
            if re.match(r"\| [`n].*\| `127", line)]
    assert len(rows) > 10
    example = re.search(r"^```ini\n(.*?)^```", text, re.M | re.S)[1]
    listen = {address: f"tls:{address}" for _, address, _ in rows}
    host = start_host.make(listen=[UDP, *listen.values()], tls_cfg=example)
    os.makedirs(host.path("tls"))
    for path in re.findall(r"^certificate = (\S+)", example, re.M):
        pair = certs.server("reference-" + os.path.basename(path)[:-4], cn=path)
        shutil.copy(pair.cert, host.path(path))
        shutil.copy(pair.key, host.path(path[:-4] + ".key"))
    host.start()
    assert [[name, address, served_with(host, certs, address, None if name == "no name" else name)]
            for name, address, _ in rows] == rows


def served_with(host, certs, address, name):
    """The common name of the certificate that a client gets."""
    context = client_context(ca=certs.ca.cert)
    context.check_hostname = False
    with Client(host.port(f"tls:{address}"), context, address=address, server_name=name).handshake() as client:
        assert client.ask().status == 200
        return dict(part[0] for part in client.tls.getpeercert()["subject"])["commonName"]


# -- doc/script.md ----------------------------------------------------------------------------------------------------

OUTGOING = """[server:default]
{server}
[client:default]
server_name = default.test
[client:any]
server_name = profile.test
server_id = profile
[client:127.0.0.9]
server_name = byname.test
server_id = other
"""
CHOOSE = """
request_route {
	if ($hdr(X-Id) != $null) {
		tls_set_connect_server_id("$hdr(X-Id)");
	}
	if ($hdr(X-Name) != $null) {
		$xavp(tls=>server_name) = $hdr(X-Name);
	}
	if ($hdr(X-Xavp-Id) != $null) {
		$xavp(tls=>server_id) = $hdr(X-Xavp-Id);
	}
	$ru = $hdr(X-Target);
	t_relay();
	exit;
}
"""


@pytest.mark.parametrize("example", fenced("script.md", "cfg"))
def test_script_example(start_host, certs, example):
    """Each example is a script that the host takes."""
    text = example if "request_route" in example else "request_route {\n\texit;\n}\n" + example
    status, output = start_host.make(modparams=certs.server_ec.params(), modules=["tm.so"], script=text).check_config()
    assert status == 0, output


def test_script_functions():
    """The table has every function that tls_mod.c exports, and no other."""
    with open(os.path.join(TOP, "tls_mod.c"), encoding="utf-8") as f:
        code = f.read()
    rows = [line.split("|") for line in page("script.md").splitlines() if line.startswith("| ") and "KSR" in line]
    native = {name for row in rows for name in re.findall(r"`(\w+)\(", row[1])}
    kemi = {name for row in rows for name in re.findall(r"`KSR\.tls\.(\w+)\(", row[2])}
    assert native == set(re.findall(r'^\t\{"(\w+)", \(cmd_function\)', code, re.M))
    assert kemi == set(re.findall(r'str_init\("tls"\),\s*str_init\("(\w+)"\)', code))


@pytest.fixture(scope="module")
def chooser(module_host, certs):
    """A host that relays with what the headers of a request ask for."""
    return module_host(tls_cfg=OUTGOING.format(server=certs.server_ec.section()), script=CHOOSE, modules=["tm.so"],
                       modparams={"tls": {"xavp_cfg": "tls"}, "tm": {"fr_timer": 8000}})


@pytest.mark.parametrize("headers, name", [
    ([], "default.test"),
    (["X-Id: profile"], "profile.test"),
    (["X-Id: nobody"], "default.test"),
    (["X-Name: mine.test"], "mine.test"),
    (["X-Name: mine.test", "X-Id: profile"], "mine.test"),
    (["X-Xavp-Id: profile"], "profile.test"),
    (["X-Xavp-Id: other", "X-Id: profile"], "profile.test"),
])
def test_what_a_script_chooses(chooser, certs, headers, name):
    """The name that the peer is asked for tells the section, or the name that the script gave."""
    with Peer(server_context(certs.server_ec)) as to, UdpClient(chooser.port(UDP)) as client:
        assert client.ask(headers=[f"X-Target: {to.uri()}", *headers]).status == 200
        assert to.names == [name]
        assert client.ask(headers=[f"X-Target: {to.uri()}", *headers]).status == 200
        assert to.names == [name], "not used again for the same choice: doc/script.md says that it is"
        client.ask(headers=[f"X-Target: {to.uri()}", "X-Id: other"])
        assert len(to.names) == 2, "used again for another choice: doc/script.md says that it is not"


def test_a_choice_is_forgotten_with_its_message(chooser, certs):
    """An id that was for the connection that stands is not the next message's."""
    with Peer(server_context(certs.server_ec)) as to, Peer(server_context(certs.server_ec)) as other, \
            UdpClient(chooser.port(UDP)) as client:
        for peer, headers in ((to, ["X-Id: profile"]), (to, ["X-Id: profile"]), (other, [])):
            assert client.ask(headers=[f"X-Target: {peer.uri()}", *headers]).status == 200
        assert (to.names, other.names) == (["profile.test"], ["default.test"])


def test_event_route(start_host, certs):
    """tls:connection-out comes with the peer's address, and drop() keeps every byte back."""
    route = 'event_route[tls:connection-out] {\n\txnotice("event $si:$sp\\n");\n\tif ($sp == PORT) drop();\n}\n'
    with Peer(server_context(certs.server_ec)) as good, Peer(server_context(certs.server_ec)) as bad:
        host = start_host(modparams={**certs.server_ec.params(), "tm": {"fr_timer": 8000}}, modules=["tm.so"],
                          script=CHOOSE + route.replace("PORT", str(bad.port)))
        with UdpClient(host.port(UDP)) as client:
            assert client.ask(headers=[f"X-Target: {good.uri()}"]).status == 200
            assert client.ask(headers=[f"X-Target: {bad.uri()}"]).status >= 400
        assert not bad.names and not bad.requests
        for peer in (good, bad):
            assert host.log().count(f"event 127.0.0.1:{peer.port}\n") == 1


def test_event_route_knows_where_it_goes(start_host, certs):
    """$sndto() and $sndfrom() have values in it, and none in the routes around it."""
    asked = "$sndto(ip) $sndto(port) $sndto(proto) $sndto(af) $sndfrom(ip)"
    route = f'event_route[tls:connection-out] {{\n\txnotice("goes to {asked}\\n");\n}}\n'
    script = CHOOSE.replace("t_relay()", f'xnotice("before {asked}\\n"); t_relay()', 1)
    with Peer(server_context(certs.server_ec)) as good:
        host = start_host(modparams={**certs.server_ec.params(), "tm": {"fr_timer": 8000}}, modules=["tm.so"], script=script + route)
        with UdpClient(host.port(UDP)) as client:
            assert client.ask(headers=[f"X-Target: {good.uri()}"]).status == 200
            assert client.ask(headers=[f"X-Target: {good.uri()}"]).status == 200
        assert host.log().count(f"goes to 127.0.0.1 {good.port} 3 2 127.0.0.1\n") == 1
        assert host.log().count("before <null> <null> <null> <null> <null>\n") == 2


def test_event_callback(start_host, certs):
    """The same in another language: the example of the page, with another port."""
    javascript = fenced("script.md", "js")[0]
    route = ("function ksr_request_route() {\n\tKSR.pv.sets('$ru', KSR.pv.get('$hdr(X-Target)'));\n"
             "\tKSR.tm.t_relay();\n\treturn 1;\n}\n")
    with Peer(server_context(certs.server_ec)) as good, Peer(server_context(certs.server_ec)) as bad:
        params = {**certs.server_ec.params(event_callback="ksr_tls_event"), "tm": {"fr_timer": 8000}}
        host = start_host.make(modules=["tm.so", "app_jsdt.so"], script='cfgengine "jsdt"\n', modparams=params)
        code = host.write("event.js", route + javascript.replace("5061", str(good.port)))
        host.modparams["app_jsdt"] = {"load": code}
        host.start()
        with UdpClient(host.port(UDP)) as client:
            assert client.ask(headers=[f"X-Target: {good.uri()}"]).status == 200
            assert client.ask(headers=[f"X-Target: {bad.uri()}"]).status >= 400
        assert not bad.names
        for peer in (good, bad):
            assert f"tls:connection-out to 127.0.0.1:{peer.port}\n" in host.log()


# -- doc/rpc.md -------------------------------------------------------------------------------------------------------

def shapes(text):
    """Names and nesting of what kamcmd prints, without the values and what newer hosts have in addition."""
    text = re.sub(r"(?m)^\s*(?:dom|sni|timestamp): .*\n", "", text)
    return re.sub(r"(?m)^(\s*\w+:) .*(?<!\{)$", r"\1", text).strip()


@pytest.fixture(scope="module")
def shown(module_host, certs):
    """A host like the one of the page, and the outputs of the page as {command: [outputs]}."""
    ec, rsa = certs.server_ec, certs.server_rsa
    text = (f"[server:default]\n{ec.section(ca_list=certs.ca.cert, verify_certificate='yes')}\n[server:any]\n"
            f"{ec.section(server_name='example.org', certificate2=rsa.cert, private_key2=rsa.key)}\n[client:default]\n")
    host = module_host.make(tls_cfg=text, modules=["ctl.so"])
    host.modparams["ctl"] = {"binrpc": "unix:" + host.path("ctl")}
    told = {}
    for block in re.findall(r"^    \$ (.*?)(?=^    \$ |^\S|\Z)", page("rpc.md"), re.M | re.S):
        command, _, output = re.sub(r"^    ", "", block, flags=re.M).partition("\n")
        told.setdefault(command, []).append(output.rstrip() + "\n")
    return host.start(), told


def kamcmd(host, *words):
    """What kamcmd prints."""
    return subprocess.run(["kamcmd", "-s", "unix:" + host.path("ctl"), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=100, check=False).stdout


@pytest.mark.parametrize("command", ["list", "domains", "info", "check"])
def test_rpc_output(shown, certs, command):
    """Each answer has the fields of the page, in this order, and no others."""
    host, told = shown
    with connect(host.port(), version="1.3", pair=certs.client_good) as client:
        client.ask()
        printed = kamcmd(host, "tls." + command)
    assert shapes(told["kamcmd tls." + command][0]) == shapes(printed)
    host.wait_no_connections()


def test_rpc_options_are_the_settings(shown, table):
    """tls.options has a line for each setting that has a name at run time."""
    names = set(re.findall(r"^\t(\w+):", kamcmd(shown[0], "tls.options"), re.M))
    assert names == {row["rpc_name"] or row["run_name"] or row["name"] for row in table.values()
                     if row["run_name"] or not row["of_domain"]}
    assert "ssl_freelist_max" in names, "the name that scripts of the packaged module's users look for"
    assert set(re.findall(r"^\t(\w+):", shown[1]["kamcmd tls.options | grep -e timeout -e config"][0], re.M)) <= names


def test_rpc_errors_and_kill(shown, certs):
    """The words of the page, with other numbers and paths."""
    host, told = shown
    with open(host.path("tls.cfg"), encoding="utf-8") as f:
        good = f.read()
    assert kamcmd(host, "tls.reload").strip() == told["kamcmd tls.reload"][0].strip()
    host.write("tls.cfg", good + "certificat = x\nca_list = /nowhere/ca.pem\n")
    for command, output in (("tls.reload", told["kamcmd tls.reload"][1]), ("tls.check", told["kamcmd tls.check"][1])):
        printed = re.sub(r"\S+/tls\.cfg:\d+", "FILE", kamcmd(host, command))
        assert printed.strip() == re.sub(r"\S+/tls\.cfg:\d+", "FILE", output).strip()
    host.write("tls.cfg", good)
    assert kamcmd(host, "tls.kill", "99").strip() == told["kamcmd tls.kill 99"][0].strip()
    with connect(host.port(), pair=certs.client_good) as client:
        client.ask()
        pipeline = next(command for command in told if "xargs" in command)
        mine = pipeline.replace("192.0.2.7", "127.0.0.1").replace("kamcmd", f"kamcmd -s unix:{host.path('ctl')}")
        printed = subprocess.run(mine, shell=True, stdout=subprocess.PIPE, text=True, timeout=100, check=False).stdout
        assert re.sub(r"\d+", "N", printed.strip()) == re.sub(r"\d+", "N", told[pipeline][0].strip())
        assert client.closed_by_server()


# -- doc/fail2ban.md --------------------------------------------------------------------------------------------------

FORGED = ("NOTICE: <script>: agent sip kamailio[1]: NOTICE: tls [x]: f(): TLS handshake failed: peer 192.0.2.66:1, "
          "domain x: y")
# What fail2ban puts in for <ADDR>, near enough.
ADDR = (r"(?:(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
        r"|(?P<ip6>(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}))")


def failures_of(host, certs, spec, address):
    """Clients that fail in every way; returns how many."""
    port = host.port(spec)
    raw_exchange(port, b"GET / HTTP/1.0\r\n\r\n", address=address)
    raw_exchange(port, b"OPTIONS sip:a SIP/2.0\r\n\r\n", address=address)
    raw_exchange(port, bytes(range(100)), address=address)
    raw_exchange(port, client_hello()[:60], address=address)
    raw_exchange(port, client_hello()[:60], address=address, finish=False)
    clients = [None, certs.client_expired, certs.client_wrong_ca, certs.client_revoked, certs.client_self_signed]
    for pair in clients:
        assert refused(port, pair=pair, address=address)
    with connect(port, pair=certs.client_good, address=address) as client:
        assert client.ask().status == 200
    return 5 + len(clients)


def test_fail2ban(start_host, certs):
    """The filter finds each failed handshake once, with its address, and nothing else."""
    host = start_host(listen=(UDP, TLS, TLS6), modparams=certs.server_ec.params(
        ca_list=certs.ca.cert, crl=certs.crl_revoked, verify_client="on", handshake_timeout=5))
    expected = sum(([address] * failures_of(host, certs, spec, address)
                    for spec, address in ((TLS, "127.0.0.1"), (TLS6, "::1"))), [])
    wait_for(lambda: host.log().count("TLS handshake failed") >= len(expected), 30, "a line for each failure")
    pattern = re.search(r"^failregex = (.*)", fenced("fail2ban.md", "ini")[0], re.M)[1]
    pattern = pattern.replace("<ADDR>", ADDR)
    lines = host.log().splitlines()
    # as syslog has them, without the date, which fail2ban takes off
    syslog = [re.sub(r"^ *\d+\((\d+)\) ", r" sip /usr/sbin/kamailio[\1]: ", line) for line in lines]
    forged = [f" 7(70) {FORGED}", f" sip /usr/sbin/kamailio[70]: {FORGED}"]
    for form in (lines + forged[:1], syslog + forged[1:]):
        found = [m["ip4"] or m["ip6"] for m in (re.search(pattern, line) for line in form) if m]
        assert sorted(found) == sorted(expected)


# -- doc/regressions.md, doc/security.md, doc/design.md ----------------------------------------------------------------

def test_named_tests_exist():
    """Every test that a page names is there, and every failure of the past has at least one."""
    rows = [line.split(" | ") for line in page("regressions.md").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 24 and all(len(row) == 3 and re.search(r"`(test_\w+\.py::test_\w+|unit/test_\w+\.c)`", row[2]) for row in rows)
    for name in ("regressions.md", "security.md", "design.md"):
        for file, test in re.findall(r"`((?:unit/)?test_\w+\.(?:py|c))(?:::(\w+))?`", page(name)):
            path = os.path.join(TOP, "test", "unit" if file.endswith(".c") else "server", os.path.basename(file))
            with open(path, encoding="utf-8") as f:
                assert not test or re.search(rf"^def {test}\(", f.read(), re.M), f"{name}: there is no {file}::{test}"


# -- every page ---------------------------------------------------------------------------------------------------------

def pages():
    """{path: text} of all that is written for people."""
    names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"doc/{n}" for n in sorted(os.listdir(TOP + "/doc")) if n.endswith(".md"))]
    return {name: page("../" + name) for name in names}


def anchors(text):
    """What its headings are called in a link."""
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")
            for head in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)}


def test_links():
    """Each leads to a file that is there, and to a heading in it."""
    everything = pages()
    count = 0
    for name, text in everything.items():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            path = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
            assert os.path.exists(os.path.join(TOP, path)), f"{name}: there is no {target}"
            assert not anchor or anchor in anchors(everything[path]), f"{name}: {path} has no heading #{anchor}"
            count += 1
    assert count > 50


def test_commands_and_files_exist():
    """Every target of make that a page or the Makefile's head names is one, and that head, which make help shows, names
    all that pages do; every file of the project that a page names is there."""
    makefile = page("../Makefile")
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z -]+)?:(?!=)|^\.PHONY: ", makefile + page("../mk/check.mk"), re.M))
    targets |= {word for line in re.findall(r"^\.PHONY: (.*)$", makefile + page("../mk/check.mk"), re.M) for word in line.split()}
    shown = set(re.findall(r"\bmake ([a-z][a-z-]*)", makefile.split("\n\n")[0]))
    assert len(shown) > 10 and shown <= targets, shown - targets
    for name, text in pages().items():
        commands = re.findall(r"`(?:[A-Z_]+=\S+ )*make ((?:[a-z][a-z-]*\b(?!=) ?)+)", text) + re.findall(r"^    make ([a-z-]+)", text, re.M)
        for target in " ".join(commands).split():
            assert target in targets, f"{name}: there is no make {target}"
            assert target in shown or target.startswith("check-"), f"{name}: the Makefile's head does not name make {target}"
        for path in re.findall(r"`((?:bench|doc|examples|mk|test|tools)/[\w./-]*\w)`", text):
            assert os.path.exists(os.path.join(TOP, path)), f"{name}: there is no {path}"


# -- doc/troubleshooting.md -------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def spoken():
    """Everything that the module, the library or the host may say: the strings in their programs."""
    text = os.strerror(errno.EACCES)
    for name in module_sources():
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            text += re.sub(r'"\s*\n\s*"', "", f.read().replace('\\"', '"'))
    with open("/proc/self/maps", encoding="utf-8") as f:
        libraries = {line.split()[-1] for line in f if re.search(r"lib(ssl|crypto)\.so", line)}
    assert len(libraries) == 2, "Python's ssl has the library's words"
    for path in [*libraries, "/usr/sbin/kamailio"]:
        with open(path, "rb") as f:
            text += f.read().decode("latin-1")
    return text


def test_messages_exist(spoken):
    """What stands in the first column of a table of messages is said by somebody."""
    tables = page("troubleshooting.md").split("\n## Memory\n")[0]
    rows = re.findall(r"^\| (.*?) \| .*\|$", tables, re.M)
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 30
    for text in quoted:
        said = re.sub(r"^TLS (\w+) failed", r'"\1"', text)  # one line of the code for all of them
        for piece in re.split(r"\.\.\.|\b[A-Z]+:|\bN\b| \(\w+\)|: (?=[a-z]|Kamailio )", said):
            piece = piece.strip(" :")
            assert len(piece) < 4 or piece in spoken, f"nobody says {piece!r} (in {text!r})"


def test_section_for_old_phones(checker, certs):
    """The example loads beside a good configuration."""
    example = fenced("troubleshooting.md", "ini")[0]
    write_files(checker, certs, example)
    checker.write("tls.cfg", f"[server:default]\n{certs.server_ec.section()}{example}")
    assert checker.rpc("tls.check")["errors"] == 0
