"""A client of PyPI as it is: registers, is found, waits for a change. Arguments: the API's port, the instance's port, and
which client it is: py-consul and python-consul2 are one module by its name."""
import base64
import importlib.metadata
import json
import sys
import threading

import consul

api, port, which = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
folder = str(importlib.metadata.distribution(which).locate_file("consul"))
assert consul.__file__.startswith(folder), f"{consul.__file__} is not of {which}"
client = consul.Consul(host="127.0.0.1", port=api)
told = {}
check = consul.Check.ttl("1h")
assert client.agent.service.register("py", service_id="py-1", address="127.0.0.1", port=port, tags=["v1"], check=check)
told["before"] = len(client.health.service("py", passing=True)[1])
assert client.agent.check.ttl_pass("service:py-1", "fine")
index, entries = client.health.service("py", passing=True)
told["passing"] = [entry["Service"]["ID"] for entry in entries]
told["checks"] = [entry["Output"] for entry in client.health.checks("py")[1]]
told["services"] = client.catalog.services()[1]["py"]
told["nodes"] = [node["Node"] for node in client.catalog.nodes()[1]]
told["leader"] = client.status.leader() != ""

# A read that waits is answered by the change.
threading.Timer(0.2, lambda: consul.Consul(host="127.0.0.1", port=api).agent.check.ttl_fail("service:py-1")).start()
later, entries = client.health.service("py", passing=True, index=index, wait="30s")
told["woken"] = [int(later) > int(index), len(entries)]
client.agent.service.maintenance("py-1", "true", "repair")
told["critical"] = len([c for c in client.health.state("critical")[1] if c["ServiceID"] == "py-1"])
client.agent.service.maintenance("py-1", "false")
assert client.kv.put("color", "green", cas=0) and not client.kv.put("color", "red", cas=0)
told["kv"] = client.kv.get("color")[1]["Value"].decode()
told["fired"] = client.event.fire("deploy", "now")["Name"]
# One of the two decodes payloads itself.
payloads = [event["Payload"] for event in client.event.list("deploy")[1]]
told["events"] = [(base64.b64decode(one) if isinstance(one, str) else one).decode() for one in payloads]
assert client.agent.service.deregister("py-1")
told["gone"] = len(client.catalog.service("py")[1])
print(json.dumps(told))
