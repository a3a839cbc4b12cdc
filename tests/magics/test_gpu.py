"""`--gpu`: a cell runs where one card is the only one. The driver's tool is a stand-in; no card is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError

from snakepit_nb import registry
from snakepit_nb.magics import graphics
from snakepit_nb.magics.cell import run_cell
from snakepit_nb.magics.line import run_line

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

SEEN = "import os\nos.environ.get('CUDA_VISIBLE_DEVICES')"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A driver that tells of two cards."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nfor n in 1 2; do echo 'Card, 81559, 80000, 550.1'; done\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(graphics, "_known", [])
    return tool


@pytest.mark.usefixtures("cards")
def test_a_cell_sees_the_card_that_its_line_names_and_the_first_without_a_name(
    shell: InteractiveShell,
) -> None:
    assert run_cell(shell, "--gpu", SEEN) == "0"
    assert run_cell(shell, "--gpu 1", SEEN) == "1"
    assert {pool.name: pool.gpu for pool in registry.pools()} == {"gpu0": 0, "gpu1": 1}


@pytest.mark.usefixtures("cards")
def test_a_pool_of_several_workers_for_a_card_is_started_by_name(shell: InteractiveShell) -> None:
    run_line(shell, "start train -w 2 --gpu 1")
    assert run_cell(shell, "train --gpu 1", SEEN) == "1"
    assert run_cell(shell, "train", SEEN) == "1"
    with pytest.raises(UsageError, match="pool 'train' sees card 1 alone"):
        run_cell(shell, "train --gpu 0", SEEN)


@pytest.mark.usefixtures("cards")
def test_a_card_that_is_not_here_is_refused_and_starts_nothing(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--gpu 2: NVIDIA's driver tells of 2 cards here, counted from 0"):
        run_cell(shell, "--gpu 2", SEEN)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UsageError, match="lets this notebook see 1"):
        run_cell(shell, "--gpu 1", SEEN)
    assert registry.pools() == []


def test_without_a_driver_it_says_so(shell: InteractiveShell, cards: Path) -> None:
    cards.write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(UsageError, match="tells of no cards here, counted from 0; %snakepit doctor"):
        run_cell(shell, "--gpu", SEEN)


def test_a_real_card_computes_what_the_cell_says(shell: InteractiveShell) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no card that torch can use is here")
    body = "import torch\ntorch.cuda.device_count(), torch.ones(3, device='cuda').sum().item()"
    assert run_cell(shell, "--gpu", body) == (1, 3.0)
