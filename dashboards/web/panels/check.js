// The lines of `fourmi check`, as this Fourmi says them of itself.

import { ask, h, note, section, state } from "../lib.js";

export default {
  id: "check",
  title: "Check",
  mount(root) {
    const place = h("div");
    root.append(section("Check", place, note("`fourmi check` on this machine also tries the receivers that nothing was sent to yet.")));
    let before = "";
    return {
      async tick() {
        const all = await ask("/api/v1/check");
        const now = JSON.stringify(all);
        if (now === before) return;
        before = now;
        const count = (result) => all.checks.filter((c) => c.result === result).length;
        const summary = h("p", { class: "summary" }, state(all.result), `  ${count("failed")} failed, ${count("warning")} with a warning, ${count("ok")} ok`);
        const categories = [...new Set(all.checks.map((c) => c.category))];
        place.replaceChildren(summary, ...categories.map((category) =>
          h("div", {}, h("h3", {}, category), h("ul", { class: "checks" }, all.checks.filter((c) => c.category === category).map((c) =>
            h("li", {}, state(c.result), h("span", {}, h("strong", {}, `${c.check}${c.subject ? ` ${c.subject}` : ""}`), ` ${c.detail}`,
              c.result === "ok" ? null : h("span", {}, " ", h("a", { href: c.help, rel: "noreferrer" }, "what to do")))))))));
      },
    };
  },
};
