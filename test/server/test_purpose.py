"""What a peer's certificate is for, by its extended key usage: verify_purpose."""

import contextlib
import ssl

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import der, name, san
from host import HostError
from peers import Client, Closed, Peer, UdpClient, client_context, connect, refused, server_context

UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
WORDS = ("strict", "sip", "any")
SCRIPT = """
request_route {
	if ($hdr(X-Target) != $null) {
		$ru = $hdr(X-Target);
		$xavp(tls=>server_id) = $hdr(X-Id);
		remove_hf("X-Target");
		t_set_fr("4000", "2000");
		if (!t_relay()) {
			sl_reply_error();
		}
		exit;
	}
	if (is_peer_verified()) {
		sl_send_reply("200", "Verified");
	} else {
		sl_send_reply("200", "Unknown");
	}
	exit;
}
"""
SERVER, CLIENT, ANY = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
MAIL, SIP, OTHER = ExtendedKeyUsageOID.EMAIL_PROTECTION, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20"), x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2.1")
LONG = x509.ObjectIdentifier("1.3.6.1.4.1." + ".".join(["2147483647"] * 6))


def key_usage(**what):
    """A key usage with these bits."""
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{n: what.get(n, False) for n in names})


BROKEN = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.37"), der(0x30, b"\x06\x7f"))
# kind: purposes of the certificate, of the authority that issued it (None: has no such extension, "root": it is the
# root), other extensions; and by which of the words a client, and a server, may have it.
KINDS = {
    "nothing": (None, "root", [], WORDS, WORDS),
    "client": ([CLIENT], "root", [], WORDS, ("sip", "any")),
    "server": ([SERVER], "root", [], ("sip", "any"), WORDS),
    "sip": ([SIP], "root", [], ("sip", "any"), ("sip", "any")),
    "all": ([ANY], "root", [], ("sip", "any"), ("sip", "any")),
    "mail": ([MAIL], "root", [], ("any",), ("any",)),
    "longer-than-client": ([OTHER, LONG], "root", [], ("any",), ("any",)),
    "mail-and-server": ([MAIL, LONG, SERVER], "root", [], ("sip", "any"), WORDS),
    "broken": (None, "root", [BROKEN], (), ()),
    "key-signs": ([SERVER, CLIENT], "root", [key_usage(digital_signature=True)], WORDS, WORDS),
    "key-lists-only": ([SERVER, CLIENT], "root", [key_usage(crl_sign=True)], ("any",), ("any",)),
    "key-encrypts": ([SERVER, CLIENT], "root", [key_usage(key_encipherment=True)], ("any",), WORDS),
    "server-by-any": ([SERVER], None, [], ("sip", "any"), WORDS),
    "server-by-servers": ([SERVER], [SERVER], [], ("sip", "any"), WORDS),
    "server-by-both": ([SERVER], [SERVER, CLIENT], [], ("sip", "any"), WORDS),
    "both-by-servers": ([SERVER, CLIENT], [SERVER], [], ("sip", "any"), WORDS),
    "server-by-clients": ([SERVER], [CLIENT], [], ("any",), ("any",)),
    "server-by-mail": ([SERVER], [MAIL], [], ("any",), ("any",)),
    "sip-by-all": ([SIP], [ANY], [], ("sip", "any"), ("sip", "any")),
    "sip-by-servers": ([SIP], [SERVER], [], ("any",), ("any",)),
}


def pair_of(certs, kind):
    """The certificate of this kind, with its chain."""
    own, above, extensions, _, _ = KINDS[kind]
    issuer, chain = certs.ca, []
    if above != "root":
        issuer = certs.pair(f"purpose-ca-{kind}", name(f"Authority {kind}"), certs.ca, ca=True, usage=above)
        chain = [issuer.x509]
    return certs.pair(f"purpose-{kind}", name(f"purpose {kind}"), issuer, chain=chain, usage=own,
                      extensions=[san("DNS:localhost"), *extensions])


def no_authority(certs, kind):
    """A certificate that is issued by one that is no authority's, because of basic constraints or of the key's usage."""
    if kind == "leaf":
        issuer = certs.server("purpose-issuer-leaf")
    else:
        key = certs.new_key()
        made = (x509.CertificateBuilder().subject_name(name("No Signer")).serial_number(77).issuer_name(certs.ca.x509.subject)
                .public_key(key.public_key()).not_valid_before(certs.ca.x509.not_valid_before).not_valid_after(certs.ca.x509.not_valid_after)
                .add_extension(x509.BasicConstraints(True, None), True).add_extension(key_usage(digital_signature=True), True)
                .sign(certs.ca.private, certs.ca.x509.signature_hash_algorithm))
        issuer = type(certs.ca)("", "", made, key)
    return certs.pair(f"purpose-below-{kind}", name("below"), issuer, chain=[issuer.x509], usage=[SERVER, CLIENT],
                      extensions=[san("DNS:localhost")])


def config(certs, server=("strict", "sip", "any")):
    """A section for each of the words, in both roles."""
    text = f"[server:default]\n{certs.server_ec.section()}[client:default]\n"
    for said, word in zip(WORDS, server):
        text += (f"[server:any]\nserver_name = {said}.test\n"
                 + certs.server_ec.section(ca_list=certs.ca.cert, verify_client="on", verify_purpose=word)
                 + f"[client:any]\nserver_id = {said}\nserver_name = localhost\nca_list = {certs.ca.cert}\n"
                 + f"verify_certificate = yes\nverify_purpose = {word}\n")
    return text


