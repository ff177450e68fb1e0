"""What loads and does not do what it looks like: one line each that says where and what to do, by tls.check, -c and at the start."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import Pair, name
from host import TOP
from peers import refused

ANY, PORT = "tls:127.0.0.1", "tls:127.0.0.2"


def check(host, text, mode=0o640):
    """What tls.check says of this tls.cfg: [(severity, text without the folder)]."""
    os.chmod(host.write("tls.cfg", text), mode)
    said = host.rpc("tls.check")["problems"]
    return [(p["severity"], p["text"].replace(host.dir + "/", "")) for p in said]


def one_line(host, text, severity, *words, mode=0o640):
    """Exactly one line, with these words; -c shows it, too."""
    said = check(host, text, mode)
    assert len(said) == 1 and said[0][0] == severity, said
    assert all(word in said[0][1] for word in words), f"{said} instead of {words}"
    command = [*host.wrapper, *host.command("-c", "-E")[len(host.wrapper):]]
    done = subprocess.run(command, cwd=host.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == (1 if severity == "error" else 0), done.stdout[-2000:]
    shown = done.stdout.decode(errors="replace").replace(host.dir + "/", "")
    assert said[0][1] in shown and len(re.findall(r"(?:WARNING|ERROR): tls \[", shown)) == 1, shown


@pytest.fixture(scope="module")
def host(module_host, certs):
    """One host looks at all files."""
    text = f"[server:default]\n{certs.server_ec.section()}[client:default]\nverify_certificate = yes\nca_list = {certs.ca.cert}\n"
    return module_host(tls_cfg=text, listen=["udp:127.0.0.1", ANY, PORT])


# -- the name leads around a port's demand for certificates --------------------------------------------------------------

def two_ports(host, certs, more=""):
    """Certificates are demanded at PORT, a name is for everybody: {server}, {port} and {trust} stand in `more`."""
    pieces = {"server": certs.server_ec.section(), "port": f"127.0.0.2:{host.port(PORT)}",
              "trust": f"require_certificate = yes\nca_list = {certs.ca.cert}\n"}
    return ("[server:default]\n{server}[server:{port}]\n{server}{trust}[server:any]\nserver_name = sip.example.test\n{server}"
            + more).format(**pieces)


def lets_in(host, certs, text, pair=None):
    """Whether a client with this certificate gets in at PORT by the name."""
    host.write("tls.cfg", text)
    host.rpc("tls.reload")
    return not refused(host.port(PORT), address="127.0.0.2", server_name="sip.example.test", ca=certs.ca.cert, pair=pair)


def test_name_that_leads_around_a_demand(host, certs):
    """The warning tells the truth: this is what a stranger can do, and what is advised ends it."""
    text = two_ports(host, certs)
    one_line(host, text, "warning", f"tls.cfg:5: server:127.0.0.2:{host.port(PORT)}: clients must present a certificate here",
             "asks for sip.example.test", "tls.cfg:11 (server:any (sip.example.test)) serves it")
    assert lets_in(host, certs, text)
    assert refused(host.port(PORT), address="127.0.0.2", server_name=None)
    mended = two_ports(host, certs, "[server:{port}]\nserver_name = sip.example.test\n{server}{trust}")
    assert not check(host, mended)
    assert not lets_in(host, certs, mended) and lets_in(host, certs, mended, certs.client_good)


def test_demand_of_a_port_with_named_sections_only(host, certs):
    """Another name than those leads to the default section."""
    text = two_ports(host, certs).replace("[server:any]\nserver_name = sip.example.test\n", "[server:127.0.0.9]\n").replace(
        f"[server:127.0.0.2:{host.port(PORT)}]\n", f"[server:127.0.0.2:{host.port(PORT)}]\nserver_name = other.test\n")
    one_line(host, text, "warning", "tls.cfg:5: ", "asks for any other name", "tls.cfg:1 (server:default) serves it")
    assert lets_in(host, certs, text)
    assert refused(host.port(PORT), address="127.0.0.2", server_name=None)


# -- addresses, passwords -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("address", ["0.0.0.0:5061", "[::]:5061"])
def test_address_that_no_connection_has(host, certs, address):
    text = f"[server:default]\n{certs.server_ec.section()}[server:{address}]\n{certs.server_ec.section()}"
    one_line(host, text, "warning", f"tls.cfg:5: server:{address}: no connection has this address")


def test_password_that_everybody_may_read(host, certs):
    text = f"[server:default]\n{certs.server_ec.section(private_key=certs.key_encrypted, private_key_password='secret')}"
    one_line(host, text, "warning", "tls.cfg:5: every user of this machine may read this file", "chmod o-rw", mode=0o644)
    assert not check(host, text)


# -- what certificates are for --------------------------------------------------------------------------------------------

def usage(*bits):
    """A key usage with these bits alone."""
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{bit: bit in bits for bit in names})


def on_curve(certs, curve):
    """A pair whose key is on this curve."""
    key = ec.generate_private_key(curve())
    path = certs.write(f"{curve.name}.pem", certs.pem(certs.issue(name(curve.name), key, certs.ca)))
    return Pair(path, certs.secret(f"{curve.name}.key", certs.key_pem(key)), None, key)


def old_kind(certs):
    """A pair with a DSA key."""
    key = dsa.generate_private_key(2048)
    path = certs.write("dsa.pem", certs.pem(certs.issue(name("dsa"), key, certs.ca)))
    return Pair(path, certs.secret("dsa.key", certs.key_pem(key)), None, key)


FEATURE = x509.TLSFeature([x509.TLSFeatureType.status_request])
NETSCAPE = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), b"\x03\x02\x07\x80")  # SSL client
# {name: (makes the pair, what is said of it in a server section, and in a client section; None: nothing)}
PURPOSES = {
    "for both": (lambda certs: certs.server("both"), None, None),
    "without usages": (lambda certs: certs.pair("plain", name("plain"), certs.ca), None, None),
    "an authority of its own": (lambda certs: certs.pair("self", name("self")), None, None),
    "RSA": (lambda certs: certs.server("rsa", kind="rsa"), None, None),
    "Ed25519": (lambda certs: certs.server("ed", kind="ed25519"), None, None),
    "P-384": (lambda certs: on_curve(certs, ec.SECP384R1), None, None),
    "may sign": (lambda certs: certs.pair("signs", name("signs"), certs.ca, extensions=[usage("digital_signature")]), None, None),
    "for clients": (lambda certs: certs.client("for-clients"), "not a certificate for a server: its extended key usage lacks serverAuth", None),
    "for servers": (lambda certs: certs.pair("for-servers", name("s"), certs.ca, usage=[ExtendedKeyUsageOID.SERVER_AUTH]), None,
                    "not a certificate for a client: its extended key usage lacks clientAuth"),
    "for code": (lambda certs: certs.pair("for-code", name("s"), certs.ca, usage=[ExtendedKeyUsageOID.CODE_SIGNING]),
                 "lacks serverAuth", "lacks clientAuth"),
    "for encryption": (lambda certs: certs.pair("encrypts", name("e"), certs.ca, "rsa", extensions=[usage("key_encipherment")]),
                       "may not sign: its key usage lacks digitalSignature", "may not sign: its key usage lacks digitalSignature"),
    "an authority": (lambda certs: certs.other_ca, "lacks digitalSignature", "lacks digitalSignature"),
    "Netscape's": (lambda certs: certs.pair("netscape", name("n"), certs.ca, extensions=[NETSCAPE]),
                   "not a certificate for a server according to its Netscape type", None),
    "must-staple": (lambda certs: certs.pair("staple", name("staple"), certs.ca, extensions=[FEATURE]), "must-staple, RFC 7633", None),
    "brainpool": (lambda certs: on_curve(certs, ec.BrainpoolP256R1), "on the curve brainpoolP256r1", "on the curve brainpoolP256r1"),
    "secp256k1": (lambda certs: on_curve(certs, ec.SECP256K1), "on the curve secp256k1", "on the curve secp256k1"),
    "DSA": (old_kind, "of the kind DSA", "of the kind DSA"),
}


@pytest.mark.parametrize("case", PURPOSES)
def test_certificate_that_peers_refuse(host, certs, case):
    """Each role is told in its own line what does not fit, once for a certificate, however many sections name it."""
    make, of_server, of_client = PURPOSES[case]
    pair = make(certs)
    good = certs.server_ec.section()
    server = f"[server:default]\n{good}[server:any]\nserver_name = a.test\n{pair.section()}[server:127.0.0.9]\n{pair.section()}"
    client = f"[server:default]\n{good}[client:any]\n{pair.section()}[client:127.0.0.9]\n{pair.section()}"
    for text, words, line in ((server, of_server, 8), (client, of_client, 7)):
        if words:
            one_line(host, text, "warning", f"tls.cfg:{line}: certificate: {pair.cert}: ", words)
        else:
            assert not check(host, text)


def test_second_certificate_that_clients_refuse(host, certs):
    pair = certs.client("for-clients-rsa", kind="rsa")
    text = f"[server:default]\n{certs.server_ec.section(certificate2=pair.cert, private_key2=pair.key)}"
    one_line(host, text, "warning", f"tls.cfg:5: certificate2: {pair.cert}: ", "lacks serverAuth")


def test_refused_as_it_was_said(host, certs):
    """The warnings tell the truth: clients with usual settings refuse these, or there is nothing to agree on."""
    for case in ("for clients", "brainpool", "secp256k1", "DSA"):
        pair = PURPOSES[case][0](certs)
        host.write("tls.cfg", f"[server:default]\n{pair.section()}")
        host.rpc("tls.reload")
        assert refused(host.port(), ca=certs.ca.cert), case
    host.write("tls.cfg", f"[server:default]\n{certs.server_ec.section()}")
    host.rpc("tls.reload")
    assert not refused(host.port(), ca=certs.ca.cert)


def test_curve_that_the_section_names(host, certs):
    """Whoever offers the curve in `groups` has told the other side, too."""
    assert not check(host, f"[server:default]\n{on_curve(certs, ec.BrainpoolP256R1).section(groups='brainpoolP256r1:P-256')}")


def test_one_pair_by_parameters_for_both_roles(start_host, certs):
    """A certificate that a module parameter names is the server's; that clients have it, too, is nobody's wish."""
    host = start_host.make(modparams=PURPOSES["for servers"][0](certs).params())
    status, said = host.check_config()
    assert status == 0 and not re.search(r"(?:WARNING|ERROR): tls \[", said), said


# -- names of ciphers ------------------------------------------------------------------------------------------------------

CIPHERS = {
    "HIGH:FOO": "FOO", "FOO,HIGH": "FOO", "HIGH:!anull": "anull", "HIGH:-Foo:RSA": "Foo", "HIGH:+FOO": "FOO",
    "ECDHE+AESGCM:ECDHE+CHACHA": "CHACHA", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA265": "ECDHE-RSA-AES128-GCM-SHA265",
    "TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA257": "TLS_AES_128_GCM_SHA257",
    "HIGH:MEDIUM:LOW:!aNULL:!eNULL:!MD5:!RC4:!EXP": None, "DEFAULT:@SECLEVEL=1": None, "HIGH:@STRENGTH": None,
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:kRSA+AES": None, "EECDH+AESGCM:EDH+AESGCM": None, "ALL:!COMPLEMENTOFDEFAULT": None,
    "HIGH:!EDH-RSA-DES-CBC3-SHA:!KRB5-DES-CBC3-SHA:!kDHd:!aECDH": None, "TLS_AES_128_GCM_SHA256:HIGH": None,
}


@pytest.mark.parametrize("ciphers", CIPHERS)
def test_cipher_that_is_none(host, certs, ciphers):
    """OpenSSL passes over it; also said when nothing has changed since."""
    text = f"[server:default]\n{certs.server_ec.section(cipher_list=ciphers)}"
    for _ in range(2):
        if CIPHERS[ciphers]:
            one_line(host, text, "warning", f"tls.cfg:5: cipher_list: OpenSSL knows no cipher named {CIPHERS[ciphers]} and ")
        else:
            assert not check(host, text)
        host.rpc("tls.reload")


# The names of openssl-ciphers(1), of OpenSSL 3.0 to 3.6, and those of GOST's, which need an engine; as in the manual's order.
KEYWORDS = """COMPLEMENTOFDEFAULT ALL COMPLEMENTOFALL HIGH MEDIUM LOW FIPS eNULL NULL aNULL kRSA aRSA RSA kDHr kDHd kDH kDHE kEDH DH
DHE EDH ADH kEECDH kECDHE ECDH ECDHE EECDH AECDH aDSS DSS aDH aECDSA ECDSA TLSv1.2 TLSv1.0 TLSv1 SSLv3 AES128 AES256 AES AESGCM
AESCCM AESCCM8 ARIA128 ARIA256 ARIA ARIAGCM CAMELLIA128 CAMELLIA256 CAMELLIA CHACHA20 3DES DES RC4 RC2 IDEA SEED MD5 SHA1 SHA
SHA256 SHA384 aGOST aGOST01 aGOST12 kGOST kGOST18 GOST94 GOST89 GOST89MAC GOST12 GOST89MAC12 PSK kPSK kECDHEPSK kDHEPSK kRSAPSK
aPSK SRP kSRP aSRP CBC GOST2001-GOST89-GOST89 GOST2001-NULL-GOST94 GOST2012-GOST8912-GOST8912 GOST2012-NULL-GOST12
GOST2012-GOST8912-IANA LEGACY-GOST2012-GOST8912-GOST8912 IANA-GOST2012-GOST8912-GOST8912 GOST2012-MAGMA-MAGMAOMAC
GOST2012-KUZNYECHIK-KUZNYECHIKOMAC SUITEB128 SUITEB128ONLY SUITEB192""".split()


@pytest.mark.parametrize("sign", ["", "!", "-", "+", "AES+"])
def test_documented_name_of_ciphers(host, certs, sign):
    """One that stands for nothing in this OpenSSL is no mistake, whatever is done with it."""
    sections = "".join(f"[server:127.0.0.1:{port}]\n{certs.server_ec.section(cipher_list=f'HIGH:{sign}{word}')}"
                       for port, word in enumerate(KEYWORDS, 1) if not (sign and (word.startswith("SUITEB") or word in ("ALL", "HIGH"))))
    assert not check(host, f"[server:default]\n{certs.server_ec.section()}{sections}")


def test_standard_name_of_a_cipher(host, certs):
    """OpenSSL takes it for a suite of TLS 1.3, which it is not."""
    text = f"[server:default]\n{certs.server_ec.section(cipher_list='TLS_AES_128_GCM_SHA256:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256')}"
    one_line(host, text, "warning", "tls.cfg:5: cipher_list: ", "in a list it is called ECDHE-RSA-AES128-GCM-SHA256; write that")


def test_list_without_a_cipher(host, certs):
    """An error, which tells of the half that has none."""
    text = f"[server:default]\n{certs.server_ec.section(cipher_list='HIGH:TLS_AES_128_GCM_SHA257')}"
    one_line(host, text, "error", 'tls.cfg:5: cipher_list: "TLS_AES_128_GCM_SHA257": OpenSSL refuses it')


# -- files that hold no private key ------------------------------------------------------------------------------------------

def converted(certs, pair, tool):
    """The key of a pair as this tool writes it."""
    path = certs.secret(f"converted-{tool[0]}-{len(tool)}.key", certs.key_pem(pair.private))
    out = certs.path(f"out-{len(os.listdir(certs.folder))}")
    subprocess.run([word.format(key=path, out=out, cert=pair.cert) for word in tool], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    if os.path.exists(out):
        os.chmod(out, 0o600)
    return out if os.path.exists(out) else path


def ssh(certs, kind="ec"):
    """A key in OpenSSH's own form."""
    key = certs.new_key(kind)
    form = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return certs.secret(f"ssh-{kind}.key", form)


