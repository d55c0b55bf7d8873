use super::super::drain::{Inbox, Outlet};
use super::super::fields::Who;
use super::super::filter::Filter;
use super::super::generation::{Branch, Encode};
use super::super::record::tests::{identity, sample};
use super::super::redact::Redactor;
use super::super::watch::{Line, Place};
use super::*;

/// Writes what the tests look at.
struct Plain;

impl Encode for Plain {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        let tags: Vec<String> = entry.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let shown: Vec<&str> = entry.shown.iter().map(|(k, _)| k).collect();
        let text = format!("{}|{}|{}|{}|{}", entry.message, entry.command, entry.id, tags.join(","), shown.join(","));
        out.extend_from_slice(text.as_bytes());
        entry.what == What::Line
    }
}

/// A worker with two outputs, and a clock that the tests set.
struct Stage {
    scopes: Scopes,
    registry: Arc<Registry>,
    watch: Arc<Watch>,
    cells: Arc<super::super::metric::WorkerCells>,
    generation: Generation,
    inbox: Inbox,
    at: u64,
    written: [u64; 2],
}

/// The settings of a sink that is told everything.
fn everything() -> super::super::filter::Common {
    let values = super::super::logs::tests::values(serde_json::json!({}));
    super::super::logs::read(&values).unwrap()
}

const START: u64 = 1_700_000_000_000_000;

impl Stage {
    fn new() -> Stage {
        let (registry, watch) = (Arc::<Registry>::default(), Arc::<Watch>::default());
        watch.want(true);
        let outlet = Outlet::new("plain", String::new());
        let branch = Arc::new(Branch::new(outlet.clone(), Filter::new(&everything()), Box::new(Plain), 1 << 20));
        let who = Some(Who::new(&identity(&[])));
        let mut inbox = Inbox::new(outlet);
        inbox.tidy();
        Stage {
            scopes: Scopes::new(watch.clone(), registry.clone()),
            cells: registry.worker(),
            registry,
            watch,
            generation: Generation { who, branches: vec![branch], ..Generation::default() },
            inbox,
            at: START,
            written: [0; 2],
        }
    }

    fn moment(&self) -> Moment {
        Moment { since: self.at, at: self.at, outputs: self.written.map(|n| Stretch { from: n, to: n }) }
    }

    fn see(&mut self, what: What, n: u64, id: &str) {
        let mut x = sample(&identity(&[]));
        x.command.id = id.into();
        x.command.name = format!("Command{n}").into();
        x.command.tags = vec![("n".into(), n.to_string())];
        if what == What::Command {
            x.command.tags.push(("answered".into(), n.to_string()));
        }
        x.trace.span_id = n;
        x.trace.trace_id = u128::from(n) << 64 | 1;
        let mut entry = Entry::of(what, &x);
        entry.moment = self.moment();
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        self.scopes.see(&Entry::read(&bytes).unwrap(), &bytes);
        self.at += 10;
    }

    /// Begins or ends a command somewhere between these bytes of standard error.
    fn loosely(&mut self, what: What, n: u64, from: u64, to: u64) {
        let mut x = sample(&identity(&[]));
        (x.trace.span_id, x.command.id) = (n, id(n));
        (x.command.name, x.command.tags) = (format!("Command{n}").into(), vec![("n".into(), n.to_string())]);
        let mut entry = Entry::of(what, &x);
        entry.moment = self.moment();
        entry.moment.outputs[1] = Stretch { from, to };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        self.scopes.see(&Entry::read(&bytes).unwrap(), &bytes);
        self.at += 10;
        self.cells.in_flight(crate::exchange::Direction::Inbound, if what == What::Begun { 1 } else { -1 });
    }

    fn begin(&mut self, n: u64) {
        self.cells.in_flight(crate::exchange::Direction::Inbound, 1);
        self.see(What::Begun, n, &id(n));
    }

    fn end(&mut self, n: u64) {
        self.see(What::Command, n, &id(n));
        self.cells.in_flight(crate::exchange::Direction::Inbound, -1);
    }

    /// Writes to standard error; where.
    fn write(&mut self, text: &str) -> Place {
        let from = self.written[1];
        self.written[1] += text.len() as u64 + 1;
        self.at += 10;
        Place::Bytes(1, from, self.written[1])
    }

