"""What pipeline.toml may say: every key, its default and its bounds.

Training, the service and the load test share this schema. Each description is a row of docs/settings.md.
"""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

Task = Literal["classification", "regression"]
Kind = Literal["number", "text", "boolean", "date"]  # of a column of the file

# For each metric of the quality gate: is more better?
METRICS: dict[Task, dict[str, bool]] = {
    "classification": {"roc_auc": True, "average_precision": True, "log_loss": False, "brier": False},
    "regression": {"r2": True, "mae": False, "rmse": False},
}
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]  # finite: msgspec takes no infinite bound
Positive = Annotated[float, Meta(gt=0, le=1e300)]
NotNegative = Annotated[float, Meta(ge=0, le=1e300)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(gt=0)]


class Project(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
            max_length=60,
            description="Name of the model, of the image and of the reports: lower-case letters, digits, hyphens",
        ),
    ]
    description: Annotated[str, Meta(description="One line, for the label of the image")] = ""


class Data(Struct, frozen=True, forbid_unknown_fields=True):
    task: Annotated[Task, Meta(description="What the model predicts: a class or a number")]
    target: Annotated[str, Meta(description="The column that is predicted. Rows in which it is missing are left out")]
    path: Annotated[
        str,
        Meta(
            description="A file, a folder or a pattern such as `data/2024-*.parquet`: CSV with a header, or Parquet. "
            "Here, or at `s3://`, `gs://`, `az://` or `https://`"
        ),
    ] = ""
    sql: Annotated[
        str, Meta(description="In place of a path: what a database is asked, which `DATABASE_URL` names")
    ] = ""
    encoding: Annotated[str, Meta(description="Of CSV: how its letters are written, such as `cp1252` or `utf-16`")] = (
        "utf-8"
    )
    numeric: Annotated[list[str], Meta(description="Columns of numbers that the service is sent")] = field(
        default_factory=list
    )
    text: Annotated[list[str], Meta(description="Columns of texts that the service is sent")] = field(
        default_factory=list
    )
    boolean: Annotated[
        list[str], Meta(description="Likewise, of true and false, yes and no, 0 and 1. `derive` gets a bool")
    ] = field(default_factory=list)
    date: Annotated[
        list[str], Meta(description="Likewise, of dates or times in ISO 8601. `derive` gets a datetime, in UTC")
    ] = field(default_factory=list)
    date_formats: Annotated[
        dict[str, str],
        Meta(description='Of dates that are written otherwise, as Python\'s strptime has it: `{ born = "%d/%m/%Y" }`'),
    ] = field(default_factory=dict)
    missing: Annotated[
        list[str], Meta(description='Words that stand for a missing value, beside the empty cell: `["NA", "?"]`')
    ] = field(default_factory=list)
    missing_in: Annotated[dict[str, list[str]], Meta(description='Likewise, in one column: `{ age = ["-1"] }`')] = (
        field(default_factory=dict)
    )
    positive: Annotated[
        str,
        Meta(
            description="Of two classes, the one that you look for: average_precision is about it. Default: the rarest"
        ),
    ] = ""
    classes: Annotated[
        list[str], Meta(description="The classes that are learned. Rows of others are left out. Default: all")
    ] = field(default_factory=list)
    group: Annotated[
        str,
        Meta(description="A column, such as of customers: rows of one are held out together, or learned from together"),
    ] = ""
    time: Annotated[
        str, Meta(description="A column of dates or numbers: the newest rows are held out. Default: a hash decides")
    ] = ""
    licence: Annotated[str, Meta(description="Of the data, for the model card: such as `CC BY 4.0`")] = ""
    separator: Annotated[str, Meta(min_length=1, max_length=1, description="What stands between two cells")] = ","
    decimal: Annotated[Literal[".", ","], Meta(description="The point of the file's numbers")] = "."
    thousands: Annotated[
        Literal["", ".", ",", "'", " "], Meta(description="What parts their thousands, as the comma in 1,234.50")
    ] = ""

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column holds that the service is sent."""
        of: dict[Kind, list[str]] = {"number": self.numeric, "text": self.text}
        of |= {"boolean": self.boolean, "date": self.date}
        return {name: kind for kind, names in of.items() for name in names}

    @property
    def columns(self) -> dict[str, Kind]:
        """Likewise, and the target."""
        return self.kinds | {self.target: "number" if self.task == "regression" else "text"}

    def missing_words(self, column: str) -> set[str]:
        """What stands for a missing value in a column."""
        return {"", *self.missing, *self.missing_in.get(column, ())}

    def __post_init__(self) -> None:
        # The same letters may be one code point or two (NFC, NFD), which people cannot see.
        for key in ("target", "numeric", "text", "boolean", "date", "date_formats", "missing_in", "group", "time"):
            force_setattr(self, key, _composed(getattr(self, key)))
        names = [*self.numeric, *self.text, *self.boolean, *self.date, self.target]
        if bool(self.path) == bool(self.sql):
            raise ValueError(
                f"{'path and sql are both given: one says where the data is' if self.path else 'path is missing'}"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named more than once among the columns and target")
        if len(names) == 1:
            raise ValueError("numeric, text, boolean and date are all empty: the model needs at least one column")
        for key in ("group", "time"):
            if getattr(self, key) == self.target:
                raise ValueError(f"{key} is the target, which is not known of a new row")
        for key, known in (("date_formats", [*self.date, self.time]), ("missing_in", names)):
            if other := [name for name in getattr(self, key) if name not in known]:
                raise ValueError(
                    f"{key}: {other[0]!r} is none of the columns{' of dates' if key == 'date_formats' else ''}"
                )
        self._check_writing()

    def _check_writing(self) -> None:
        """How the file is written. Raises ValueError."""
        try:
            "".encode(self.encoding)  # which those of bytes refuse, such as hex
        except (LookupError, UnicodeError):
            raise ValueError(f"encoding: there is none called {self.encoding!r}") from None
        if self.separator in '\r\n"':
            raise ValueError(f"separator: {self.separator!r} ends a line or a text")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}: which one is meant, nobody can tell")
        for name, form in self.date_formats.items():
            try:
                datetime.strptime(datetime(2024, 1, 31).strftime(form), form)
            except ValueError:
                raise ValueError(f"date_formats: {form!r} of {name} is no format of Python's strptime") from None


def _composed(names: Any) -> Any:
    """Names, or what has names as keys, with each letter as one code point where there is one."""
    if isinstance(names, str):
        return unicodedata.normalize("NFC", names)
    if isinstance(names, dict):
        return {_composed(name): value for name, value in names.items()}
    return [_composed(name) for name in names]


class Training(Struct, frozen=True, forbid_unknown_fields=True):
    seed: Annotated[int, Meta(description="The seed of the model")] = 7
    holdout: Annotated[
        float,
        Meta(
            gt=0,
            lt=1,
            description="Share of the rows that the model never sees. A hash of the row decides, so new rows move none",
        ),
    ] = 0.2
    backend: Annotated[
        Literal["local", "dask"],
        Meta(
            description="Where make tune computes: on this machine, or on a cluster of Dask that runs already, at "
            "DASK_SCHEDULER_ADDRESS"
        ),
    ] = "local"
    trusted: Annotated[
        list[str],
        Meta(
            description="Packages whose types a fitted model may hold. Always allowed: scikit-learn, NumPy, SciPy, "
            "pandas, LightGBM, XGBoost, CatBoost, imbalanced-learn and src/model"
        ),
    ] = field(default_factory=list)


class Quality(Struct, frozen=True, forbid_unknown_fields=True):
    metric: Annotated[
        str,
        Meta(
            description="What is judged. Classification: roc_auc, average_precision, log_loss, brier. "
            "Regression: r2, mae, rmse"
        ),
    ]
    floor: Annotated[
        Number, Meta(description="The worst value that passes: a floor, or a ceiling where less is better")
    ]
    tolerance: Annotated[
        NotNegative,
        Meta(description="A loss against the champion that is caught. What is surely less passes. 0: any that is sure"),
    ] = 0.0
    slices: Annotated[
        list[str],
        Meta(
            description="Columns by which the report parts the held-out rows, or functions of src/model/data.py that "
            "make a text of a record"
        ),
    ] = field(default_factory=list)
    slice_tolerance: Annotated[
        NotNegative | None, Meta(description="A slice that has surely lost more fails the model. Default: none does")
    ] = None
    unsure: Annotated[
        Literal["pass", "stop"],
        Meta(description="What to do where the held-out rows are too few to tell: pass with a warning, or stop"),
    ] = "pass"


class Retraining(Struct, frozen=True, forbid_unknown_fields=True):
    promote: Annotated[
        bool, Meta(description="Promote a model of the weekly retraining that passes. false: a person starts Pipeline")
    ] = True


class Serving(Struct, frozen=True, forbid_unknown_fields=True):
    unknown_fields: Annotated[
        Literal["reject", "ignore"],
        Meta(description="What to do with a field that the model does not have. /invocations always ignores it"),
    ] = "reject"
    max_rows: Annotated[Count, Meta(description="Rows in one request, at most")] = 1000
    max_body_bytes: Annotated[
        Count, Meta(description="Bytes in one request, at most. One worker holds 32 times as much, then answers 503")
    ] = 1_000_000
    body_seconds: Annotated[Positive, Meta(description="Seconds that the body of a request may take to arrive")] = 10.0
    head_seconds: Annotated[
        Positive, Meta(description="Seconds that the head of a request may take to arrive, on a new connection as well")
    ] = 10.0
    access_log: Annotated[
        Literal["off", "errors", "all"],
        Meta(description="Which requests are a line of JSON on stdout. errors: those that were refused or failed"),
    ] = "errors"
    cors_origins: Annotated[
        list[str],
        Meta(description="Origins whose pages may call the service from a browser, such as https://app.example.org"),
    ] = field(default_factory=list)
    gaps: Annotated[
        Literal["answer", "as-trained"],
        Meta(
            description="What to do with a missing value where training saw none. answer: what the model can, it "
            "answers; as-trained: refuse it"
        ),
    ] = "answer"
    page: Annotated[bool, Meta(description="Serve the page with a form and every request, at / and /docs")] = True


class Load(Struct, frozen=True, forbid_unknown_fields=True):
    users: Annotated[Count, Meta(description="Senders that take turns")] = 2
    max_rate: Annotated[
        Positive,
        Meta(description="Requests a second to each version, at most. Fewer where the slower cannot do twice that"),
    ] = 200.0


Rounds = Annotated[
    list[Count],
    Meta(min_length=1, description="Numbers of rounds after which the gate may decide. The last is the longest run"),
]


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    decide_after: Rounds = field(default_factory=lambda: [6, 10, 16, 24, 40])
    round_seconds: Annotated[
        Positive, Meta(description="Length of a round. Slow services get longer ones: 50 requests at least")
    ] = 2.0
    warmup_seconds: Annotated[NotNegative, Meta(description="Seconds of load after each start that do not count")] = 0.5

    def __post_init__(self) -> None:
        if self.decide_after != sorted(set(self.decide_after)):
            raise ValueError("decide_after must be ascending numbers of rounds, such as [5, 8, 12]")


class Quick(Profile, frozen=True):
    decide_after: Rounds = field(default_factory=lambda: [6, 10, 16])


class Thorough(Profile, frozen=True):
    decide_after: Rounds = field(default_factory=lambda: [40, 80, 120, 160])


class Profiles(Struct, frozen=True, forbid_unknown_fields=True):
    quick: Quick = Quick()
    standard: Profile = Profile()
    thorough: Thorough = Thorough()


class Perf(Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of the load test. None: switched off, by false."""

    p95_ms: Annotated[
        Positive | None,
        Meta(description="Milliseconds that p95 of POST /predict with one record may reach, from when it was due"),
    ] = 100.0
    max_regression: Annotated[
        Positive | None, Meta(description="The slow-down of p95 against the champion that is caught: 0.10 is 10 %")
    ] = 0.10
    profile: Annotated[
        Literal["quick", "standard", "thorough"], Meta(description="How long to measure before it cannot be told")
    ] = "standard"
    max_error_rate: Annotated[Share | None, Meta(description="Share of the requests that may fail")] = 0.001
    min_throughput: Annotated[
        Share | None, Meta(description="Share of the intended requests that have to be answered in time")
    ] = 0.95
    max_ready_seconds: Annotated[
        Positive | None, Meta(description="Seconds from the start of the service to the first 200 of /readyz")
    ] = 10.0
    max_memory_mb: Annotated[Positive | None, Meta(description="Memory of all its processes")] = 2000.0
    max_image_mb: Annotated[Positive | None, Meta(description="Size of the image with its base")] = 2000.0
    min_requests: Annotated[Count, Meta(description="Requests to the candidate without which nothing is decided")] = (
        1000
    )
    load: Load = Load()
    profiles: Profiles = Profiles()

    @property
    def length(self) -> Profile:
        """How long is measured, by the profile that is set."""
        chosen: Profile = getattr(self.profiles, self.profile)
        return chosen


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All of pipeline.toml."""

    project: Project
    data: Data
    quality: Quality
    training: Training = Training()
    retraining: Retraining = Retraining()
    serving: Serving = Serving()
    perf: Perf = Perf()

    def __post_init__(self) -> None:
        known = METRICS[self.data.task]
        if self.quality.metric not in known:
            raise ValueError(f"quality.metric is {self.quality.metric!r}; for {self.data.task}: {', '.join(known)}")
