"""The count of lines agrees with pyarrow's reader, byte for byte, and numbers lines as an editor does."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pyarrow.csv
import pytest

from mftasks.errors import InvalidDataset
from mftasks.reading.files import unpacking
from mftasks.reading.kinds import lines


def count_by_pyarrow(text: bytes) -> int:
    rejected: list[object] = []

    def reject(row: object) -> str:
        rejected.append(row)
        return "skip"

    table = pa.csv.read_csv(
        io.BytesIO(text),
        pa.csv.ReadOptions(column_names=["a", "b"], use_threads=False),
        pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=reject),
    )
    return table.num_rows + len(rejected)


@pytest.mark.parametrize("chunk", [3, 7, 1 << 20])
def test_records_are_those_of_the_reader(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(lines, "CHUNK", chunk)
    chance = random.Random(chunk)
    pieces = ["a", "b,", '"', ",", "\n", '""', '"x",', "\n", "\r\n", "\r", "é", "1"]
    compared = 0
    for _ in range(1_000):
        text = "".join(chance.choices(pieces, k=chance.randint(1, 40))).encode()
        try:
            counted = lines.scan(io.BytesIO(text), b",", quoted=True).n_records
        except InvalidDataset:
            continue  # a cell that is never closed: the reader takes it silently
        if text.strip():
            assert counted == count_by_pyarrow(text), text
            compared += 1
    assert compared > 300


def test_lines_are_numbered_as_in_an_editor() -> None:
    text = b'\nname\n\na,"b\nc\n\nd"\r\ne\rf'
    counted = lines.scan(io.BytesIO(text), b",", quoted=True)
    assert counted.n_lines == 9
    assert [counted.number(record) for record in range(counted.n_records)] == [2, 4, 8, 9]
    assert (counted.n_blank, counted.n_cells) == (2, 1)


def test_chunks_are_as_large_as_those_of_unpacking() -> None:
    assert lines.CHUNK == unpacking.CHUNK
