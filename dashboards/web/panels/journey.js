// One command through all hops: who was asked by whom, when, and how long each took.

import { ask, clock, count, h, ms, note, query, s, section, state, table, tone } from "../lib.js";

export default {
  id: "journey",
  title: "Journey",
  mount(root, { url, go }) {
    const trace = url.searchParams.get("trace") ?? "";
    const id = url.searchParams.get("id") ?? "";
    const form = h("form", { class: "filters", ariaLabel: "Which command" },
      h("label", {}, h("span", {}, "trace"), h("input", { name: "trace", value: trace, placeholder: "32 hexadecimal digits", size: 34, autocomplete: "off", spellcheck: false })),
      h("label", {}, h("span", {}, "or command id"), h("input", { name: "id", value: id, placeholder: "order-17", size: 34, autocomplete: "off", spellcheck: false })),
      h("button", {}, "Follow"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const next = new URLSearchParams({ panel: "journey" });
      for (const [name, value] of new FormData(form)) if (value.trim()) next.append(name, value.trim());
      go(`/?${next}`);
    });
    const place = h("div", { class: "stack" });
    root.append(section("Journey", form, place));
    return trace || id ? one(place, trace, id) : latest(place);
  },
};

/** The last commands, to choose one. */
function latest(place) {
  const said = h("p", { class: "summary", role: "status" });
  const last = table({
    caption: "The last commands that are kept, the newest first",
    columns: [
      { name: "time", class: "soft num", cell: (c) => clock(c.timestamp) },
      { name: "command", head: true, cell: (c) => h("a", { href: `/?panel=journey&trace=${c.trace_id}` }, c.command ?? "(no name)") },
      { name: "way", cell: (c) => (c.direction === "inbound" ? "in" : `→ ${c.to}`) },
      { name: "result", cell: (c) => h("span", {}, state(c.outcome), c.status ? ` ${c.status}` : "") },
      { name: "took", num: true, cell: (c) => ms(c.duration_ms) },
      { name: "tags", class: "soft", cell: (c) => c.tags },
      { name: "id", class: "soft mono", cell: (c) => c.command_id },
    ],
    key: (c) => `${c.span_id} ${c.timestamp}`,
    empty: "None is kept yet. What ends from now on is.",
  });
  place.append(said, last.el);
  return {
    async tick() {
      const recent = await ask("/api/v1/recent?limit=60");
      said.textContent = recent.one_in > 1
        ? `${count(recent.kept)} commands are kept: every ${recent.one_in}th journey, the same ones in every Fourmi, and failures beside them.`
        : `${count(recent.kept)} commands are kept, of at most 500.`;
      last.update(recent.commands);
    },
  };
}

/** All hops of one. It is asked for again for a while: hops may still be on their way. */
function one(place, trace, id) {
  let left = 4;
  return {
    async tick() {
      if (left-- <= 0) return;
      const journey = await ask(`/api/v1/journey?${query(trace ? { trace } : { id })}`);
      if (!place.isConnected) return;
      const hops = joined(journey.hops);
      const missing = journey.unanswered.map((u) => note(`${u.address} does not answer, so its hops are missing: ${u.why}`, "bad"));
      if (hops.length === 0) {
        place.replaceChildren(note("No hop of it is kept any more, or none has ended yet. The records in your log have it."), ...missing);
        return;
      }
      left = Math.min(left, 2);
      place.replaceChildren(summary(hops, journey), ...missing, section("Sequence", diagram(hops, place.clientWidth - 28)), section("Hops", list(hops)));
    },
  };
}

/** What one Fourmi sent and another took are two ends of one hop; in the order in which they began, callers first. A
 *  stored command goes to the spool, and from there at each attempt. */
