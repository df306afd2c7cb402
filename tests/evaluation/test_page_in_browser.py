"""The pages in a real browser, where one is installed: all is there, nothing fails, nothing runs out of the window."""

from dataclasses import replace

import pytest

from experiments import compare, report
from resnet_jax.run.train import train
from tests.browser import needs_browser, open_browser
from tests.masked_pictures import write_pictures
from tests.run.test_segmentation import TOY

from .test_report import SECTIONS

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def comparison(odd_run, odd_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("comparison") / "page.html"
    compare.main([str(odd_run), f"--report={path}"])
    return path


@pytest.fixture(scope="module")
def mask_page(tmp_path_factory):
    root = write_pictures(tmp_path_factory.mktemp("masks"), {"train": 8, "val": 7})
    workdir = tmp_path_factory.mktemp("segmentation")
    train(replace(TOY, data_dir=str(root), workdir=str(workdir)))
    report.main([f"--workdir={workdir}"])
    return workdir / "report.html"


# Of each page: its sections, and how many drawings it has.
PAGES = {
    "odd_page": (SECTIONS, 3),
    "comparison": (["result", "curves", "runs", "paired", "origin"], 2),
    "mask_page": (["result", "curves", "classes", "confusion", "worst", "best", "origin"], 2),
}


def open_at(browser, path, width, scheme):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    browser.get(path.as_uri())


def brightness(browser, what):
    color = browser.execute_script(f"return getComputedStyle(document.body).{what}")
    return sum(int(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("which", ["odd_page", "comparison", "mask_page"])
def test_a_page_is_whole_and_fits(browser, request, which, width, scheme):
    open_at(browser, request.getfixturevalue(which), width, scheme)
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    outside = "[...document.querySelectorAll('section > *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    assert browser.execute_script(f"return {outside}.length") == 0
    assert browser.execute_script("return [...document.images].filter(i => !i.naturalWidth).length") == 0
    ids = browser.execute_script("return [...document.querySelectorAll('h2[id]')].map(h => h.id)")
    sections, drawings = PAGES[which]
    assert ids == sections
    assert browser.execute_script("return document.querySelectorAll('svg').length") == drawings
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert (brightness(browser, "backgroundColor") > brightness(browser, "color")) == (scheme == "light")
