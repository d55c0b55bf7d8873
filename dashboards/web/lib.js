// What all panels are made of: elements, numbers for eyes, questions to the server, tables that are updated in place.

/** An element; strings become text and never markup. */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  set(el, props);
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

/** The same for a drawing. */
export function s(tag, props = {}, ...children) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) el.setAttribute(key, value);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

function set(el, props) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "class") el.className = value;
    else if (key in el && key !== "list") el[key] = value;
    else el.setAttribute(key, value === true ? "" : value);
  }
}

const digits = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A whole number. */
export const count = (n) => (n === null || n === undefined ? "–" : digits.format(n));
/** Commands a second. */
export function rate(n) {
  if (n === null || n === undefined) return "–";
  if (n >= 100) return digits.format(n);
  if (n >= 10) return n.toFixed(0);
  return n === 0 ? "0" : n.toFixed(1);
}
/** Milliseconds with their unit. */
export function ms(n) {
  if (n === null || n === undefined) return "–";
  if (n >= 10000) return `${(n / 1000).toFixed(1)} s`;
  if (n >= 1000) return `${(n / 1000).toFixed(2)} s`;
  return n >= 100 ? `${n.toFixed(0)} ms` : n >= 10 ? `${n.toFixed(1)} ms` : `${n.toFixed(2)} ms`;
}
/** A share of one; 100 only when all are. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share === 1) return "100 %";
  return `${Math.min(99.99, share * 100).toFixed(share > 0.999 ? 2 : 1)} %`;
}
/** A time span in its two largest units. */
export function span(seconds) {
  const t = Math.max(0, Math.round(seconds));
  if (t < 60) return `${t} s`;
  if (t < 3600) return `${Math.floor(t / 60)} min ${t % 60} s`;
  if (t < 86400) return `${Math.floor(t / 3600)} h ${Math.floor((t % 3600) / 60)} min`;
  return `${Math.floor(t / 86400)} d ${Math.floor((t % 86400) / 3600)} h`;
}
/** The clock's time of a second since 1970. */
export function clock(seconds) {
  const t = new Date(seconds * 1000);
  return `${t.toLocaleTimeString("en-GB")}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}

const GOOD = new Set(["success", "accepted", "passing", "healthy", "ok", "forced-up", "ready"]);
const WARN = new Set(["client_error", "rejected", "cancelled", "expired", "warning", "half-open", "unused", "unknown", "forced-down", "draining"]);
/** How a word of ours is meant. */
export const tone = (word) => (GOOD.has(word) ? "good" : WARN.has(word) ? "warn" : "bad");
/** A shape, so that nothing hangs on colour. */
export const MARKS = { good: "●", warn: "▲", bad: "■" };
/** A word with its shape and colour. */
export function state(word, as = tone(word)) {
  return h("span", { class: `word ${as}` }, h("span", { class: "mark", ariaHidden: "true" }, MARKS[as]), String(word).replaceAll("_", " "));
}

/** Asks for JSON. An error has `status` where one was answered. */
export async function ask(path, options = {}) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, ...options });
  if (answer.status === 401) location.reload();
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  throw Object.assign(new Error(body?.detail ?? `${path} answered ${answer.status}`), { status: answer.status });
}

/** A query for the server, to which a plus is a plus. */
export const query = (pairs) => new URLSearchParams(pairs).toString().replaceAll("+", "%20");

/** Asks for a change. */
export const change = (path, method = "POST") =>
  ask(path, { method, headers: { accept: "application/json", "fourmi-change": "page" } });

/** A table that is updated in place, so that neither focus nor selection is lost.
 *  Columns: `{name, num, head, cell(row)}`; a cell is text or an element. `empty` is said where there are no rows. */
export function table({ caption, columns, key, empty, hidden }) {
  const body = h("tbody");
  const el = h(
    "table",
    {},
    h("caption", { class: hidden ? "unseen" : "" }, caption),
    h("thead", {}, h("tr", {}, columns.map((c) => h("th", { scope: "col", class: c.num ? "n" : "" }, c.name)))),
    body,
  );
  const none = h("p", { class: "empty" });
  none.hidden = true;
  // What is wider than the page can be scrolled, with the keyboard too.
  const wide = h("div", { class: "wide", tabIndex: 0, role: "region", ariaLabel: caption }, el);
  const root = h("div", { class: "table" }, wide, none);
  const known = new Map();
  const put = (cell, value) => {
    const text = value === null || value === undefined ? "–" : value;
    if (text instanceof Node) {
      if (!cell.firstChild?.isEqualNode?.(text) || cell.childNodes.length !== 1) cell.replaceChildren(text);
    } else if (cell.textContent !== String(text) || cell.firstElementChild) cell.textContent = text;
  };
  const update = (rows, said = empty) => {
    const seen = new Set();
    let before = null;
    for (const row of rows) {
      const id = key(row);
      if (seen.has(id)) continue;
      seen.add(id);
      let tr = known.get(id);
      if (!tr) {
        tr = h("tr", {}, columns.map((c) => h(c.head ? "th" : "td", { class: c.num ? "n" : (c.class ?? ""), ...(c.head ? { scope: "row" } : {}) })));
        known.set(id, tr);
      }
      columns.forEach((c, i) => put(tr.children[i], c.cell(row)));
      const place = before ? before.nextSibling : body.firstChild;
      if (tr !== place) body.insertBefore(tr, place);
      before = tr;
    }
    for (const [id, tr] of known) {
      if (!seen.has(id)) {
        tr.remove();
        known.delete(id);
      }
    }
    wide.hidden = rows.length === 0;
    none.hidden = rows.length > 0;
    if (!none.hidden) none.replaceChildren(...[said].flat());
  };
  update([]);
  return { el: root, update };
}

/** A small curve of rates. `points`: `[seconds ago, all, failed]`. */
export function sparkline(points, { width = 240, height = 44, over = 120 } = {}) {
  const top = Math.max(1, ...points.map((p) => p[1])) * 1.08;
  const x = (ago) => (width * (1 - ago / over)).toFixed(1);
  const y = (n) => (height - 1.5 - (height - 4) * (n / top)).toFixed(1);
  const shown = points.filter((p) => p[0] <= over);
  const line = (i) => shown.map((p, at) => `${at ? "L" : "M"}${x(p[0])} ${y(p[i])}`).join("");
  const svg = s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(s("path", { class: "base", d: `M0 ${height - 1}H${width}` }));
  if (shown.length > 1) {
    svg.append(
      s("path", { class: "fill", d: `${line(1)}L${x(shown.at(-1)[0])} ${height}L${x(shown[0][0])} ${height}Z` }),
      s("path", { class: "line", d: line(1) }),
    );
    if (shown.some((p) => p[2] > 0)) svg.append(s("path", { class: "fail", d: line(2) }));
  }
  return svg;
}

/** A heading with what it holds. */
export const section = (title, ...children) => h("section", {}, h("h2", {}, title), ...children);
/** A line that says what is not known, and why. */
export const note = (text, as = "soft") => h("p", { class: `note ${as}` }, text);
