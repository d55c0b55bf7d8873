use super::*;

fn strings(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn flags() {
    let job = parse(&strings("order --port 8081 --proxy http://127.0.0.1:15011/")).unwrap();
    assert_eq!((job.port, job.proxy), (8081, Some("127.0.0.1:15011".parse().unwrap())));
    assert!(parse(&strings("stock --port 8082")).is_ok());
    for wrong in
        ["", "shop --port 1", "stock", "stock --port", "stock --port x", "order --port 1", "mail --x 1 --port 1"]
    {
        assert!(parse(&strings(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn failures_are_part_of_the_play() {
    let status = |name, luck| side(name, luck).status().as_u16();
    assert_eq!((status("stock", 0.01), status("stock", 0.5)), (409, 200));
    assert_eq!((status("payment", 0.01), status("payment", 0.045), status("payment", 0.5)), (402, 503, 200));
    assert_eq!((status("invoice", 0.0), status("invoice", 0.5)), (500, 200));
    let worker = Worker::new(&parse(&strings("mail --port 1")).unwrap());
    let all: Vec<_> = (0..QUOTA + 1).map(|_| mail(&worker).status().as_u16()).collect();
    assert_eq!((all[0], all.last()), (202, Some(&429)));
    assert_eq!(worker.most_mails.get(), QUOTA as usize + 1);
}

/// The whole play without any Fourmi: one listener takes what the order worker sends to the others.
#[test]
fn an_order_calls_the_others_and_counts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let start = async |name: &str, proxy: Option<SocketAddr>| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let job = Job { name: name.to_owned(), port: at.port(), proxy };
            tokio::task::spawn_local(accept(listener, Rc::new(Worker::new(&job))));
            at
        };
        let others = start("invoice", None).await;
        let order = Caller::new(start("order", Some(others)).await, Duration::from_secs(5));
        let tally = Tally::default();
        for _ in 0..20 {
            let request = Request::post("/PlaceOrder").header("host", "order").body(Full::from("{}")).unwrap();
            let answer = order.call(request, &tally).await.unwrap();
            assert!(matches!(answer.status().as_u16(), 201 | 502));
        }
        assert_eq!((tally.sent.get(), tally.answered.get(), tally.unsent.get()), (20, 20, 0));
        let stats: Value = serde_json::from_slice(order.get("/stats").await.unwrap().body()).unwrap();
        assert_eq!((&stats["handled"], &stats["calls"]["stock"]["sent"]), (&json!(20), &json!(20)));
        assert_eq!(stats["calls"]["stock"], stats["calls"]["stock"]);
        let handled: Value =
            serde_json::from_slice(Caller::new(others, Duration::from_secs(5)).get("/stats").await.unwrap().body())
                .unwrap();
        let sent: u64 =
            ["stock", "payment", "invoice", "mail"].iter().filter_map(|s| stats["calls"][s]["answered"].as_u64()).sum();
        assert_eq!(handled["handled"].as_u64(), Some(sent));

        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let request = Request::post("/").body(Full::default()).unwrap();
        assert!(matches!(
            Caller::new(free, Duration::from_secs(5)).call(request, &tally).await,
            Err(CallError::Unsent(_))
        ));
        assert_eq!((tally.sent.get(), tally.unsent.get()), (20, 1));
    });
}
