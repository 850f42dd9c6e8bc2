"""Modules become one script, and a page's policy allows just that."""

import base64
import hashlib
import re

import pytest

from tinsmith.commands.single_file import single_file_page

PAGE = '<meta content="<!-- policy -->" /><!-- style --><!-- data --><!-- script -->'


@pytest.fixture
def web(tmp_path):
    def write(**modules):
        for name, text in {"page.html": PAGE, "page.css": "p {}", **modules}.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return tmp_path

    return write


def test_modules_are_joined_and_allowed_by_their_hash(web):
    imports = 'import { one } from "./a.js";\nimport {\n  two,\n} from "./a.js";\n'
    exports = "export function one() {}\nexport const two = 2;\nexport async function three() {}\n"
    folder = web(a_js=exports, b_js=f"{imports}one(two);\n")
    html = single_file_page(folder, "page.html", ["page.css"], ["a.js", "b.js"], {"text": "</script><!--"})
    script = re.search('<script type="module">(.*?)</script>', html, re.DOTALL)[1]
    assert script == "function one() {}\nconst two = 2;\nasync function three() {}\n\none(two);\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in html and "trusted-types 'none'" in html
    assert '{"text": "\\u003c/script>\\u003c!--"}' in html


@pytest.mark.parametrize(
    "line", ['import * as a from "./a.js";', 'import "./a.js";', "export default 1;", "export { x };"]
)
def test_other_imports_and_exports_are_refused(web, line):
    with pytest.raises(ValueError, match="cannot be joined"):
        single_file_page(web(a_js=f"{line}\n"), "page.html", [], ["a.js"], {})
