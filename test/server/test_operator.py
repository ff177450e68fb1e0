"""What operators get wrong while the server runs: odd files, too much for the memory, bytes that are no text."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

import sip
from certs import name, raw_san
from host import HostError, wait_for
from peers import Background, Peer, UdpClient, connect, warm

UDP, TLS, TCP = "udp:127.0.0.1", "tls:127.0.0.1", "tcp:127.0.0.1"
NAMED = """
request_route {
	if ($hdr(X-Target) != $null) {
		$ru = $hdr(X-Target);
		$xavp(out=>server_name) = $hdr(X-Name);
		forward();
		exit;
	}
	sl_send_reply("200", "OK");
	exit;
}
"""


def text(certs, **more):
    """A tls.cfg that serves; more keys for its server section."""
    return f"[server:default]\n{certs.server_ec.section(**more)}\n[client:default]\nmethod = TLSv1.2+\n"


def many_sections(certs, count):
    """The same with COUNT named sections."""
    return text(certs) + "".join(f"[server:any]\n{certs.server_ec.section(server_name=f'n{i}.test')}\n" for i in range(count))


def content(path):
    """What a file holds."""
    with open(path, "rb") as f:
        return f.read()


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """The host of most tests."""
    return module_host(tls_cfg=text(certs))


@pytest.fixture
def host(shared, certs):
    """The same, on a good configuration; a connection from before goes on, whatever is done to the files."""
    shared.revive()
    shared.write("tls.cfg", text(certs))
    shared.rpc("tls.reload")
    with connect(shared.port()) as client:
        assert client.ask().status == 200
        yield shared
        assert client.ask().status == 200
    shared.check_alive()
    away(shared, "tls.cfg")
    shared.write("tls.cfg", text(certs))
    shared.rpc("tls.reload")


def away(host, entry):
    """Removes whatever is there under this name."""
    path = host.path(entry)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def problems(host):
    """The texts of what tls.check finds."""
    return [p["text"] for p in host.rpc("tls.check")["problems"]]


def refuses(host, *words):
    """tls.reload, tls.check and -c refuse what is on disk now; the first two with these words in one error."""
    said = problems(host)
    assert any(all(word in line for word in words) for line in said), said
    host.rpc_error("tls.reload")
    command = [*host.wrapper, *host.command("-c", "-E")[len(host.wrapper):]]
    done = subprocess.run(command, cwd=host.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 1 and b"TLS configuration not ok" in done.stdout, done.stdout[-2000:]
    return said


# -- files that are none ---------------------------------------------------------------------------------------------

def make_odd(host, entry, kind):
    """Something that is no file of use, under this name; what is said of it."""
    path = host.path(entry)
    away(host, entry)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        os.mkdir(path)
    else:
        os.symlink({"loop": path, "nowhere": "/no/where", "device": "/dev/zero", "process": "/proc/self/mem"}[kind], path)
    return {"loop": "Too many levels", "nowhere": "No such file", "process": "the file is empty"}.get(kind, "not a regular file")


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "nowhere", "device", "process"])
@pytest.mark.parametrize("setting", ["certificate", "private_key", "ca_list", "crl"])
def test_file_that_is_none(host, certs, setting, kind):
    """Nobody waits for a pipe, reads a device to its end or follows links for ever; the line is that of the setting."""
    said = make_odd(host, "odd", kind)
    config = text(certs, verify_certificate="yes", **{setting: host.path("odd")})
    line = next(i + 1 for i, words in enumerate(config.splitlines()) if words.startswith(setting))
    host.write("tls.cfg", config)
    refuses(host, f"tls.cfg:{line}: {setting}: ", host.path("odd"), said)


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "nowhere", "device", "process"])
def test_configuration_that_is_none(host, kind):
    make_odd(host, "tls.cfg", kind)
    words = {"folder": "no section", "process": "cannot be read", "loop": "Too many levels", "nowhere": "No such file"}
    assert len(refuses(host, "tls.cfg", words.get(kind, "not a regular file"))) == 1


@pytest.mark.parametrize("data", [b"", b"# nothing yet\n", "[server:default]\n".encode("utf-16"), b"\0" * 100, b"A" * 1000000],
                         ids=["empty", "comment", "utf-16", "zeros", "one line"])
def test_one_error_for_a_file_without_a_section(host, data):
    """Not a second one about the certificate that a section would have by default."""
    with open(host.path("tls.cfg"), "wb") as f:
        f.write(data)
    assert len(refuses(host, "tls.cfg")) == 1


@pytest.mark.parametrize("change", ["crlf", "bom", "key first", "a lot of text behind"])
def test_files_of_other_habits(host, certs, change):
    """Line ends of other systems, marks of other editors, key and certificate in one file, 50 MB of comments."""
    pair = {"certificate": content(certs.server_ec2.cert), "private_key": content(certs.server_ec2.key)}
    changes = {"crlf": lambda b: b.replace(b"\n", b"\r\n"), "bom": lambda b: b"\xef\xbb\xbf" + b,
               "key first": lambda b: pair["private_key"] + pair["certificate"],
               "a lot of text behind": lambda b: b + b"some words that mean nothing\n" * 1800000}
    paths = {}
    for setting, data in pair.items():
        paths[setting] = host.path("other." + setting)
        with open(paths[setting], "wb") as f:
            f.write(changes[change](data))
    with open(host.path("tls.cfg"), "wb") as f:
        f.write(changes[change if change in ("crlf", "bom") else "crlf"](text(certs, **paths).encode()))
    host.rpc("tls.reload")
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.server_serial() == certs.server_ec2.x509.serial_number
    for path in paths.values():
        os.unlink(path)


@pytest.mark.parametrize("key", ["/engine:my_label", "/engine:pkcs11:token=T;object=K", "/uri:pkcs11:token=T"])
def test_key_in_hardware(host, certs, key):
    """Where the packaged module takes a key from a device, the error says that this one does not."""
    host.write("tls.cfg", text(certs, private_key=f'"{key}"'))
    refuses(host, ": private_key: ", key, "keys in hardware are not supported")


def test_weak_certificate_is_named(host, certs):
    """It is the certificate that OpenSSL finds too weak: the setting of that is named, and its file."""
    weak = [host.path("weak.pem"), host.path("weak.key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-out", weak[0],
                    "-keyout", weak[1]], check=True, stderr=subprocess.DEVNULL)
    host.write("tls.cfg", text(certs, certificate=weak[0], private_key=weak[1]))
    refuses(host, f": certificate: {weak[0]}: ", "key too small")


# -- what loads and does not do what it looks like ------------------------------------------------------------------------

HOLLOW = {
    "no certificate": ({"certificate": '""'}, "certificate", "every client will be refused"),
    "revocation lists without authorities": ({"verify_certificate": "yes", "crl": "{certs.crl_empty}"}, "ca_list", "trusts no authority"),
    "a second key alone": ({"private_key2": "{certs.server_rsa.key}"}, "private_key2", "no effect without certificate2"),
    "a pattern": ({"server_name": '"*.example.org"'}, "server_name", "server_name_mode = 2"),
    "a name with a port": ({"server_name": "example.org:5061"}, "server_name", "without a port"),
}


@pytest.mark.parametrize("case", HOLLOW)
def test_hollow_settings_are_warned_of(host, certs, case):
    """They are taken, as nothing in them is wrong; a warning says in which line the trouble is, by tls.check and in the log."""
    settings, culprit, words = HOLLOW[case]
    config = text(certs, **{key: value.format(certs=certs) for key, value in settings.items()})
    line = next((i + 1 for i, said in enumerate(config.splitlines()) if said.startswith(culprit + " ")), 1)
    host.write("tls.cfg", config)
    assert [said for said in problems(host) if f"tls.cfg:{line}: {culprit}: " in said and words in said], problems(host)
    before = len(host.log())
    host.rpc("tls.reload")
    assert words in host.log()[before:]


def test_parameters_beside_a_file_are_warned_of(start_host, certs):
    """verify_certificate in the main configuration looks like protection, and is none when there is a tls.cfg."""
    host = start_host.make(tls_cfg=text(certs), modparams={"tls": {"verify_certificate": 1, "private_key_password": "hidden",
                                                                   "handshake_timeout": 20}})
    status, said = host.check_config()
    warned = [line for line in said.splitlines() if "no effect beside config" in line]
    assert status == 0 and len(warned) == 2 and "hidden" not in said, said
    assert "parameter private_key_password:" in warned[0] and "parameter verify_certificate:" in warned[1]


def test_pairs_of_two_kinds_are_no_trouble(host, certs):
    host.write("tls.cfg", text(certs, certificate2=certs.server_rsa.cert, private_key2=certs.server_rsa.key))
    assert problems(host) == []


KINDS = {  # how openssl makes a key, and what the error calls it
    "RSA": (["rsa:2048"], "RSA"), "RSA 3072": (["rsa:3072"], "RSA"), "RSA-PSS": (["rsa-pss"], "RSA-PSS"),
    "P-256": (["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "ECDSA"), "P-384": (["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "ECDSA"),
    "Ed25519": (["ed25519"], "ED25519"), "Ed448": (["ed448"], "ED448")}


def made_by_openssl(host, kind, number):
    """The files of a self-signed certificate: its settings."""
    files = {"certificate": host.path(f"pair{number}.pem"), "private_key": host.path(f"pair{number}.key")}
    subprocess.run(["openssl", "req", "-x509", "-newkey", *KINDS[kind][0], "-nodes", "-subj", "/CN=localhost", "-out", files["certificate"],
                    "-keyout", files["private_key"]], check=True, stderr=subprocess.DEVNULL)
    return files


@pytest.mark.parametrize("one, two", [("RSA", "RSA"), ("RSA", "RSA 3072"), ("RSA-PSS", "RSA-PSS"), ("P-256", "P-256"),
                                      ("P-384", "P-256"), ("Ed25519", "Ed25519")])
def test_two_pairs_of_one_kind(host, certs, one, two):
    """One of them would never be shown, and with RSA no handshake would succeed: an error names both files and the kind."""
    pairs = made_by_openssl(host, one, 1), {k + "2": v for k, v in made_by_openssl(host, two, 2).items()}
    host.write("tls.cfg", text(certs, **pairs[0], **pairs[1]))
    refuses(host, ": certificate2: ", pairs[0]["certificate"], pairs[1]["certificate2"], f"same kind, {KINDS[two][1]},")
    assert sum("same kind" in said for said in problems(host)) == 1


@pytest.mark.parametrize("one, two, shown", [
    ("RSA", "RSA-PSS", {"rsa_pss_rsae_sha256": 1, "rsa_pss_pss_sha256": 2}),
    ("RSA-PSS", "RSA", {"rsa_pss_rsae_sha256": 2, "rsa_pss_pss_sha256": 1}),
    ("RSA", "P-256", {"rsa_pss_rsae_sha256": 1, "ecdsa_secp256r1_sha256": 2}),
    ("P-256", "RSA", {"rsa_pss_rsae_sha256": 2, "ecdsa_secp256r1_sha256": 1}),
    ("P-256", "Ed25519", {"ed25519": 2, "ecdsa_secp256r1_sha256": 1}),
    ("Ed448", "Ed25519", {"ed25519": 2, "ed448": 1})])
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_two_pairs_of_two_kinds(host, certs, one, two, shown, version):
    """Each client gets the one that it can verify, in several workers: an RSA key is each process's own copy."""
    files = made_by_openssl(host, one, 1), made_by_openssl(host, two, 2)
    host.write("tls.cfg", text(certs, method="TLSv1.2+", **files[0], **{k + "2": v for k, v in files[1].items()}))
    host.rpc("tls.reload")
    for algorithm, number in list(shown.items()) * 4:
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{host.port()}", "-" + version, "-sigalgs", algorithm],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        with open(files[number - 1]["certificate"], encoding="ascii") as f:
            assert f.read().strip() in done.stdout, done.stdout + done.stderr