KEY_FILES = {  # {name: (makes the file, what is said)}; {} is the file's path
    "OpenSSH": (ssh, "in OpenSSH's own form; this makes a PEM file of it, unless it is Ed25519: ssh-keygen -p -m PKCS8 -f {}"),
    "PuTTY": (lambda c: c.secret("putty.ppk", "PuTTY-User-Key-File-3: ssh-rsa\n"), "puttygen {} -O private-openssh -o NEW"),
    "public": (lambda c: converted(c, c.server_ec, ["openssl", "pkey", "-in", "{key}", "-pubout", "-out", "{out}"]), "a public key, not a private one"),
    "public for ssh": (lambda c: c.secret("id.pub", "ssh-ed25519 AAAA me@here\n"), "a public key, not a private one"),
    "public, DER": (lambda c: converted(c, c.server_ec, ["openssl", "pkey", "-in", "{key}", "-pubout", "-outform", "DER", "-out", "{out}"]),
                    "a public key, not a private one"),
    "certificate": (lambda c: c.server_ec.cert, "a certificate without its private key"),
    "certificate, DER": (lambda c: converted(c, c.server_ec, ["openssl", "x509", "-in", "{cert}", "-outform", "DER", "-out", "{out}"]),
                         "a certificate in DER form, not a private key"),
    "request": (lambda c: converted(c, c.server_ec, ["openssl", "req", "-new", "-key", "{key}", "-subj", "/CN=a", "-out", "{out}"]),
                "a certificate request"),
    "parameters": (lambda c: converted(c, c.server_ec, ["openssl", "ecparam", "-name", "prime256v1", "-out", "{out}"]), "parameters for a key"),
    "encrypted": (lambda c: c.key_encrypted, "the private key is encrypted and no password is set; set private_key_password, or remove it "
                  "with: openssl pkey -in {} -out NEW"),
    "encrypted, traditional": (lambda c: converted(c, c.server_rsa, ["openssl", "rsa", "-in", "{key}", "-traditional", "-aes128", "-passout",
                                                                     "pass:x", "-out", "{out}"]), "the private key is encrypted"),
    "PKCS#8, DER": (lambda c: c.secret("k8.der", c.server_ec.private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())),
        "in DER form; convert it to PEM with: openssl pkey -inform DER -in {} -out NEW"),
    "PKCS#1, DER": (lambda c: converted(c, c.server_rsa, ["openssl", "rsa", "-in", "{key}", "-traditional", "-outform", "DER", "-out", "{out}"]),
                    "openssl pkey -inform DER -in {} -out NEW"),
    "encrypted, DER": (lambda c: converted(c, c.server_ec, ["openssl", "pkcs8", "-topk8", "-in", "{key}", "-outform", "DER", "-passout", "pass:x",
                                                            "-out", "{out}"]), "openssl pkey -inform DER -in {} -out NEW"),
    "PKCS#12": (lambda c: converted(c, c.server_ec, ["openssl", "pkcs12", "-export", "-in", "{cert}", "-inkey", "{key}", "-passout", "pass:x",
                                                     "-out", "{out}"]), "openssl pkcs12 -nocerts -noenc -in {} -out NEW"),
}


