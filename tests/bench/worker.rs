//! The worker behind the proxies: a process of its own, so that its CPU time is nobody's.

use crate::cells::{CELLS, Cell};
use crate::process::{Placed, Running};
use bytes::Bytes;
use fourmi_tests::h2::Pieces;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use tokio::net::{TcpListener, TcpStream};

/// What a worker speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 with prior knowledge alone.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}

/// Starts this program as the worker of a cell; it says the ports of its instances.
pub(crate) fn start(cell: &Cell, placed: Placed) -> (Running, Vec<u16>) {
    let number = CELLS.iter().position(|c| c.title == cell.title).unwrap();
    let mut command = placed.command(std::env::current_exe().unwrap());
    command.args(["worker", &number.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("the worker does not start: {e}"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ports: Result<Vec<u16>, _> = line.split_whitespace().map(str::parse).collect();
    let ports = ports.ok().filter(|ports| ports.len() == cell.instances);
    let ports = ports.unwrap_or_else(|| panic!("the worker did not say its ports but {line:?}"));
    (Running::new("the worker", child, ports[0]), ports)
}

/// Is the worker, until whoever started it is gone.
pub(crate) fn serve(arguments: &[String]) {
    let cell = arguments.first().and_then(|n| CELLS.get(n.parse::<usize>().ok()?)).expect("the number of a cell");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let expected = Expected { kind: cell.worker, request: cell.request(), reply: cell.reply() };
    runtime.block_on(async {
        let mut ports = Vec::new();
        for _ in 0..cell.instances {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push(listener.local_addr().unwrap().port().to_string());
            tokio::task::spawn(accept(listener, expected.clone()));
        }
        println!("{}", ports.join(" "));
        std::future::pending::<()>().await;
    });
}

async fn accept(listener: TcpListener, expected: Expected) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(speak(stream, expected.clone()));
    }
}

#[derive(Clone)]
struct Expected {
    kind: Kind,
    request: Bytes,
    reply: Bytes,
}

async fn speak(stream: TcpStream, expected: Expected) {
    let kind = expected.kind;
    let service = service_fn(move |request| answer(request, expected.clone()));
    // A connection that ends badly shows in the load generator's count.
    let _ = match kind {
        Kind::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
        Kind::Http2 | Kind::Grpc => {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), service).await
        }
    };
}

/// 400 to whatever is not exactly what the load generator sent.
async fn answer(request: Request<Incoming>, expected: Expected) -> Result<Response<Pieces>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let as_it_should = body == expected.request && (expected.kind != Kind::Grpc || is_grpc(&head.headers));
    let mut reply = Pieces::of(expected.reply);
    let mut response = Response::builder();
    match expected.kind {
        Kind::Http1 | Kind::Http2 => response = response.header("content-type", "application/json"),
        Kind::Grpc => {
            response = response.header("content-type", "application/grpc");
            reply = reply.with_trailers(&[("grpc-status", "0")]);
        }
    }
    Ok(response.status(if as_it_should { 200 } else { 400 }).body(reply).unwrap())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let has = |name, value: &str| headers.get(name).is_some_and(|v| v == value);
    has("content-type", "application/grpc") && has("te", "trailers")
}
