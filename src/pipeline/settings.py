"""The numbers of pipeline.toml, checked, with environment variables on top."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Share = Annotated[float, Field(ge=0, le=1)]
Task = Literal["classification", "regression"]

# For each metric of the quality gate: is more better?
METRICS: dict[Task, dict[str, bool]] = {
    "classification": {"roc_auc": True, "average_precision": True, "log_loss": False, "brier": False},
    "regression": {"r2": True, "mae": False, "rmse": False},
}


class SettingsError(ValueError):
    """pipeline.toml or the environment says something that cannot be; the message names the key."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Project(Section):
    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)
    description: str = ""


class Data(Section):
    path: Path
    task: Task
    target: str
    positive: str = ""
    numeric: list[str]
    text: list[str]

    @property
    def features(self) -> list[str]:
        return [*self.numeric, *self.text]

    @model_validator(mode="after")
    def names_are_distinct(self) -> "Data":
        names = [*self.features, self.target]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named more than once among numeric, text and target")
        if not self.features:
            raise ValueError("numeric and text are both empty: the model needs at least one column")
        return self


class Training(Section):
    seed: int
    holdout: float = Field(gt=0, lt=1)


class Quality(Section):
    metric: str
    floor: float
    tolerance: float = Field(ge=0)


class Retraining(Section):
    promote: bool


class Serving(Section):
    unknown_fields: Literal["reject", "ignore"]
    max_rows: PositiveInt
    max_body_bytes: PositiveInt
    body_seconds: PositiveFloat
    head_seconds: PositiveFloat
    access_log: Literal["off", "errors", "all"]
    front: Literal["asgi", "wsgi"]
    page: bool
    trusted: list[str] = []


class Load(Section):
    users: PositiveInt
    max_rate: PositiveFloat
    workers: PositiveInt | Literal["auto"]


class Profile(Section):
    round_seconds: PositiveFloat
    warmup_seconds: float = Field(ge=0)
    looks: list[PositiveInt] = Field(min_length=1)

    @model_validator(mode="after")
    def looks_ascend(self) -> "Profile":
        if self.looks != sorted(set(self.looks)):
            raise ValueError("looks must be ascending numbers of rounds, such as [5, 8, 12]")
        return self


class Profiles(Section):
    quick: Profile
    standard: Profile
    thorough: Profile


def _off(value: Any) -> Any:
    return None if value is False or value == "false" else value


PositiveOrOff = Annotated[PositiveFloat | None, BeforeValidator(_off)]  # None: switched off, by false
ShareOrOff = Annotated[Share | None, BeforeValidator(_off)]


class Perf(Section):
    profile: Literal["quick", "standard", "thorough"]
    p95_ms: PositiveOrOff
    max_regression: PositiveOrOff
    max_error_rate: ShareOrOff
    min_throughput: ShareOrOff
    max_ready_seconds: PositiveOrOff
    max_memory_mb: PositiveOrOff
    max_image_mb: PositiveOrOff
    min_requests: PositiveInt
    capacity: bool
    load: Load
    profiles: Profiles

    @property
    def schedule(self) -> Profile:
        """How long is measured, by the profile that is set."""
        found: Profile = getattr(self.profiles, self.profile)
        return found


class Settings(BaseSettings):
    """All of pipeline.toml; `MLOPS_<SECTION>__<KEY>` in the environment beats the file."""

    model_config = SettingsConfigDict(
        env_prefix="MLOPS_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )
    project: Project
    data: Data
    training: Training
    quality: Quality
    retraining: Retraining
    serving: Serving
    perf: Perf

    @model_validator(mode="after")
    def metric_fits_the_task(self) -> "Settings":
        known = METRICS[self.data.task]
        if self.quality.metric not in known:
            raise ValueError(f"quality.metric is {self.quality.metric!r}; for {self.data.task}: {', '.join(known)}")
        return self

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (EnvSettingsSource(settings_cls), TomlConfigSettingsSource(settings_cls))


def load_settings(root: Path | None = None) -> Settings:
    """The settings of the project in `root` (default: the working directory).

    Raises SettingsError where the file is missing, is not TOML, or a key is unknown, missing or out of range.
    """
    path = (root or Path.cwd()) / "pipeline.toml"
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; run from the project's root")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return FromFile()  # type: ignore[call-arg]
    except ValidationError as error:
        raise SettingsError(f"{path}: " + "; ".join(_sentence(e) for e in error.errors())) from None
    except ValueError as error:  # not TOML, or an environment variable that is not JSON where a list is due
        raise SettingsError(f"{path}: {error}") from None


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    variable = f"MLOPS_{'__'.join(str(part) for part in error['loc'])}".upper()
    given = f" (from {variable})" if variable in os.environ else ""
    return f"{key}: {message}{given}" if key else message
