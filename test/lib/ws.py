"""A WebSocket client over the tests' TLS client: SIP in frames (RFC 6455, RFC 7118)."""

import base64
import hashlib
import os
import struct

import sip
from peers import Client, Closed, client_context

# What a server's script has for its clients; it wants the modules xhttp.so and websocket.so.
ROUTE = """
event_route[xhttp:request] {
	set_reply_close();
	set_reply_no_connect();
	if ($hdr(Upgrade) =~ "websocket" && ws_handle_handshake()) {
		exit;
	}
	xhttp_reply("404", "Not Found", "text/plain", "nothing here\\r\\n");
	exit;
}
"""
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WsClient(Client):
    """handshake() then upgrade(); say() and hear() carry SIP messages in frames."""

    frames = b""

    def upgrade(self, split=None):
        """Turns HTTPS into a secure WebSocket; `split` sends the request so many bytes a record."""
        key = base64.b64encode(os.urandom(16))
        request = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n")
        for at in range(0, len(request), split or len(request)):
            self.send(request[at:at + (split or len(request))])
        while b"\r\n\r\n" not in self.frames:
            self.frames += self.read()
        head, self.frames = self.frames.split(b"\r\n\r\n", 1)
        wanted = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
        assert b" 101 " in head.split(b"\r\n")[0] and wanted in head, head
        return self

    @staticmethod
    def frame(data, opcode=1, final=True):
        """One masked frame."""
        mask, size = os.urandom(4), len(data)
        head = bytes([(0x80 if final else 0) | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        keys = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")
        return head + mask + masked

    def say(self, data, **how):
        """Sends one SIP message in one frame."""
        self.send(self.frame(data), **how)

    def _cut(self):
        """The first whole frame: (opcode, payload), or None."""
        data = self.frames
        if len(data) < 2:
            return None
        size, at = data[1] & 127, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + size or len(data) < at:
            return None
        self.frames = data[at + size:]
        return data[0] & 15, data[at:at + size]

    def hear_frame(self):
        """The next frame of any kind."""
        while True:
            found = self._cut()
            if found:
                return found
            self.frames += self.read()

    def hear(self):
        """The next SIP message."""
        while True:
            opcode, data = self.hear_frame()
            if opcode == 8:
                raise Closed("WebSocket close")
            if opcode in (1, 2):
                message = sip.cut(data)[0]
                assert message, "a frame without a whole SIP message"
                return message

    def ask(self, **how):
        """One request and its reply."""
        data = sip.request(transport="WSS", via="client.invalid", **how)
        self.say(data)
        answer = self.hear()
        assert answer.get("call-id") == sip.cut(data)[0].get("call-id")
        return answer


def ws_connect(port, version=None, **how):
    """A WebSocket client after its upgrade."""
    return WsClient(port, client_context(version), **how).handshake().upgrade()
