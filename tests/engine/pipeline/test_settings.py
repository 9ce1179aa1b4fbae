"""pipeline.settings."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.settings import SettingsError, load_settings
from tests.engine.conftest import ROOT

SAMPLE = """
[project]
name = "sample"
[data]
path = "data.csv"
task = "classification"
target = "outcome"
numeric = ["x"]
text = ["city"]
[training]
holdout = 0.2
[quality]
metric = "roc_auc"
floor = 0.5
[serving]
unknown_fields = "reject"
[perf]
p95_ms = 100
[perf.profiles.standard]
decide_after = [5, 8, 12]
"""


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.toml").write_text(SAMPLE)
    return tmp_path


def test_the_project_itself_is_set_up_rightly() -> None:
    """pipeline.toml as it stands."""
    load_settings(ROOT)


def edit(root: Path, old: str, new: str) -> None:
    path = root / "pipeline.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_environment_beats_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLOPS_<SECTION>__<KEY>, at any depth, lists as JSON."""
    monkeypatch.setenv("MLOPS_PERF__P95_MS", "42.5")
    monkeypatch.setenv("MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER", "[2, 4]")
    settings = load_settings(root)
    assert settings.perf.p95_ms == 42.5
    assert settings.perf.length.decide_after == [2, 4]


def keys_of(section: msgspec.Struct, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each key with its value."""
    for name in section.__struct_fields__:
        value = getattr(section, name)
        yield from keys_of(value, (*path, name)) if isinstance(value, msgspec.Struct) else [((*path, name), value)]


def test_each_key_can_be_set_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable changes one key, and the others of its section keep what they are."""
    settings = load_settings(root)
    for path, value in keys_of(settings):
        text = (
            "false" if value is None else str(value) if isinstance(value, Path) else msgspec.json.encode(value).decode()
        )
        monkeypatch.setenv("MLOPS_" + "__".join(path).upper(), text.strip('"'))
        assert load_settings(root) == settings, path
        monkeypatch.undo()


@pytest.mark.parametrize("key", ["p95_ms", "max_regression", "max_error_rate", "min_throughput", "max_memory_mb"])
def test_false_switches_a_limit_off(root: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """In the file and in the environment; 0 stays the number that it is."""
    monkeypatch.setenv(f"MLOPS_PERF__{key.upper()}", "false")
    assert getattr(load_settings(root).perf, key) is None
    monkeypatch.undo()
    edit(root, "p95_ms = 100", f"{key} = false")
    assert getattr(load_settings(root).perf, key) is None
    edit(root, f"{key} = false", f"{key} = 0")
    if key.endswith(("rate", "throughput")):
        assert getattr(load_settings(root).perf, key) == 0
    else:
        with pytest.raises(SettingsError, match=key):
            load_settings(root)


def test_the_profile_is_the_one_that_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLOPS_PERF__PROFILE chooses among the three."""
    monkeypatch.setenv("MLOPS_PERF__PROFILE", "quick")
    assert load_settings(root).perf.length.decide_after == [6, 10, 16]
    monkeypatch.setenv("MLOPS_PERF__PROFILE", "slow")
    with pytest.raises(SettingsError, match="profile"):
        load_settings(root)


def test_an_unrelated_variable_is_no_setting(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLOPS_FAULT_BURN_MS and the like belong to the service."""
    monkeypatch.setenv("MLOPS_FAULT_BURN_MS", "2")
    load_settings(root)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("p95_ms = 100", 'p95_ms = "fast"', "perf.p95_ms"),
        ("p95_ms = 100", "p95_ms = -1", "perf.p95_ms"),
        ("p95_ms = 100", "p95_ms = inf", "perf.p95_ms"),
        ("p95_ms = 100", "p95ms = 100", "perf.p95ms: there is no such key; did you mean p95_ms?"),
        ("p95_ms = 100", "min_requests = false", "perf.min_requests"),
        ("[perf]", "[perv]", "perv: there is no such key; did you mean perf?"),
        ('target = "outcome"', "", "data.target: is missing"),
        ('name = "sample"', 'name = "Sample"', "project.name: only lower-case letters"),
        ('path = "data.csv"', "path = 7", "data.path"),
        ("floor = 0.5", "floor = nan", "quality.floor"),
        (
            'task = "classification"',
            'task = "clustering"',
            "data.task: 'clustering' is none of: classification, regression",
        ),
        ('metric = "roc_auc"', 'metric = "r2"', "roc_auc, average_precision"),
        ('metric = "roc_auc"', 'metric = "roc_auc', "pipeline.toml"),
        ("decide_after = [5, 8, 12]", "decide_after = [8, 5]", "ascending"),
        ("holdout = 0.2", "holdout = 1.0", "training.holdout"),
        ('numeric = ["x"]', 'numeric = "x"', "data.numeric: Expected a list, got a text"),
        ('metric = "roc_auc"', "metric = 3", "quality.metric: Expected a text, got a whole number; put it in quotes"),
        ("holdout = 0.2", 'holdout = "0.2"', "training.holdout: Expected a number, got a text; take the quotes away"),
        ('["city"]', '["city", "outcome"]', "outcome"),
        ('["x"]', '["x", "city"]', "city"),
        ('["x"]', '["x"]\nencoding = "hex"', "encoding: there is none called 'hex'"),
        ('["x"]', '["x"]\nseparator = "\\n"', "separator: '\\n' ends a line"),
        ('["x"]', '["x"]\nthousands = "."', "decimal and thousands are both '.'"),
        ('["x"]', '["x"]\ndate = ["day"]\ndate_formats = {day = "%Q"}', "'%Q' of day is no format"),
        (
            'unknown_fields = "reject"',
            'unknown_fields = "drop"',
            "serving.unknown_fields: 'drop' is none of: reject, ignore",
        ),
    ],
)
def test_a_wrong_value_is_named(root: Path, old: str, new: str, expected: str) -> None:
    """The message says which key of which file is wrong."""
    edit(root, old, new)
    with pytest.raises(SettingsError, match=r"pipeline\.toml") as error:
        load_settings(root)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLOPS_PERF__P95_MS", "soon"),
        ("MLOPS_SERVING__MAX_ROWS", "0"),
        ("MLOPS_SERVING__TYPO", "1"),
        ("MLOPS_SERVER__MAX_ROWS", "1"),
        ("MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER", "[2, 4"),
    ],
)
def test_a_wrong_variable_is_named(root: Path, name: str, value: str) -> None:
    """A value that came from the environment is not blamed on the file alone."""
    with pytest.raises(SettingsError, match=name):
        load_settings(root, {name: value})


def test_outside_a_project_it_says_so(tmp_path: Path) -> None:
    """No pipeline.toml: one sentence, no traceback of a parser."""
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(tmp_path)
