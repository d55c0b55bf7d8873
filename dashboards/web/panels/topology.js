// Who calls whom: services as nodes, commands a second between them, and the same as a table.

import { ask, count, h, ms, note, percent, rate, s, section, table } from "../lib.js";

const OUTSIDE = "callers";
// Beyond so many nodes a drawing is a ball of wool; the table is there.
const DRAWN_MAX = 40;
const FAILING = 0.95;
const NOTHING = "No command has passed yet. Send one to an inbound listener, with a header Fourmi-Command that names it.";

export default {
  id: "topology",
  title: "Topology",
  badge: (o) => (o.ready ? "" : { text: "not ready", as: "bad" }),
  mount(root) {
    const drawing = h("div", { class: "drawing" });
    const missing = h("div");
    const edges = table({
      caption: "Between services, the last seconds",
      columns: [
        { name: "from", head: true, cell: (e) => e.from },
        { name: "to", cell: (e) => e.to },
        { name: "rate /s", num: true, cell: (e) => rate(e.rate) },
        { name: "success", num: true, cell: (e) => share(e.success) },
        { name: "p95", num: true, cell: (e) => ms(e.p95) },
      ],
      key: (e) => `${e.from} ${e.to}`,
      empty: NOTHING,
    });
    const commands = table({
      caption: "Commands of this Fourmi, most first",
      columns: [
        { name: "command", head: true, cell: (r) => h("a", { href: `/?panel=live&command=${encodeURIComponent(r.command)}` }, r.command) },
        { name: "way", cell: (r) => (r.direction === "inbound" ? "in" : `out to ${r.service}`) },
        { name: "rate /s", num: true, cell: (r) => rate(r.lately?.rate) },
        { name: "success", num: true, cell: (r) => share(r.lately ? r.lately.success : r.success) },
        { name: "p50", num: true, cell: (r) => ms(r.lately?.p50_ms) },
        { name: "p95", num: true, cell: (r) => ms(r.lately?.p95_ms) },
        { name: "p99", num: true, cell: (r) => ms(r.lately?.p99_ms) },
        { name: "in flight", num: true, cell: (r) => r.lately?.busy?.toFixed(2) },
        { name: "total", num: true, cell: (r) => count(r.total) },
        { name: "other outcomes", class: "soft", cell: (r) => others(r.outcomes) },
      ],
      key: (r) => `${r.direction} ${r.service} ${r.command}`,
      empty: "None yet.",
    });
    root.append(
      h("div", { class: "pair" }, section("Topology", drawing, missing), section("Edges", edges.el)),
      section("Commands", commands.el),
    );
    let shape = "";
    return {
      async tick(o) {
        if (o) commands.update(o.rows);
        const graph = read(await ask("/api/v1/topology"));
        // Somebody may have gone on while it was asked for.
        if (!drawing.isConnected) return;
        edges.update(graph.edges, still(graph.total, o?.spool));
        missing.replaceChildren(
          ...graph.unanswered.map((u) => note(`${u.address} does not answer: ${u.why}`, "bad")),
          ...(graph.nodes.length > DRAWN_MAX ? [note(`${graph.nodes.length} services: more than a drawing shows; see the table.`)] : []),
        );
        const width = drawing.clientWidth - 2 * parseFloat(getComputedStyle(drawing).paddingLeft);
        const now = JSON.stringify(graph) + width;
        if (now === shape || graph.nodes.length > DRAWN_MAX) return;
        shape = now;
        const focused = document.activeElement?.getAttribute?.("data-node");
        drawing.replaceChildren(draw(graph, width));
        if (focused) drawing.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
      },
    };
  },
};

/** Why nothing passes just now. */
function still(total, spool) {
  if (total > 0) return "No command passes just now.";
  if (spool?.waiting > 0) return ["Nothing has ended yet since the start. ", h("a", { href: "/?panel=spool" }, `${count(spool.waiting)} stored`), " wait."];
  return NOTHING;
}

function share(value) {
  return h("span", { class: value !== null && value < FAILING ? "word bad" : "" }, percent(value));
}

function others(outcomes) {
  const all = Object.entries(outcomes).filter(([name]) => name !== "success");
  return all.map(([name, n]) => `${name.replaceAll("_", " ")} ${count(n)}`).join(", ");
}

