"""The model of a bundle, ready to answer: ONNX Runtime where the pipeline converted, scikit-learn where not."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from itertools import islice
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

import model
from pipeline.bundle import Bundle, BundleError, StoredError, code_digest, load_estimator, read
from pipeline.columns import MATRIX, Record, Score, arrays, derived, from_metadata, in_parts, lists, missing, packer
from serving.replies import Problem, unprocessable

Array = np.ndarray[Any, Any]
Scores = list[list[float]]  # for each row the probabilities of the classes, or a value
Predictor = Callable[[Sequence[Record]], Scores]  # raises Problem where the model has no answer
Job = tuple[Sequence[Record], Future[Scores]]  # one request's rows, and what comes of them


def check(folder: Path) -> Bundle:
    """The bundle in `folder`, if it can be served here. Raises BundleError, which says what to do.

    Loads no runtime: gunicorn's master calls this, and a runtime with threads does not survive the fork to a worker.
    """
    bundle = read(folder)
    here = Path(str(model.__file__)).parent
    if code_digest(here) != bundle.card.code_sha256:
        raise BundleError(
            f"{folder}: {bundle.card.name} version {bundle.card.version} was trained with other code than what is in "
            "src/model now; run `make train`"
        )
    library = {"onnx": "onnxruntime", "sklearn": "skops"}[bundle.card.runtime]
    if find_spec(library) is None:
        raise BundleError(f"{folder}: {library} serves this model, and it is not installed; run `make setup`")
    return bundle


def load(folder: Path, trusted: Sequence[str] = ()) -> tuple[Bundle, Predictor]:
    """The bundle in `folder` and the function from records to predictions. Raises BundleError.

    trusted: packages whose types an estimator may hold besides those that `pipeline.bundle` names.
    """
    bundle = check(folder)
    try:
        score = _onnx(bundle) if bundle.card.runtime == "onnx" else _sklearn(bundle, trusted)
    except StoredError as error:
        raise BundleError(f"{bundle.model}: {error}") from None
    except Exception as error:  # ONNX Runtime has many of its own
        why = " ".join(str(error).split())[:300]
        raise BundleError(
            f"{bundle.model}: cannot be loaded ({type(error).__name__}: {why}); run `make train`"
        ) from None
    # Where scikit-learn serves, it refuses a missing number itself.
    gapless = [each.name for each in bundle.contract.columns if not each.nullable]
    return bundle, _predictor(score, gapless if bundle.card.runtime == "onnx" else [])


def _onnx(bundle: Bundle) -> Score:
    import onnxruntime  # noqa: PLC0415  the image has one runtime or the other

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers are the parallelism; more threads collide
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
    names = [session.get_outputs()[0].name]
    if columns := from_metadata(session.get_modelmeta().custom_metadata_map):
        pack = packer(columns)
        return in_parts(lambda rows: session.run(names, {MATRIX: pack(rows)})[0], columns)
    return lambda rows: session.run(names, arrays(rows, bundle.contract.columns))[0]


def _sklearn(bundle: Bundle, trusted: Sequence[str]) -> Score:
    import pandas as pd  # noqa: PLC0415

    estimator = load_estimator(bundle.model.read_bytes(), trusted)
    answer = estimator.predict_proba if bundle.contract.task == "classification" else estimator.predict
    if type(estimator).__module__.startswith("catboost."):  # it takes lists as well, in a quarter of the time
        return lambda rows: np.asarray(answer(lists(rows, bundle.contract.columns), thread_count=1))
    # As of ONNX Runtime. LightGBM would take all CPUs for one row, whatever the environment says.
    estimator.set_params(**{name: 1 for name in estimator.get_params() if name.split("__")[-1] == "n_jobs"})

    def score(rows: Sequence[Record]) -> Array:
        columns = arrays(rows, bundle.contract.columns)
        return np.asarray(answer(pd.DataFrame({name: array[:, 0] for name, array in columns.items()})))

    return score


def _predictor(score: Score, gapless: Sequence[str]) -> Predictor:
    def answer(records: Sequence[Record]) -> Scores:
        try:
            given = derived(records)
            if gapless:
                _check_whole(given, gapless)
            rows: Scores = score(given).reshape(len(records), -1).tolist()
        except Exception as error:  # of `derive`, of a scikit-learn step or of ONNX Runtime, which all have their own
            raise _unanswerable(" ".join(str(error).split())[:300]) from error
        if not isfinite(sum(map(sum, rows))):  # of large ones, maybe, that are finite each
            for number, row in enumerate(rows):
                if not isfinite(sum(row)):
                    raise _unanswerable(f"row {number}: the model's answer is not a finite number")
        return rows

    return answer


def _check_whole(rows: Sequence[Record], gapless: Sequence[str]) -> None:
    """Raises ValueError where a number is missing that training has always seen."""
    for number, row in enumerate(rows):
        for name in gapless:
            if missing(row[name]):
                raise ValueError(f"row {number}: derive gives no {name!r}, and training saw none missing")


def _unanswerable(why: str) -> Problem:
    return unprocessable(f"the model has no answer: {why}")


def together(predict: Predictor, max_rows: int) -> Predictor:
    """A predictor for several threads, which calls `predict` in one at a time, with `max_rows` rows at most.

    A call of scikit-learn costs milliseconds, for one row as for a hundred. So whoever comes while it is busy is
    answered by the next call, with all others who came; nobody waits for others to come.

    Where one request's rows have no answer, each of those who were asked together is asked alone: an error is of one's
    own rows, by their own numbers.
    """
    waiting: deque[Job] = deque()
    busy = Lock()

    def answer(records: Sequence[Record]) -> Scores:
        future: Future[Scores] = Future()
        waiting.append((records, future))
        with busy:
            while not future.done():  # else it was answered together with another's
                _answer_all(predict, _next(waiting, max_rows))
        return future.result()

    return answer


def _next(waiting: deque[Job], max_rows: int) -> list[Job]:
    """Those who came first, as many as fit, and at least one."""
    group: list[Job] = []
    rows = 0
    while waiting and (not group or rows + len(waiting[0][0]) <= max_rows):
        group.append(waiting.popleft())
        rows += len(group[-1][0])
    return group


def _answer_all(predict: Predictor, group: list[Job]) -> None:
    """Each of them is done afterwards, whatever happens: their threads wait for it."""
    if len(group) > 1:
        # Copies: a `derive` that changes what it is given would find it changed when each is asked alone.
        with contextlib.suppress(BaseException):
            scores = iter(predict([dict(record) for records, _ in group for record in records]))
            for records, future in group:
                future.set_result(list(islice(scores, len(records))))
            return
    for records, future in group:
        try:
            future.set_result(predict(records))
        except BaseException as error:
            future.set_exception(error)
