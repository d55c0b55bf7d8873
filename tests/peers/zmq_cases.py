"""Cases of ZeroMQ by pyzmq: `zmq_cases.py CASE ARGUMENTS`. Each prints what it saw."""

import json
import os
import resource
import signal
import socket as sockets
import struct
import sys
import time
import urllib.request

import zmq

case, arguments = sys.argv[1], sys.argv[2:]
context = zmq.Context()


def dial(port, kind=zmq.REQ, patience=15000, **options):
    socket = context.socket(kind)
    socket.setsockopt(zmq.RCVTIMEO, patience)
    socket.setsockopt(zmq.LINGER, 0)
    for name, value in options.items():
        socket.setsockopt(getattr(zmq, name), value)
    socket.connect(port if "://" in port else f"tcp://127.0.0.1:{port}")
    return socket


def ask(socket, *frames):
    socket.send_multipart(list(frames))
    return socket.recv_multipart()


def correlate(port):
    """A REQ that numbers its commands takes only the answer with that number; one that gave up may go on."""
    socket = dial(port, REQ_CORRELATE=1, REQ_RELAXED=1)
    assert ask(socket, b"one") == [b"one"]
    socket.setsockopt(zmq.RCVTIMEO, 100)
    socket.send(b"sleep 600")
    try:
        socket.recv()
        raise AssertionError("it came too early")
    except zmq.Again:
        pass
    socket.setsockopt(zmq.RCVTIMEO, 15000)
    print(ask(socket, b"two"))


def memory(pid):
    """KiB that a process has."""
    with open(f"/proc/{pid}/status") as status:
        return int(next(l for l in status if l.startswith("VmRSS")).split()[1])


def greet(port, raw=None):
    """A connection of a REQ, by hand, that has shaken hands."""
    raw = raw or sockets.socket()
    raw.connect(("127.0.0.1", int(port)))
    raw.settimeout(15)
    raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + bytes(32))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 3) + b"REQ\x08Identity" + struct.pack(">I", 0)
    raw.sendall(bytes([4, len(ready)]) + ready)
    got = b""
    while len(got) < 64 + 2 + len("READY") + 1:
        got += raw.recv(4096)
    return raw


def ended(raw):
    """Waits until the other side has closed it."""
    try:
        while raw.recv(4096):
            pass
    except ConnectionResetError:
        pass


def hostile(port, pid):
    """A frame of a tebibyte is announced: the connection is closed, and nothing is set aside for it."""
    other = dial(port)
    assert ask(other, b"before") == [b"before"]
    before = memory(pid)
    for flags in (2, 3, 6):
        raw = greet(port)
        raw.sendall(bytes([flags]) + struct.pack(">Q", 1 << 40) + b"x" * 10)
        while raw.recv(4096):
            pass
    for nonsense in (b"\xff" * 300, b"\xff" + bytes(300), bytes([255]) + os.urandom(400)):
        raw = sockets.create_connection(("127.0.0.1", int(port)))
        raw.settimeout(15)
        raw.sendall(nonsense)
        ended(raw)
    print(ask(other, b"after"), memory(pid) - before < 4096)


def half(port):
    """A message whose end does not come ends its connection; those that rest, and those that send on, stay."""
    rests = dial(port)
    assert ask(rests, b"before") == [b"before"]
    # One that is always within a message, and always another.
    steady, message = greet(port), b"\x01\x00\x00\x05steps"
    steady.sendall(message[:5])
    for _ in range(8):
        time.sleep(0.35)
        steady.sendall(message[5:] + message[:5])
    steady.sendall(message[5:])
    answers = b""
    while answers.count(message) < 9:
        more = steady.recv(4096)
        assert more, answers
        answers += more
    raw = greet(port)
    raw.sendall(b"\x01\x00" + b"\x00\x64" + b"x" * 10)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.6:
        time.sleep(0.1)
        raw.sendall(b"x")
    ended(raw)
    print(ask(rests, b"after"))


