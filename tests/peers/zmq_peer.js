// A socket of libzmq by npm's zeromq, as in zmq_peer.py: `worker rep ENDPOINT`, `client req|dealer ENDPOINT COUNT`.
const assert = require('assert');
const zmq = require('zeromq');

const [what, kind, endpoint, count] = process.argv.slice(2);

async function worker() {
  const socket = new zmq.Reply();
  await socket.bind(endpoint);
  console.log('ready');
  for await (const frames of socket) {
    const last = frames[frames.length - 1].toString();
    console.log('got', last.slice(0, 40));
    if (last.startsWith('sleep ')) await new Promise((done) => setTimeout(done, Number(last.slice(6))));
    if (last === 'exit') process.exit(9);
    await socket.send(frames);
  }
}

async function client() {
  const socket = kind === 'req' ? new zmq.Request() : new zmq.Dealer({ sendHighWaterMark: 0 });
  socket.receiveTimeout = 15000;
  socket.linger = 0;
  socket.connect(endpoint);
  const text = (frames) => frames.map(String);
  const messages = Array.from({ length: Number(count) }, (_, n) => (n % 2 ? ['a', '', `${n}`, 'x'.repeat(300)] : [`${n}`]));
  if (kind === 'req') {
    for (const message of messages) {
      await socket.send(message);
      assert.deepStrictEqual(text(await socket.receive()), message);
    }
  } else {
    for (const message of messages) await socket.send(['id', '', ...message]);
    for (const message of messages) assert.deepStrictEqual(text(await socket.receive()), ['id', '', ...message]);
  }
  console.log('answered', count);
}

(what === 'worker' ? worker() : client()).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
