#!/usr/bin/python3
"""What a peer costs the server before it has shown who it is: CPU time and shared memory of one connection, for peers
of many kinds. Each kind is tried with so many connections at a time, against a server of its own on loopback.

    bench/cost.py [--connections 100] [--key ec|rsa] [--ciphers LIST] [WORD ...]

WORD: only the kinds with one of these words in their name. LIST: the server's cipher_list, such as DEFAULT for one with DHE.

CPU is that of all the server's processes from the first connect to the last close. Memory is what each connection holds
when the peer stops there and waits: in the module (with OpenSSL), and with what the host adds.
"""

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "test", "lib"))
sys.dont_write_bytecode = True

from certs import Certs  # noqa: E402  pylint: disable=wrong-import-position
from forge import costly_chain, crowded_chain, endless_hello, heavy_hellos  # noqa: E402  pylint: disable=wrong-import-position
from host import Host  # noqa: E402  pylint: disable=wrong-import-position
from peers import Client, Closed, client_context, client_hello  # noqa: E402  pylint: disable=wrong-import-position


def sender(data, answered=True):
    """A peer that sends these bytes and waits, for the first bytes of the answer if there is to be one."""
    def act(port):
        s = socket.create_connection(("127.0.0.1", port), 10)
        with contextlib.suppress(OSError):
            s.sendall(data)
            if answered:
                s.recv(4096)
        return s

    act.bytes = len(data)
    return act


def shower(pair, version):
    """A client that shows a certificate; it stays when it is taken."""
    context = client_context(version, pair)

    def act(port):
        client = Client(port, context)
        with contextlib.suppress(OSError, Closed):
            client.handshake()
            if version == "1.3":
                client.feed()
        return client.sock

    return act


def kinds(certs):
    """{name: peer}."""
    found = {
        "connects, and stays silent": sender(b"", False),
        "one byte": sender(b"\x16", False),
        "a ClientHello but for its last byte": sender(client_hello()[:-1], False),
        "the first 130,000 bytes of a ClientHello": sender(endless_hello(130000), False),
    }
    found |= {"ClientHello: " + name: sender(data) for name, data in heavy_hellos().items()}
    for version in ("1.2", "1.3"):
        for name in ("client_good", "client_wrong_ca", "client_deep", "client_huge"):
            found[f"certificate, TLS {version}: {name}"] = shower(getattr(certs, name), version)
        found[f"certificate, TLS {version}: 16 KB of authorities"] = shower(crowded_chain(certs, 16000), version)
        found[f"certificate, TLS {version}: 100 KB of authorities"] = shower(crowded_chain(certs, 98000), version)
        found[f"certificate, TLS {version}: three authorities with RSA keys of 16,384 bits"] = shower(costly_chain(certs, 3), version)
    return found


def quiet(host):
    """Waits until the server has taken all that was sent: two looks, 0.1 s apart, find the same."""
    last = None
    while (now := (host.rpc("stats.get_statistics", "tls:"), host.open_tls())) != last:
        last = now
        time.sleep(0.1)


def measure(host, act, count):
    """(CPU in ms, the module's bytes, the server's bytes) for each of `count` connections, and how many stayed."""
    def taken():
        return host.rpc("tls.info")["shared_bytes"], host.shm_used()

    host.wait_no_connections(30)
    used, before = host.cpu_seconds(), taken()
    sockets = [act(host.port()) for _ in range(count)]
    quiet(host)
    stayed, after = host.open_tls(), taken()
    for s in sockets:
        s.close()
    host.wait_no_connections(30)
    cpu = (host.cpu_seconds() - used) * 1000 / count
    return cpu, *((b - a) / stayed if stayed else 0 for a, b in zip(before, after)), stayed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--key", choices=["ec", "rsa"], default="ec")
    parser.add_argument("--ciphers")
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tls-cost-") as folder:
        certs = Certs(folder)
        tried = {name: act for name, act in kinds(certs).items()
                 if not asked.words or any(word in name for word in asked.words)}
        params = getattr(certs, "server_" + asked.key).params(ca_list=certs.ca.cert, verify_client="optional_no_ca")
        if asked.ciphers:
            params["tls"]["cipher_list"] = asked.ciphers
        with Host(modparams=params, shm_mb=512, settings={"tcp_max_connections": 4096}) as host:
            host.allow(".*")
            for act in list(tried.values())[:3] + [sender(client_hello())]:
                measure(host, act, 20)
            print("| Peer | sends, bytes | CPU, ms | holds in the module, KB | holds in all, KB | is kept |")
            print("|---|---|---|---|---|---|")
            for name, act in tried.items():
                cpu, module, whole, stayed = measure(host, act, asked.connections)
                sent = getattr(act, "bytes", "")
                print(f"| {name} | {sent} | {cpu:.2f} | {module / 1024:.0f} | {whole / 1024:.0f} | "
                      f"{'yes' if stayed else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
