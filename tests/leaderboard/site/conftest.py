"""Results made from the committed real record, the site built of them, and a browser."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.harness.record import Definition, Record
from medbench.harness.record_files import record_path
from medbench.leaderboard.site.build import build_site

TEMPLATE = Path(__file__).parents[2] / "records" / "v1_recon.json"


def record_data(name, *, variant="v", kind="discrete", psnr=30.0, bits=24576.0, **fields):
    """A record's data: the committed one under another name, with other values."""
    data = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    data |= {"tokenizer": name, "variant": variant, "gallery": [], "per_image": None}
    data["per_image_sha256"] = None
    data["info"] |= {"name": name, "variant": variant, "kind": kind, "bits_per_image": bits}
    noise = np.random.default_rng(len(name)).normal(0, 0.05, 1000)
    kept = []
    for metric in data["metrics"]:
        if metric["name"] == "psnr":
            metric |= {"value": psnr, "low": psnr - 0.2, "high": psnr + 0.2}
            if metric["group"] == "macro":
                metric["replicates"] = (psnr + noise).tolist()
        if metric["name"] == "usage" and kind != "discrete":
            continue
        if metric["name"] in ("bits_per_pixel", "bits_per_image"):
            if bits is None:
                continue
            metric["value"] = bits / 65536 if metric["name"] == "bits_per_pixel" else bits
        kept.append(metric)
    data["metrics"] = kept
    for key, value in fields.items():
        data[key] = data[key] | value if isinstance(value, dict) else value
    return data


def on_dataset(data, dataset, *, pixels="publish"):
    """The data as if measured on another set of images."""
    data = copy.deepcopy(data)
    fingerprint = (dataset.encode().hex() * 64)[:64]
    data["dataset"] |= {"id": dataset, "fingerprint": fingerprint, "pixels": pixels}
    data["identity"] |= {"data_fingerprint": fingerprint}
    return data


def of_probe(data):
    """The data as a record of the probe, with mAP in place of PSNR."""
    data = copy.deepcopy(data)
    definition = Definition(id="map-test-1", facts={"features": "frozen"})
    data["task"] = "probe"
    metrics = []
    for metric in data["metrics"]:
        if metric["name"] == "psnr":
            shift = metric["value"] / 50
            metric |= {"name": "map", "unit": "", "definition": definition.id}
            metric |= {"definition_hash": definition.hash, "value": shift}
            metric |= {"low": shift - 0.02, "high": shift + 0.02}
            if metric.get("replicates"):
                metric["replicates"] = [value / 50 for value in metric["replicates"]]
            metrics.append(metric)
    data["metrics"] = metrics
    data["definitions"] = {definition.id: definition.model_dump()}
    return data


