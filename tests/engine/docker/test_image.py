"""The image, built and run for real."""

import http.client
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline import bundle as bundles
from tests.engine.conftest import ROOT, run
from tests.engine.serving.replacement import CLIENTS, replace

from .containers import BUILT_FROM, HARDENED, Container, buildable, difference_from_scikit_learn, docker, size_over_base

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]  # asked for first, before anything is trained

Start = Callable[..., Container]
PYTHON = (ROOT / ".python-version").read_text().strip()

# An estimator around the project's own that no converter knows, and that is found in src/model when it is loaded.
UNCONVERTIBLE = """

from sklearn.base import BaseEstimator  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402

_convertible = build


def _unchanged(frame):
    return frame


def build(task: str, seed: int) -> BaseEstimator:
    return Pipeline([("own", FunctionTransformer(_unchanged)), ("model", _convertible(task, seed))])
"""


def recorded(trained: Path) -> dict[str, object]:
    """One record of the bundle."""
    with (trained / "bundle" / bundles.REQUESTS).open() as file:
        record: dict[str, object] = json.loads(file.readline())
    return record


def test_it_answers_like_scikit_learn(image: str, trained: Path, start: Start) -> None:
    """Read-only and without privileges, it gets healthy and predicts what was registered, on rows it never saw."""
    container = start(image, *HARDENED)
    container.wait_until_healthy()
    assert difference_from_scikit_learn(container, trained, 200) <= 1e-6
    assert json.loads(container.request("/model")) == json.loads((trained / "bundle" / "card.json").read_text())


def test_it_runs_wherever_a_runner_puts_it(image: str, trained: Path, start: Start) -> None:
    """Nothing depends on the working directory, which some runners set to a folder of their own."""
    assert start(image, *HARDENED, "--workdir=/nowhere").predict([recorded(trained)])


def test_it_runs_as_nobody(image: str, start: Start) -> None:
    """A numeric user that is not root, as Kubernetes' runAsNonRoot wants it."""
    container = start(image)
    user, _, group = container.inspect("{{.Config.User}}").partition(":")
    assert (int(user), int(group)) > (0, 0)
    assert container.python("import os; print(os.getuid(), os.getgid())") == f"{user} {group}"


def test_it_writes_nothing(image: str, trained: Path, start: Start) -> None:
    """On a disk that it could write to as well, it leaves nothing; /dev/shm is memory."""
    container = start(image)
    container.predict([recorded(trained)])
    container.wait_until_healthy()
    changed = [line.split(" ", 1)[1] for line in docker("diff", container.id).splitlines()]
    assert [path for path in changed if not path.startswith("/tmp")] == []  # noqa: S108


@pytest.mark.parametrize(("options", "port"), [((), 8080), (("--env", "SAGEMAKER_BIND_TO_PORT=8083"), 8083)])
def test_it_is_healthy_on_the_port_of_sagemaker(image: str, options: Sequence[str], port: int) -> None:
    """`serve` listens on 8080 or where SageMaker says, and the image's own check asks there."""
    container = Container(docker("run", "--detach", *HARDENED, *options, image, "serve"), "")
    try:
        container.wait_until_healthy()
        assert f"Listening at: http://0.0.0.0:{port}" in container.log()
    finally:
        docker("rm", "--force", "--volumes", container.id)


def test_it_is_ready_in_two_seconds(image: str, start: Start) -> None:
    """From start to an answer of /readyz; the best of three, since the machine may be busy with other tests."""
    seconds = [start(image, *HARDENED, wait=False).wait_until_ready() for _ in range(3)]
    assert min(seconds) <= 2, seconds


def test_it_finishes_what_it_began(image: str, trained: Path, start: Start) -> None:
    """Stopped in the middle of a slow request, it answers it, and is gone within five seconds, with exit code 0."""
    container = start(image, *HARDENED, MLOPS_FAULT_BURN_MS="1000", WEB_CONCURRENCY="1")
    answers: list[object] = []
    request = threading.Thread(target=lambda: answers.extend(container.predict([recorded(trained)])))
    request.start()
    time.sleep(0.3)
    began = time.perf_counter()
    docker("stop", "--time=20", container.id)
    took = time.perf_counter() - began
    request.join()
    assert len(answers) == 1
    assert took < 5, took
    assert container.inspect("{{.State.ExitCode}}") == "0"


