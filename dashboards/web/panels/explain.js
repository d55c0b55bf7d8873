// What would happen to a command, by the plan that runs: nothing is sent.

import { ask, h, ms, note, query, section, span, state, table } from "../lib.js";

export default {
  id: "explain",
  title: "Explain",
  mount(root, { url, go }) {
    const asked = (name, or = "") => url.searchParams.get(name) ?? or;
    const field = (name, label, value, hint, size) =>
      h("label", {}, h("span", {}, label), h("input", { name, value, placeholder: hint, size, autocomplete: "off", spellcheck: false }));
    const methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    const form = h("form", { class: "filters", ariaLabel: "The command" },
      h("label", {}, h("span", {}, "method"), h("select", { name: "method" }, methods.map((m) => h("option", { selected: asked("method", "POST") === m }, m)))),
      field("host", "host", asked("host"), "stock.service.fourmi", 24),
      field("path", "path", asked("path"), "/PlaceOrder?shop=berlin", 32),
      h("button", {}, "Explain"),
      h("label", { class: "grows" }, h("span", {}, "header lines"), h("textarea", { name: "headers", rows: 2, placeholder: "apikey: …\nFourmi-Command: PlaceOrder", spellcheck: false })));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const next = new URLSearchParams({ panel: "explain" });
      // Header lines may hold a key: they stand in no address.
      kept = new FormData(form).get("headers");
      for (const [name, value] of new FormData(form)) if (name !== "headers" && value.trim()) next.append(name, value.trim());
      go(`/?${next}`);
    });
    form.elements.headers.value = kept;
    const place = h("div", { ariaLive: "polite" });
    root.append(section("What would happen to a command?", form, place));
    const path = asked("path");
    if (path) explain(place, asked("method", "POST"), asked("host"), path, kept).catch((error) => place.replaceChildren(note(error.message, "bad")));
    else place.append(note("Give a path, and a host if the worker sends it to a service. Nothing is sent anywhere."));
    return {};
  },
};

/** When its caller is answered, and what happens when it fails. */
function delivered(d) {
  if (!d) return [];
  if (!d.stored) return ["at once; nothing can be stored, for there is no spool"];
  const how = [d.mode === "auto" ? `auto: answered 202 after ${ms(d.wait_ms)}` : d.mode, d.save_on_fail && "save_on_fail", d.idempotency && "idempotency", d.at_most_once && "at_most_once"];
  const retry = `when it is stored: again after ${d.retry.delays_ms.map((n) => span(n / 1e3)).join(", ")}, ${d.retry.max_attempts} attempts, ${span(d.retry.max_age_ms / 1e3)} at most`;
  return [how.filter(Boolean).join(", "), retry, d.allow.length ? `callers may ask for ${d.allow.join(", ")}` : "callers may ask for nothing"];
}

/** Header lines, from one address of this panel to the next. */
let kept = "";

async function explain(place, method, host, path, headers) {
  const at = path.startsWith("/") ? path : `/${path}`;
  const told = await ask(`/api/v1/explain?${query({ method, url: host ? `http://${host}${at}` : at, headers })}`);
  const rows = [];
  const add = (what, said) => {
    if (said !== null && said !== undefined && said !== "") rows.push({ at: rows.length, what, said });
  };
  add("request", told.request ?? `${told.method} ${told.authority}${told.path}`);
  add("listener", told.listener && `${told.listener} (${told.direction})`);
  add("route", told.route && `${told.route.name}${told.route.matched_path ? `, by its path ${told.route.matched_path}` : ""}`);
  for (const m of told.middlewares ?? []) add("middleware", `${m.name}: ${m.says}`);
  for (const name of told.not_reached ?? []) add("middleware", `${name}: not reached`);
  add("consumer", told.consumer);
  add("service", told.service);
  if (told.served) for (const instance of told.instances) add("instance", instance);
  add("asked for", told.served ? told.upstream?.path : "");
  add("command", told.command && `${told.command.name}, from ${told.command.from}`);
  for (const said of delivered(told.delivery)) add("delivery", said);
  add("answer", told.answer && `${told.answer.status} ${told.answer.why}`);
  for (const note of told.notes ?? []) add("note", note);
  const list = table({
    caption: "What happens, in its order",
    columns: [{ name: "step", head: true, cell: (r) => r.what }, { name: "what", class: "wraps", cell: (r) => r.said }],
    key: (r) => String(r.at),
    empty: "Nothing is known of it.",
  });
  list.update(rows);
  place.replaceChildren(h("p", { class: "verdict" }, told.served ? state("it is served", "good") : state("it is not served", "bad")), list.el);
}