@pytest.mark.parametrize("case", KEY_FILES)
def test_file_without_a_private_key(host, certs, case):
    """What it is, and the command that makes a key of it."""
    make, words = KEY_FILES[case]
    path = make(certs)
    one_line(host, f"[server:default]\n{certs.server_ec.section(private_key=path)}", "error", f"tls.cfg:4: private_key: {path}: ",
             words.format(path))


@pytest.mark.parametrize("case", ["OpenSSH", "PKCS#8, DER", "PKCS#1, DER", "encrypted", "PKCS#12"])
def test_command_that_is_advised(certs, case):
    """It does what is said, and the result is a private key in PEM."""
    make, words = KEY_FILES[case]
    path, new = make(certs), certs.path(f"new-{len(os.listdir(certs.folder))}")
    copy = certs.path("copy.key")
    shutil.copy(path, copy)
    os.chmod(copy, 0o600)
    command = words.rsplit(": ", 1)[-1].format(copy).replace("NEW", new)
    command += {"ssh-keygen": " -P '' -N ''", "openssl": " -passin pass:x"}[command.split()[0]]
    command = command.replace("pass:x", "pass:secret") if case == "encrypted" else command
    subprocess.run(shlex.split(command), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(new if os.path.exists(new) else copy, "rb") as f:
        assert b"-----BEGIN PRIVATE KEY-----" in f.read()


def test_certificate_file_without_a_key(host, certs):
    """private_key is not set, so that the certificate's file should hold the key."""
    text = f"[server:default]\ncertificate = {certs.server_ec.cert}\n"
    one_line(host, text, "error", f"tls.cfg:2: certificate: {certs.server_ec.cert}: a certificate without its private key")


# -- client sections that verify nobody ----------------------------------------------------------------------------------------

UNVERIFIED = re.compile(r"NOTICE: tls \[.*\]: \w+\(\): server certificates are not verified in (.*), so (.*)")
SECTIONS = {  # {name: (client sections, those that are named)}
    "none": ("", "client:default"),
    "default": ("[client:default]\n", "client:default"),
    "all verify": ("[client:default]\nverify_certificate = yes\n{ca}[client:any]\nrequire_certificate = yes\n{ca}", None),
    "in one word": ("[client:default]\nverify_client = on\n{ca}", None),
    "some": ("[client:default]\nverify_certificate = yes\n{ca}[client:any]\nserver_id = a\n[client:192.0.2.1:5061]\nverify_client = optional_no_ca\n",
             "client:any (a), client:192.0.2.1:5061"),
}


@pytest.mark.parametrize("case", SECTIONS)
def test_client_sections_that_verify_nobody(start_host, certs, case):
    """One notice at the start for all of them together, and none at a reload; tls.check has no complaint."""
    text, named = SECTIONS[case]
    host = start_host(tls_cfg=f"[server:default]\n{certs.server_ec.section()}" + text.format(ca=f"ca_list = {certs.ca.cert}\n"))
    host.rpc("tls.reload")
    found = UNVERIFIED.findall(host.log())
    assert [names for names, _ in found] == ([named] if named else [])
    assert host.rpc("tls.check")["problems"] == []


def test_many_client_sections_that_verify_nobody(start_host, certs):
    """The line has an end."""
    many = "".join(f"[client:any]\nserver_id = {n}\n" for n in range(200))
    host = start_host.make(tls_cfg=f"[server:default]\n{certs.server_ec.section()}{many}")
    status, said = host.check_config()
    names = UNVERIFIED.search(said).group(1)
    assert status == 0 and names.startswith("client:any (0), client:any (1), ") and names.endswith(" and others") and len(names) < 850


# -- what is good stays unmentioned ---------------------------------------------------------------------------------------------

def complaints(host):
    """What -c says of TLS beside notices."""
    status, said = host.check_config()
    assert status == 0, said
    return re.findall(r"(?:WARNING|ERROR): tls \[.*\]: \w+\(\): (.*)", said)


def demo_files(host):
    """The sample's files, as `make run` makes them."""
    os.mkdir(host.path("tls"))
    subprocess.run([f"{TOP}/tools/demo-certs.sh", host.path("tls")], check=True)


def test_sample_is_good(start_host):
    """tls.cfg at the top."""
    with open(f"{TOP}/tls.cfg", encoding="utf-8") as f:
        host = start_host.make(tls_cfg=f.read())
    demo_files(host)
    assert not complaints(host)


def test_example_is_good(start_host):
    """The settings of examples/ser.cfg."""
    with open(f"{TOP}/examples/ser.cfg", encoding="utf-8") as f:
        set_there = re.findall(r'^modparam\("tls", "(\w+)", (\S+)\)', f.read(), re.M)
    host = start_host.make()
    demo_files(host)
    files = {"TLS_CERTIFICATE": "tls/server.pem", "TLS_PRIVATE_KEY": "tls/server.key", "TLS_CA_LIST": "tls/ca.pem"}
    host.modparams["tls"] = {key: host.path(files[value]) if value in files else value.strip('"') if '"' in value else int(value)
                             for key, value in set_there}
    assert len(set_there) > 4 and not complaints(host)


def test_configuration_of_the_distribution_is_good(start_host, certs):
    """But for its client section, which verifies and trusts nobody."""
    if not os.path.exists("/etc/kamailio/tls.cfg"):
        pytest.skip("the packaged configuration is not installed")
    with open("/etc/kamailio/tls.cfg", encoding="utf-8") as f:
        text = f.read().replace("/etc/kamailio/kamailio-selfsigned", certs.path("selfsigned"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=sip", "-keyout", certs.path("selfsigned.key"),
                    "-out", certs.path("selfsigned.pem"), "-days", "365"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(certs.path("selfsigned.key"), 0o600)
    assert [line for line in complaints(start_host.make(tls_cfg=text)) if "trusts no authority" not in line] == []


@pytest.mark.parametrize("pair", ["server_ec", "server_rsa", "server_ed25519", "server_chained", "combined"])
def test_certificates_of_the_other_tests_are_good(host, certs, pair):
    pair = getattr(certs, pair)
    assert not check(host, f"[server:default]\n{pair.section()}[client:default]\n{pair.section()}")