def test_wrong_password_is_said_once(host, certs):
    """OpenSSL tries a file in several ways, and each fails for the same reason."""
    host.write("tls.cfg", text(certs, private_key=certs.key_encrypted, private_key_password="wrong"))
    said = next(line for line in refuses(host, ": private_key: ", certs.key_encrypted, "private_key_password") if "private_key" in line)
    assert "cannot read the private key with private_key_password" in said, said
    assert said.count("bad decrypt") == 1, said


@pytest.mark.parametrize("password", [None, "secret"])
@pytest.mark.parametrize("kind", ["plain", "encrypted"])
def test_cut_key_is_named(host, certs, kind, password):
    """With or without a password, and whether or not the key needs one."""
    with open(certs.key_encrypted if kind == "encrypted" else certs.server_ec.key, encoding="ascii") as f:
        key = f.read()
    cut = host.write("cut.key", key[:key.index("-----END")])
    os.chmod(cut, 0o600)
    host.write("tls.cfg", text(certs, private_key=cut, **({"private_key_password": password} if password else {})))
    refuses(host, ": private_key: ", cut, "the private key has no END line; is the file cut short?")


def test_key_without_its_begin_line_is_not_called_cut(host, certs):
    """It has an END line, so nothing is missing at its end."""
    with open(certs.server_ec.key, encoding="ascii") as f:
        key = f.read()
    headless = host.write("headless.key", key[key.index("\n") + 1:])
    os.chmod(headless, 0o600)
    host.write("tls.cfg", text(certs, private_key=headless))
    assert not [line for line in refuses(host, ": private_key: ", headless, "no private key") if "END line" in line]


