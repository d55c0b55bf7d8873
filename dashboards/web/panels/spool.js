// Stored commands: how many there are and how old, one with all its attempts; sent again, taken back, forgotten, held.

import { ask, change, count, h, ms, note, query, section, span, state, table } from "../lib.js";

const TONES = { scheduled: "good", ready: "good", running: "good", succeeded: "good", retrying: "warn", cancelled: "warn", expired: "warn" };
const word = (name) => state(name, TONES[name] ?? "bad");
const TABS = [
  { id: "queued", states: ["ready", "running"], verbs: ["cancel", "discard"], none: "Nothing waits for its turn." },
  { id: "retrying", states: ["retrying"], verbs: ["cancel", "discard"], none: "Nothing waits for another attempt." },
  { id: "scheduled", states: ["scheduled"], verbs: ["cancel", "discard"], none: "Nothing waits for its time." },
  { id: "dead", states: ["dead", "unknown"], verbs: ["retry", "discard"], none: "Nothing was given up." },
  { id: "ended", states: ["succeeded", "expired", "cancelled"], verbs: ["discard"], none: "Nothing that has ended is kept." },
];
/** What can be done, with which commands, and what is asked before. */
const VERBS = {
  retry: { title: "Retry", to: "/retry", fits: ["dead", "unknown", "cancelled", "expired"], ask: "sent again" },
  cancel: { title: "Cancel", to: "/cancel", fits: ["scheduled", "ready", "retrying"], ask: "taken back; no attempt follows" },
  discard: { title: "Discard", to: "", fits: ["scheduled", "ready", "retrying", "succeeded", "dead", "cancelled", "expired", "unknown"], ask: "forgotten for ever, request and answer too", typed: true },
};
const FIELDS = [["name", "command", "Name, or Begin*"], ["service", "service", "stock"], ["id", "id", "order-17"], ["key", "key", "customer-5"], ["consumer", "consumer", ""], ["tag", "tag", "shop=berlin"], ["older_than", "older than", "2h"]];
const ALL = "/api/v1/commands";

export default {
  id: "spool",
  title: "Spool",
  badge: ({ spool }) => (!spool ? "" : spool.trouble ? { text: "no room", as: "bad" } : spool.dead ? { text: `${count(spool.dead)} dead`, as: "bad" } : spool.waiting ? count(spool.waiting) : ""),
  mount(root, { url, go }) {
    const asked = url.searchParams;
    const tab = TABS.find((t) => t.id === asked.get("tab")) ?? TABS[0];
    const filter = FIELDS.map(([name]) => [name, asked.get(name) ?? ""]).filter(([, value]) => value);
    const here = (more = {}, to = tab) => `/?${query([["panel", "spool"], ["tab", to.id], ...filter, ...Object.entries(more)])}`;
    const report = h("p", { class: "report", role: "status", hidden: true });
    const say = (text, bad) => {
      report.hidden = false;
      report.className = bad ? "report bad" : "report";
      report.textContent = text;
    };
    /** Does it, and says how it went. */
    const attempt = async (does) => {
      try {
        return await does();
      } catch (error) {
        say(error.message, true);
        return null;
      }
    };
    const desk = { asked, tab, filter, here, go, say, attempt };
    const seq = asked.get("seq");
    const parts = [numbers(desk), seq ? one(desk, asked.get("of") ?? "", seq) : list(desk)];
    const place = h("div", { class: "stack", hidden: true }, parts[0].el, report, parts[1].el);
    const none = h("p", { class: "empty", hidden: true }, "This Fourmi stores no commands. ", h("code", {}, "spool: {}"), " in its configuration switches that on.");
    root.append(section("Spool", none, place));
    return {
      async tick(o) {
        if (!o) return;
        none.hidden = Boolean(o.spool);
        place.hidden = !o.spool;
        if (o.spool) await Promise.all(parts.map((part) => part.tick(o)));
      },
    };
  },
};

