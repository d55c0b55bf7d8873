//! A worker that writes down what it does before it answers: `diligent PORT FILE`. It is a process of its own, so that it
//! can be killed in the middle of its work.

use fourmi_tests::net::Stream;
use fourmi_tests::wire::{Kind, Wire};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let [_, port, file] = &std::env::args().collect::<Vec<_>>()[..] else { panic!("diligent PORT FILE") };
    let file = Arc::new(OpenOptions::new().create(true).append(true).open(file).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    for stream in listener.incoming().flatten() {
        let file = file.clone();
        std::thread::spawn(move || work(stream, &file));
    }
}

fn work(stream: TcpStream, mut file: &File) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(Stream::Tcp(stream));
    wire.stream.read_timeout(None);
    while let Ok(request) = wire.message(Kind::Request) {
        let id = request.header("fourmi-id").unwrap_or("without-id").to_owned();
        // One write of a file that is appended to: a line is there as a whole, or not at all.
        file.write_all(format!("{id}\n").as_bytes()).unwrap();
        // The work takes its time, and the end of the process may come in it.
        std::thread::sleep(Duration::from_micros(id.bytes().map(u64::from).sum::<u64>() % 2000));
        if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_err() {
            return;
        }
    }
}
