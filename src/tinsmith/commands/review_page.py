"""The page on which people review replies."""

from pathlib import Path

from tinsmith.assess.review_set import ReviewSet
from tinsmith.commands.single_file import single_file_page

_SCRIPTS = ("elements.js", "markdown.js", "review_progress.js", "review_item.js", "review.js")


def review_page(items: ReviewSet, run: str, web_dir: Path) -> str:
    """HTML of the page, as one file.

    Args:
        items: What it shows.
        run: The run's name.
        web_dir: Folder with `review.html` and the styles and scripts that it is made of.
    """
    return single_file_page(web_dir, "review.html", ("page.css", "review.css"), _SCRIPTS, items.page_data(run))
