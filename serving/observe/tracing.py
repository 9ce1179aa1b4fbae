"""A span of OpenTelemetry for each request, where the usual variables ask for it and its packages are installed.

OTEL_EXPORTER_OTLP_ENDPOINT says where spans go, OTEL_TRACES_EXPORTER=console that they are printed. The packages are
opentelemetry-sdk and, for the first, opentelemetry-exporter-otlp-proto-http. They go into the group `serve` of
pyproject.toml.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

from serving.observe.log import Ids, Log

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracer(name: str, environment: Mapping[str, str] = os.environ) -> Log | None:
    """A function that makes a span of a request; None where nobody asked. Raises ValueError where packages lack."""
    wanted = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(environment.get, ENDPOINTS)) else "none")
    if wanted == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if wanted not in ("otlp", "console"):
        raise ValueError(f"OTEL_TRACES_EXPORTER={wanted}: otlp, console or none")
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415  optional, as all here
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        exporter: SpanExporter = ConsoleSpanExporter()
        if wanted == "otlp":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

            exporter = OTLPSpanExporter()
    except ImportError as error:
        needed = "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
        where = "the group `serve` of pyproject.toml"
        raise ValueError(f"{error}: for spans, add {needed} to {where}, then `make lock`") from None
    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", name)})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    spans, context = provider.get_tracer("serving"), TraceContextTextMapPropagator()

    def trace(method: str, path: str, status: int, seconds: float, rows: int, ids: Ids) -> None:
        end = time.time_ns()
        attributes: dict[str, Any] = {"http.request.method": method, "url.path": path, "model.rows": rows}
        attributes |= {"http.response.status_code": status, "request.id": ids.request.decode("latin-1")}
        span = spans.start_span(
            f"{method} {path}",
            context.extract({"traceparent": ids.trace.decode("latin-1")}) if ids.trace else None,
            SpanKind.SERVER,
            attributes,
            start_time=end - int(1e9 * seconds),
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    return trace
