#!/usr/bin/env python3
"""What a Graylog and a StatsD would receive, as lines on standard output; for looking at, not for keeping.

receivers.py gelf [PORT]     GELF over UDP, chunked or not, gzip, zlib or plain
receivers.py statsd [PORT]   StatsD lines over UDP
"""

import gzip
import json
import socket
import sys
import time
import zlib

# A message whose chunks have not all come is forgotten after this many seconds, the oldest beyond this many messages.
PATIENCE, PARTIAL = 5, 1000
partial = {}


def whole(datagram):
    """The message that this datagram completes, if it does."""
    if not datagram.startswith(b"\x1e\x0f"):
        return datagram
    now = time.monotonic()
    for key in [k for k, (since, _) in partial.items() if now - since > PATIENCE]:
        del partial[key]
    if len(partial) >= PARTIAL:
        del partial[next(iter(partial))]
    key, number, count = datagram[2:10], datagram[10], datagram[11]
    _, chunks = partial.setdefault(key, (now, {}))
    chunks[number] = datagram[12:]
    if len(chunks) < count:
        return None
    del partial[key]
    return b"".join(chunks[n] for n in sorted(chunks))


def gelf(datagram):
    message = whole(datagram)
    if message is None:
        return
    if message.startswith(b"\x1f\x8b"):
        message = gzip.decompress(message)
    elif message.startswith(b"\x78"):
        message = zlib.decompress(message)
    print(json.dumps(json.loads(message)), flush=True)


def statsd(datagram):
    print(datagram.decode(errors="replace").rstrip("\n"), flush=True)


kinds = {"gelf": (gelf, 12201), "statsd": (statsd, 8125)}
if len(sys.argv) < 2 or sys.argv[1] not in kinds:
    sys.exit(__doc__)
show, port = kinds[sys.argv[1]]
port = int(sys.argv[2]) if len(sys.argv) > 2 else port
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
    receiver.bind(("0.0.0.0", port))
    print(f"listening on {port}/udp", file=sys.stderr, flush=True)
    while True:
        try:
            show(receiver.recv(65535))
        except (ValueError, IndexError, OSError, EOFError, zlib.error) as error:
            print(f"not understood: {error}", file=sys.stderr, flush=True)
