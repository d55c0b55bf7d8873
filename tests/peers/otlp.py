"""Sends one log record, one metric and one span to each OTLP/HTTP port given, encoded by the OpenTelemetry project's
own Python messages; packed with gzip when the first argument is gzip."""

import gzip
import sys
import urllib.request

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, SPAN = bytes(range(16)), bytes(range(8))


def tagged(message):
    message.attributes.add(key="fourmi.command").value.string_value = "CreateOrder"
    return message


logs = ExportLogsServiceRequest()
record = tagged(logs.resource_logs.add().scope_logs.add().log_records.add(severity_number=9, severity_text="INFO"))
record.body.string_value = "done"
record.trace_id, record.span_id = TRACE, SPAN
record.time_unix_nano = 1_700_000_000_000_000_000

metrics = ExportMetricsServiceRequest()
metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="fourmi.commands", unit="1")
metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
tagged(metric.sum.data_points.add(as_int=3))

traces = ExportTraceServiceRequest()
span = tagged(traces.resource_spans.add().scope_spans.add().spans.add(name="CreateOrder", kind=2))
span.trace_id, span.span_id = TRACE, SPAN
span.start_time_unix_nano, span.end_time_unix_nano = 1, 2

ports = sys.argv[1:]
headers = {"Content-Type": "application/x-protobuf"}
packed = ports[0] == "gzip"
if packed:
    ports, headers["Content-Encoding"] = ports[1:], "gzip"
for port in ports:
    for name, message in (("logs", logs), ("metrics", metrics), ("traces", traces)):
        body = message.SerializeToString()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/{name}", data=gzip.compress(body) if packed else body, headers=headers
        )
        assert urllib.request.urlopen(request).status == 200
