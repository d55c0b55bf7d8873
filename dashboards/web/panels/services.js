// Where commands can go: the instances as this Fourmi sees them, and the registry with its checks.

import { ask, count, h, ms, note, section, span, state, table } from "../lib.js";

export default {
  id: "services",
  title: "Services",
  badge(o) {
    const down = Object.values(o.instances ?? {}).reduce((sum, states) => sum + (states.critical ?? 0), 0);
    const all = Object.values(o.instances ?? {}).reduce((sum, states) => sum + Object.values(states).reduce((a, b) => a + b, 0), 0);
    return down > 0 ? { text: `${down} down`, as: "bad" } : all > 0 ? count(all) : "";
  },
  mount(root) {
    const instances = table({
      caption: "Instances as this Fourmi sees them",
      columns: [
        { name: "service", head: true, cell: (i) => i.service },
        { name: "instance", class: "mono", cell: (i) => i.address },
        { name: "state", cell: (i) => state(i.state, i.ready ? "good" : undefined) },
        { name: "in flight", num: true, cell: (i) => count(i.in_flight) },
        { name: "latency", num: true, cell: (i) => ms(i.latency_ms) },
        { name: "commands", num: true, cell: (i) => count(i.commands) },
        { name: "ejections", num: true, cell: (i) => count(i.ejections) },
        { name: "last failure", class: "soft", cell: (i) => (i.last_failure ? `${i.last_failure}, ${span(i.last_failure_seconds_ago ?? 0)} ago` : "") },
      ],
      key: (i) => `${i.service} ${i.address}`,
      empty: "No instance is known: name some under outbound[].services, or open a registry with discovery.",
    });
    const troubles = h("div");
    const registered = table({
      caption: "Instances of the registry and their checks",
      columns: [
        { name: "service", head: true, cell: (r) => r.service },
        { name: "instance", cell: (r) => r.id },
        { name: "address", class: "mono", cell: (r) => `${r.address}:${r.port}` },
        { name: "node", cell: (r) => r.node },
        { name: "state", cell: (r) => state(r.draining ? "draining" : r.state) },
        { name: "check", cell: (r) => (r.check ? `${r.check.kind}, every ${r.check.interval_seconds} s` : "none") },
        { name: "for", num: true, cell: (r) => (r.check ? span(r.check.since_seconds) : "") },
        { name: "last output", class: "soft", cell: (r) => r.check?.output },
      ],
      key: (r) => `${r.service} ${r.node} ${r.id} ${r.check?.id}`,
      empty: "Nobody is registered.",
    });
    const about = h("div");
    const registry = section("Registry", about, registered.el);
    registry.hidden = true;
    root.append(section("Instances", troubles, instances.el), registry);
    return {
      async tick() {
        const services = await ask("/api/v1/upstreams");
        instances.update(services.flatMap((service) => service.instances.map((i) => ({ service: service.service, ...i }))));
        troubles.replaceChildren(...services.flatMap((service) => [
          ...(service.refuses ? [note(`${service.service}: commands are refused: ${service.refuses}`, "bad")] : []),
          ...service.troubles.map((t) => note(`${service.service}: ${t.name} cannot be looked up: ${t.why}`, "bad")),
        ]));
        const known = await ask("/api/v1/registry");
        registry.hidden = Boolean(known.none);
        if (known.none) return;
        const usable = known.services.reduce((sum, service) => sum + service.usable, 0);
        const all = known.services.reduce((sum, service) => sum + service.all, 0);
        about.replaceChildren(
          h("p", { class: "summary" }, `${count(known.services.length)} services, ${count(usable)} of ${count(all)} instances usable, ${count(known.nodes.length)} nodes`,
            known.dns.length ? ` · DNS at ${known.dns.join(", ")}` : "", known.http.length ? ` · HTTP at ${known.http.join(", ")}` : "",
            known.from ? ` · as ${known.from} says` : ""),
          known.away ? note(`${known.away.from} is away for ${span(known.away.seconds)}: ${known.away.why}. This is what was known last.`, "bad") : "",
          known.more ? note(`${count(known.more)} more instances are not shown`) : "");
        registered.update(known.services.flatMap((service) => service.instances.flatMap((i) => {
          const row = { service: service.name, ...i };
          return i.checks.length ? i.checks.map((check) => ({ ...row, check })) : [row];
        })));
      },
    };
  },
};
