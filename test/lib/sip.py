"""SIP messages for the tests: build them, of any size, and cut them out of a byte stream."""

import itertools
import os
from dataclasses import dataclass, field

_numbers = itertools.count(1)


@dataclass
class Message:
    """A parsed message: its first line, its headers in order (names in lower case), its body."""

    start: str
    headers: list = field(default_factory=list)
    body: bytes = b""

    @property
    def status(self):
        """The status code of a reply."""
        return int(self.start.split()[1])

    @property
    def method(self):
        """The method of a request."""
        return self.start.split()[0]

    def get(self, name):
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def all(self, name):
        """Every header of that name."""
        return [value for key, value in self.headers if key == name.lower()]


def request(method="OPTIONS", uri="sip:test@127.0.0.1", transport="TLS", size=None, call_id=None, cseq=1, headers=(),
            body=b"", via="127.0.0.1:5099"):
    """A request as bytes. `size` pads it with a body to exactly that many bytes in all."""
    number = next(_numbers)
    call_id = call_id or f"{os.getpid()}-{number}-{os.urandom(4).hex()}"
    lines = [f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/{transport} {via};branch=z9hG4bK{os.getpid()}.{number};rport",
             "Max-Forwards: 20", f"From: <sip:alice@example.test>;tag=t{number}", "To: <sip:bob@example.test>",
             f"Call-ID: {call_id}", f"CSeq: {cseq} {method}", "Contact: <sip:alice@127.0.0.1:5099>", *headers]
    return assemble(lines, body, size)


def assemble(lines, body=b"", size=None):
    """Puts lines and a body together, with the right Content-Length, padded to `size` bytes."""
    if size is not None:
        for digits in range(1, 8):
            head = sum(len(line) + 2 for line in lines) + len("Content-Length: \r\n\r\n") + digits
            if len(str(size - head)) == digits:
                body = (b"0123456789abcde\n" * (size // 16 + 1))[:size - head]
                break
        else:
            raise ValueError(f"a message of {size} bytes is too short for its headers")
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n").encode() + body


def reply(to, code=200, reason="OK", headers=(), body=b""):
    """The reply to a parsed request."""
    copied = [f"{name.title()}: {value}" for name, value in to.headers
              if name in ("via", "from", "call-id", "cseq", "record-route")]
    copied.append(f"To: {to.get('to')};tag=peer")
    return assemble([f"SIP/2.0 {code} {reason}", *copied, *headers], body)


def cut(data):
    """Cuts the first whole message off a stream: (Message, rest), or (None, data) while it is incomplete."""
    stripped = data.lstrip(b"\r\n")
    end = stripped.find(b"\r\n\r\n")
    if end < 0:
        return None, data
    lines = stripped[:end].decode("utf-8", "replace").split("\r\n")
    headers = [(k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:])]
    message = Message(lines[0], headers)
    length = int(message.get("content-length") or message.get("l") or 0)
    rest = stripped[end + 4:]
    if len(rest) < length:
        return None, data
    message.body = rest[:length]
    return message, rest[length:]