function joined(all) {
  const spans = new Map(all.map((c) => [c.span_id, c]));
  const hops = [];
  const taken = new Set();
  const ends = new Map();
  const spool = (c) => `${c.service}'s spool`;
  /** The record of its storing: attempts and end are told below it, under the same id. */
  const stored = (c) => {
    const before = spans.get(c.parent_span_id);
    return before?.outcome === "accepted" && before.direction === c.direction && before.command_id === c.command_id ? before : null;
  };
  // Attempts follow each other. The end is told from the moment when the command came, so that attempts lie in it; one
  // that ended without any was taken back or came too late.
  const during = (c, o) => o.timestamp > c.timestamp && o.timestamp < c.timestamp + c.duration_ms / 1e3;
  const isEnd = (c, before) => ["cancelled", "expired"].includes(c.outcome) || all.some((o) => o !== c && stored(o) === before && during(c, o));
  for (const c of all) {
    if (taken.has(c)) continue;
    const before = stored(c);
    if (before && isEnd(c, before)) {
      // Who sent it again by hand gave it another end.
      if (!(ends.get(before)?.duration_ms > c.duration_ms)) ends.set(before, c);
      continue;
    }
    const kept = c.outcome === "accepted" ? spool(c) : null;
    const [from, attempt] = before ? [spool(c), c.attempt] : [null, null];
    if (c.direction === "outbound") {
      const other = all.find((o) => o.direction === "inbound" && o.parent_span_id === c.span_id);
      if (other) taken.add(other);
      hops.push({ from: from ?? c.service, to: kept ?? c.to, out: c, into: other ?? null, attempt });
    } else if (before || spans.get(c.parent_span_id)?.direction !== "outbound") {
      hops.push({ from: from ?? c.consumer ?? "caller", to: kept ?? c.service, out: null, into: c, attempt });
    }
  }
  for (const hop of hops) {
    const near = hop.out ?? hop.into;
    Object.assign(hop, {
      command: near.command ?? "(no name)",
      begin: near.timestamp * 1e3,
      end: near.timestamp * 1e3 + near.duration_ms,
      outcome: near.outcome,
      status: near.status,
      error: near.error ?? hop.into?.error,
      ended: ends.get(near),
      near,
    });
  }
  hops.sort((a, b) => a.begin - b.begin || (a.out ? 1 : 0) - (b.out ? 1 : 0));
  const first = hops[0]?.begin ?? 0;
  for (const hop of hops) {
    hop.at = hop.begin - first;
    hop.took = hop.end - hop.begin;
    hop.ends = hop.end - first;
  }
  // How deep: by who was in whose hands.
  for (const hop of hops) {
    const parent = hops.find((o) => o !== hop && [o.near.span_id, o.into?.span_id].includes(hop.near.parent_span_id));
    hop.depth = parent ? parent.depth + 1 || 1 : 0;
  }
  return hops;
}

function summary(hops, journey) {
  const services = new Set(hops.filter((hop) => hop.outcome !== "accepted").map((hop) => hop.to));
  const whole = hops[0];
  const ended = whole.ended;
  const failed = hops.filter((hop) => tone(hop.outcome) !== "good").length;
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("div", {},
    h("dl", { class: "facts" },
      fact("command", whole.command),
      fact("result", h("span", {}, state(whole.outcome), whole.status ? ` ${whole.status}` : "")),
      ended ? fact("in the end", h("span", {}, state(ended.outcome), ended.status ? ` ${ended.status}` : "")) : null,
      fact("took", ms(ended?.duration_ms ?? whole.took)),
      fact("services", count(services.size)),
      fact("hops", count(hops.length)),
      fact("not well", count(failed))),
    h("p", { class: "soft mono ids" }, `trace ${journey.trace_id ?? "–"}`, whole.near.command_id ? h("span", {}, ` · id ${whole.near.command_id}`) : null));
}

/** Lifelines from left to right, time from top to bottom: what begins or ends has its own line, and the gaps between
 *  say how long, as far as there is room. */