def test_it_is_replaced_without_a_failed_request(image: str, trained: Path, start: Start) -> None:
    """`docker stop` under load on kept connections."""
    old, new = start(image, *HARDENED), start(image, *HARDENED)
    body = json.dumps({"instances": [recorded(trained)]}).encode()
    ports = [int(each.url.rpartition(":")[2]) for each in (old, new)]
    assert replace(*ports, body, lambda: docker("stop", "--time=20", old.id)) == ([], CLIENTS)
    assert old.inspect("{{.State.ExitCode}}") == "0"


def test_it_survives_its_memory_limit(image: str, trained: Path, start: Start) -> None:
    """The kernel kills workers that outgrow it; each costs a request or two, and others take over at once."""
    limits = ("--memory=200m", "--memory-swap=200m")
    container = start(image, *HARDENED, *limits, MLOPS_FAULT_LEAK_KB="10000", WEB_CONCURRENCY="2")
    record, lost = recorded(trained), 0
    for _ in range(60):
        try:
            container.predict([record])
        except (OSError, http.client.HTTPException):
            lost += 1
    assert 0 < lost < 30
    assert "Perhaps out of memory?" in container.log()
    assert container.inspect("{{.State.Running}} {{.RestartCount}}") == "true 0"
    container.wait_until_healthy()


def test_it_holds_no_more_than_serving_takes(image: str, trained: Path, start: Start) -> None:
    """Nothing of training or testing, and at most 220 MB over its base image; 350 MB where scikit-learn serves."""
    most = 350e6
    unwanted = {"mlflow", "pip", "pytest", "locust", "skl2onnx", "onnx", "pydantic"}
    if bundles.read(trained / "bundle").card.runtime == "onnx":
        most = 220e6
        unwanted |= {"sklearn", "pandas", "scipy", "joblib"}
    code = f"import importlib.util as u; print([n for n in {sorted(unwanted)} if u.find_spec(n)])"
    assert start(image).python(code) == "[]"
    assert size_over_base(image, PYTHON) <= most


def test_its_labels_say_what_it_is(image: str, trained: Path) -> None:
    """Found in a registry years later, it names the model, the run and the bundle that it holds."""
    card = bundles.read(trained / "bundle").card
    found = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    expected = {
        "org.opencontainers.image.title": card.name,
        "org.opencontainers.image.version": card.version,
        "org.opencontainers.image.created": card.created,
        "mlops.model": card.name,
        "mlops.version": card.version,
        "mlops.run-id": card.run_id,
        "mlops.bundle-sha256": card.bundle_sha256,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_a_broken_one_never_leaves_the_build(image: str, trained: Path, tmp_path: Path) -> None:
    """The build itself loads the model and predicts: who bypasses `make image` gets no broken image either."""
    project = buildable(trained, tmp_path / "project")
    model = bundles.read(project / "bundle").model
    model.write_bytes(model.read_bytes()[:-100])
    requirements = "serve" if model.suffix == ".onnx" else "serve-sklearn"
    arguments = [f"--build-arg=PYTHON_VERSION={PYTHON}", f"--build-arg=REQUIREMENTS={requirements}"]
    command = ["docker", "buildx", "build", "--progress=plain", *arguments, str(project)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "differs from what its card names" in done.stderr


def test_scikit_learn_serves_what_does_not_convert(
    project: Path, make_image: Callable[[Path], str], start: Start
) -> None:
    """Such a model gets an image with scikit-learn in it, and its answers are scikit-learn's own."""
    with (project / "src" / "model" / "estimator.py").open("a") as file:
        file.write(UNCONVERTIBLE)
    done = run(project, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bundles.read(project / "bundle").card.runtime == "sklearn"
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, project / name)
    image = make_image(project)
    assert difference_from_scikit_learn(start(image, *HARDENED), project, 50) <= 1e-6
