#!/usr/bin/python3
"""Sends one SIP OPTIONS over TLS, verifies the server's certificate, and prints the reply, the protocol and the
cipher. Ends with 0 when the answer is a 2xx. Python's standard library only; the tests import it too."""

import argparse
import secrets
import socket
import ssl
import sys


def client_context(ca, certificate=None, key=None):
    """A TLS client that trusts the authorities in the file `ca` and checks the server's name."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def options_request(uri, address):
    """The bytes of an OPTIONS request; `address` is this end's (host, port)."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return (
        f"OPTIONS {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/TLS {host}:{address[1]};branch=z9hG4bK{secrets.token_hex(8)};rport\r\n"
        f"Max-Forwards: 70\r\n"
        f"From: <sip:probe@{host}>;tag={secrets.token_hex(4)}\r\n"
        f"To: <{uri}>\r\n"
        f"Call-ID: {secrets.token_hex(12)}@{host}\r\n"
        f"CSeq: 1 OPTIONS\r\n"
        f"Contact: <sip:probe@{host}:{address[1]};transport=tls>\r\n"
        f"Accept: application/sdp\r\n"
        f"Content-Length: 0\r\n\r\n"
    ).encode()


def content_length(head):
    """The length of the body that the headers in `head` (bytes) announce; `l` is the compact name."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            return int(value)
    return 0


def read_message(connection, buffered=b""):
    """Reads one whole SIP message; returns it and the bytes that followed it."""
    data = buffered
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and len(rest) >= (length := content_length(head)):
            return head + end + rest[:length], rest[length:]
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"the server closed the connection after {len(data)} bytes")
        data += more


def status_of(reply):
    """The status code of a reply, 0 if it is none."""
    words = reply.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[0] == b"SIP/2.0" and words[1].isdigit() else 0


def exchange_options(host, port, context, name, uri=None, timeout=5):
    """Connects, sends one OPTIONS and returns (reply, protocol, cipher name, key bits)."""
    with socket.create_connection((host, port), timeout) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            connection.sendall(options_request(uri or f"sip:{name}", connection.getsockname()[:2]))
            reply, _ = read_message(connection)
            cipher, _, bits = connection.cipher()
            return reply, connection.version(), cipher, bits


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where to connect to")
    parser.add_argument("--port", type=int, default=5061)
    parser.add_argument("--ca", required=True, help="PEM file of the authorities to trust")
    parser.add_argument("--cert", help="PEM file of a client certificate")
    parser.add_argument("--key", help="PEM file of its key")
    parser.add_argument("--name", help="the server's name, sent to it and looked for in its certificate")
    parser.add_argument("--uri", help="request URI, sip:NAME when not given")
    parser.add_argument("--timeout", type=float, default=5, help="seconds for each step")
    args = parser.parse_args()
    try:
        context = client_context(args.ca, args.cert, args.key)
        reply, protocol, cipher, bits = exchange_options(
            args.host, args.port, context, args.name or args.host, args.uri, args.timeout)
    except (OSError, ValueError) as error:
        print(f"sip_options: {args.host}:{args.port}: {error}", file=sys.stderr)
        return 1
    print(reply.decode(errors="replace").rstrip())
    print(f"-- {protocol}, {cipher}, {bits} bits, the server's certificate is good")
    return 0 if 200 <= status_of(reply) < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
