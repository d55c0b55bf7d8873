// Where records and numbers go, and what was lost on the way.

import { ask, count, note, section, span, state, table } from "../lib.js";

export default {
  id: "sinks",
  title: "Sinks",
  badge: (o) => (o.lost > 0 ? { text: `${count(o.lost)} lost`, as: "bad" } : ""),
  mount(root) {
    const sinks = table({
      caption: "Sinks of records and numbers since the start",
      columns: [
        { name: "sink", head: true, cell: (k) => k.sink },
        { name: "target", class: "mono", cell: (k) => k.target },
        { name: "state", cell: (k) => state(k.state) },
        { name: "sent", num: true, cell: (k) => count(k.sent) },
        { name: "no room", num: true, cell: (k) => count(k.dropped_full) },
        { name: "refused", num: true, cell: (k) => count(k.dropped_error) },
        { name: "too large", num: true, cell: (k) => count(k.oversize) },
        { name: "troubles", class: "soft", cell: (k) => Object.entries(k.troubles).map(([why, n]) => `${why} ${count(n)}`).join(", ") },
        { name: "last error", class: "soft", cell: (k) => (k.last_error ? `${k.last_error}, ${span(k.last_error_age_seconds ?? 0)} ago` : "") },
      ],
      key: (k) => `${k.sink} ${k.target}`,
      empty: "There is none: name one under logs or metrics.sinks.",
    });
    root.append(section("Sinks", sinks.el, note("UDP gives no receipt: what was sent there is sent, unconfirmed.")));
    return {
      async tick() {
        sinks.update(await ask("/api/v1/sinks"));
      },
    };
  },
};