/** How much there is, for whom, and who is held. */
function numbers(desk) {
  const facts = h("dl", { class: "facts" });
  const trouble = h("div");
  const tabs = h("nav", { class: "tabs", ariaLabel: "States" });
  const about = h("p", { class: "summary" });
  let fixed = false;
  const hold = (direction, service, held) =>
    h("button", { type: "button", onclick: () => desk.attempt(async () => {
      const of = service ? { service, direction } : {};
      const done = await change(`/api/v1/spool/${held ? "resume" : "pause"}?${query({ ...of, by: "page" })}`);
      desk.say(`${service || "Everything"} is ${done.result}.`);
      await look();
    }) }, held ? "Resume" : "Pause");
  const services = table({
    caption: "Services with stored commands",
    hidden: true,
    columns: [
      { name: "service", head: true, cell: (r) => r.service },
      { name: "way", cell: (r) => (r.direction === "inbound" ? "in" : "out") },
      ...["ready", "running", "retrying", "scheduled", "dead"].map((name) => ({ name, num: true, cell: (r) => count(r.states[name] ?? 0) })),
      { name: "sending", cell: (r) => (r.held ? state("paused", "warn") : state("on", "good")) },
      { name: "change", cell: (r) => (fixed ? "" : hold(r.direction, r.service, r.held)) },
    ],
    key: (r) => `${r.direction} ${r.service} ${r.held}`,
    empty: "No service has any.",
  });
  const look = async () => {
    const all = await ask("/api/v1/spool");
    const of = (...states) => states.reduce((sum, name) => sum + all.states[name].count, 0);
    const oldest = Math.max(all.states.ready.oldest_age_seconds ?? -1, all.states.retrying.oldest_age_seconds ?? -1);
    const fact = (name, value, bad) => h("div", {}, h("dt", {}, name), h("dd", { class: bad ? "bad" : "" }, value));
    facts.replaceChildren(
      fact("waiting", count(of("ready", "running", "retrying"))),
      fact("oldest of them", oldest < 0 ? "–" : span(oldest), oldest > 900),
      fact("scheduled", count(of("scheduled"))),
      fact("dead", count(of("dead", "unknown")), of("dead", "unknown") > 0),
      fact("refused", count(all.refused), all.refused > 0),
      fact("file", `${bytes(all.bytes)} of ${bytes(all.max_bytes)}`, all.bytes > 0.9 * all.max_bytes));
    trouble.replaceChildren(
      ...(all.trouble ? [note(`Nothing is taken: ${all.trouble}`, "bad")] : []),
      ...(all.paused.length ? [h("p", { class: "note" }, state("paused", "warn"), ` ${all.paused.join(", ")}: what is stored stays until it is resumed.`)] : []));
    about.textContent = `${all.path}${all.encrypted ? ", encrypted" : ""}`;
    for (const link of tabs.querySelectorAll("a")) link.lastChild.textContent = count(of(...TABS.find((t) => t.id === link.dataset.tab).states));
    const names = [...new Set([...Object.keys(all.services), ...all.paused])].sort();
    services.update(names.map((name) => {
      const [direction, ...rest] = name.split(" ");
      return { direction, service: rest.join(" "), states: all.services[name] ?? {}, held: all.paused.includes(name) };
    }));
  };
  tabs.append(h("ul", {}, TABS.map((t) =>
    h("li", {}, h("a", { href: desk.here({}, t), "data-tab": t.id, "aria-current": t === desk.tab ? "page" : null }, t.id, " ", h("span", { class: "badge" }))))));
  // Who looks at one has no eye for all of them.
  services.el.hidden = desk.asked.has("seq");
  return {
    el: h("div", { class: "stack" }, h("div", {}, facts, about, trouble), services.el, tabs),
    tick: (o) => {
      fixed = o.read_only;
      return look();
    },
  };
}

