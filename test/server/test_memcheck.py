"""A short round under valgrind: every process of the host, and no invalid access in any of them.

Shared memory is one mapping to valgrind, so it sees what the module and OpenSSL do in private memory; the host's own
allocator watches the shared blocks. Values that were never set can't be told: what one process has written into
shared memory, valgrind of another takes for what stood there before.
"""

import glob
import re

import pytest

import sip
from host import relay_script
from peers import (Client, Peer, UdpClient, client_context, client_hello, connect, program, raw_exchange, refused,
                   server_context)

RELAY = relay_script('''if (is_peer_verified()) {
		sl_send_reply("200", "Verified");
		exit;
	}
	sl_send_reply("200", "OK");''')


@pytest.fixture
def host(start_host, certs, tmp_path):
    """A host under valgrind, whose reports are read when it has stopped."""
    wrapper = [program("valgrind", "valgrind"), "--trace-children=yes", "--quiet", "--vgdb=no",
               "--undef-value-errors=no", f"--log-file={tmp_path}/report.%p"]
    server = certs.server_ec.section(ca_list=certs.ca.cert, verify_certificate="yes")
    one = start_host(wrapper=wrapper, tcp_children=2, script=RELAY, settings={"tcp_rd_buf_size": 131072},
                     tls_cfg=f"[server:default]\n{server}\n[client:default]\nmethod = TLSv1.2+\n")
    yield one
    one.stop()
    reports = {path: open(path, encoding="utf-8", errors="replace").read() for path in glob.glob(f"{tmp_path}/report.*")}
    assert len(reports) >= len(one.first_pids), "not every process was watched"
    bad = [text for text in reports.values() if re.search(r"Invalid|Mismatched|points to unaddressable", text)]
    assert not bad, bad[0][:3000]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_everything_once(host, certs):
    port = host.port()
    for version in ("1.2", "1.3"):
        for pair in (None, certs.client_good, certs.client_bad_ip, certs.client_nul_in_name):
            context, session = client_context(version, pair), None
            for _ in range(2):
                with Client(port, context, session=session, timeout=200).handshake() as client:
                    for size in (None, 20000):
                        assert client.ask(size=size).status == 200
                    session = client.tls.session
        assert refused(port, version=version, pair=certs.client_wrong_ca, timeout=200)
    hello = client_hello()
    for cut in range(0, len(hello), 40):
        raw_exchange(port, hello[:cut], timeout=200)
    raw_exchange(port, sip.request(), timeout=200)
    with Peer(server_context(certs.server_rsa)) as good, Peer(behaviour="garbage") as bad:
        with UdpClient(host.port("udp:127.0.0.1"), timeout=200) as udp:
            for _ in range(3):
                assert udp.ask(timeout=200, headers=[f"X-Target: {good.uri()}"]).status == 200
            udp.send(headers=[f"X-Target: {bad.uri()}"])
            with connect(port, timeout=200) as held:
                for pair in (certs.server_rsa, certs.server_ec2):
                    host.write("tls.cfg", "[server:default]\n" + pair.section())
                    host.rpc("tls.reload", timeout=200)
                    host.write("tls.cfg", "[server:default]\nnonsense = 1\n")
                    host.rpc_error("tls.reload")
                    assert held.ask().status == 200
                    assert not refused(port, timeout=200)
                assert host.connections() and host.rpc("tls.info")
