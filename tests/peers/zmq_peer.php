<?php
// A socket of libzmq by php-zmq, as in zmq_peer.py: `worker rep ENDPOINT`, `client req|dealer ENDPOINT COUNT`.
[, $what, $kind, $endpoint] = $argv;
$context = new ZMQContext();

if ($what === 'worker') {
    $socket = new ZMQSocket($context, ZMQ::SOCKET_REP);
    $socket->bind($endpoint);
    echo "ready\n";
    while (true) {
        $frames = $socket->recvMulti();
        $last = end($frames);
        echo 'got ', substr($last, 0, 40), "\n";
        if (strncmp($last, 'sleep ', 6) === 0) {
            usleep(1000 * (int) substr($last, 6));
        }
        if ($last === 'exit') {
            exit(9);
        }
        $socket->sendmulti($frames);
    }
}

$socket = new ZMQSocket($context, $kind === 'req' ? ZMQ::SOCKET_REQ : ZMQ::SOCKET_DEALER);
$socket->setSockOpt(ZMQ::SOCKOPT_RCVTIMEO, 15000);
$socket->setSockOpt(ZMQ::SOCKOPT_LINGER, 0);
$socket->connect($endpoint);
$count = (int) $argv[4];
$messages = [];
for ($n = 0; $n < $count; $n++) {
    $messages[] = $n % 2 === 0 ? ["$n"] : ['a', '', "$n", str_repeat('x', 300)];
}
$check = function ($answer, $message) {
    if ($answer !== $message) {
        fwrite(STDERR, json_encode([$message, $answer]) . "\n");
        exit(1);
    }
};
if ($kind === 'req') {
    foreach ($messages as $message) {
        $socket->sendmulti($message);
        $check($socket->recvMulti(), $message);
    }
} else {
    foreach ($messages as $message) {
        $socket->sendmulti(array_merge(['id', ''], $message));
    }
    foreach ($messages as $message) {
        $check($socket->recvMulti(), array_merge(['id', ''], $message));
    }
}
echo "answered $count\n";
