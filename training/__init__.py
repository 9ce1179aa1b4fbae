"""From the data file to a registered candidate and its bundle, and from a verdict to the champion."""

import os

# Read when scikit-learn is first imported. Threads that wait for each other in a busy loop made a fit of 2 s take 27 s
# on two CPUs that others used as well, as a runner's neighbours do.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The project promises to work offline and to call nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# A server that does not answer is reported in a quarter of a minute; MLflow's own count took more than two minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
