from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from foresight.errors import UserError
from foresight.forecast import verify
from foresight.report.card import WATTS_PER_CORE
from foresight.report.page import write_page
from foresight.runs import Run, read_json

TABLE = "Registered forecasts"


def minus(text: str) -> str:
    return text.replace("-", "\u2212")


def test_the_headline_has_the_numbers_of_the_files(built: Any, page: Any) -> None:
    record = read_json(next((built.directory / "registrations").glob("0001-*.json")))
    forecast, score = record["forecast"], verify(built.directory).scores[0]
    low, high = forecast["intervals"]["95"]
    tone, text = page.paragraphs[2]
    assert tone == "good"
    assert f"{forecast['point']:.3f} bits per byte [{low:.3f}, {high:.3f}]" in text
    assert f"observed {score.observed:.3f}" in text and "inside the 95 % interval" in text
    assert minus(f"error {score.error_percent:+.2f} %") in text
    assert page.paragraphs[1][1].startswith("1 of 1 trained target came out inside")
    assert "1 registered target not trained" in page.paragraphs[1][1]


def test_the_table_of_forecasts(built: Any, page: Any) -> None:
    paths = sorted((built.directory / "registrations").glob("*.json"))
    records = [read_json(path) for path in paths]
    points = [f"{record['forecast']['point']:.3f}" for record in records]
    assert page.row(TABLE, "point") == points
    for level in ("50", "80", "95"):
        pairs = [record["forecast"]["intervals"][level] for record in records]
        expected = [f"[{low:.3f}, {high:.3f}]" for low, high in pairs]
        assert page.row(TABLE, f"{level} % interval") == expected
    assert page.row(TABLE, "status") == ["trained", "not trained"]
    assert page.row(TABLE, "inside 95 %")[0] == "yes"
    assert page.row(TABLE, "observed")[1] == "\u2013"
    assert page.row(TABLE, "registration SHA-256") == [r["sha256"][:12] for r in records]
    assert page.row(TABLE, "target started at")[1] == "not started"


def test_an_outcome_outside_its_interval_is_the_first_thing_said(world: Any) -> None:
    world.target(factor=1.3)
    page = world.page()
    tone, text = page.paragraphs[1]
    assert tone == "bad" and text.startswith("Forecast falsified: 1 of 1 trained target")
    assert "outside the 95 % interval" in page.paragraphs[2][1]
    assert page.row(TABLE, "inside 95 %") == ["no", "\u2013"]
    assert [row[0] for row in page.tables["Failed checks"][1:]] == ["forecast"]


def test_an_edited_registration_is_the_first_thing_said(world: Any) -> None:
    name = next((world.directory / "registrations").glob("0001-*.json")).name
    world.edit(f"registrations/{name}", metric="losses/mix")
    page = world.page()
    assert page.paragraphs[1][0] == "bad"
    assert "Verification does not hold" in page.paragraphs[1][1]
    assert name in str(page.tables["Failed checks"])


def test_one_file_without_addresses_or_scripts(page: Any) -> None:
    assert "script" not in page.tags and "link" not in page.tags and "img" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    references = [v for _, name, v in page.attributes if name in ("href", "src", "xlink:href")]
    assert references and all(reference.startswith("#") for reference in references)
    # The hostile recipe and question family name an address; nothing else does.
    visible = page.html.replace("http://evil.example/", "")
    assert not re.findall(r"(?:https?:)?//[a-z]|@import|url\((?!#)", visible)


def test_every_figure_is_inline_and_described(page: Any) -> None:
    assert page.tags.count("svg") == 7
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    pointed = {v[1:] for _, name, v in page.attributes if name == "href"}
    pointed |= set(re.findall(r"url\(#([^)]+)\)", page.html))
    for _, name, value in page.attributes:
        if name in ("aria-labelledby", "aria-describedby"):
            pointed |= set(value.split())
    assert pointed <= set(ids)
    assert page.tags.count("desc") == 7
    assert "var(--fit)" in page.html and "#1d5bb8;" in page.html
    assert not re.search(r"(?:fill|stroke): #(?:1d5bb8|1f2430|586172)", page.html)


def test_tables_have_scopes(page: Any) -> None:
    scopes = [value for tag, name, value in page.attributes if tag == "th" and name == "scope"]
    assert len(scopes) == page.tags.count("th") and set(scopes) == {"col", "row"}


def test_hostile_text_is_escaped(page: Any) -> None:
    assert "&lt;script&gt;" in page.html and "<script" not in page.html
    assert "alert(" in page.text


def test_losses_and_back_test_are_those_of_the_runs(built: Any, page: Any) -> None:
    results = [Run(path).result() for path in (built.directory / "ladder").glob("c1.0e+10-*")]
    mean = sum(result["bits_per_byte"]["code"] for result in results) / len(results)
    cells = page.row("Held-out loss per source, mean over seeds", "rung\u00a0c1.0e+10")
    assert cells[-1] == f"{mean:.4f}" and cells[1] == "2"
    rows = built.experiment.fit().backtest_rows()
    shown = [row[3:5] for row in page.tables["Back-test"][1:]]
    assert shown == [[f"{r['predicted']:.3f}", f"{r['observed']:.3f}"] for r in rows]