def store(results, data, *, pictures=0):
    """Write a record (and pictures that its gallery names) where it belongs."""
    record = Record.model_validate(data)
    path = record_path(
        results,
        task=record.task,
        dataset_id=record.dataset.id,
        tokenizer=record.full_name,
        key8=record.identity.key8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    data["gallery"] = [save_picture(path, index, data["tokenizer"]) for index in range(pictures)]
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def save_picture(path, index, name):
    """A pair of a smooth image and a noisier copy, and its entry."""
    across = np.linspace(0, 255, 64)
    original = np.stack([np.add.outer(across, across) / 2] * 3, axis=2)
    noise = np.random.default_rng(index).normal(0, 5 + len(name), original.shape)
    pair = np.concatenate([original, original + noise], axis=1).clip(0, 255).astype(np.uint8)
    file = f"{path.stem}.gallery/{index:05d}.png"
    (path.parent / file).parent.mkdir(exist_ok=True)
    Image.fromarray(pair).save(path.parent / file)
    why = "pick" if index < 2 else "worst psnr"
    return {"id": f"ct/{index}", "group": ("ct", "fundus")[index % 2], "file": file, "why": why}


@pytest.fixture(scope="session", name="record_data")
def record_data_fixture():
    """record_data("a", psnr=30.0, …): a record's data."""
    return record_data


@pytest.fixture(scope="session", name="store")
def store_fixture():
    """store(results, data, pictures=0): write a record where it belongs."""
    return store


SYSTEMS = {
    "meditok": {"variant": "tiny", "psnr": 24.0},
    "alpha": {"psnr": 31.0, "bits": 16384.0},
    "beta": {"psnr": 30.98, "bits": 32768.0, "info": {"resolution": 512}},
    "gamma": {"psnr": 28.0, "bits": 8192.0, "info": {"weights_licence": "CC BY-NC 4.0"}},
    "latent": {"psnr": 33.0, "bits": 65536.0, "kind": "continuous"},
    "jpeg": {"psnr": 29.0, "bits": 12000.0, "kind": "codec"},
    "mean": {"psnr": 15.0, "bits": None, "kind": "bound"},
    "poor": {"psnr": 12.0, "status": "suspect", "status_reason": "does not beat mean"},
}


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Eight systems on medsynth (with pictures) and on local images, five of them probed."""
    folder = tmp_path_factory.mktemp("site") / "results"
    for name, facts in SYSTEMS.items():
        data = record_data(name, **facts)
        if facts.get("kind") in ("codec", "bound"):
            data["info"]["weights_sha256"] = data["identity"]["weights_sha256"] = None
            data["info"]["weights_licence"] = "no weights"
        store(folder, copy.deepcopy(data), pictures=3)
        store(folder, on_dataset(data, "folder:mine", pixels="local"))
        if name in ("alpha", "beta", "gamma", "latent", "meditok"):
            store(folder, of_probe(data))
    return folder


@pytest.fixture(scope="session")
def site(results):
    """The built site."""
    return build_site(results, results.parent / "site").output


@pytest.fixture
def board(site) -> str:
    """Path of the board of medsynth below the site."""
    (page,) = (site / "board").glob("recon-medsynth-*.html")
    return f"board/{page.name}"


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("needs Chromium on the PATH")
    reason = "needs the package playwright: pip install playwright"
    library = pytest.importorskip("playwright.sync_api", reason=reason)
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def opener(chromium):
    """opener(site)("index.html", javascript=…, query=…): a page that fails on any complaint."""
    contexts, complaints = [], []

    def of_site(site):
        def outside(request):
            return [] if request.url.startswith(site.as_uri()) else [f"outside: {request.url}"]

        def failed(request):
            # A download ends the navigation that asked for it.
            return [] if request.failure == "net::ERR_ABORTED" else [f"failed: {request.url}"]

        def opened(path, *, javascript=True, query=""):
            context = chromium.new_context(
                viewport={"width": 1280, "height": 800},
                java_script_enabled=javascript,
                accept_downloads=True,
                reduced_motion="reduce",
            )
            context.set_default_timeout(120_000)  # a busy machine is no fault of a page
            contexts.append(context)
            page = context.new_page()
            page.on("console", lambda message: complaints.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
            page.on("requestfailed", lambda request: complaints.extend(failed(request)))
            page.on("request", lambda request: complaints.extend(outside(request)))
            page.goto((site / path).as_uri() + query)
            return page

        return opened

    yield of_site
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def looks_right():
    """looks_right(page): one title, light and dark, and no wider than a phone."""

    def look(page):
        assert page.locator("h1").count() == 1
        background = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(background) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(background) != "rgb(255, 255, 255)"
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    return look


@pytest.fixture(scope="session")
def serious_findings():
    """serious_findings(page): what axe says of it, by colour scheme."""
    axe = os.environ.get("MEDBENCH_AXE")
    if not axe or not Path(axe).is_file():
        pytest.skip("needs MEDBENCH_AXE, the path of axe.min.js (npm pack axe-core)")
    script = Path(axe).read_text(encoding="utf-8")

    def scan(page):
        page.evaluate(
            "document.querySelectorAll('main details').forEach(node => (node.open = true))"
        )
        page.evaluate(script)
        serious = {}
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            # Without preload: fetching the style sheet would break the rule of no requests.
            found = page.evaluate("axe.run({ resultTypes: ['violations'], preload: false })")
            for rule in found["violations"]:
                if rule["impact"] in ("serious", "critical"):
                    nodes = [node["html"][:120] for node in rule["nodes"][:3]]
                    serious[scheme, rule["id"]] = (rule["help"], nodes)
        return serious

    return scan
