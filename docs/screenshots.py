"""Takes the pictures of the pages in docs/images from a finished run. Usage: python docs/screenshots.py RUN"""

import json
import sys
import tempfile
from pathlib import Path

from tinsmith.browser.chromium import Browser
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import read_json, write_json

IMAGES = Path(__file__).parent / "images"
READY = "!!document.querySelector('#questions button:enabled')"
HALF_LOADED = """
self.addEventListener("message", ({ data: { id } }) => {
  const report = (loaded) =>
    postMessage({ type: "progress", id, file: "onnx/model_q4.onnx_data", loaded, total: 84e6 });
  report(0);
  setTimeout(() => report(31e6), 2000);
});
"""


def main(run: Path) -> None:
    app = run / "app"
    with Browser(webgpu="none") as browser, tempfile.TemporaryDirectory() as folder:
        with SiteServer({"/": app}) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for(READY, 120)
            page.evaluate("document.querySelector('#questions button').click()")
            page.wait_for("!!document.querySelector('.measure')", 120)
            page.screenshot(IMAGES / "chat.png", 1100, 720)
            page.screenshot(IMAGES / "chat-dark.png", 1100, 720, dark=True)
            page.screenshot(IMAGES / "chat-phone.png", 360, 720)
            card = browser.open(f"{server.origin}/card.html")
            card.screenshot(IMAGES / "card.png", 1100, 1400)
            card.screenshot(IMAGES / "card-phone.png", 360, 720)
        loading = Path(folder) / "worker.js"
        loading.write_text(HALF_LOADED)
        with SiteServer({"/": app, "/worker.js": loading}) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for("document.getElementById('loading-text').textContent.includes('31')", 30)
            page.screenshot(IMAGES / "chat-loading.png", 1100, 720)
        missing = Path(folder) / "app.json"
        write_json(missing, {**read_json(app / "app.json"), "model": "./elsewhere/"})
        with SiteServer({"/": app, "/app.json": missing}) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for("document.getElementById('notice').textContent !== ''", 30)
            page.screenshot(IMAGES / "chat-error.png", 1100, 720)
    print(json.dumps({path.name: path.stat().st_size for path in sorted(IMAGES.glob("*.png"))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