/** Those of one tab, the oldest first. */
function list(desk) {
  const { asked, tab, filter, here, go, say, attempt } = desk;
  const form = h("form", { class: "filters", ariaLabel: "Filter of the stored commands" },
    FIELDS.map(([name, label, hint]) => h("label", {}, h("span", {}, label), h("input", { name, value: asked.get(name) ?? "", placeholder: hint, autocomplete: "off", spellcheck: false }))),
    h("button", {}, "Filter"), h("a", { class: "button", href: `/?panel=spool&tab=${tab.id}` }, "Clear"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const pairs = [...new FormData(form)].filter(([, value]) => value.trim()).map(([name, value]) => [name, value.trim()]);
    go(`/?${query([["panel", "spool"], ["tab", tab.id], ...pairs])}`);
  });
  const rows = table({
    caption: `Stored commands that are ${tab.states.join(" or ")}, the oldest first`,
    columns: [
      { name: "command", head: true, cell: (c) => h("a", { href: here({ of: c.id, seq: c.seq }) }, c.name || "(no name)") },
      { name: "id", class: "soft mono", cell: (c) => c.id },
      { name: "state", cell: (c) => (c.held ? h("span", {}, word(c.state), " behind its key") : word(c.state)) },
      { name: "attempts", num: true, cell: (c) => count(c.attempt) },
      { name: "service", cell: (c) => c.service },
      { name: "came", num: true, cell: (c) => `${span((Date.now() - Date.parse(c.created)) / 1e3)} ago` },
      ...(tab.id === "retrying" || tab.id === "scheduled" ? [{ name: "due in", num: true, cell: (c) => (c.due ? span((Date.parse(c.due) - Date.now()) / 1e3) : "") }] : []),
      { name: "status", num: true, cell: (c) => c.status ?? "" },
      { name: "last error", class: "soft wraps", cell: (c) => c.error ?? "" },
      { name: "key", class: "soft", cell: (c) => c.key ?? "" },
      { name: "consumer", class: "soft", cell: (c) => c.consumer ?? "" },
      { name: "tags", class: "soft", cell: (c) => Object.entries(c.tags).map(([k, v]) => `${k}=${v}`).join(", ") },
    ],
    key: (c) => c.seq,
    empty: filter.length ? "None of them fits the filter." : tab.none,
  });
  const more = h("p", { class: "note" });
  const look = async () => {
    const found = await ask(`${ALL}?${query([["state", tab.states.join(",")], ...filter, ["cursor", asked.get("cursor") ?? 0]])}`);
    rows.update(found.commands);
    more.replaceChildren(...(found.next ? [h("a", { href: here({ cursor: found.next }) }, "Later ones")] : []));
  };
  const many = async (name, button) => {
    const verb = VERBS[name];
    const states = tab.states.filter((s) => verb.fits.includes(s)).join(",");
    const path = (more) => `${ALL}${verb.to}?${query([["state", states], ...filter, ["by", "page"], ...Object.entries(more)])}`;
    const method = verb.to ? "POST" : "DELETE";
    const { count: n } = await change(path({ dry_run: true }), method);
    if (n === 0) return say("None of them fits.");
    const words = `${count(n)} stored command${n === 1 ? "" : "s"} (${states.replaceAll(",", ", ")}${filter.length ? `; ${filter.map((f) => f.join(" ")).join(", ")}` : "; no filter"})`;
    const sure = await confirmed(form.parentElement, { verb, name, n, words, button });
    if (!sure) return null;
    // Very many are done in turns.
    let [done, left, goes] = [0, 0, true];
    while (goes) {
      const turn = await change(path(sure), method);
      [done, left, goes] = [done + turn.count, left + turn.left, turn.more && turn.count > 0];
      say(`${count(done)} ${turn.result}${left ? `, ${count(left)} left as they are` : ""}${goes ? " so far" : ""}.`);
    }
    return look();
  };
  const verbs = h("div", { class: "verbs", hidden: true }, tab.verbs.map((name) => button(`${VERBS[name].title} these…`, (self) => attempt(() => many(name, self)))));
  return {
    el: h("div", {}, form, verbs, rows.el, more),
    tick: (o) => {
      verbs.hidden = o.read_only;
      return look();
    },
  };
}

/** One, with what has become of it so far. */
function one(desk, id, seq) {
  const path = (to, more = {}) => `${ALL}/${encodeURIComponent(id)}${to}?${query({ seq, ...more })}`;
  const about = h("div");
  const story = h("div", { class: "stack" });
  const verbs = h("div", { class: "verbs" });
  const request = h("div");
  const root = h("div", { class: "stack" }, h("p", {}, h("a", { href: desk.here() }, "‹ all of them")), about, verbs, story, request);
  let last = "";
  const look = async (o) => {
    const c = await ask(path(""));
    // Drawn again only when something has changed, so that what somebody selects stays.
    const now = JSON.stringify([c, o?.read_only]);
    if (now === last) return;
    last = now;
    about.replaceChildren(...summary(c));
    story.replaceChildren(...history(c));
    const can = Object.entries(VERBS).filter(([, verb]) => !o?.read_only && verb.fits.includes(c.state) && (verb !== VERBS.retry || c.sendable !== false));
    verbs.replaceChildren(
      ...can.map(([name, verb]) => button(verb.typed || name === "cancel" ? `${verb.title}…` : verb.title, (self) => desk.attempt(() => act(name, verb, self, o)))),
      button("Show what is sent", () => desk.attempt(show)));
  };
  const act = async (name, verb, self, o) => {
    const words = `The command ${id}`;
    const sure = name === "retry" ? {} : await confirmed(root, { verb, name, n: 1, words, button: self });
    if (!sure) return;
    await change(path(verb.to, { by: "page", ...sure }), verb.to ? "POST" : "DELETE");
    if (!verb.to) return desk.go(desk.here());
    desk.say(name === "retry" ? "It is sent again." : "It is taken back.");
    await look(o);
  };
  const show = async () => {
    const { request: sent } = await ask(path("", { body: true }));
    request.replaceChildren(h("h3", {}, "What is sent (it may hold secrets of its caller)"), sent ? block("What is sent", `${sent.head.trimEnd()}\n\n${sent.body}`) : note("It is not kept any more."));
  };
  return { el: root, tick: look };
}

