<?php
// A worker: takes one command after another, [name, JSON], and answers it. It binds where Fourmi connects.
$socket = new ZMQSocket(new ZMQContext(), ZMQ::SOCKET_REP);
$socket->bind($argv[1] ?? 'tcp://127.0.0.1:25101');

while (true) {
    [$name, $body] = $socket->recvMulti() + [1 => '{}'];
    $command = json_decode($body, true) ?? [];
    fwrite(STDERR, "$name $body\n");
    $socket->send(json_encode(['done' => $name] + $command));
}