function diagram(hops, room) {
  const names = [...new Set(hops.flatMap((hop) => [hop.from, hop.to]))];
  const left = 84;
  const column = Math.max(132, Math.min(230, (room - left) / names.length));
  const width = left + names.length * column;
  const x = new Map(names.map((name, i) => [name, left + (i + 0.5) * column]));
  const events = hops.flatMap((hop) => [{ hop, at: hop.at, begins: true }, { hop, at: hop.ends, begins: false }]).sort((a, b) => a.at - b.at || (a.begins ? 1 : -1));
  const whole = Math.max(...hops.map((hop) => hop.ends), 0.001);
  const stretch = Math.min(14, 180 / whole);
  let y = 46;
  let before = 0;
  for (const event of events) {
    y += Math.max(26, Math.min(120, (event.at - before) * stretch));
    before = event.at;
    event.y = y;
    if (event.begins) event.hop.y1 = y;
    else event.hop.y2 = y;
  }
  const height = y + 20;
  const svg = s("svg", { class: "sequence", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${names.length} participants, ${hops.length} hops in ${ms(whole)}; the table below says the same` });
  for (const name of names) {
    svg.append(
      s("line", { class: "life", x1: x.get(name), x2: x.get(name), y1: 44, y2: height - 8 }),
      s("rect", { class: "who", x: x.get(name) - 60, y: 10, width: 120, height: 32, rx: 7 }),
      s("text", { class: "name", x: x.get(name), y: 31, "text-anchor": "middle" }, name.length > 15 ? `${name.slice(0, 14)}…` : name));
  }
  for (const { at, y } of events) {
    svg.append(
      s("text", { class: "when", x: 70, y: y + 4, "text-anchor": "end" }, `+${ms(at)}`),
      s("line", { class: "tick", x1: 78, x2: width - 4, y1: y, y2: y }));
  }
  for (const hop of hops) {
    // As long as the command was in its hands.
    svg.append(s("rect", { class: `hold ${tone(hop.outcome)}`, x: x.get(hop.to) - 5, y: hop.y1, width: 10, height: Math.max(4, hop.y2 - hop.y1), rx: 3 }));
  }
  for (const { hop, begins, y } of events) {
    const [from, to] = begins ? [x.get(hop.from), x.get(hop.to)] : [x.get(hop.to), x.get(hop.from)];
    const way = to > from ? 1 : -1;
    const [a, b] = [from + 6 * way, to - 7 * way];
    const as = tone(hop.outcome);
    const words = begins ? `${hop.command}${hop.attempt ? ` · attempt ${hop.attempt}` : ""}` : `${as === "good" ? "" : as === "warn" ? "▲ " : "■ "}${hop.status || hop.outcome} · ${ms(hop.took)}`;
    // Beside the far end of a long line there is nothing else.
    const middle = begins ? b - way * Math.min(72, Math.abs(b - a) / 2) : a + way * Math.min(72, Math.abs(b - a) / 2);
    svg.append(
      s("line", { class: `${begins ? "request" : "answer"} ${begins ? "" : as}`, x1: a, x2: b, y1: y, y2: y }),
      s("path", { class: `head ${begins ? "" : as}`, d: `M${b + 7 * way} ${y}l${-8 * way} -4.500v9z` }),
      s("text", { class: `said ${begins ? "" : as}`, x: middle, y: y - 6, "text-anchor": "middle" }, words));
  }
  return h("div", { class: "wide", tabIndex: 0, role: "region", ariaLabel: "Sequence diagram" }, svg);
}

function list(hops) {
  const whole = Math.max(...hops.map((hop) => hop.ends), 0.001);
  const bar = (hop) => s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "rail", width: 100, height: 10 }),
    s("rect", { class: tone(hop.outcome), x: (100 * hop.at) / whole, width: Math.max(0.8, (100 * hop.took) / whole), height: 10 }));
  const rows = table({
    caption: "Hops in the order in which they began",
    columns: [
      { name: "hop", head: true, cell: (hop) => h("span", { class: `depth d${Math.min(4, hop.depth)}` }, `${hop.from} → ${hop.to}`) },
      { name: "command", cell: (hop) => `${hop.command}${hop.attempt ? `, attempt ${hop.attempt}` : ""}` },
      { name: "begin", num: true, cell: (hop) => `+${ms(hop.at)}` },
      { name: "when", cell: bar },
      { name: "took", num: true, cell: (hop) => ms(hop.took) },
      { name: "there", num: true, cell: (hop) => ms(hop.into?.duration_ms) },
      { name: "worker", num: true, cell: (hop) => ms(hop.into?.upstream_ms) },
      { name: "result", cell: (hop) => h("span", {}, state(hop.outcome), hop.status ? ` ${hop.status}` : "") },
      { name: "instance", class: "soft mono", cell: (hop) => hop.into?.upstream ?? hop.near.upstream },
      { name: "error", class: "soft", cell: (hop) => hop.error ?? (hop.near.tries ? `${hop.near.tries.length} tries failed` : "") },
    ],
    key: (hop) => hop.near.span_id + hop.begin,
    empty: "None.",
  });
  rows.update(hops);
  return rows.el;
}
