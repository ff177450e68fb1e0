"""Settings: each does what its name says, as a module parameter and in tls.cfg."""

import ssl

import pytest

from peers import Client, Peer, UdpClient, client_context, connect, refused, server_context


def versions(port):
    """The protocol versions that a server takes."""
    return {v for v in ("1.2", "1.3") if not refused(port, version=v)}


METHODS = {"TLSv1.2": {"1.2"}, "TLSv1.3": {"1.3"}, "TLSv1.2+": {"1.2", "1.3"}, "TLSv1.3+": {"1.3"},
           "TLSv1+": {"1.2", "1.3"}, "TLSv1.1+": {"1.2", "1.3"}, "SSLv23": {"1.2", "1.3"}}


@pytest.mark.parametrize("way", ["modparam", "tls.cfg"])
@pytest.mark.parametrize("method", METHODS)
def test_method(start_host, certs, method, way):
    if way == "modparam":
        host = start_host(modparams=certs.server_ec.params(tls_method=method))
    else:
        host = start_host(tls_cfg="[server:default]\n" + certs.server_ec.section(method=method))
    assert versions(host.port()) == METHODS[method]


def test_default_method_is_tls12_and_newer(start_host, certs):
    pair = certs.server_ec
    host = start_host(modparams={"tls": {"certificate": pair.cert, "private_key": pair.key}})
    assert versions(host.port()) == {"1.2", "1.3"}


def cipher(port, version, **how):
    """The cipher that a client which takes anything gets."""
    with Client(port, client_context(version, **how)).handshake() as client:
        return client.tls.cipher()[0]


def test_cipher_list_for_tls12_leaves_tls13_alone(start_host, certs):
    host = start_host(modparams=certs.server_ec.params(cipher_list="ECDHE-ECDSA-AES128-GCM-SHA256"))
    assert cipher(host.port(), "1.2") == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert cipher(host.port(), "1.3").startswith("TLS_")
    with pytest.raises(ssl.SSLError):
        cipher(host.port(), "1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")


def test_cipher_list_for_tls13_leaves_tls12_alone(start_host, certs):
    host = start_host(modparams=certs.server_ec.params(cipher_list="TLS_AES_128_GCM_SHA256"))
    assert cipher(host.port(), "1.3") == "TLS_AES_128_GCM_SHA256"
    assert cipher(host.port(), "1.2").startswith("ECDHE-ECDSA-")


def test_cipher_list_for_both(start_host, certs):
    both = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256"
    host = start_host(modparams=certs.server_ec.params(cipher_list=both))
    assert cipher(host.port(), "1.2") == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert cipher(host.port(), "1.3") == "TLS_CHACHA20_POLY1305_SHA256"


def test_key_in_the_certificate_file(start_host, certs):
    """private_key left out: the certificate's file holds it."""
    host = start_host(modparams={"tls": {"tls_method": "TLSv1.2+", "certificate": certs.combined.cert}})
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.ask().status == 200


@pytest.mark.parametrize("asked", [None, "named.test"])
def test_chain_from_the_authorities(start_host, certs, asked):
    """A certificate that stands alone in its file is shown with what is above it in ca_list, as by the packaged module."""
    above = certs.write("above.pem", certs.pem(certs.intermediate.x509) + certs.pem(certs.ca.x509))
    alone, client = certs.server("server-alone", certs.intermediate, names=["DNS:localhost", "DNS:named.test"]), certs.client_no_chain
    text = f"[server:default]\n{certs.server_ec.section()}\n[server:any]\nserver_name = named.test\n" if asked else "[server:default]\n"
    text += f"{alone.section(ca_list=above)}\n[client:default]\n{client.section(ca_list=above)}\n"
    host = start_host(tls_cfg=text, modules=["tm.so"], modparams={"tm": {"fr_timer": 8000}, "tls": {}}, script=RELAY)
    for version in ("1.2", "1.3"):
        connect(host.port(), version, ca=certs.ca.cert, server_name=asked or "localhost").close()
    with Peer(server_context(certs.server_ec, ca=certs.ca.cert)) as to, UdpClient(host.port("udp:127.0.0.1")) as udp:
        assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
    host.rpc("tls.reload")
    connect(host.port(), ca=certs.ca.cert, server_name=asked or "localhost").close()


