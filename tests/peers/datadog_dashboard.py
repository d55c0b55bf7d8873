"""Says what Datadog's own client does not know of a dashboard: datadog_dashboard.py FILE"""

import json
import sys

from datadog_api_client import Configuration
from datadog_api_client.model_utils import ModelNormal, UnparsedObject, validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard

faults = []
widgets = 0


def look(value, place):
    """Walks through what the client made of it: what it could not read it keeps as it came."""
    global widgets
    if isinstance(value, UnparsedObject):
        faults.append(f"{place}: {json.dumps(value._data_store, default=str)[:300]}")
        return
    if isinstance(value, ModelNormal):
        if getattr(value, "_unparsed", False):
            faults.append(f"{place}: {type(value).__name__} is not known")
        unknown = set(value._data_store) - set(value.openapi_types)
        if unknown:
            faults.append(f"{place}: {type(value).__name__} has no {sorted(unknown)}")
        widgets += type(value).__name__.endswith("WidgetDefinition")
        for key, inner in value._data_store.items():
            look(inner, f"{place}.{key}")
    elif hasattr(value, "_composed_instances"):
        for inner in value._composed_instances:
            look(inner, place)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            look(inner, f"{place}[{i}]")


with open(sys.argv[1]) as file:
    data = json.load(file)
configuration = Configuration()
configuration.discard_unknown_keys = False
whole = validate_and_convert_types(data, (Dashboard,), ["dashboard"], True, True, configuration)
look(whole, "dashboard")
for fault in faults:
    print(fault)
print(f"{widgets} widgets, {len(faults)} faults")