@pytest.fixture(scope="module")
def host(module_host, certs):
    """Sections strict.test, sip.test, any.test; and those for servers, by id."""
    host = module_host(listen=(UDP, TLS), tls_cfg=config(certs), script=SCRIPT, modules=["tm.so"],
                       modparams={"tls": {"xavp_cfg": "tls"}})
    yield host
    host.check_alive()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_clients(host, certs, kind, version):
    """Who is taken is verified; who is not is told so in the log, with the certificate that is to blame."""
    pair, taken, since = pair_of(certs, kind), [], len(host.log())
    for word in WORDS:
        if refused(host.port(), pair=pair, version=version, server_name=f"{word}.test"):
            continue
        with connect(host.port(), pair=pair, version=version, server_name=f"{word}.test") as client:
            assert client.ask().start.endswith("Verified")
        taken.append(word)
    assert tuple(taken) == KINDS[kind][3]
    if 0 < len(taken) < 3:
        host.wait_log("unsuitable certificate purpose at depth [01], subject /CN=", since=since)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_servers(host, certs, version):
    """All kinds at once, as the reply to who is refused takes its time. A server of OpenSSL's cannot use some of them."""
    kinds = [kind for kind in KINDS if kind != "broken" and (version == "1.3" or not kind.startswith("key-"))]
    taken = {kind: [] for kind in kinds}
    with contextlib.ExitStack() as stack:
        udp, asked = stack.enter_context(UdpClient(host.port(UDP))), []
        for kind in kinds:
            for word in WORDS:
                peer = stack.enter_context(Peer(server_context(pair_of(certs, kind), version)))
                asked.append((kind, word, udp.send(headers=[f"X-Target: {peer.uri()}", f"X-Id: {word}"])))
        for kind, word, call in asked:
            if udp.final(call).status == 200:
                taken[kind].append(word)
    assert {kind: tuple(words) for kind, words in taken.items()} == {kind: KINDS[kind][4] for kind in kinds}


@pytest.mark.parametrize("kind", ["leaf", "key"])
def test_an_authority_is_one(host, certs, kind):
    """Whatever a certificate may be for, nobody else's issues it."""
    pair = no_authority(certs, kind)
    for word in WORDS:
        assert refused(host.port(), pair=pair, server_name=f"{word}.test")
        since = len(host.log())
        with Peer(server_context(pair)) as peer, UdpClient(host.port(UDP)) as udp:
            assert udp.ask(headers=[f"X-Target: {peer.uri()}", f"X-Id: {word}"]).status != 200
        host.wait_log("invalid CA certificate", since=since)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions(start_host, certs, version):
    """One that was taken stays so when it comes back; a section that has become strict takes no session from before."""
    host = start_host(tls_cfg=config(certs), script=SCRIPT, modules=["tm.so"], modparams={"tls": {"xavp_cfg": "tls"}})
    context, session = client_context(version, pair_of(certs, "server")), None
    for resumed in (False, True):
        with Client(host.port(), context, server_name="sip.test", session=session).handshake() as client:
            assert client.ask().start.endswith("Verified") and client.tls.session_reused == resumed
            session = client.tls.session
    host.write("tls.cfg", config(certs, ("strict", "strict", "any")))
    host.rpc("tls.reload")
    with pytest.raises((ssl.SSLError, Closed)), Client(host.port(), context, server_name="sip.test", session=session).handshake() as client:
        client.ask()


@pytest.mark.parametrize("word, said", [("strict", "Unknown"), ("sip", "Verified"), ("any", "Verified")])
def test_optional_no_ca(start_host, certs, word, said):
    """Where everything is taken, the word decides who is verified."""
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert), script=SCRIPT, modules=["tm.so"],
                      tls_cfg="[server:default]\n" + certs.server_ec.section(ca_list=certs.ca.cert, verify_client="optional_no_ca",
                                                                             verify_purpose=word))
    for kind, expected in (("server", said), ("nothing", "Verified"), ("mail", "Verified" if word == "any" else "Unknown")):
        with connect(host.port(), pair=pair_of(certs, kind)) as client:
            assert client.ask().start.endswith(expected)


def test_settings(start_host, certs):
    """As a parameter too; said once where nothing is verified; another word is an error."""
    host = start_host(modparams=certs.server_ec.params(ca_list=certs.ca.cert, verify_certificate=1, verify_purpose="SIP"),
                      script=SCRIPT, modules=["tm.so"])
    assert not refused(host.port(), pair=pair_of(certs, "server"))
    assert "verify_purpose" not in host.log()
    host = start_host(modparams=certs.server_ec.params(verify_purpose="any"), script=SCRIPT, modules=["tm.so"])
    assert host.log().count("verify_purpose: has no effect: no certificate is verified here") == 1
    with pytest.raises(HostError, match='verify_purpose: "server" is not known; allowed: strict, sip, any'):
        start_host(tls_cfg="[server:default]\n" + certs.server_ec.section(verify_purpose="server"))
