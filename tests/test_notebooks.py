"""The notebooks as a reader meets them: stored clean, and executed in a real kernel from top to bottom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import nbformat
import pytest

from tests.notebooks import ROOT, Executed, executed, pictures, printed, value

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS: Final = sorted((ROOT / "notebooks").glob("*.ipynb"))
TAGS: Final = {"raises-exception"}


@pytest.fixture(scope="module")
def first_cell(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return executed("01_first_cell", tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return executed("02_zero_copy", tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return executed("03_errors", tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return executed("04_background_and_map", tmp_path_factory.mktemp("out"))


def counted(cell: Any) -> dict[str, tuple[int, float]]:
    """The table of events: how often each happened, and its megabytes."""
    (table,) = [output.data["text/markdown"] for output in cell.outputs if "data" in output]
    rows = re.findall(r"^\| snakepit\.([\w.]+) \| (\d+) \| ([\d.]*) \|$", table, re.MULTILINE)
    return {name: (int(often), float(size or 0)) for name, often, size in rows}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_clean_and_opens_with_the_usual_kernel(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])} <= TAGS


def test_a_cell_with_one_line_more_runs_in_another_process_with_the_same_result(
    first_cell: Executed,
) -> None:
    here, there = first_cell.cells["here"], first_cell.cells["there"]
    assert there.source == "%%snakepit\n" + here.source.replace("here =", "there =")
    assert re.fullmatch(r"computed in process \d+\n", printed(here))
    assert re.fullmatch(r"computed in process \d+\n", printed(there))
    assert printed(here) != printed(there)
    assert value(first_cell.cells["same"]) == "True"


def test_the_photographs_mapped_over_the_pool_are_those_computed_one_by_one(
    first_cell: Executed,
) -> None:
    assert "Wall time" in printed(first_cell.cells["one-by-one"])
    assert "Wall time" in printed(first_cell.cells["mapped"])
    assert value(first_cell.cells["all-same"]) == "True"


def test_the_pictures_are_shown(first_cell: Executed) -> None:
    for name in ("figure", "gallery"):
        (picture,) = pictures(first_cell.cells[name])
        assert picture.replace("\n", "") in first_cell.page


def test_the_crash_is_shown_as_what_it_is_and_costs_nothing_else(first_cell: Executed) -> None:
    (error,) = first_cell.cells["segfault"].outputs
    assert error.output_type == "error"
    assert error.ename == "WorkerCrashed"
    assert "SIGSEGV" in error.evalue
    assert "the pool serves on" in error.evalue
    assert value(first_cell.cells["after"]) == "'8 photographs, one mosaic of 512 by 512'"


def test_only_the_crash_fails(first_cell: Executed) -> None:
    failed = [
        cell.id
        for cell in first_cell.cells.values()
        if cell.cell_type == "code" and any(output.output_type == "error" for output in cell.outputs)
    ]
    assert failed == ["segfault"]


def test_the_events_that_the_reader_sees_add_up(first_cell: Executed) -> None:
    events = counted(first_cell.cells["table"])
    assert events["cell.start"][0] == 3
    assert events["cell.stop"][0] == 2
    assert events["cell.exception"][0] == 1
    assert events["worker.crash"] == (1, 0.0)
    # Three cells and eight photographs, each of which reached a worker once.
    assert events["request.executed"][0] == events["request.queued"][0] == 11
    assert events["worker.started"][0] >= 2
    # The photographs went to a worker and came back as mosaics of floats, 24 bytes a pixel.
    copied, shared = events["zero_copy.fallback"][1], events.get("zero_copy.export", (0, 0.0))[1]
    assert copied + shared > 30
    assert events["zero_copy.import"][1] > 30


def test_the_summary_of_the_demo_says_the_same_as_the_notebook(first_cell: Executed) -> None:
    events = counted(first_cell.cells["table"])
    started = re.search(r"^(\d+) workers started \(1 crashed\)$", first_cell.told, re.MULTILINE)
    assert started is not None
    # The replacement of the one that crashed may come after the table.
    assert int(started[1]) >= events["worker.started"][0]
    assert "11 requests executed (1 failed)" in first_cell.told


def test_the_arrays_go_and_come_and_none_of_them_is_copied(arrays: Executed) -> None:
    assert value(arrays.cells["deviations"]) == "(128, 512, 512)"
    assert value(arrays.cells["own"]) == "(numpy.ndarray, True)"
    assert value(arrays.cells["in-a-table"]) == "3"
    (table,) = [output.data["text/markdown"] for output in arrays.cells["events"].outputs]
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w*) \| \d+ \| ([\d.]+) \|$", table, re.MULTILINE)
    assert [row[:3] for row in rows] == [("export", "to_kernel", ""), ("export", "to_worker", "")]
    assert float(rows[0][3]) > 2 * 268


def test_the_notebook_s_array_changes_in_place_only_where_the_cell_asked_for_it(arrays: Executed) -> None:
    cells = arrays.cells
    assert [value(cells[name]) for name in ("unchanged", "changed")] == ["True", "0.0"]
    assert value(cells["views"]) == "(True, True)"


def test_the_reader_is_told_what_is_shared_and_how_well_this_machine_can(arrays: Executed) -> None:
    (status,) = [output.data["text/plain"] for output in arrays.cells["status"].outputs]
    assert re.search(r"[\d.]+ GB shared, 0 B copied", status)
    (doctor,) = [output.data["text/plain"] for output in arrays.cells["doctor"].outputs]
    assert "shared without a copy from 1.0 MB on" in doctor
    assert "born in shared memory, whatever library makes them" in doctor


def raised(cell: Any) -> tuple[str, str]:
    """What a cell raised: the name, and all that is shown of it."""
    (error,) = [output for output in cell.outputs if output.output_type == "error"]
    return error.ename, re.sub("\x1b\\[[0-9;]*m", "", "\n".join(error.traceback))


@pytest.mark.parametrize(
    ("cell", "name", "told"),
    [
        (
            "mismatch",
            "ValueError",
            ("---> 3 | score = x @ weights", "Array weights: numpy (14,) float64", "Try: "),
        ),
        ("misspelt", "KeyError", ("did you mean 'alcohol'?",)),
        ("features", "ValueError", ("X has 12 features", "---> 3 | model.predict(x[:, 1:])", "Try: ")),
        ("nan", "ValueError", ("Input X contains NaN", "Try: ")),
        ("too-large", "MemoryError", ("asked 253.5 TB", "Try: ")),
        ("leak", "WorkerCrashed", ("was killed because memory ran out", "the pool serves on")),
        ("gone", "WorkerCrashed", ("SIGABRT", "the pool serves on")),
    ],
)
def test_each_error_says_where_it_was_and_what_to_try(
    errors: Executed, cell: str, name: str, told: tuple[str, ...]
) -> None:
    ename, text = raised(errors.cells[cell])
    assert ename == name
    assert [each for each in told if each not in text] == []


def test_the_errors_cost_the_notebook_nothing(errors: Executed) -> None:
    assert "True (13, 14)" in printed(errors.cells["caught"])
    assert value(errors.cells["still-whole"]) == "(False, False)"
    assert value(errors.cells["served"]) == "'13 measurements of 178 wines'"
    assert value(errors.cells["record"]) == "('WorkerCrashed', 'abort', 'default')"


def test_what_was_mapped_in_the_background_and_in_place_is_there_and_right(many: Executed) -> None:
    cells = many.cells
    (bar,) = [output.data["text/plain"] for output in cells["search"].outputs]
    assert "16 items in" in bar
    assert value(cells["table"]).startswith("((16, 5), ")
    accuracy = re.fullmatch(r"'(\d+\.\d)% of 450 digits that it never saw'", value(cells["later"]))
    assert accuracy is not None
    assert float(accuracy[1]) > 95
    assert value(cells["filled"]) == "(1347, 1347)"
    assert cells["fill"].outputs == []


def test_one_failed_setting_costs_no_other(many: Executed) -> None:
    ename, text = raised(many.cells["failing"])
    assert ename == "ItemsFailed"
    assert "1 of 4 items failed: item 2 with InvalidParameterError" in text
    assert re.fullmatch(r"\[0\.\d+, 0\.\d+, 0\.\d+\]", value(many.cells["others"]))


def test_the_lines_of_jobs_are_stored_as_they_ended(many: Executed) -> None:
    (line,) = [output.data["text/plain"] for output in many.cells["train"].outputs]
    assert re.fullmatch(r"<Job 'final' done in [\d.]+ s>", line)
    (jobs,) = [output.data["text/plain"] for output in many.cells["list"].outputs]
    assert "final" in jobs


def test_the_pictures_of_the_digits_are_small(many: Executed) -> None:
    for name in ("curve", "wrong"):
        (picture,) = pictures(many.cells[name])
        assert len(picture) < 100_000