/** Nodes and edges out of what each Fourmi says of itself. */
function read({ nodes, unanswered }) {
  const known = new Map();
  const edges = new Map();
  let total = 0;
  const node = (name) => {
    if (!known.has(name)) known.set(name, { name, all: 0, rate: null, success: null, p95: null, ready: null, address: null, weight: 0 });
    return known.get(name);
  };
  for (const n of nodes) {
    const mine = node(n.service);
    const before = mine.weight;
    mine.all += 1;
    mine.ready = mine.ready !== false && n.ready;
    mine.address ??= n.address ?? "";
    total += n.inbound.total + n.outbound.total;
    if (n.inbound.lately && n.inbound.total > 0) add(mine, n.inbound.lately, before);
    for (const row of n.rows.filter((r) => r.direction === "outbound")) {
      const id = `${n.service} ${row.service}`;
      if (!edges.has(id)) edges.set(id, { from: n.service, to: row.service, rate: null, success: null, p95: null, weight: 0 });
      node(row.service);
      if (row.lately) add(edges.get(id), row.lately, edges.get(id).weight);
    }
  }
  for (const n of known.values()) {
    const inner = [...edges.values()].filter((e) => e.to === n.name).reduce((sum, e) => sum + (e.rate ?? 0), 0);
    const rest = (n.rate ?? 0) - inner;
    // Two states are never of exactly the same seconds.
    if (n.rate !== null && rest > Math.max(0.5, n.rate * 0.2)) {
      edges.set(`${OUTSIDE} ${n.name}`, { from: OUTSIDE, to: n.name, rate: rest, success: n.success, p95: n.p95 });
    }
  }
  const all = [...edges.values()].sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || (a.from + a.to < b.from + b.to ? -1 : 1));
  if (all.some((e) => e.from === OUTSIDE)) node(OUTSIDE);
  return { nodes: [...known.values()], edges: all, total, unanswered };
}

function add(to, lately, before) {
  const now = lately.rate;
  to.success = now > 0 ? ((to.success ?? 1) * before + (lately.success ?? 1) * now) / (before + now) : (to.success ?? lately.success);
  to.rate = (to.rate ?? 0) + now;
  to.p95 = Math.max(to.p95 ?? 0, lately.p95_ms ?? 0) || null;
  to.weight = before + now;
}