def test_transfer_and_pictures(page: Any) -> None:
    text = page.text
    assert "from width 32 to 128 the optimum moves by +0.10 octaves, within half an octave" in text
    assert minus("by -3.00 octaves, beyond half an octave (at least") in text
    assert "71.5 % of 600 questions" in text and "26.5 % with it removed" in text
    assert page.row("Held-out picture questions, 95 % Wilson intervals", "all")[1:3] == [
        "71.5 % [65.0 %, 75.0 %]",
        "26.5 % [22.0 %, 31.0 %]",
    ]


def test_the_card_discloses(built: Any, page: Any) -> None:
    run = built.experiment.targets[0]
    manifest = run.manifest()
    caption = f"Target {run.path.name}"
    spec = built.recipe.at(built.recipe.ladder.targets[0])
    parameters = page.row(caption, "parameters")[0]
    assert f"{spec.shape.params:,}" in parameters and f"{spec.shape.active_params:,}" in parameters
    assert page.row(caption, "hash of spec") == [manifest["hashes"]["spec"][:12]]
    assert page.row("Runs", f"targets/{run.path.name}")[0] == manifest["hashes"]["spec"]
    hours = 36 * 2 / 3600
    energy = page.row(caption, "energy")[0]
    assert energy.startswith(f"about {WATTS_PER_CORE * hours:.3f} Wh") and "estimate" in energy
    assert page.row("Run specifications (seeds apart)", "matrix_lr")[-2] == f"{spec.matrix_lr:.6g}"
    assert page.row("Data", "code, train")[:3] == ["1,234", "5,678", "2,345"]
    assert "3 (train near validation)" in page.text and "999 bytes" in page.text
    assert page.row("Wall time of the whole experiment", "all") == ["91.5 s"]


def test_words_about_the_law_follow_the_numbers(page: Any, world: Any) -> None:
    assert "it flattens, as a power law with a floor does" in page.text
    # Seeds of the two largest rungs now learn far more than the law: the slope rises.
    for path in (world.directory / "ladder").glob("c1.0e+12-*"):
        result = Run(path).result()
        value = {"code": result["bits_per_byte"]["code"] * 0.8}
        world.edit(f"ladder/{path.name}/result.json", bits_per_byte=value)
    text = world.page().text
    assert "as a power law with a floor does" not in text
    assert "On the way it rises by more than seed noise" in text


def test_same_files_same_bytes_wherever_they_are(built: Any, world: Any) -> None:
    for name in ("index.html", "figure1.svg", "figure1.png"):
        write_page(world.directory)
        first = (write_page(built.directory).parent / name).read_bytes()
        assert (world.directory / "report" / name).read_bytes() == first


def test_figure_one_as_files(built: Any) -> None:
    folder = write_page(built.directory).parent
    ElementTree.parse(folder / "figure1.svg")
    assert (folder / "figure1.png").read_bytes().startswith(b"\x89PNG")


def test_a_recipe_alone_gives_a_page(bare: Any) -> None:
    page = bare.page()
    assert "No forecast is registered" in page.paragraphs[1][1]
    for sentence in (
        "No run of the ladder is finished",
        "Too few rungs for a back-test",
        "at least two finished rungs",
        "No registered target has been trained",
        "No learning-rate sweep",
        "No picture questions",
        "No corpus manifest",
    ):
        assert sentence in page.text


def test_part_of_a_ladder_gives_a_page(world: Any) -> None:
    shutil.rmtree(world.directory / "targets")
    shutil.rmtree(world.directory / "registrations")
    for path in sorted((world.directory / "ladder").iterdir())[4:]:
        shutil.rmtree(path)
    page = world.page()
    assert "Too few eligible rungs" in page.text and page.tags.count("svg") >= 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("transfer.json", "{"),
        ("transfer.json", '{"steps": 1}'),
        ("pictures.json", '{"run": "x", "seen": [], "removed": []}'),
        ("pictures.json", "[1]"),
        ("seconds.json", '{"ladder": "long"}'),
        ("registrations/0001-c1.0e13.json", '{"name": 3}'),
        ("registrations/chain.jsonl", "x\n"),
        ("targets/c1.0e+13/result.json", '{"compute_flops": "much"}'),
        ("targets/c1.0e+13/metrics.jsonl", '{"step": 1, "loss": "x"}\n'),
        ("targets/c1.0e+13/run.json", '{"spec": {"seed": "x"}}'),
        ("ladder/c1.0e+10-s1/result.json", '{"compute_flops": 1e10}'),
        ("ladder/c1.0e+10-s1/run.json", "{"),
        ("corpus/manifest.json", '{"sources": 3, "files": 4, "deduplication": []}'),
    ],
)
def test_broken_files_are_sentences_not_crashes(world: Any, name: str, content: str) -> None:
    path = world.directory / name
    assert path.exists()
    path.write_text(content)
    page = world.page()
    assert page.paragraphs[1][1]


def test_no_experiment_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no experiment here"):
        write_page(tmp_path)
