// The page: what is said above every panel, which panel is shown, and the beat at which all of it is asked for.

import { ask, count, h, ms, note, percent, rate, span, sparkline } from "./lib.js";
import { PANELS } from "./panels/index.js";

const BEAT = 2000;
const theme = localStorage.getItem("fourmi-theme");
if (theme) document.documentElement.dataset.theme = theme;

const main = document.getElementById("main");
const side = h("aside", { class: "side" });
const top = document.getElementById("top");
let panel = null;
let mounted = null;
let overview = null;
let paused = false;

const badges = new Map();
const nav = h(
  "nav",
  { id: "nav", ariaLabel: "Panels" },
  h("ul", {}, PANELS.map((p) => {
    const badge = h("span", { class: "badge" });
    const link = h("a", { href: `/?panel=${p.id}` }, h("span", { class: "title" }, p.title), badge);
    badges.set(p.id, { badge, link });
    return h("li", {}, link);
  })),
);

// Above everything: who this is, how it is, and the numbers that matter.
const who = h("div", { class: "who" });
const numbers = h("dl", { class: "numbers" });
const curve = h("div", { class: "curve" });
const reasons = h("ul", { class: "reasons" });
const toggles = h(
  "div",
  { class: "toggles" },
  h("button", { type: "button", id: "theme", title: "Light or dark (t)", onclick: flip }, "◐ ", h("span", {}, "theme")),
  h("button", { type: "button", id: "pause", title: "Stop asking (p)", ariaPressed: "false", onclick: pause }, "❚❚ ", h("span", {}, "pause")),
);
const cells = new Map();
for (const [id, title] of [["rate", "commands/s"], ["success", "success"], ["p95", "p95"], ["flight", "in flight"], ["lost", "records lost"]]) {
  const value = h("dd", {}, "–");
  cells.set(id, value);
  numbers.append(h("div", { class: id }, h("dt", {}, title), value));
}
top.replaceChildren(who, toggles, numbers, curve, reasons);
const brand = h("a", { class: "brand", href: "/" }, h("img", { src: document.querySelector("link[rel=icon]").href, alt: "", width: 28, height: 28 }), h("span", {}, "Fourmi"));
side.append(brand, nav, h("p", { class: "keys soft" }, "0–9 panels · / filter", h("br"), "p pause · t theme"));
document.getElementById("more")?.remove();
top.before(side);
document.body.classList.add("lit");

function head(o) {
  const is = o.stopping ? ["bad", "■ stopping"] : o.draining ? ["warn", "▲ draining"] : o.ready ? ["good", "● ready"] : ["bad", "■ not ready"];
  who.replaceChildren(
    h("h1", {}, o.service),
    h("span", { class: `pill ${is[0]}` }, is[1]),
    h("p", { class: "soft" }, `${o.env} · ${o.hostname} · ${o.version} · up ${span(o.uptime_seconds)}`),
  );
  const way = o.inbound.total > 0 || o.outbound.total === 0 ? o.inbound : o.outbound;
  const lately = way.lately;
  const say = (id, text, bad) => {
    cells.get(id).textContent = text;
    cells.get(id).classList.toggle("bad", Boolean(bad));
  };
  say("rate", rate(lately?.rate));
  // Of the same seconds as the rate: beside 0 there is nothing to have a share of.
  say("success", percent(lately ? lately.success : way.success), (lately?.success ?? 1) < 0.9);
  say("p95", ms(lately?.p95_ms));
  say("flight", count(o.in_flight));
  say("lost", count(o.lost), o.lost > 0);
  curve.replaceChildren(sparkline(o.curve));
  const wrong = o.parts.filter((p) => !p.ready).map((p) => h("li", {}, h("strong", {}, p.name), ` ${p.detail}`));
  if (o.last_reload_error) wrong.push(h("li", {}, h("strong", {}, "reload"), ` ${o.last_reload_error.split("\n")[0]}`));
  reasons.replaceChildren(...wrong);
  reasons.hidden = wrong.length === 0;
  for (const p of PANELS) {
    const said = p.badge?.(o);
    const { badge } = badges.get(p.id);
    badge.textContent = said?.text ?? said ?? "";
    badge.className = `badge ${said?.as ?? ""}`;
  }
}

function flip() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("fourmi-theme", dark ? "light" : "dark");
}

function pause() {
  paused = !paused;
  const button = document.getElementById("pause");
  button.ariaPressed = String(paused);
  button.firstChild.textContent = paused ? "▶ " : "❚❚ ";
  button.lastChild.textContent = paused ? "go on" : "pause";
  mounted?.pause?.(paused);
  if (!paused) beat();
}

/** Shows another address of this page. */
function go(query, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", query);
  if (!replace) show();
}

function show() {
  const url = new URL(location.href);
  panel = PANELS.find((p) => p.id === url.searchParams.get("panel")) ?? PANELS[0];
  mounted?.leave?.();
  for (const [id, { link }] of badges) {
    if (id === panel.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${panel.title} · ${overview?.service ?? ""} · Fourmi`;
  const root = h("div", { class: `panel ${panel.id}` });
  main.replaceChildren(root);
  mounted = panel.mount(root, { url, go, overview: () => overview }) ?? {};
  if (paused) mounted.pause?.(true);
  tick();
}

let trouble = null;
async function beat() {
  if (paused || document.hidden) return;
  try {
    overview = await ask("/api/v1/overview");
    head(overview);
    trouble?.remove();
    trouble = null;
  } catch (error) {
    trouble ??= note("", "bad");
    trouble.textContent = `This Fourmi does not answer: ${error.message}. What is shown is what was known last.`;
    trouble.setAttribute("role", "alert");
    main.prepend(trouble);
  }
  await tick();
}

async function tick() {
  const here = mounted;
  try {
    await here?.tick?.(overview);
    here?.said?.remove();
  } catch (error) {
    if (here !== mounted) return;
    here.said?.remove();
    here.said = note(error.message, "bad");
    main.firstElementChild?.prepend(here.said);
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/?'], a[href='/']");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(link.getAttribute("href"));
  if (nav.contains(link)) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  else main.focus({ preventScroll: true });
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape" && typing) typing.blur();
  if (typing || event.metaKey || event.ctrlKey || event.altKey) return;
  // The tenth has the 0.
  const at = /^\d$/.test(event.key) && PANELS[(Number(event.key) + 9) % 10];
  if (at) go(`/?panel=${at.id}`);
  else if (event.key === "t") flip();
  else if (event.key === "p") pause();
  else if (event.key === "/") {
    const field = main.querySelector("input");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});
addEventListener("popstate", show);
document.addEventListener("visibilitychange", () => {
  if (!paused) mounted?.pause?.(document.hidden);
  beat();
});

show();
beat();
setInterval(beat, BEAT);
