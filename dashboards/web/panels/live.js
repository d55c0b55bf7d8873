// Commands as they end. The server chooses, by the filter that stands in the address, and says how many it left out.

import { clock, count, h, ms, query, section, state, tone } from "../lib.js";

/** Rows that are kept. */
const ROWS_MAX = 1000;
/** Rows a second that an eye can follow. */
const RATE = 30;
const OUTCOMES = ["failed", "success", "client_error", "server_error", "rejected", "timeout", "unreachable", "cancelled", "accepted", "dead", "expired", "unknown"];
const FIELDS = ["command", "service", "id", "tag", "consumer", "trace", "min-latency"];

export default {
  id: "live",
  title: "Live",
  badge: (o) => (o.inbound.lately || o.outbound.lately ? `${count((o.inbound.lately?.rate ?? 0) + (o.outbound.lately?.rate ?? 0))}/s` : ""),
  mount(root, { url, go }) {
    const asked = url.searchParams;
    const field = (name, label, hint) =>
      h("label", {}, h("span", {}, label), h("input", { name, value: asked.get(name) ?? "", placeholder: hint, autocomplete: "off", spellcheck: false }));
    const choice = (name, label, words) =>
      h("label", {}, h("span", {}, label), h("select", { name }, h("option", { value: "" }, "all"), words.map((w) => h("option", { value: w, selected: asked.get(name) === w }, w.replaceAll("_", " ")))));
    const form = h("form", { class: "filters", ariaLabel: "Filter of the commands" },
      field("command", "command", "Name, or Begin*"),
      field("service", "to service", "stock"),
      choice("direction", "way", ["inbound", "outbound"]),
      choice("result", "result", OUTCOMES),
      field("tag", "tag", "shop=berlin"),
      field("id", "id", "order-17"),
      field("consumer", "consumer", ""),
      field("min-latency", "slower than", "250ms"),
      h("button", {}, "Filter"),
      h("a", { class: "button", href: "/?panel=live" }, "Clear"));
    const summary = h("p", { class: "summary", role: "status" });
    const trouble = h("p", { class: "note bad" });
    trouble.hidden = true;
    const body = h("tbody");
    const head = ["time", "command", "result", "took", "way", "consumer", "tags", "id"];
    const rows = h("table", { class: "tail" }, h("caption", { class: "unseen" }, "Commands, the newest first"),
      h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col", class: name === "took" ? "n" : "" }, name)))), body);
    const empty = h("p", { class: "empty" }, "Waiting for the next command that fits.");
    const wide = h("div", { class: "wide", tabIndex: 0, role: "region", ariaLabel: "Commands, the newest first" }, rows);
    root.append(section("Live commands", form, summary, trouble, wide, empty));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const next = new URLSearchParams({ panel: "live" });
      for (const [name, value] of new FormData(form)) if (value.trim()) next.append(name, value.trim());
      go(`/?${next}`);
    });
    form.querySelectorAll("select").forEach((el) => el.addEventListener("change", () => form.requestSubmit()));

    const wanted = new URLSearchParams({ "max-rps": RATE });
    for (const name of [...FIELDS, "direction", "result"]) for (const value of asked.getAll(name)) wanted.append(name, value);
    const tap = `/api/v1/tap?${query(wanted)}`;
    let source = null;
    let [shown, skipped, paused, due] = [0, 0, false, false];
    let waiting = [];
    const say = () => {
      summary.textContent = `${count(shown)} shown, ${count(skipped)} skipped${skipped ? ` (more than ${RATE} a second)` : ""}${paused ? ", paused" : ""}`;
      empty.hidden = shown > 0;
      wide.hidden = shown === 0;
    };
    const draw = () => {
      due = false;
      const fresh = document.createDocumentFragment();
      for (const c of waiting.reverse()) fresh.append(row(c));
      waiting = [];
      body.prepend(fresh);
      while (body.childElementCount > ROWS_MAX) body.lastElementChild.remove();
      say();
    };
    const open = () => {
      source = new EventSource(tap);
      source.addEventListener("message", (event) => {
        waiting.push(JSON.parse(event.data));
        if (waiting.length > ROWS_MAX) waiting.shift();
        shown += 1;
        if (!due) requestAnimationFrame(draw);
        due = true;
      });
      source.addEventListener("skipped", (event) => {
        skipped += Number(event.data);
        say();
      });
      source.addEventListener("open", () => (trouble.hidden = true));
      source.addEventListener("error", async () => {
        const closed = source.readyState === EventSource.CLOSED;
        trouble.hidden = false;
        trouble.textContent = "The tail was cut off; trying again.";
        if (!closed) return;
        // An answer that is no tail: it says what was wrong with the question.
        const gone = new AbortController();
        const answer = await fetch(tap, { signal: gone.signal }).catch(() => null);
        const said = answer && !answer.ok ? await answer.json().catch(() => null) : null;
        gone.abort();
        trouble.textContent = said?.detail ?? "The tail was cut off; filter again to go on.";
      });
    };
    open();
    say();
    return {
      pause(now) {
        paused = now;
        source.close();
        if (!now) open();
        say();
      },
      leave: () => source.close(),
    };
  },
};

function row(c) {
  const name = c.command ?? "(no name)";
  const to = c.trace_id ? `/?panel=journey&trace=${c.trace_id}` : `/?panel=journey&id=${encodeURIComponent(c.command_id ?? "")}`;
  const as = tone(c.outcome);
  return h("tr", { class: as },
    h("td", { class: "soft num" }, clock(c.timestamp)),
    h("th", { scope: "row", title: c.kept ? "" : "Of many commands not every journey is kept" }, c.kept ? h("a", { href: to }, name) : name),
    h("td", { title: c.error ?? "" }, state(c.outcome, as), c.status ? ` ${c.status}` : ""),
    h("td", { class: "n" }, ms(c.duration_ms)),
    h("td", {}, c.direction === "inbound" ? "in" : `→ ${c.to}`),
    h("td", {}, c.consumer ?? ""),
    h("td", { class: "soft" }, c.tags ?? ""),
    h("td", { class: "soft mono" }, c.command_id ?? ""));
}
