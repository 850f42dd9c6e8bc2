"""Take the pictures in docs/images from a finished run. Usage: python docs/screenshots.py RUN [QUESTION]"""

import json
import sys
import tempfile
from pathlib import Path

from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import read_json, write_json

IMAGES = Path(__file__).parent / "images"
QUESTION = "How thick must loft insulation be?"
"""In other words than the data's own question; its answer is right."""
HALF_LOADED = """
self.addEventListener("message", ({ data: { type, id } }) => {
  const answers = { file: "e5.bin", loaded: 9e6, total: 24e6 };
  const model = { file: "onnx/model_q4.onnx_data", loaded: 31e6, total: 84e6 };
  const progress = { type: "progress", id, ...(type === "open_answers" ? answers : model) };
  postMessage({ ...progress, loaded: 0 });
  setTimeout(() => postMessage(progress), 2000);
});
"""


def main(run: Path, question: str) -> None:
    """Picture the chat page, the card, a loading page and a page without its model."""
    app = run / "app"
    with Browser(webgpu="none") as browser, tempfile.TemporaryDirectory() as folder:
        with SiteServer({"/": app}) as server:
            page = browser.open(f"{server.origin}/")
            ask(page, question)
            page.screenshot(IMAGES / "chat.png", 1100, 560)
            page.screenshot(IMAGES / "chat-dark.png", 1100, 560, dark=True)
            page.screenshot(IMAGES / "chat-phone.png", 360, 720)
            card = browser.open(f"{server.origin}/card.html")
            card.screenshot(IMAGES / "card.png", 1100, 1400)
            card.screenshot(IMAGES / "card-phone.png", 360, 720)
        loading = Path(folder) / "worker.js"
        loading.write_text(HALF_LOADED)
        with SiteServer({"/": app, "/worker.js": loading}) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for("document.getElementById('loading-text').textContent.includes('left')", 30)
            page.screenshot(IMAGES / "chat-loading.png", 1100, 720)
        missing = Path(folder) / "app.json"
        write_json(missing, {**read_json(app / "app.json"), "model": "./elsewhere/", "answers": None})
        with SiteServer({"/": app, "/app.json": missing}) as server:
            page = browser.open(f"{server.origin}/")
            page.wait_for("document.getElementById('notice').textContent !== ''", 30)
            page.screenshot(IMAGES / "chat-error.png", 1100, 720)
    print(json.dumps({path.name: path.stat().st_size for path in sorted(IMAGES.glob("*.png"))}))


def ask(page: Page, question: str) -> None:
    """Send `question` as a visitor would, once the model is loaded, and wait for the end of the answer."""
    page.wait_for("document.getElementById('loading').hidden", 120)
    page.evaluate(f"""
        const box = document.getElementById("question");
        box.value = {json.dumps(question)};
        box.dispatchEvent(new Event("input", {{ bubbles: true }}));
    """)
    page.wait_for("!document.getElementById('send').disabled", 30)
    page.evaluate("document.getElementById('send').click()")
    page.wait_for("!!document.querySelector('.turn.assistant .actions')", 120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else QUESTION)
