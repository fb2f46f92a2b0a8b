"""The page of a report: in one file, in a browser, by mouse, keyboard and in print; and the command that writes it."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from chromium import CHROMIUM, Page, browser
from test_report import AGAIN, FEWER, KEPT, NOISY, TRUTH, reported
from typer.testing import CliRunner

from cosdd_zoo.cli import app
from cosdd_zoo.report.report_page import report_page
from cosdd_zoo.report.reported import Report, Reported

in_a_browser = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")
PLUS, MINUS, ZERO, LEFT, RIGHT, TAB, HOME, END = 187, 189, 48, 37, 39, 9, 36, 35


@pytest.fixture(scope="module")
def found() -> Reported:
    return reported(reference=TRUTH, repeat=AGAIN, amount=FEWER)


@pytest.fixture(scope="module")
def file(found: Reported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_page(found), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium: Page, file: Path) -> Iterator[Page]:
    """The report, opened anew at 1600 px; whatever a test does, the browser has nothing to complain about."""
    chromium.errors.clear()
    chromium.open(file, 1600)
    yield chromium
    assert chromium.errors == []


def zoom(page: Page) -> float:
    return float(page.js("document.querySelector('.viewer').dataset.zoom"))


def at(page: Page) -> list[float]:
    return [float(v) for v in page.js("document.querySelector('.viewer').dataset.at").split(",")]


def middle(page: Page, key: str = "noisy") -> tuple[float, float]:
    """Of a picture, after it was scrolled into view, in px of the window."""
    box = page.js(
        f"(() => {{ const p = document.querySelector('img[data-key={key}]').closest('.pane');"
        "p.scrollIntoView({block: 'center'}); const b = p.getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    return box[0], box[1]


def transforms(page: Page) -> list[str]:
    return list(page.js("[...document.querySelectorAll('.pane img')].map(i => i.style.transform)"))


@in_a_browser
def test_all_pictures_are_drawn_and_nothing_is_asked_of_the_network(page: Page, file: Path) -> None:
    assert page.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.js("document.images.length") >= 5 + 2 + 6 + 4
    assert page.js("[...document.querySelectorAll('figure svg')].every(s => s.getBoundingClientRect().width > 100)")
    text = file.read_text(encoding="utf-8")
    outside = re.findall(r"(?:src|href|url\()=?[\"'(]?(https?://[^\"') ]+)", text)
    assert [u for u in outside if "www.w3.org" not in u] == [] and len(text) < 10_000_000


@in_a_browser
def test_a_wheel_zooms_all_pictures_to_where_the_mouse_is(page: Page) -> None:
    x, y = middle(page)
    page.mouse("mouseWheel", x + 60, y, deltaX=0, deltaY=-300)
    page.until("Number(document.querySelector('.viewer').dataset.zoom) > 1.5")
    assert len(set(transforms(page))) == 1  # those of the comparison as well
    assert at(page)[0] > 0.52 and at(page)[1] == pytest.approx(0.5, abs=0.01)
    for _ in range(40):
        page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-600)
    assert zoom(page) <= 16
    page.js("document.querySelector('button[data-zoom=reset]').click()")
    assert zoom(page) == 1 and at(page) == [0.5, 0.5]


@in_a_browser
def test_a_drag_moves_all_pictures_and_stops_at_their_borders(page: Page) -> None:
    x, y = middle(page, "denoised")
    page.js("document.querySelector('button[data-zoom=in]').click()")
    page.js("document.querySelector('button[data-zoom=in]').click()")
    page.drag((x, y), (x - 50, y + 30))
    moved = at(page)
    assert moved[0] > 0.55 and moved[1] < 0.47 and len(set(transforms(page))) == 1
    page.drag((x - 100, y), (x + 100, y))
    page.drag((x - 100, y), (x + 100, y))
    assert at(page)[0] == pytest.approx(0.5 / zoom(page), abs=0.001)


@in_a_browser
def test_the_keyboard_alone_reaches_and_moves_everything(page: Page) -> None:
    seen = set()
    for _ in range(40):
        page.key("Tab", TAB)
        seen.add(page.js("document.activeElement.className || document.activeElement.type"))
        if {"pane", "button", "range"} <= seen:
            break
    assert {"pane", "button", "range", "pane compare"} <= seen
    page.js("document.querySelector('.pane').focus()")
    page.key("+", PLUS)
    page.key("+", PLUS)
    assert zoom(page) == pytest.approx(2.25)
    page.key("ArrowRight", RIGHT)
    assert at(page)[0] > 0.54
    page.key("-", MINUS)
    assert zoom(page) == pytest.approx(1.5)
    page.key("0", ZERO)
    assert zoom(page) == 1
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") != "none"


@in_a_browser
def test_the_slider_shows_before_and_after(page: Page) -> None:
    page.js("document.querySelector('input[type=range]').focus()")
    shown = "getComputedStyle(document.querySelector('.before')).clipPath"
    assert page.js(shown) == "inset(0px 50% 0px 0px)"
    page.key("End", END)
    assert page.js(shown) in ("inset(0px)", "inset(0px 0% 0px 0px)")
    page.key("Home", HOME)
    assert page.js(shown) == "inset(0px 100% 0px 0px)"
    for _ in range(30):
        page.key("ArrowRight", RIGHT)
    assert page.js(shown) == "inset(0px 70% 0px 0px)"
    # zoomed, the line stays where it is in the pane: 0.3 of it is 0.5 - 0.2 / 2.25 of the image
    page.js("[1, 2].forEach(() => document.querySelector('button[data-zoom=in]').click())")
    right = float(re.search(r"([\d.]+)% 0px 0px\)", page.js(shown)).group(1))  # type: ignore[union-attr]
    assert 100 - right == pytest.approx(100 * (0.5 - 0.2 / 2.25), abs=0.1)
    assert page.js("document.querySelector('.line').style.left") == "30%"


@in_a_browser
@pytest.mark.parametrize("width", [400, 1600])
def test_it_can_be_read_on_a_phone_and_on_a_large_screen(width: int, page: Page, file: Path) -> None:
    page.open(file, width)
    assert page.js("document.documentElement.scrollWidth") <= width
    small = (
        "[...document.querySelectorAll('p, li, td, th, figcaption, h1, h2, button')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).length"
    )
    assert page.js(small) == 0
    cut = "[...document.querySelectorAll('p, li, figcaption, h1, h2')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    assert page.js(f"{cut}.length") == 0
    figure = page.js("document.querySelector('.figures figure').getBoundingClientRect().width")
    assert figure >= 300
    columns = page.js("getComputedStyle(document.querySelector('.panes')).gridTemplateColumns.split(' ').length")
    assert columns == (1 if width == 400 else 3)


@in_a_browser
def test_in_print_there_are_all_pictures_and_no_buttons(page: Page) -> None:
    page.js("document.querySelector('button[data-zoom=in]').click()")
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert page.js("getComputedStyle(document.querySelector('.tools')).display") == "none"
        assert page.js("getComputedStyle(document.querySelector('.compare').closest('figure')).display") == "none"
        assert page.js("getComputedStyle(document.querySelector('.pane img')).transform") == "none"
        printed = page.pdf()
    finally:
        page.call("Emulation.setEmulatedMedia", media="")
    assert printed.startswith(b"%PDF") and printed.count(b"/Subtype /Image") >= 5 + 6 + 4
    assert 2 <= printed.count(b"/Type /Page\n") <= 12


def test_every_light_and_its_advice_stands_on_the_page(found: Reported, file: Path) -> None:
    text = html.unescape(file.read_text(encoding="utf-8"))
    for check in found.facts.checks + found.facts.channels[0].checks:
        assert f'id="check-{check.key}"' in text and check.title in text
    for words in ("posterior sample 6", "drawn noise", "quantile of the likelihood", "Fourier ring correlation"):
        assert words in text
    assert "<script>" in text and "against the reference" in text and "against the second frame" in text


def test_a_page_of_many_channels_stays_below_ten_megabytes(found: Reported) -> None:
    rng = np.random.default_rng(0)
    large = {name: 1000 * rng.random((1, 512, 512)) for name in ("x", "mean", "std", "reference")}
    own = found.evidence[0]
    e = own._replace(**large, drawn=large["x"], drawn_signal=large["mean"], two=(large["x"], large["mean"]))
    e = e._replace(repeat=large["x"], repeat_mean=large["mean"])
    facts = found.facts.model_copy(update={"channels": found.facts.channels * 6})
    text = report_page(found._replace(facts=facts, evidence=[e] * 6, judged=found.judged * 6))
    assert text.count('class="viewer"') == 4  # of the others, the curves
    assert len(text.encode()) < 10_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder without pictures, with two noisy frames and their truth beside it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_bytes((KEPT / "stripes.safetensors").read_bytes())
    (tmp_path / "run" / "config.yaml").write_text("preset: tiny\n")
    rows = ["step,seconds,split,nll,kl,signal", "10,1,train,0.9,0.1,0.4"]
    rows += [f"{s},{s},validation,{0.8 + 1 / s},0.06,0.3" for s in range(20, 200, 20)]
    (tmp_path / "run" / "metrics.csv").write_text("\n".join(rows) + "\n")
    tifffile.imwrite(tmp_path / "noisy.tif", NOISY, metadata={"axes": "TYX"}, imagej=True)
    tifffile.imwrite(tmp_path / "truth.tif", TRUTH, metadata={"axes": "TYX"}, imagej=True)
    return tmp_path


QUICK = ("--frames", "1", "--side-px", "96", "--samples", "4", "--quiet")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_writes_a_page_and_the_same_facts_as_json_into_the_run(folder: Path) -> None:
    command = ("report", folder / "run", folder / "noisy.tif", "--reference", folder / "truth.tif", *QUICK)
    done = run(*command)
    assert done.exit_code == 0, done.output
    facts = Report.model_validate_json((folder / "run" / "report.json").read_text())
    assert facts.channels[0].reference["psnr_db"] > 20 and facts.images == ["noisy.tif"]
    assert all(check.title in done.output for check in facts.checks)
    assert facts.verdict in (folder / "run" / "report.html").read_text()
    assert {c.key for c in facts.checks} == {"latents", "training", "kind"}
    assert "is there already" in str(run(*command).exception) or "holds report.html" in str(run(*command).exception)
    printed = run(*command, "--json")
    assert json.loads(printed.stdout) == json.loads(facts.model_dump_json())


def test_each_mistake_of_the_command_is_a_sentence(folder: Path) -> None:
    noisy = folder / "noisy.tif"
    assert "give 8" in str(run("report", folder / "run", noisy, "--samples", 6).exception)
    assert "name images to look at" in str(run("report", folder / "run", "-o", folder / "o", *QUICK).exception)
    assert "does not exist" in str(run("report", folder / "run", folder / "none.tif", *QUICK).exception)
    assert "no run folder" in str(run("report", folder, noisy, *QUICK).exception)
    assert "is no folder" in str(run("report", folder / "run", noisy, "-o", noisy, *QUICK).exception)
    assert not (folder / "run" / "report.html").exists() and not (folder / "o").exists()
