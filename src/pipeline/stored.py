"""A fitted estimator as skops stores it, and back: skops makes objects of the types that it holds and runs nothing."""

from collections.abc import Sequence
from typing import Any

# Whose types an estimator may hold. `model`: src/model.
OWN, LIBRARIES = ("model", "pipeline"), ("sklearn", "numpy", "scipy", "pandas")
TRUSTED = (*OWN, *LIBRARIES, "lightgbm", "xgboost", "catboost", "imblearn")
HARMLESS = {"functools.partial"}  # the function that it is of is looked at by itself


class StoredError(ValueError):
    """An estimator cannot be loaded; the message says why and what to do."""


def load(data: bytes, trusted: Sequence[str] = ()) -> Any:
    """The estimator of `skops.io.dumps`. `trusted`: packages besides TRUSTED. Raises StoredError."""
    import skops.io  # noqa: PLC0415  an image that serves ONNX does not hold it

    packages = (*TRUSTED, *trusted)
    prefixes = tuple(f"{package}." for package in packages)
    types = skops.io.get_untrusted_types(data=data)
    if foreign := sorted(each for each in types if not each.startswith(prefixes) and each not in HARMLESS):
        raise StoredError(
            f"it holds {', '.join(foreign[:5])}, and only types of these packages are loaded: "
            f"{', '.join(packages)}; `trusted` under [training] in pipeline.toml may name more"
        )
    try:
        return skops.io.loads(data, trusted=types)
    except Exception as error:  # of skops, and of whatever the estimator is made of
        why = " ".join(str(error).split())[:300]
        raise StoredError(
            f"it cannot be loaded ({type(error).__name__}: {why}); what it holds has to be defined at the top level of "
            "a module, with def or class"
        ) from error