def unread(port, admin):
    """Who does not read its answer does not keep it for ever."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw = greet(port, raw)
    size = 8 << 20
    raw.sendall(b"\x01\x00" + b"\x02" + struct.pack(">Q", size) + b"x" * size)
    # It is given up while all that has come lies unread.
    end = time.monotonic() + 15
    while True:
        told = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=15).read().decode()
        if 'fourmi_rejected_total{reason="bad-request"} 2\n' in told:
            break
        assert time.monotonic() < end, told
    got = 0
    try:
        while more := raw.recv(1 << 20):
            got += len(more)
    except ConnectionResetError:
        pass
    print(got < size)


def parting(port, pid):
    """A large answer is read to its end though Fourmi is told to stop in between."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw = greet(port, raw)
    size = 12 << 20
    raw.sendall(b"\x01\x00" + b"\x02" + struct.pack(">Q", size) + b"x" * size)
    got = len(raw.recv(1 << 16))
    os.kill(int(pid), signal.SIGTERM)
    # Longer than a connection may be silent that has nothing more to get.
    for _ in range(5):
        time.sleep(0.5)
        got += len(raw.recv(1 << 16))
    while more := raw.recv(1 << 20):
        got += len(more)
    print(got - 11 == size)


def ordered(port, count):
    """The order of the answers to a DEALER's commands."""
    socket = dial(port, zmq.DEALER)
    for n in range(int(count)):
        socket.send_multipart([b"", b"%d" % n])
        time.sleep(0.002)
    print(json.dumps([int(socket.recv_multipart()[1]) for _ in range(int(count))]))


def full(port):
    """A DEALER with more commands than are taken at a time, the first of them slow, sees that we live."""
    socket = dial(port, zmq.DEALER, HEARTBEAT_IVL=500, HEARTBEAT_TIMEOUT=1500)
    watch = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    socket.send_multipart([b"", b"sleep 3500"])
    for n in range(99):
        socket.send_multipart([b"", b"%d" % n])
    answers = [socket.recv_multipart() for _ in range(100)]
    print(len(answers), watch.poll(50))


def greedy(port, pid):
    """Many large messages without their ends: what they hold together has a limit, and small ones pass beside them."""
    raws, body = [greet(port) for _ in range(40)], b"x" * (1 << 20)
    for raw in raws:
        raw.sendall(b"\x01\x00" + b"\x02" + struct.pack(">Q", 15 << 20))
        raw.settimeout(0.05)
    sent = 0
    for _ in range(14):
        for raw in raws:
            try:
                sent += raw.send(body)
            except TimeoutError:
                pass
    used = memory(pid)
    small = ask(dial(port), b"small")
    for raw in raws:
        raw.close()
    large = b"x" * (15 << 20)
    print(sent >> 20 > 256, used >> 10 < 400 or used >> 10, small, ask(dial(port), large) == [large])


def reloads(port, admin, script):
    """Asks over standing sockets while files change and Fourmi reads them again; what came back, and how often each
    socket lost its connection."""
    script = json.loads(script)
    named = {name: dial(port, patience=3000, **{k: v.encode() for k, v in more.items()})
             for name, more in script["sockets"].items()}
    watches = {name: socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) for name, socket in named.items()}
    said, lost = [], dict.fromkeys(named, 0)
    for step in script["steps"]:
        for path, text in step.get("write", {}).items():
            with open(path + ".new", "w") as file:
                file.write(text)
            os.replace(path + ".new", path)
        if "write" in step:
            request = urllib.request.Request(f"http://127.0.0.1:{admin}/api/v1/reload", method="POST")
            urllib.request.urlopen(request, timeout=15).read()
        who, *texts = step["ask"]
        try:
            said.append([f.decode() for f in ask(named[who], *(t.encode() for t in texts))])
        except zmq.Again:
            said.append("no answer")
    for name, watch in watches.items():
        while watch.poll(200):
            watch.recv_multipart()
            lost[name] += 1
    print(json.dumps([said, {name: count > 0 for name, count in lost.items()}]))


def heartbeats(port):
    """A caller that asks every 200 ms whether we live, while its command takes 1.5 s."""
    print(ask(dial(port, HEARTBEAT_IVL=200, HEARTBEAT_TIMEOUT=600), b"sleep 1500"))


