// Every value that holds, and who gave it. Secrets never come here.

import { ask, change, count, h, note, section, table } from "../lib.js";

export default {
  id: "config",
  title: "Config",
  badge: (o) => (o.last_reload_error ? { text: "refused", as: "bad" } : ""),
  mount(root, { url, go, overview }) {
    const like = (url.searchParams.get("key") ?? "").toLowerCase();
    const find = h("form", { class: "filters", ariaLabel: "Filter of the keys" },
      h("label", {}, h("span", {}, "key or value holds"), h("input", { name: "key", value: like, autocomplete: "off" })),
      h("label", {}, h("span", {}, "from"), h("select", { name: "from" }, ["all", "file", "env", "default"].map((w) => h("option", { value: w, selected: url.searchParams.get("from") === w }, w)))),
      h("button", {}, "Filter"));
    const from = url.searchParams.get("from") ?? "all";
    find.addEventListener("submit", (event) => {
      event.preventDefault();
      go(`/?${new URLSearchParams({ panel: "config", ...Object.fromEntries(new FormData(find)) })}`);
    });
    find.querySelector("select").addEventListener("change", () => find.requestSubmit());
    const said = h("pre", { class: "report", role: "status" });
    said.hidden = true;
    const reload = h("button", { type: "button" }, "Read the file again");
    reload.addEventListener("click", async () => {
      reload.disabled = true;
      said.hidden = false;
      said.className = "report";
      try {
        said.textContent = (await change("/api/v1/reload")).result;
      } catch (error) {
        said.className = "report bad";
        said.textContent = error.message;
      }
      reload.disabled = false;
      asked = false;
      await again();
    });
    const values = table({
      caption: "Effective configuration",
      columns: [
        { name: "key", head: true, class: "mono", cell: (v) => h("span", { class: "mono" }, v.key) },
        { name: "value", class: "mono value", cell: (v) => v.value },
        { name: "from", class: "soft", cell: (v) => v.from },
      ],
      key: (v) => v.key,
      empty: "No key holds that.",
    });
    const summary = h("p", { class: "summary" });
    const fixed = overview()?.read_only ? note("admin.read_only is set: nothing can be changed here.") : reload;
    root.append(section("Configuration", h("div", { class: "row" }, find, fixed), said, summary, values.el));
    let asked = false;
    const again = async () => {
      if (asked) return;
      const config = await ask("/api/v1/config");
      asked = true;
      const all = Object.entries(config.origins).map(([key, origin]) => ({
        key,
        value: text(at(config.values, key)),
        kind: origin.from,
        from: origin.from === "file" ? `${origin.file.split("/").at(-1)}:${origin.line}` : origin.from === "env" ? origin.name : "default",
      }));
      const shown = all.filter((v) => (from === "all" || v.kind === from) && (v.key + v.value).toLowerCase().includes(like));
      summary.textContent = `${count(shown.length)} of ${count(all.length)} values`;
      values.update(shown);
    };
    return { tick: again };
  },
};

/** The value at a path such as `logs[0].stdout.format`. */
function at(values, path) {
  let [rest, here] = [path, values];
  while (rest && here !== null && here !== undefined) {
    const index = /^\[(\d+)\]\.?/.exec(rest);
    if (index) {
      here = here[Number(index[1])];
      rest = rest.slice(index[0].length);
      continue;
    }
    // Keys may hold dots themselves: the longest that is there.
    const key = Object.keys(here).filter((k) => rest === k || rest.startsWith(`${k}.`) || rest.startsWith(`${k}[`)).sort((a, b) => b.length - a.length)[0];
    if (key === undefined) return undefined;
    here = here[key];
    rest = rest.slice(key.length).replace(/^\./, "");
  }
  return here;
}

const text = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
