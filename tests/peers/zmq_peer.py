"""A socket of libzmq by pyzmq: `worker rep|router ENDPOINT [plain|SECRET KEY]`, `client req|dealer ENDPOINT COUNT`.

A worker answers with what it got. A last frame `sleep N` makes it wait N ms first, `exit` ends it with the command in its
hands. It prints a line for each command. A client sends so many commands of one frame and of several, and checks each
answer; a DEALER sends all before it reads the first answer.
"""

import os
import sys
import time

import zmq

what, kind, endpoint = sys.argv[1:4]
context = zmq.Context()


def messages(count):
    for n in range(count):
        yield [b"%d" % n] if n % 2 == 0 else [b"a", b"", b"%d" % n, b"x" * 300]


if what == "worker":
    socket = context.socket(zmq.REP if kind == "rep" else zmq.ROUTER)
    if sys.argv[4:] == ["plain"]:
        from zmq.auth.thread import ThreadAuthenticator

        who = ThreadAuthenticator(context)
        who.start()
        who.configure_plain(domain="*", passwords={"us": "pass"})
        socket.setsockopt(zmq.PLAIN_SERVER, 1)
    elif sys.argv[4:]:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, sys.argv[4].encode())
    socket.bind(endpoint)
    print("ready", flush=True)
    while True:
        frames = socket.recv_multipart()
        print("got", frames[-1][:40].decode("latin-1"), flush=True)
        if frames[-1].startswith(b"sleep "):
            time.sleep(int(frames[-1].split()[1]) / 1000)
        if frames[-1] == b"exit":
            os._exit(9)
        socket.send_multipart(frames)

socket = context.socket(zmq.REQ if kind == "req" else zmq.DEALER)
socket.setsockopt(zmq.RCVTIMEO, 15000)
socket.setsockopt(zmq.LINGER, 0)
socket.connect(endpoint)
count = int(sys.argv[4])
if kind == "req":
    for message in messages(count):
        socket.send_multipart(message)
        answer = socket.recv_multipart()
        assert answer == message, (message, answer)
else:
    for message in messages(count):
        socket.send_multipart([b"id", b""] + message)
    for message in messages(count):
        answer = socket.recv_multipart()
        assert answer == [b"id", b""] + message, (message, answer)
print("answered", count)