/** Ranks by the longest way from outside, order by the middle of who calls. */
function ranks({ nodes, edges }) {
  const rank = new Map(nodes.map((n) => [n.name, 0]));
  for (let round = 0; round < nodes.length; round++) {
    let moved = false;
    for (const e of edges) {
      const to = Math.min(rank.get(e.from) + 1, nodes.length);
      if (e.from !== e.to && rank.get(e.to) < to && round < nodes.length - 1) {
        rank.set(e.to, to);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const lone = nodes.filter((n) => !edges.some((e) => e.from === n.name || e.to === n.name));
  const rows = [];
  for (const n of nodes.filter((n) => !lone.includes(n))) (rows[rank.get(n.name)] ??= []).push(n);
  const layers = rows.filter(Boolean);
  for (let at = 1; at < layers.length; at++) {
    const place = new Map(layers[at - 1].map((n, i) => [n.name, i]));
    const middle = (n) => {
      const from = edges.filter((e) => e.to === n.name && place.has(e.from)).map((e) => place.get(e.from));
      return from.length ? from.reduce((a, b) => a + b, 0) / from.length : Infinity;
    };
    layers[at].sort((a, b) => middle(a) - middle(b) || (a.name < b.name ? -1 : 1));
  }
  return { layers, lone };
}

function draw(graph, width) {
  if (graph.nodes.length === 0) return note("Nobody is known yet.");
  const { layers, lone } = ranks(graph);
  const fits = layers.length * BOX.least + (layers.length - 1) * GAP.least <= width;
  return fits ? wide(graph, layers, lone, width) : tall(graph, layers, lone, Math.max(240, width));
}

const BOX = { least: 128, most: 190, h: 58 };
const GAP = { least: 62, most: 260 };

function wide(graph, layers, lone, width) {
  // The boxes grow first, then the ways between them.
  const share = (width - (layers.length - 1) * GAP.least - 4) / layers.length;
  const w = Math.max(BOX.least, Math.min(BOX.most, share));
  const gap = Math.max(GAP.least, Math.min(GAP.most, (width - 4 - layers.length * w) / Math.max(1, layers.length - 1)));
  const most = Math.max(1, ...layers.map((l) => l.length));
  const step = BOX.h + 22;
  const height = most * step;
  const at = new Map();
  layers.forEach((layer, i) => {
    const top = (height - layer.length * step) / 2;
    layer.forEach((n, k) => at.set(n.name, { x: 2 + i * (w + gap), y: top + k * step + 11 }));
  });
  lone.forEach((n, k) => at.set(n.name, { x: 2 + k * (w + 24), y: height + 18 }));
  const whole = Math.max(layers.length * (w + gap) - gap, lone.length * (w + 24)) + 4;
  return picture(graph, at, whole, height + (lone.length ? BOX.h + 22 : 0), w, (from, to) => {
    const [x1, y1, x2, y2] = [from.x + w, from.y + BOX.h / 2, to.x - 7, to.y + BOX.h / 2];
    // Back to where it came from, or to itself: around below.
    if (x2 <= x1) return { d: `M${x1} ${y1}C${x1 + 60} ${y1 + 70} ${x2 - 60} ${y2 + 70} ${x2} ${y2}`, x: (x1 + x2) / 2, y: Math.max(y1, y2) + 54 };
    const bend = (x2 - x1) / 2;
    return { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, x: x2 - 24, y: y2 - 9, cramped: gap < 110 };
  });
}

/** Where there is no room beside each other: one below the other, further in the further from outside. */
function tall(graph, layers, lone, width) {
  const at = new Map();
  const seen = new Set();
  let y = 4;
  const put = (n, depth) => {
    if (seen.has(n.name)) return;
    seen.add(n.name);
    at.set(n.name, { x: 2 + Math.min(depth, 4) * 26, y });
    y += BOX.h + 14;
    for (const e of graph.edges.filter((e) => e.from === n.name)) put(graph.nodes.find((o) => o.name === e.to), depth + 1);
  };
  layers.flat().forEach((n) => put(n, 0));
  lone.forEach((n) => put(n, 0));
  const w = width - 2 - Math.max(...[...at.values()].map((p) => p.x)) - 48;
  return picture(graph, at, width, y, w, (from, to) => {
    const [x, y1, x2, y2] = [from.x + 12, from.y + BOX.h, to.x - 7, to.y + BOX.h / 2];
    if (y2 < y1) return { d: `M${from.x + w} ${from.y + BOX.h / 2}h14V${y2}h-8`, x: to.x + w + 24, y: y2 - 6 };
    return { d: `M${x} ${y1}V${y2}H${x2}`, x: to.x + w + 24, y: y2 + 4 };
  });
}

function picture(graph, at, width, height, box, road) {
  const most = Math.max(1, ...graph.edges.map((e) => e.rate ?? 0));
  const lines = graph.edges.filter((e) => at.has(e.from) && at.has(e.to)).map((e) => {
    const way = road(at.get(e.from), at.get(e.to));
    const failing = e.success !== null && e.success < FAILING;
    const words = `${e.from} to ${e.to}: ${rate(e.rate)} commands a second, ${percent(e.success)} success, p95 ${ms(e.p95)}`;
    const width = 1.2 + 2.2 * Math.sqrt((e.rate ?? 0) / most);
    return s("g", { class: `edge${failing ? " failing" : ""}${e.rate ? "" : " quiet"}` },
      s("title", {}, words),
      s("path", { class: "reach", d: way.d }),
      s("path", { class: "way", d: way.d, "stroke-width": width.toFixed(1), "marker-end": `url(#${failing ? "ill" : e.rate ? "tip" : "rest"})` }),
      // Where there is little room the only way to a node has the node's own number.
      way.cramped && graph.edges.filter((o) => o.to === e.to).length === 1 ? null : s("text", { x: way.x, y: way.y, "text-anchor": "middle" }, `${failing ? "■ " : ""}${rate(e.rate)}`));
  });
  const boxes = graph.nodes.filter((n) => at.has(n.name)).map((n) => {
    const { x, y } = at.get(n.name);
    const outside = n.name === OUTSIDE;
    const is = n.ready === false ? "bad" : n.success !== null && n.success < FAILING ? "warn" : n.ready ? "good" : "soft";
    const words = outside ? "callers from outside" : `${n.name}: ${n.ready === false ? "not ready" : n.ready ? "ready" : "no Fourmi of it is asked"}, ${rate(n.rate)} commands a second, ${percent(n.success)} success, p95 ${ms(n.p95)}`;
    const inner = [
      s("title", {}, words),
      s("rect", { x, y, width: box, height: BOX.h, rx: 7 }),
      s("text", { class: "name", x: x + 26, y: y + 23 }, clip(n.name, Math.floor((box - 34) / 8.2))),
      s("text", { class: "facts", x: x + 26, y: y + 42 }, outside ? "from outside" : n.ready === false ? "not ready" : n.rate === null ? (n.ready === null ? "no peer" : "no commands") : `${rate(n.rate)}/s${n.success === null ? "" : ` · ${percent(n.success)}`}`),
      s("text", { class: `shape ${is}`, x: x + 9, y: y + 23, "aria-hidden": "true" }, outside ? "→" : is === "bad" ? "■" : is === "warn" ? "▲" : is === "good" ? "●" : "○"),
    ];
    const target = outside ? "/?panel=live&direction=inbound" : n.address ? `http://${n.address}/` : `/?panel=live&service=${encodeURIComponent(n.name)}`;
    return s("a", { class: `node ${is}`, href: target, "data-node": n.name }, inner);
  });
  return s("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Services and the commands between them; the table beside it says the same" },
    s("defs", {}, ["tip", "ill", "rest"].map((id) => s("marker", { id, viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 10, markerHeight: 10, markerUnits: "userSpaceOnUse", orient: "auto" }, s("path", { class: id, d: "M0 0L8 4L0 8Z" })))),
    lines, boxes);
}

const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