def silent(port, count):
    """Connections that send nothing, or half a greeting, do not keep others out."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    raws = [sockets.create_connection(("127.0.0.1", int(port))) for _ in range(int(count))]
    for raw in raws[::2]:
        raw.sendall(b"\xff" + bytes(8) + b"\x7f")
    answer = ask(dial(port), b"me")
    for raw in raws:
        raw.settimeout(30)
        ended(raw)
    print(answer, "all closed")


def login(port, user, password):
    socket = dial(port, patience=1500, PLAIN_USERNAME=user.encode(), PLAIN_PASSWORD=password.encode())
    try:
        print([f.decode() for f in ask(socket, b"hello")])
    except zmq.Again:
        print("no answer")


def null(port):
    """One that proves nothing where that is asked for."""
    try:
        print(ask(dial(port, patience=1000), b"hello"))
    except zmq.Again:
        print("no answer")


def curve(port, server, public, secret):
    keys = dict(CURVE_SERVERKEY=server.encode(), CURVE_PUBLICKEY=public.encode(), CURVE_SECRETKEY=secret.encode())
    socket = dial(port, patience=2500, **keys)
    try:
        assert ask(socket, b"a", b"", b"x" * 70000) == [b"a", b"", b"x" * 70000]
        print(ask(socket, b"hello"))
    except zmq.Again:
        print("no answer")


def keys(count):
    print(json.dumps([[k.decode() for k in zmq.curve_keypair()] for _ in range(int(count))]))


def crowd(port, count):
    """Many callers at once, each with one command."""
    sockets_ = [dial(port) for _ in range(int(count))]
    for n, socket in enumerate(sockets_):
        socket.send(b"sleep 5 %d" % n)
    print(sum(socket.recv() == b"sleep 5 %d" % n for n, socket in enumerate(sockets_)))


def bare(port):
    """A DEALER without an empty frame."""
    print([f.decode() for f in ask(dial(port, zmq.DEALER), b"hello", b"there")])


def large(port, mebibytes):
    body = os.urandom(1 << 20) * int(mebibytes)
    socket = dial(port, patience=3000)
    try:
        print(ask(socket, body) == [body])
    except zmq.Again:
        print("no answer")


def frames(port, *texts):
    """Sends these frames and prints those that come back."""
    print(json.dumps([f.decode() for f in ask(dial(port), *(t.encode() for t in texts))]))


def impatient(port, patience, text):
    """A REQ with so many ms of patience: it is answered within them, and may ask again at once."""
    socket = dial(port, patience=int(patience))
    begun = time.monotonic()
    first = ask(socket, text.encode())
    took = time.monotonic() - begun
    assert took * 1000 < int(patience), took
    print(json.dumps([first[0].decode(), ask(socket, text.encode())[0].decode()]))


def late(port):
    """An answer that comes when its caller has been told that it is too late goes to nobody else."""
    socket = dial(port)
    first = json.loads(ask(socket, b"sleep 700")[0])
    begun = time.monotonic()
    second = ask(socket, b"mine")[0].decode()
    # The worker has one at a time: the second waits until it is done with the first.
    print(json.dumps([first["status"], second, time.monotonic() - begun > 0.2]))


def lonely(port, count):
    """A REP of our own making, which sees what lies in its socket while it works on a command."""
    listener = sockets.create_server(("127.0.0.1", int(port)))
    print("ready", flush=True)
    done, overlaps = 0, 0
    while done < int(count):
        # Whether somebody listens is asked by connections that say nothing.
        raw, _ = listener.accept()

        def exactly(n):
            got = b""
            while len(got) < n:
                more = raw.recv(n - len(got))
                if not more:
                    raise EOFError
                got += more
            return got

        try:
            raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + bytes(32))
            ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 3) + b"REP"
            raw.sendall(bytes([4, len(ready)]) + ready)
            exactly(64)
            message = b""
            while done < int(count):
                head = exactly(2)
                frame = head + exactly(head[1])
                if head[0] & 4:
                    # PING: its answer is PONG and the context behind the TTL.
                    if frame[2:7] == b"\x04PING":
                        raw.sendall(bytes([4, 5 + len(frame) - 9]) + b"\x04PONG" + frame[9:])
                    continue
                message += frame
                if head[0] & 1:
                    continue
                time.sleep(0.03)
                raw.setblocking(False)
                try:
                    waiting = raw.recv(4096, sockets.MSG_PEEK)
                    overlaps += any(flag in waiting[:1] for flag in (b"\x00", b"\x01"))
                except BlockingIOError:
                    pass
                raw.setblocking(True)
                raw.sendall(message)
                message, done = b"", done + 1
        except (EOFError, OSError):
            continue
    print("done", done, "overlaps", overlaps, flush=True)


def rounds(port, clients, seconds, size="64"):
    """Round trips of so many REQs in lock step."""
    sockets_ = [dial(port) for _ in range(int(clients))]
    poller = zmq.Poller()
    body = b"x" * int(size)
    for socket in sockets_:
        poller.register(socket, zmq.POLLIN)
        socket.send(body)
    end, count = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        for socket, _ in poller.poll(1000):
            socket.recv()
            socket.send(body)
            count += 1
    print(count / float(seconds))


globals()[case](*arguments)
