<?php
// A client: sends one command and prints the answer. Three seconds is all the patience that it has.
[, $address, $name, $body] = $argv;
$socket = new ZMQSocket(new ZMQContext(), ZMQ::SOCKET_REQ);
$socket->setSockOpt(ZMQ::SOCKOPT_RCVTIMEO, 3000);
$socket->setSockOpt(ZMQ::SOCKOPT_LINGER, 500);
$socket->connect($address);
$socket->sendmulti([$name, $body]);
$answer = $socket->recv();
if ($answer === false) {
    fwrite(STDERR, "no answer\n");
    exit(1);
}
echo $answer, "\n";
