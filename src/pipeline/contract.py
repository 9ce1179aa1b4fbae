"""The contract: what the service accepts and answers. Training writes it, serving enforces it, nothing else decides."""

from typing import Literal

import msgspec

VERSION = 1
LARGEST = 3.4028234663852886e38  # number that is taken, of either sign: of float32, which the model is fed


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of the data file as a request sends it."""

    name: str
    type: Literal["number", "text"]
    nullable: bool  # training saw a missing value here
    categories: list[str] = []  # text: the values that training saw; others are accepted, the model knows them not


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of what `model.data.derive` makes of a record: what the model itself is fed."""

    name: str
    type: Literal["number", "text"]
    nullable: bool = True  # number: the runtime's answer may be asked for where there is none


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of a record, columns of the model, and the output."""

    version: int
    task: Literal["classification", "regression"]
    fields: list[Field]
    unused: list[str]  # columns of the data file that the model does not use: accepted and ignored
    columns: list[Column]
    classes: list[str]  # classification: in the order of the model's probabilities; regression: empty


def encode(contract: Contract) -> bytes:
    """The contract as the bytes of contract.json."""
    return msgspec.json.format(msgspec.json.encode(contract), indent=2) + b"\n"


def decode(data: bytes) -> Contract:
    """The contract in the bytes of contract.json. Raises ValueError where they are not one of this version."""
    contract = msgspec.json.decode(data, type=Contract)
    if contract.version != VERSION:
        raise ValueError(f"contract version {contract.version}; this code speaks version {VERSION}")
    return contract