# -- one mistake, one message -------------------------------------------------------------------------------------------------

CERT, KEY, LOCKED = "certificate = {certs.server_ec.cert}\n", "private_key = {certs.server_ec.key}\n", "private_key = {certs.key_encrypted}\n"
PASSWORD, PAIR, CA = "private_key_password = secret\n", CERT + KEY, "ca_list = {certs.ca.cert}\n"
SERVER, CLIENT, VERIFY = "[server:default]\n", "[client:default]\n", "verify_certificate = yes\n"
TRADITIONAL = 'method = TLSv1+\ncipher_list = "DEFAULT:@SECLEVEL=0"\n'

MISTAKES = {  # {name: (text, what is replaced, by what)}; only the second text has a mistake
    "certificate": (SERVER + PAIR, "certificate =", "certifcate ="),
    "certificate without a likeness": (SERVER + PAIR, "certificate =", "pem_file ="),
    "certificate without a value": (SERVER + PAIR, "certificate = {certs.server_ec.cert}", "certificate ="),
    "certificate in an open quote": (SERVER + PAIR, "certificate = ", 'certificate = "'),
    "a client's certificate in an open quote": (SERVER + PAIR + CLIENT + PAIR + PASSWORD, CLIENT + "certificate = ", CLIENT + 'certificate = "'),
    "a client's certificate": (SERVER + PAIR + CLIENT + PAIR + PASSWORD, CLIENT + "certificate", CLIENT + "certifcate"),
    "no sign": (SERVER + PAIR, "certificate = ", "certificate "),
    "key": (SERVER + PAIR, "private_key =", "privat_key ="),
    "password": (SERVER + CERT + LOCKED + PASSWORD, "private_key_password", "private_key_passwd"),
    "password in an open quote": (SERVER + CERT + LOCKED + PASSWORD, "= secret", '= "secret'),
    "authorities": (SERVER + PAIR + VERIFY + CA, "ca_list", "ca_lists"),
    "authorities without a likeness": (SERVER + PAIR + VERIFY + CA, "ca_list", "trusted_by"),
    "second certificate": (SERVER + PAIR + "certificate2 = {certs.server_rsa.cert}\nprivate_key2 = {certs.server_rsa.key}\n",
                           "certificate2", "certificate_2"),
    "second certificate, with a locked key": (
        SERVER + PAIR + "certificate2 = {certs.server_rsa.cert}\nprivate_key2 = {certs.server_rsa.key}\nprivate_key_password2 = x\n",
        "certificate2", "certificate_2"),
    "verification for the name": (SERVER + PAIR + CLIENT + VERIFY + CA + "verify_name = yes\n", "verify_certificate = yes",
                                  "verify_certificate = yess"),
    "verification, unknown": (SERVER + PAIR + CLIENT + VERIFY + CA + "verify_name = yes\n", "verify_certificate", "verify_cert"),
    "security level": (SERVER + PAIR + TRADITIONAL, "cipher_list", "ciphers_list"),
    "head of the default section": (SERVER + PAIR + CLIENT, "[server:default]", "[sever:default]"),
    "head without its end": (SERVER + PAIR + CLIENT, "[server:default]", "[server:default"),
    "word in a head": (SERVER + PAIR + CLIENT, "default", "defualt"),
    "no head": (SERVER + PAIR, "[server:default]", "# nothing"),
    "names of two": (SERVER + PAIR + "[server:any]\nserver_name = a.test\n" + PAIR + "[server:any]\n" + PAIR, "server_name", "servername_"),
    "ids of two": (SERVER + PAIR + "[client:any]\nserver_id = a\n[client:any]\n", "server_id", "serverid_"),
    "missing file for both": (SERVER + "certificate = {certs.combined.cert}\n", "{certs.combined.cert}", "/no/such/file"),
    "bad file for both": (SERVER + "certificate = {certs.combined.cert}\n", "{certs.combined.cert}", "{certs.malformed[text]}"),
    "setting twice": (SERVER + PAIR, "private_key =", "private_key = x\nprivate_key ="),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_one_mistake_one_message(host, certs, case):
    """Nothing is said of what a setting would be by default that somebody has tried to set."""
    right, old, new = MISTAKES[case]
    assert right.count(old) >= 1
    right, wrong = right.format(certs=certs), right.replace(old, new, 1).format(certs=certs)
    for config, expected in ((right, 0), (wrong, 2 if case == "no head" else 1)):  # there, each line has lost its head
        os.chmod(host.write("tls.cfg", config), 0o600)
        said = problems(host)
        assert len(said) == expected, said


def test_all_mistakes_at_once(host, certs):
    """A mistake does not hide what is wrong beside it."""
    host.write("tls.cfg", text(certs, certificat="x", ca_list="/no/such/ca", verify_depth="deep") + "nothing = 1\n")
    said = " ".join(problems(host))
    assert all(word in said for word in ('"certificat"', "/no/such/ca", '"deep"', '"nothing"')), said


@pytest.mark.parametrize("typo", ["verfy_certificate", "chiper_list", "ca_lst", "metod"])
def test_a_typo_hides_nothing_beside_it(host, certs, typo):
    """Where it can be told what was meant, all else that is wrong is told at once."""
    host.write("tls.cfg", text(certs, private_key="/no/such/key", **{typo: "x"}))
    said = " ".join(problems(host))
    assert f'"{typo}"; did you mean' in said and "/no/such/key" in said, said


# -- bytes that are no text ------------------------------------------------------------------------------------------------

LATIN = "zertifikate-für-münchen".encode("latin-1")


@pytest.mark.parametrize("line", [b"server_name = " + LATIN, b"certificate = /no/" + LATIN, LATIN, b"no_such_" + LATIN + b" = 1",
                                  b"verify_depth = " + LATIN, b"[server:" + LATIN + b"]", b"cipher_list = " + LATIN])
def test_answers_are_utf8(host, certs, line):
    """What stands in a file may be no text at all; the answer that tells of it is, so that everybody can read it."""
    with open(host.path("tls.cfg"), "wb") as f:
        f.write(text(certs).encode() + line + b"\n")
    refuses(host, "tls.cfg:")
    assert "?" in " ".join(problems(host))


@pytest.mark.parametrize("shift", range(4))
def test_long_errors_are_cut_between_characters(host, certs, shift):
    host.write("tls.cfg", text(certs) + f"crl = /no/{'x' * shift}{'€' * 100}\n")
    refuses(host, "tls.cfg:", "€" * 100)
    assert "see tls.check" in host.rpc_error("tls.reload")


def test_odd_names_of_certificates_are_told_as_text(start_host, certs):
    """Names with bytes that are no text, in a certificate of ours."""
    pair = certs.pair("latin-names", name("latin"), certs.ca, extensions=[raw_san((0x82, LATIN + b"\n\x1b[2J"), (0x82, b"good.test"))])
    host = start_host(tls_cfg=f"[server:default]\n{pair.section()}\n[client:default]\n")
    names = host.rpc("tls.domains")[0]["alternative_names"]
    assert names.isprintable() and "DNS:zertifikate-f" in names and "DNS:good.test" in names


def test_odd_names_that_a_script_asks_for_are_refused(start_host, certs):
    """A script may take the outgoing server name from a message, which holds what its sender likes; the log has none of it."""
    host = start_host(listen=(UDP, TLS), modparams={"tls": {"xavp_cfg": "out"}}, tls_cfg=text(certs), script=NAMED)
    with Peer(behaviour="silent") as peer, UdpClient(host.port(UDP)) as udp:
        asked = sip.request(transport="UDP", via="127.0.0.1", headers=[f"X-Target: {peer.uri()}", "X-Name: NAME.test"])
        udp.sock.send(asked.replace(b"NAME.test", b"m\xfcnchen.test"))
        host.wait_log(f"TLS connecting failed: peer 127.0.0.1:{peer.port}, .* the server_name in the xavp of xavp_cfg is neither a host name")
        assert not host.connections() and "nchen.test" not in host.log()


# -- more than the memory holds --------------------------------------------------------------------------------------------

def too_much(host, certs):
    """Configurations that a host with little memory cannot hold: {name: text}."""
    with open(host.path("many.pem"), "wb") as f:
        f.write(content(certs.server_ec.cert) * 2000)
    key = certs.new_key()
    authorities = [certs.pem(certs.issue(name(f"Authority {i}"), key, ca=True)) for i in range(600)]
    return {"a chain": text(certs, certificate=host.path("many.pem")),
            "authorities": text(certs, ca_list=certs.write("authorities.pem", b"".join(authorities)), verify_certificate="yes"),
            "sections": many_sections(certs, 1000)}


@pytest.mark.long
def test_reload_leaves_memory_to_the_traffic(start_host, certs):
    """A reload that wants more memory than there is fails before calls do, says so once or twice, and gives everything back."""
    host = start_host(tls_cfg=text(certs), shm_mb=4)
    warm(host)
    before = host.shm_live()
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(connect(host.port())) for _ in range(4)]

        def ask():
            for client in clients:
                assert client.ask(size=12000).status == 200

        ask()
        traffic = Background(ask, threads=1, pause=0.01)
        for what, config in too_much(host, certs).items():
            rounds = traffic.rounds
            host.write("tls.cfg", config)
            said = [p["text"] for p in host.rpc("tls.check", timeout=60)["problems"]]
            with pytest.raises(HostError) as error:
                host.rpc("tls.reload", timeout=60)
            assert 1 <= len(said) <= 2 and "KB are left" in said[0], f"{what}: {said}"
            assert all("no shared memory" in line for line in said), f"{what}: {said}"
            assert "no shared memory" in str(error.value), what
            wait_for(lambda: traffic.rounds > rounds + 1, 30, "requests during it")
        traffic.stop()
        host.write("tls.cfg", text(certs))
        host.rpc("tls.reload")
    host.wait_no_connections()
    # where the host has no room for a piece of the usual size, the module takes a smaller one
    refused = set(re.findall(r"called from ([^(]*)\(.*not found", host.log()))
    assert refused <= {"tls: tls_init.c: host_take"} and "could not allocate" not in host.log(), "the host itself had no memory"
    assert host.shm_settled(before * 1.02) <= before * 1.02
    host.stop()