function summary(c) {
  const fact = (name, value) => (value === null || value === "" ? null : h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  const ids = [`id ${c.id}`, `route ${c.route}`, c.key && `key ${c.key}`, c.consumer && `consumer ${c.consumer}`, ...Object.entries(c.tags).map((tag) => tag.join("="))];
  return [
    h("dl", { class: "facts" },
      fact("command", c.name || "(no name)"),
      fact("state", h("span", {}, word(c.state), c.status ? ` ${c.status}` : "")),
      fact("attempts", count(c.attempt)),
      fact("service", c.service),
      fact("came", when(c.created)),
      fact(c.finished ? "ended" : "due", when(c.finished ?? c.due) ?? (c.held ? "behind its key" : null)),
      fact("expires", when(c.expires))),
    h("p", { class: "soft mono ids" }, ids.filter(Boolean).join(" · "), " · ", h("a", { href: `/?panel=journey&id=${encodeURIComponent(c.id)}` }, "its journey")),
    // The last line of the history says it too, when it is of the last attempt.
    ...(c.error && c.error !== c.history.at(-1)?.why ? [note(c.error, "bad")] : []),
  ];
}

function history(c) {
  const since = (i) => {
    const gap = i && (Date.parse(c.history[i].at) - Date.parse(c.history[i - 1].at)) / 1e3;
    return gap ? ` (+${gap < 1 ? ms(gap * 1e3) : gap < 10 ? `${gap.toFixed(1)} s` : span(gap)})` : "";
  };
  const line = (l, i) => h("li", { class: TONES[l.state] ?? "bad" },
    h("span", { class: "soft num" }, when(l.at), since(i)),
    h("span", {}, word(l.state), l.attempt ? ` attempt ${l.attempt}` : ""),
    l.why ? h("span", { class: "why" }, l.why) : null);
  const all = [section("What has become of it", h("ol", { class: "timeline" }, c.history.map(line)))];
  if (c.answer) {
    const kind = h("p", { class: "summary" }, `${c.status} ${c.answer.content_type}${c.answer.cut ? ", cut" : ""}`);
    all.push(section("What it was answered", kind, c.answer.body ? block("Answer", c.answer.body) : ""));
  }
  return all;
}

const block = (name, text) => h("pre", { class: "block", tabIndex: 0, role: "region", ariaLabel: name }, text);

function button(title, does) {
  const el = h("button", { type: "button" }, title);
  el.addEventListener("click", async () => {
    el.disabled = true;
    await does(el);
    el.disabled = false;
  });
  return el;
}

/** Asks once more; what can't be undone has to be typed. What is added to the question, or null. */
function confirmed(place, { verb, name, n, words, button }) {
  const wanted = n === 1 ? name : `${name} ${n}`;
  const typed = h("input", { name: "typed", autocomplete: "off", spellcheck: false });
  const reset = h("input", { type: "checkbox", name: "reset" });
  const yes = h("button", { class: "yes" }, `${verb.title} ${n === 1 ? "it" : count(n)}`);
  const no = h("button", { type: "button" }, "Leave as it is");
  const form = h("form", {},
    h("h2", { id: "sure" }, `${verb.title}?`),
    h("p", {}, `${words} will be ${verb.ask}.`),
    verb.typed ? h("label", {}, h("span", {}, "To go on, type ", h("strong", {}, wanted)), typed) : null,
    name === "retry" ? h("label", { class: "tick" }, reset, " count attempts from the beginning") : null,
    h("div", { class: "verbs" }, yes, no));
  const dialog = h("dialog", { "aria-labelledby": "sure" }, form);
  if (verb.typed) {
    yes.disabled = true;
    typed.addEventListener("input", () => (yes.disabled = typed.value.trim() !== wanted));
  }
  place.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    const end = (sure) => {
      dialog.remove();
      button.disabled = false;
      button.focus();
      done(sure);
    };
    no.addEventListener("click", () => end(null));
    dialog.addEventListener("cancel", () => end(null));
    // Digits and letters of the page mean nothing here.
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      end(reset.checked ? { reset: true } : {});
    });
  });
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; n >= 1024 && at < units.length - 1; at++) n /= 1024;
  return `${n >= 100 || at === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[at]}`;
}

/** A moment on this machine's clock; the day only when it is not today. */
function when(text) {
  if (!text) return null;
  const t = new Date(text);
  const day = t.toDateString() === new Date().toDateString() ? "" : `${t.getFullYear()}-${String(t.getMonth() + 1).padStart(2, "0")}-${String(t.getDate()).padStart(2, "0")} `;
  return `${day}${t.toLocaleTimeString("en-GB")}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}
