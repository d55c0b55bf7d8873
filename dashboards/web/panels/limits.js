// Who may call, and how much of their limits is used. Keys are never shown, only whose they are.

import { ask, count, h, note, s, section, state, table } from "../lib.js";

export default {
  id: "limits",
  title: "Limits",
  mount(root, { url, go }) {
    const named = (c, part) => c[`${part}_name`] ?? c[part];
    const counters = table({
      caption: "Limits, the nearest to its end first",
      columns: [
        { name: "limit", head: true, cell: (c) => (c.name ? `${c.middleware} ${c.name}` : c.middleware) },
        { name: "service", cell: (c) => named(c, "service") },
        { name: "route", cell: (c) => named(c, "route") },
        { name: "by", cell: (c) => c.by },
        { name: "whom", cell: (c) => named(c, "identifier") },
        { name: "period", cell: (c) => c.period },
        { name: "used", num: true, cell: (c) => count(c.used) },
        { name: "of", num: true, cell: (c) => count(c.limit) },
        { name: "fill", cell: (c) => fill(c.used / Math.max(1, c.limit)) },
        { name: "reset in", num: true, cell: (c) => `${c.reset} s` },
      ],
      key: (c) => [c.middleware, c.name, c.service, c.route, c.by, c.identifier, c.period].join(" "),
      empty: "No limit has counted anything yet.",
    });
    const waiting = table({
      caption: "Commands that wait for their turn",
      columns: [
        { name: "line", head: true, cell: (c) => c.middleware },
        { name: "service", cell: (c) => named(c, "service") },
        { name: "whom", cell: (c) => named(c, "identifier") },
        { name: "waiting", num: true, cell: (c) => count(c.waiting) },
      ],
      key: (c) => [c.middleware, c.service, c.route, c.identifier].join(" "),
      empty: "Nobody waits.",
    });
    const redis = h("div");
    const like = url.searchParams.get("name") ?? "";
    const find = h("form", { class: "filters", ariaLabel: "Find consumers" },
      h("label", {}, h("span", {}, "name or id holds"), h("input", { name: "name", value: like, autocomplete: "off" })), h("button", {}, "Find"));
    find.addEventListener("submit", (event) => {
      event.preventDefault();
      go(`/?panel=limits&name=${encodeURIComponent(new FormData(find).get("name"))}`);
    });
    const people = table({
      caption: "Consumers",
      columns: [
        { name: "username", head: true, cell: (c) => c.username },
        { name: "custom id", cell: (c) => c.custom_id },
        { name: "groups", cell: (c) => c.groups.join(", ") },
        { name: "id", class: "soft mono", cell: (c) => c.id },
      ],
      key: (c) => c.id,
      empty: like ? "None is called so." : "There are none: a Kong file under gateway names them.",
    });
    const more = h("div");
    root.append(section("Limits", redis, counters.el), section("Waiting", waiting.el), section("Consumers", find, people.el, more));
    return {
      async tick(o) {
        const all = await ask("/api/v1/limits");
        counters.update((all.counters ?? []).flatMap((c) => Object.entries(c.periods).map(([period, p]) => ({ ...c, ...p, period }))));
        waiting.update(all.waiting ?? []);
        redis.replaceChildren(...(all.redis ?? []).filter((r) => !r.reachable).map((r) => note(`redis ${r.server} is away: ${r.last_error}`, "bad")));
        if (!o?.gateway) return;
        const consumers = await ask(`/api/v1/gateway/consumers?name=${encodeURIComponent(like)}`);
        people.update(consumers.consumers);
        more.replaceChildren(consumers.more ? note(`${count(consumers.more)} more: say a part of the name`) : "");
      },
    };
  },
};

function fill(share) {
  const as = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "good";
  const bar = s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "rail", width: 100, height: 10 }), s("rect", { class: as, width: Math.min(100, share * 100), height: 10 }));
  return h("span", { class: "filled" }, bar, as === "good" ? null : state(as === "bad" ? "full" : "near", as));
}
