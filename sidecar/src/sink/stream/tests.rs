use super::super::ring::{Writer, begin};
use super::super::transport::Place;
use super::*;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

struct Rig {
    outlet: Arc<Outlet>,
    ring: Writer,
    task: JoinHandle<()>,
}

impl Rig {
    fn to(port: u16) -> Rig {
        let outlet = Outlet::new("test", String::new());
        let ring = outlet.connect(1 << 16, &Arc::default());
        let out = StreamOut::new(Place::Tcp { host: "127.0.0.1".into(), port, tls: None });
        let task = tokio::spawn(run(outlet.clone(), Inbox::new(outlet.clone()), out));
        Rig { outlet, ring, task }
    }

    /// False when the ring had no room.
    fn push(&mut self, record: &[u8]) -> bool {
        let mut framed = Vec::new();
        begin(&mut framed);
        framed.extend_from_slice(record);
        let taken = self.ring.push(&mut framed);
        self.outlet.ring();
        taken
    }

    async fn until(&self, done: impl Fn(&Outlet) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(&self.outlet) {
            assert!(Instant::now() < end, "{:?} {:?}", self.outlet.counts.totals(), self.outlet.counts.last_error());
            sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn frames_are_confirmed_while_nothing_more_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::to(listener.local_addr().unwrap().port());
    for n in 0..300 {
        assert!(rig.push(format!("record {n}\0").as_bytes()));
    }
    let mut stream = listener.accept().await.unwrap().0;
    // Nothing else wakes the sink from here on.
    rig.until(|o| o.counts.totals().sent == 300).await;
    assert!(rig.push(b"last\0"));
    rig.until(|o| o.counts.totals().sent == 301).await;
    rig.outlet.stop(Instant::now() + Duration::from_secs(5));
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    rig.task.await.unwrap();
    let expected: String = (0..300).map(|n| format!("record {n}\0")).chain(["last\0".into()]).collect();
    assert_eq!(all, expected);
    assert_eq!((rig.outlet.counts.totals().sent, rig.outlet.counts.totals().error), (301, 0));
}

#[tokio::test]
async fn what_was_never_confirmed_is_counted_when_fourmi_ends() {
    // Accepts and reads nothing; its buffers are small.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    nix::sys::socket::setsockopt(&listener, nix::sys::socket::sockopt::RcvBuf, &4096).unwrap();
    let mut rig = Rig::to(listener.local_addr().unwrap().port());
    let record = vec![b'x'; 8000];
    let (mut taken, mut full) = (0, 0);
    let _stream = {
        assert!(rig.push(&record));
        taken += 1;
        listener.accept().await.unwrap()
    };
    // The window, the system's buffers and at last the ring run full.
    while full < 50 {
        match rig.push(&record) {
            true => taken += 1,
            false => full += 1,
        }
        sleep(Duration::from_millis(1)).await;
    }
    rig.outlet.stop(Instant::now() + Duration::from_millis(400));
    rig.task.await.unwrap();
    let totals = rig.outlet.counts.totals();
    assert_eq!(totals.sent + totals.error, taken, "every record is in exactly one of them");
    assert!(totals.error > 0);
}

#[tokio::test]
async fn a_sink_that_left_the_configuration_does_not_wait_for_ever() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut rig = Rig::to(closed);
    for _ in 0..5 {
        assert!(rig.push(b"nobody\0"));
    }
    rig.until(|o| o.counts.last_error().is_some()).await;
    assert_eq!(rig.outlet.counts.totals().error, 0, "they wait");
    rig.outlet.retire();
    drop(rig.ring);
    tokio::time::timeout(Duration::from_secs(60), rig.task).await.unwrap().unwrap();
    assert_eq!(rig.outlet.counts.totals().error, 5);
}