    fn told(&mut self, message: &str, fields: &[(&str, &str)], place: Place, own_time: u64) -> String {
        let fields: Vec<(String, String)> = fields.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let line =
            Line { level: 6, wall: START, own_time, message, fields: &fields, place, redactor: &Redactor::default() };
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        line.write(&mut bytes);
        // The moment of reading is now.
        let mut entry = Entry::read(&bytes).unwrap();
        if let Place::Bytes(..) = place {
            entry.moment.at = self.at;
        }
        let mut again = Vec::new();
        entry.write(&mut again);
        self.scopes.tell(&again, true, &self.generation, &mut scratch);
        let mut out = Vec::new();
        self.inbox.pop(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Writes a line and says which command it was told of.
    #[track_caller]
    fn is_of(&mut self, message: &str, expected: Option<u64>) {
        let place = self.write(message);
        self.at_is_of(message, &[], place, expected);
    }

    #[track_caller]
    fn at_is_of(&mut self, message: &str, fields: &[(&str, &str)], place: Place, expected: Option<u64>) {
        let told = self.told(message, fields, place, 0);
        match expected {
            None => assert!(told.starts_with(&format!("{message}||||")), "{told}"),
            Some(n) => assert!(
                told.starts_with(&format!("{message}|Command{n}|{}|n={n}", id(n))) && !told.contains(",n="),
                "{told}"
            ),
        }
    }
}

fn id(n: u64) -> String {
    format!("018f5e2a-7c1b-7000-8000-{n:012}")
}

#[test]
fn row_79_tags_are_gone_after_the_command_and_interleaved_commands_never_share_them() {
    let mut stage = Stage::new();
    stage.is_of("before", None);
    stage.begin(1);
    stage.is_of("one", Some(1));
    stage.end(1);
    stage.at += 1_000_000;
    stage.is_of("idle", None);
    // Interleaved: only what names one of them is its.
    stage.begin(2);
    stage.is_of("two alone", Some(2));
    stage.begin(3);
    stage.is_of("two or three", None);
    let named = format!("done with {}", id(3));
    stage.is_of(&named, Some(3));
    let both = format!("{} waits for {}", id(2), id(3));
    stage.is_of(&both, None);
    stage.end(2);
    stage.is_of("three alone", Some(3));
    stage.end(3);
    // With the tags of its answer, which came with its end, while it is remembered.
    let place = stage.write("");
    let told = stage.told(&format!("late {}", id(3)), &[], place, 0);
    assert!(told.contains("n=3,answered=3"), "{told}");
    stage.at += 1_000_000;
    stage.is_of("idle again", None);
    assert_eq!(stage.registry.reasons().iter().map(|r| r.1).sum::<u64>(), 10);
}

#[test]
fn lines_are_where_they_were_written_however_late_they_are_read() {
    let mut stage = Stage::new();
    let before = stage.write("before");
    stage.begin(1);
    let first = stage.write("first");
    stage.end(1);
    stage.begin(2);
    let second = stage.write("second");
    let (from, to) = (stage.written[1], stage.written[1] + 20);
    stage.written[1] = to - 5;
    stage.end(2);
    stage.written[1] = to;
    stage.begin(3);
    stage.at += 10_000_000;
    stage.at_is_of("before", &[], before, None);
    stage.at_is_of("first", &[], first, Some(1));
    stage.at_is_of("second", &[], second, Some(2));
    stage.at_is_of("over the end of two", &[], Place::Bytes(1, from, to), None);
    stage.at_is_of("unknown", &[], Place::Unknown, None);
    let third = stage.write("third");
    stage.at_is_of("third", &[], third, Some(3));
    // What says itself that it is older is not of three.
    let place = stage.write("held back");
    let told = stage.told("held back", &[], place, stage.at - 60_000_000);
    assert!(told.starts_with("held back||||"), "{told}");
    let told = stage.told("of this second", &[], place, stage.at - 10_000_000);
    assert!(told.starts_with("of this second|Command3|"), "{told}");
}

#[test]
fn an_uncertain_place_is_nobodys_until_something_later_is_known() {
    let mut stage = Stage::new();
    // We were reading when one began: somewhere between 0 and 100 bytes.
    stage.loosely(What::Begun, 1, 0, 100);
    stage.written[1] = 50;
    stage.is_of("perhaps before it", None);
    let during = Stretch { from: 60, to: 70 };
    stage.at_is_of("still", &[], Place::Bytes(1, during.from, during.to), None);
    stage.written[1] = 100;
    stage.is_of("surely in it", Some(1));
    // And when it ended: between 150 and 60,000.
    stage.written[1] = 150;
    stage.loosely(What::Command, 1, 150, 60_000);
    stage.at_is_of("perhaps in it, perhaps after it", &[], Place::Bytes(1, 160, 170), None);
    stage.written[1] = 180;
    stage.begin(2);
    stage.is_of("two began when one had ended", Some(2));
    assert!(stage.scopes.loose.is_empty() || stage.scopes.loose == [1]);
}

#[test]
fn an_idle_workers_line_just_after_an_end_is_of_the_one_that_ended() {
    let mut stage = Stage::new();
    stage.begin(1);
    stage.end(1);
    stage.is_of("access log", Some(1));
    stage.at += AFTERGLOW + 1000;
    stage.is_of("much later", None);
    stage.begin(2);
    stage.end(2);
    stage.begin(3);
    stage.end(3);
    stage.is_of("of two or three", None);
}

#[test]
fn fields_name_the_command() {
    let mut stage = Stage::new();
    for n in [1, 2] {
        stage.begin(n);
    }
    let place = Place::Unknown;
    for key in ["command_id", "extra.commandId", "fourmi-id", "context.Fourmi_Id"] {
        stage.at_is_of("m", &[(key, &id(1))], place, Some(1));
    }
    stage.at_is_of("m", &[("id", &id(2))], place, Some(2));
    stage.at_is_of("m", &[("traceparent", "00-0000000000000009000000000000000a-0000000000000002-01")], place, Some(2));
    stage.at_is_of("m", &[("trace_id", "00000000000000010000000000000001")], place, Some(1));
    let parent = "called with 00-0000000000000009000000000000000a-0000000000000001-01 by";
    stage.at_is_of(parent, &[], place, Some(1));
    // A trace of the worker's own says nothing.
    stage.at_is_of("m", &[("trace_id", "ffffffffffffffffffffffffffffffff")], place, None);
    stage.end(2);
    let inside = stage.write("m");
    stage.at_is_of("m", &[("trace_id", "ffffffffffffffffffffffffffffffff")], inside, Some(1));
    // A command that is named and not known is another one, not the one in the worker's hands.
    stage.at_is_of("m", &[("command_id", "somebody-elses-0001")], inside, None);
    // What the record says anyway is not said twice.
    let told = stage.told("m", &[("command_id", &id(1)), ("other", "x")], place, 0);
    assert!(told.ends_with("|other"), "{told}");
}

#[test]
fn short_ids_need_a_field_and_ids_that_two_have_are_nobodys() {
    let mut stage = Stage::new();
    stage.cells.in_flight(crate::exchange::Direction::Inbound, 4);
    stage.see(What::Begun, 1, "42");
    stage.see(What::Begun, 2, "order-payment");
    stage.see(What::Begun, 3, "the-same-id-0001");
    stage.see(What::Begun, 4, "the-same-id-0001");
    let of = |stage: &mut Stage, message: &str, fields: &[(&str, &str)]| {
        stage.told(message, fields, Place::Unknown, 0).split('|').nth(1).unwrap().to_owned()
    };
    assert_eq!(of(&mut stage, "took 42 ms for order-payment", &[]), "");
    assert_eq!(of(&mut stage, "m", &[("id", "42")]), "");
    assert_eq!(of(&mut stage, "m", &[("command_id", "42")]), "Command1");
    assert_eq!(of(&mut stage, "m", &[("command_id", "the-same-id-0001")]), "");
    stage.see(What::Command, 4, "the-same-id-0001");
    assert_eq!(of(&mut stage, "[the-same-id-0001]: m", &[]), "Command3");
    assert_eq!(of(&mut stage, "see the-same-id-0001.", &[]), "Command3");
}

#[test]
fn clocks_place_what_comes_by_socket() {
    let mut stage = Stage::new();
    stage.begin(1);
    let during = stage.at;
    stage.at += 5_000;
    stage.end(1);
    stage.at += 100_000;
    stage.begin(2);
    let second = stage.at;
    stage.at += 5_000;
    stage.end(2);
    stage.at_is_of("m", &[], Place::Between(during, during), Some(1));
    stage.at_is_of("m", &[], Place::Between(second, second), Some(2));
    stage.at_is_of("m", &[], Place::Between(during, second), None);
    stage.at_is_of("m", &[], Place::Between(second - 50_000, second - 50_000), None);
}

#[test]
fn what_was_not_seen_makes_blind_until_all_are_known() {
    let mut stage = Stage::new();
    stage.begin(1);
    stage.is_of("one", Some(1));
    // One more is on its way, and its entry found no room.
    stage.cells.in_flight(crate::exchange::Direction::Inbound, 1);
    stage.watch.missed();
    stage.is_of("of one, or of the other", None);
    let named = format!("of {}", id(1));
    stage.is_of(&named, Some(1));
    stage.cells.in_flight(crate::exchange::Direction::Inbound, -1);
    stage.is_of("one again", Some(1));
    // Its end is not seen: it is over when nothing is on its way.
    stage.cells.in_flight(crate::exchange::Direction::Inbound, -1);
    stage.watch.missed();
    stage.at += 1_000_000;
    stage.is_of("idle", None);
    stage.begin(2);
    stage.is_of("two", Some(2));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut stage = Stage::new();
    for n in 0..20_000 {
        stage.begin(n);
        stage.end(n);
    }
    let s = &stage.scopes;
    assert_eq!(
        (s.all.len(), s.ended.len(), s.by_id.len(), s.by_trace.len()),
        (ENDED_MAX, ENDED_MAX, ENDED_MAX, ENDED_MAX)
    );
    assert_eq!(s.ended_bytes, s.all.values().map(|s| s.entry.len()).sum::<usize>());
    stage.at += ENDED_FOR;
    stage.begin(30_000);
    stage.end(30_000);
    assert_eq!((stage.scopes.all.len(), stage.scopes.by_id.len()), (1, 1));
    for n in 40_000..40_000 + ACTIVE_MAX as u64 + 10 {
        stage.begin(n);
    }
    assert_eq!(stage.scopes.active.len(), ACTIVE_MAX);
    assert!(stage.watch.has_missed());
}