def test_relative_paths(start_host, certs):
    """A name without / or . stands for a file in the main configuration's folder."""
    host = start_host.make(modparams={"tls": {"tls_method": "TLSv1.2+", "certificate": "mine.pem", "private_key": "mine.key"}})
    for kind, path in (("mine.pem", certs.server_ec.cert), ("mine.key", certs.server_ec.key)):
        with open(path, encoding="ascii") as f:
            host.write(kind, f.read())
    host.start()
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.ask().status == 200


CONFIG = """
# a comment, and an empty line

[server:default]
tls_method = "TLSv1.2"     # the old name of the key
certificate="{pair.cert}"
private_key =   {pair.key}
verify_certificate = {yes}
require_certificate = {yes}
verify_depth = 3
ca_list = {ca}

[client:default]
method = TLSv1.3
verify_certificate = {no}
"""


@pytest.mark.parametrize("yes, no", [("yes", "no"), ("true", "false"), ("on", "off"), ("1", "0")])
def test_tls_cfg(start_host, certs, yes, no):
    """Comments, quotes, spaces, and every way to say yes."""
    text = CONFIG.format(pair=certs.server_ec, ca=certs.ca.cert, yes=yes, no=no)
    host = start_host(tls_cfg=text)
    assert versions_with(host.port(), certs.client_good) == {"1.2"}
    assert refused(host.port())


def versions_with(port, pair):
    """The same as versions(), for a client with a certificate."""
    return {v for v in ("1.2", "1.3") if not refused(port, version=v, pair=pair)}


RELAY = """
request_route {
	$ru = $hdr(X-Target);
	t_relay();
	exit;
}
"""


def test_client_section(start_host, certs):
    """[client:default] rules what the host opens, [server:default] what it accepts."""
    text = f"[server:default]\n{certs.server_ec.section(method='TLSv1.2')}\n[client:default]\nmethod = TLSv1.3\n"
    host = start_host(tls_cfg=text, modules=["tm.so"], modparams={"tm": {"fr_timer": 8000}, "tls": {}}, script=RELAY)
    assert versions_of_relay(host, certs) == {"1.3"}


def test_own_name_is_not_asked_of_others(start_host, certs):
    """The parameter server_name is the host's; a client section's is the other side's."""
    host = start_host(modules=["tm.so"], modparams={"tm": {"fr_timer": 8000}, **certs.server_ec.params(server_name="own.test")},
                      script=RELAY)
    with Peer(server_context(certs.server_ec)) as to, UdpClient(host.port("udp:127.0.0.1")) as udp:
        assert udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200
        assert to.names == [None]


def versions_of_relay(host, certs):
    """With which versions of a peer the host gets through to it."""
    found = set()
    for version in ("1.2", "1.3"):
        with Peer(server_context(certs.server_ec, version)) as to, UdpClient(host.port("udp:127.0.0.1")) as udp:
            if udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200:
                found.add(version)
    return found


def test_missing_server_section_gets_the_defaults(start_host, certs):
    """Only [client:default]: the server's side needs a certificate, so the host says that it has none."""
    host = start_host.make(tls_cfg="[client:default]\nmethod = TLSv1.2+\n")
    assert "certificate" in host.refuses()


def test_modparams_are_ignored_beside_a_config(start_host, certs):
    """tls.cfg rules alone."""
    host = start_host(tls_cfg="[server:default]\n" + certs.server_ec.section(method="TLSv1.3"),
                      modparams={"tls": {"tls_method": "TLSv1.2", "certificate": certs.server_rsa.cert,
                                         "private_key": certs.server_rsa.key}})
    assert versions(host.port()) == {"1.3"}


def test_many_names_in_the_server_certificate(start_host, certs):
    """The alternative names of the certificate go out as they are."""
    pair = certs.server("many-names", names=[f"DNS:host{i}.example.test" for i in range(100)], cn="many")
    host = start_host(modparams=pair.params())
    with connect(host.port(), ca=certs.ca.cert, server_name="host77.example.test") as client:
        assert len(client.tls.getpeercert()["subjectAltName"]) == 100
        assert client.ask().status == 200


def test_check_config_without_starting(start_host, certs):
    """The host's -c accepts a good configuration and refuses a bad file."""
    host = start_host.make(modparams=certs.server_ec.params())
    status, output = host.check_config()
    assert status == 0, output
    assert not [line for line in output.splitlines() if "CRITICAL" in line or "BUG" in line], output
