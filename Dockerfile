# The image of one version of the model: its bundle, the code that serves it, and the few libraries that this takes.
# `make image` builds it. For another base, such as a mirror's: docker build --build-arg BASE_IMAGE=…
ARG PYTHON_VERSION=3.13
ARG BASE_IMAGE=python:${PYTHON_VERSION}-slim

FROM ${BASE_IMAGE} AS libraries
ARG REQUIREMENTS=serve
COPY requirements/${REQUIREMENTS}.txt /requirements.txt
# The libraries' own tests are a fifth of their size. Their bytecode is never checked against the source again.
RUN python -m venv --without-pip /app/.venv && \
    pip --python /app/.venv/bin/python install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
      --only-binary :all: --require-hashes -r /requirements.txt && \
    find /app/.venv -type d -name tests -prune -exec rm -rf {} + && \
    /app/.venv/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /app/.venv/lib

# MLflow's user interface, for docker-compose.yml: the stage is built there only, with REQUIREMENTS=mlflow.
FROM ${BASE_IMAGE} AS mlflow
COPY --from=libraries /app/.venv /app/.venv
ENTRYPOINT ["/app/.venv/bin/mlflow"]

FROM ${BASE_IMAGE} AS service
# ONNX Runtime would send what it does to its makers.
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app:/app/src PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 HOME=/tmp HOST=0.0.0.0 PORT=8000
WORKDIR /app
# SageMaker starts a container with the argument `serve`, and asks it on port 8080.
RUN printf '%s\n' '#!/bin/sh' 'export PORT="${SAGEMAKER_BIND_TO_PORT:-8080}"' \
      'exec gunicorn --config /app/serving/gunicorn.conf.py' > /usr/local/bin/serve && chmod 0755 /usr/local/bin/serve
# What changes least comes first. Modes are set because a checkout may be private to its owner.
COPY --from=libraries /app/.venv /app/.venv
COPY --chmod=0755 serving /app/serving
COPY --chmod=0755 src /app/src
RUN ["/app/.venv/bin/python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/app/serving", "/app/src"]
COPY --chmod=0755 pipeline.toml /app/
COPY --chmod=0755 bundle /app/bundle

USER 65532:65532
# The app answers a recorded request before it calls itself ready, so an image that cannot predict is never made.
# BuildKit traces its own steps by variables of OpenTelemetry, which the service would take for its own.
RUN ["env", "OTEL_SDK_DISABLED=true", "/app/.venv/bin/gunicorn", "--config", "/app/serving/gunicorn.conf.py", "--check-config"]

EXPOSE 8000
# Bare sockets: urllib would take three times the CPU, every 3 s, from the latency that the gate measures. The port is
# that of the service itself, which `serve` changes.
HEALTHCHECK --interval=3s --timeout=3s --start-period=30s --retries=3 CMD ["/app/.venv/bin/python", "-ISc", \
  "import socket; e = dict(v.split('=', 1) for v in open('/proc/1/environ', errors='replace').read().split('\\0') if '=' in v); s = socket.create_connection(('127.0.0.1', int(e.get('AIP_HTTP_PORT') or e['PORT'])), 2); s.sendall(b'GET /readyz HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(64))"]
# Absolute paths: some runners start a container in a working directory of their own.
CMD ["/app/.venv/bin/gunicorn", "--config", "/app/serving/gunicorn.conf.py"]
