"""What libraries show from a cell is what they show from a plain cell of the notebook."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kernels import CellOutcome, Notebook

PANDAS = "import pandas as pd\nframe = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\n"
PLOTLY = "import plotly.graph_objects as go\nfigure = go.Figure(go.Scatter(y=[1, 2]))\n"
ALTAIR = (
    "import altair as alt, pandas as pd\n"
    "chart = alt.Chart(pd.DataFrame({'a': [1, 2]})).mark_point().encode(x='a:Q')\n"
)
IMAGE = "from PIL import Image\nimage = Image.new('RGB', (4, 4), 'green')\n"
FIGURE = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.plot([1, 2, 3])\n"
BAR = "for _ in tqdm(range(3), desc='{}', ncols='80%'):\n    pass\n"


def shown(cell: CellOutcome) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """What a cell shows, without the numbers that are drawn anew each time."""
    found: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
    for each in cell.of("display_data", "execute_result", "update_display_data"):
        data = {mime: without_ids(value) for mime, value in each.content["data"].items()}
        found.append((each.kind, data, each.content.get("metadata", {})))
    return found


def without_ids(value: object) -> object:
    return (
        re.sub(r"[0-9a-f]{32}|T_[0-9a-f]{5}\w*| at 0x[0-9a-f]+", "ID", value)
        if isinstance(value, str)
        else value
    )


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(PANDAS + "frame", id="a frame"),
        pytest.param(PANDAS + "display(frame)", id="a frame displayed"),
        pytest.param(PANDAS + "frame.a", id="a column"),
        pytest.param(IMAGE + "image", id="an image"),
        pytest.param(IMAGE + "display(image)", id="an image displayed"),
        pytest.param(PLOTLY + "figure", id="plotly"),
        pytest.param(PLOTLY + "display(figure)", id="plotly displayed"),
        pytest.param(PLOTLY + "figure.show()", id="plotly shown"),
        pytest.param(
            "import plotly.express as px\npx.line(x=[1, 2], y=[3, 4], template='plotly_dark')",
            id="plotly express",
        ),
        pytest.param(ALTAIR + "chart", id="altair"),
        pytest.param(ALTAIR + "display(chart)", id="altair displayed"),
        pytest.param(ALTAIR + "chart.show()", id="altair shown"),
        pytest.param(FIGURE + "None", id="a figure left open"),
        pytest.param("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])", id="lines of a figure"),
        pytest.param("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);", id="a figure and nothing else"),
        pytest.param(FIGURE + "plt.show()\nprint('then')", id="a figure shown"),
        pytest.param(FIGURE + "plt.close()\ndisplay(figure)", id="a figure displayed"),
        pytest.param("from IPython.display import Markdown\nMarkdown('*a*')", id="markdown"),
        pytest.param("import polars as pl\npl.DataFrame({'a': [1, 2]})", id="polars"),
    ],
)
def test_it_is_the_same_as_from_a_plain_cell(shared: Notebook, source: str) -> None:
    here, there = shared.run(source).ok(), shared.run("%%snakepit\n" + source).ok()
    assert shown(here)
    assert shown(there) == shown(here)
    assert there.stdout == here.stdout
    assert there.stderr == ""


def test_what_plotly_and_altair_are_told_in_the_notebook_holds_in_cells(own: Notebook) -> None:
    own.run(
        "import plotly.io as pio, altair as alt\npio.renderers.default = 'json'\n"
        "pio.templates.default = 'plotly_dark'\nalt.renderers.enable('mimetype')"
    ).ok()
    (plotted,) = own.run("%%snakepit\n" + PLOTLY + "figure.show()").ok().displays
    assert set(plotted["data"]) == {"application/json"}
    paper = plotted["data"]["application/json"]["layout"]["template"]["layout"]["paper_bgcolor"]
    assert paper == "rgb(17,17,17)"
    (chart,) = own.run("%%snakepit\n" + ALTAIR + "display(chart)").ok().displays
    assert [each for each in chart["data"] if each.startswith("application/vnd.vegalite")]


def test_a_figure_that_is_the_last_value_is_shown_once(shared: Notebook) -> None:
    cell = shared.run("%%snakepit\n" + FIGURE + "figure").ok()
    assert [kind for kind, _, _ in shown(cell)] == ["execute_result"]
    assert cell.result is not None
    assert cell.result["image/png"].startswith("iVBOR")
    both = shared.run("%%snakepit\nother = plt.figure()\n" + FIGURE + "figure").ok()
    assert [kind for kind, _, _ in shown(both)] == ["execute_result", "display_data"]
    caught = shared.run("%%capture seen\n%%snakepit\n" + FIGURE + "axes").ok()
    assert caught.messages == []
    kinds = shared.run("[sorted(each.data) for each in seen.outputs]").ok().value
    assert kinds == "[['text/plain'], ['image/png', 'text/plain']]"


def test_a_figure_that_a_background_cell_ends_with_is_shown_below_it(shared: Notebook) -> None:
    cell = shared.run("%%snakepit -b -n job\n" + FIGURE + "figure").ok()
    shared.run("job.result();").ok()
    shared.wait_until(lambda: any("image/png" in each["data"] for each in cell.displays), what="the figure")


@pytest.mark.parametrize(
    "imported",
    [
        "from tqdm.notebook import tqdm",
        "from tqdm import tqdm_notebook as tqdm",
        "from tqdm.autonotebook import tqdm",
        "from tqdm.auto import tqdm",
    ],
)
def test_a_bar_of_widgets_is_drawn_with_text(shared: Notebook, imported: str) -> None:
    cell = shared.run(
        "%%snakepit\nimport warnings\nwarnings.simplefilter('ignore')\n" + imported + "\n" + BAR.format("one")
    ).ok()
    assert "one: 100%" in cell.stderr
    assert "Error" not in cell.stderr
    assert not [each for each in cell.displays if "application/vnd.jupyter.widget-view+json" in each["data"]]


def test_a_line_says_once_in_a_cell_that_a_bar_of_widgets_is_drawn_with_text(shared: Notebook) -> None:
    shared.run("from tqdm.notebook import tqdm, trange").ok()
    for _ in range(2):
        cell = shared.run(
            "%%snakepit\n" + BAR.format("one") + BAR.format("two") + "list(trange(2, display=False))"
        ).ok()
        assert cell.value == "[0, 1]"
        assert "one: 100%" in cell.stderr
        assert "two: 100%" in cell.stderr
        (line,) = cell.displays
        assert line["data"]["text/plain"].startswith("snakepit: tqdm.notebook draws with text here")


@pytest.mark.parametrize("call", ["input('name: ')", "__import__('getpass').getpass()"])
def test_a_question_is_refused_with_what_to_do_and_the_line_that_asks(shared: Notebook, call: str) -> None:
    cell = shared.run(f"%%snakepit\nx = 1\n{call}")
    assert cell.error is not None
    assert cell.error.evalue.endswith(
        "is not available in a worker; ask in an ordinary cell and use the value here"
    )
    assert re.search(r"---> 3.*\| " + re.escape(call), re.sub(r"\x1b\[[0-9;]*m", "", cell.error.text))
    assert shared.run("%%snakepit\n1").ok().value == "1"
