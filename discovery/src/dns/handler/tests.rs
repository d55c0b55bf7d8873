use super::*;
use crate::dns::tcp::Answer;
use crate::{Address, Instance, Node};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::Name;
use hickory_server::net::runtime::TokioTime;
use std::net::{IpAddr, Ipv4Addr};

fn handler(settings: Settings) -> Handler {
    let registry = Registry::default();
    registry.put_node(Node::new("n1", IpAddr::V4(Ipv4Addr::LOCALHOST))).unwrap();
    for ip in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        let made = Instance { address: Some(Address::parse(ip)), ..Instance::new("web", ip, "n1", 80) };
        registry.register(made, Vec::new(), false).unwrap();
    }
    Handler(Arc::new(Shared {
        registry,
        forwarder: Forwarder::new(0),
        settings: RwLock::new(Arc::new(settings)),
        quota: Quota::new(),
        counts: Counts::default(),
    }))
}

/// The answer to `web.service.consul` asked from that address, and how long question and answer are.
async fn ask(handler: &Handler, from: &str, protocol: Protocol) -> (Message, usize, usize) {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii("web.service.consul.").unwrap(), RecordType::SRV));
    let bytes = message.to_vec().unwrap();
    let asked = bytes.len();
    let request = Request::from_bytes(bytes, from.parse().unwrap(), protocol).unwrap();
    let answer = Answer::default();
    handler.handle_request::<_, TokioTime>(&request, answer.clone()).await;
    let bytes = answer.take().unwrap();
    // The length goes in front.
    (Message::from_vec(&bytes[2..]).unwrap(), asked, bytes.len() - 2)
}

#[tokio::test]
async fn beyond_its_budget_a_network_gets_no_more_than_it_asked_with() {
    let handler = handler(Settings { amplification: Some(500), ..Settings::default() });
    let (mut whole, mut cut) = (0, 0);
    for port in 1000..1100 {
        let (answer, asked, told) = ask(&handler, &format!("198.51.100.{}:{port}", port % 250), Protocol::Udp).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        match answer.answers.len() {
            0 => assert!(answer.metadata.truncation && told <= asked, "{told} for {asked}"),
            _ => assert_eq!((answer.answers.len(), answer.additionals.len()), (3, 3)),
        }
        (whole, cut) = if answer.answers.is_empty() { (whole, cut + 1) } else { (whole + 1, cut) };
    }
    assert!((1..30).contains(&whole) && cut > 0, "{whole} whole, {cut} cut");
    for (from, protocol) in
        [("198.51.100.7:1", Protocol::Tcp), ("127.0.0.1:1", Protocol::Udp), ("192.0.2.1:1", Protocol::Udp)]
    {
        assert_eq!(ask(&handler, from, protocol).await.0.answers.len(), 3, "{from}");
    }
}
