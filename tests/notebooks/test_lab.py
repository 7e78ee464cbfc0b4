"""The notebooks in the real thing: JupyterLab in a browser, run by its menu, their widgets moved by hand.

It works on a copy, of the built-in sample, so that no run, model or setting of yours is touched. `make test-lab` runs it;
LAB_SCREENSHOTS names a folder to keep the pictures in.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from signlib.project import ROOT

pytestmark = pytest.mark.lab

SETTINGS = """{
  "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},
  "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}
}"""  # nothing is asked of the net, and all cells are in the page, not only those in sight
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync"]  # fmt: skip
SET = {"2_train": {"SAMPLE": True, "EPOCHS": 3, "LEARNING_RATE": 1e-3}, "1_audit": {"SAMPLE": True}, "3_diagnose": {}}
SECONDS = 300  # at most, for a notebook or what a widget does
WIDTH, MOST_PIXELS = 1200, 16000  # of a photograph; more, Chromium does not draw

RAN = """() => document.querySelector('[data-mime-type="application/vnd.jupyter.error"]') !== null ||
    [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(prompt => /\\d/.test(prompt.textContent))"""
PICTURE = ".jp-OutputArea-output img"
SOURCES = "pictures => pictures.map(picture => picture.src)"
WATCH = """() => { window.seen = new Set(); new MutationObserver(() => {
    document.querySelectorAll('.jp-OutputArea-output img').forEach(picture => seen.add(picture.src));
}).observe(document.body, {subtree: true, childList: true, attributes: true}) }"""  # pictures that were there and went
MOVED = """([cell, before, changed]) => {
    const now = [...cell.querySelectorAll('.jp-OutputArea-output img')];
    return now.length === before.length && now.every((picture, i) => (picture.src !== before[i]) === changed[i]);
}"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the helper module and the notebooks, set to be quick."""
    folder = tmp_path_factory.mktemp("lab") / "project"
    for name in ("signlib", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name, values in SET.items():
        notebook = nbformat.read(folder / f"notebooks/{name}.ipynb", 4)
        parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        parameters.source += "".join(f"\n{parameter} = {value!r}" for parameter, value in values.items())
        nbformat.write(notebook, folder / f"notebooks/{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(copy):
    """The address of a JupyterLab on the copy, up to the notebook's name; it reads no settings but its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home, token = copy.parent, secrets.token_hex()
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    (home / "config/labconfig").mkdir(parents=True)
    (home / "config/labconfig/default_setting_overrides.json").write_text(SETTINGS)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={copy}",
               f"--IdentityProvider.token={token}"]  # fmt: skip
    environment = os.environ | places | {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(copy)}
    address = f"http://127.0.0.1:{port}"
    with (home / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as server:
        try:
            for _ in range(120):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api?token={token}"):
                    break
                time.sleep(0.5)
            else:
                pytest.fail(f"JupyterLab did not start:\n{(home / 'log').read_text()}")
            yield f"{address}/lab/tree/notebooks/{{}}.ipynb?token={token}&reset"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser():
    """Chromium: the system's, or the one that Playwright installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make test-lab installs it")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as playwright:
        if not found and not pathlib.Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium: apt-get install chromium, or python -m playwright install chromium")
        chromium = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, lab, copy):
    """The function `opened(name)`: opens a notebook, runs all its cells by the menu, and returns a `Notebook`."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    page.set_default_timeout(1000 * SECONDS)

    def run(name):
        page.goto(lab.format(name))
        page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()  # earlier, the menu runs nothing
        page.evaluate(WATCH)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator('[data-command="runmenu:run-all"]').click()
        page.wait_for_function(RAN)
        return Notebook(page, copy / f"notebooks/{name}.ipynb")

    yield run
    page.close()


class Notebook:
    """A notebook that ran in the browser."""

    def __init__(self, page, path):
        self.page, self.path, self.cells = page, path, page.locator(".jp-CodeCell")

    def cell(self, text):
        """The cell whose code holds a text."""
        return self.cells.filter(has=self.page.locator(".jp-InputArea", has_text=text))

    def check(self):
        """Saves the notebook and asserts that every cell ran and none failed, in the file and to the eye."""
        self.page.keyboard.press("Control+s")
        self.page.locator(".jp-mod-dirty").wait_for(state="detached")
        code = [cell for cell in nbformat.read(self.path, 4).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        outputs = [output for cell in code for output in cell.outputs]
        assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
        for text in ("Error displaying widget", "Loading widget"):
            assert self.page.get_by_text(text).count() == 0
        assert self.page.locator(PICTURE).evaluate_all("all => all.every(picture => picture.naturalWidth > 100)")

    def moves(self, cell, move, changed):
        """Calls `move()` and waits until exactly those pictures below the cell have changed that `changed` says."""
        before = cell.locator(PICTURE).evaluate_all(SOURCES)
        move()
        self.page.wait_for_function(MOVED, arg=[cell.element_handle(), before, changed])

    def photograph(self):
        """Saves a picture of the whole notebook in LAB_SCREENSHOTS, or beside the copy, and says where."""
        folder = pathlib.Path(os.environ.get("LAB_SCREENSHOTS", self.path.parent))
        folder.mkdir(parents=True, exist_ok=True)
        scroller = self.page.locator(".jp-WindowedPanel-outer:visible")
        height = scroller.evaluate("panel => panel.scrollHeight")
        self.page.set_viewport_size({"width": WIDTH, "height": min(height + 150, MOST_PIXELS)})
        scroller.evaluate("panel => panel.scrollTo(0, 0)")
        self.page.locator(".jp-NotebookPanel:visible").screenshot(path=folder / f"{self.path.stem}.png")
        print(f"saved: {folder / self.path.stem}.png")


def test_train_redraws_its_curve_in_one_place_above_the_log(opened):
    notebook = opened("2_train")
    cell = notebook.cell("signlib.fit(")
    kinds = cell.locator(".jp-OutputArea-output").evaluate_all("all => all.map(output => output.dataset.mimeType)")
    assert [kind.rpartition(".")[2] for kind in kinds] == ["stdout", "image/png", "stdout"]
    left = cell.locator(PICTURE).evaluate_all(SOURCES)
    assert set(left) < set(notebook.page.evaluate("[...seen]"))  # another was there before it
    notebook.check()
    notebook.photograph()


def test_audit_draws_the_clip_that_is_chosen(opened):
    notebook = opened("1_audit")
    notebook.check()
    cell = notebook.cell("signlib.browse(")
    notebook.moves(cell, lambda: cell.locator("select").first.select_option(index=0), [True])
    notebook.moves(cell, lambda: cell.locator("select").last.select_option(index=1), [True])
    notebook.photograph()


def test_diagnose_redraws_the_curves_and_the_pair_that_are_chosen(opened):
    notebook = opened("3_diagnose")
    notebook.check()
    cell = notebook.cell("signlib.choose_runs(")
    notebook.moves(cell, lambda: cell.locator("button").click(), [True, False, True])  # a share needs no logarithm
    cell = notebook.cell("signlib.play_pairs(")
    notebook.moves(cell, lambda: cell.locator("select").select_option(index=1), [True])
    cell.locator("button").click()
    cell.locator(".animation").wait_for()
    notebook.photograph()
