// Every panel, in the order of the navigation. To add one: one file beside this one, one line here.

import check from "./check.js";
import config from "./config.js";
import explain from "./explain.js";
import journey from "./journey.js";
import limits from "./limits.js";
import live from "./live.js";
import services from "./services.js";
import sinks from "./sinks.js";
import spool from "./spool.js";
import topology from "./topology.js";

// Each: `{id, title, badge(overview), mount(root, {url, go, visible})}`; `mount` returns `{tick, leave}`: what is done
// every two seconds while somebody looks, and at the end.
export const PANELS = [topology, live, journey, spool, services, limits, sinks, config, explain, check];
