"""Clients of others against the strict stubs: clients.py splunk|datadog PORT TOKEN. They must be understood."""

import json
import logging
import sys

kind, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]

if kind == "splunk":
    from splunk_handler import SplunkHandler

    handler = SplunkHandler(
        "127.0.0.1", port, token, "main", protocol="http", verify=False, flush_interval=5, hostname="box",
        source="shop", sourcetype="json", retry_count=0,
    )
    log = logging.getLogger("shop")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    for n in range(3):
        log.info(json.dumps({"n": n}))
    handler.shutdown()
elif kind == "datadog":
    from datadog_api_client import ApiClient, Configuration
    from datadog_api_client.v2.api.logs_api import LogsApi
    from datadog_api_client.v2.model.content_encoding import ContentEncoding
    from datadog_api_client.v2.model.http_log import HTTPLog
    from datadog_api_client.v2.model.http_log_item import HTTPLogItem

    configuration = Configuration(
        server_index=1,
        server_variables={"protocol": "http", "name": f"127.0.0.1:{port}"},
        server_operation_index={"submit_log": 1},
        server_operation_variables={"submit_log": {"protocol": "http", "name": f"127.0.0.1:{port}"}},
    )
    configuration.api_key["apiKeyAuth"] = token
    with ApiClient(configuration) as client:
        items = [HTTPLogItem(message=f"n{n}", ddsource="shop", ddtags="env:test", hostname="box") for n in range(3)]
        LogsApi(client).submit_log(body=HTTPLog(items), content_encoding=ContentEncoding.GZIP)