# -- at the wrong moment ------------------------------------------------------------------------------------------------------

def test_stop_while_it_reloads(start_host, certs):
    """The host is told to stop while reloads and checks follow one another: it stops as ever."""
    for turn in range(4):
        host = start_host(tls_cfg=many_sections(certs, 60))
        stopping = []

        def again():
            with contextlib.suppress(HostError, OSError):
                while not stopping:
                    host.rpc("tls.reload", timeout=5)
                    host.rpc("tls.check", timeout=5)

        reloads = Background(again, threads=1)
        wait_for(lambda: host.rpc("tls.info")["generation"] > 2 + turn, 60, "reloads")
        host.first_pids = host.pids()
        began = time.monotonic()
        host.stop()
        assert time.monotonic() - began < 30, "the host had to be ended by its exit_timeout"
        stopping.append(True)
        reloads.stop()
        host.close()


def test_kill_wants_the_id_of_a_tls_connection(start_host, certs):
    """What is no number, or the number of a connection that is not ours, kills nobody."""
    host = start_host(listen=(UDP, TLS, TCP), tls_cfg=text(certs), settings={"tcp_connection_lifetime": 60})
    with connect(host.port()) as client, socket.create_connection(("127.0.0.1", host.port(TCP))) as plain:
        client.ask()
        plain.sendall(sip.request(transport="TCP"))
        assert plain.recv(65536).startswith(b"SIP/2.0 200")
        theirs = [c["id"] for c in host.rpc("core.tcp_list") if c["type"] == "TCP"]
        assert len(theirs) == 1
        for odd in ("x", "", "1x", 0, {}, None, [1], "9" * 5000):
            assert "400" in host.rpc_error("tls.kill", odd), odd
        for number in (*theirs, 2 ** 31 - 1, -1, -(2 ** 31)):
            assert f"has the id {number}" in host.rpc_error("tls.kill", number)
        plain.sendall(sip.request(transport="TCP"))
        assert plain.recv(65536).startswith(b"SIP/2.0 200") and client.ask().status == 200
    host.stop()
