"""Static hosts that get a layout of their own: the files that they read, and limits that are checked before writing."""

from dataclasses import dataclass
from pathlib import Path

from tinsmith.commands.publish_plan import File, size_text
from tinsmith.core.errors import UserError

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Host:
    """What one static host reads and takes."""

    name: str
    reads: tuple[str, ...] = ()
    """Which of `HOST_FILES` it reads; the others do not go there."""
    max_file_bytes: int | None = None
    max_site_bytes: int | None = None
    max_files: int | None = None
    documented_at: str = ""
    """Where the limits are documented."""


SPACE = Host("Hugging Face static Space", ("README.md",))
"""Its README names the headers; see https://huggingface.co/docs/hub/spaces-config-reference."""

HOSTS = {
    "github-pages": Host(
        "GitHub Pages",
        (".nojekyll",),
        max_file_bytes=100 * _MIB,
        max_site_bytes=10**9,
        documented_at="https://docs.github.com/en/pages/getting-started-with-github-pages/github-pages-limits",
    ),
    "cloudflare": Host(
        "Cloudflare Pages",
        ("_headers",),
        max_file_bytes=25 * _MIB,
        max_files=20_000,
        documented_at="https://developers.cloudflare.com/pages/platform/limits/",
    ),
    "netlify": Host("Netlify", ("netlify.toml", "_headers")),
    "vercel": Host("Vercel", ("vercel.json",)),
    "apache": Host("Apache", (".htaccess",)),
    "nginx": Host("nginx", ("nginx.conf",)),
}
"""Hosts that get a folder, by the name before `:FOLDER`."""

HOST_FILES = frozenset(name for host in (SPACE, *HOSTS.values()) for name in host.reads)
"""Files of a site that are for one host or another, not for visitors."""


def split_host(target: str) -> tuple[Host | None, str]:
    """The host that a target such as `netlify:FOLDER` names, and its folder; no host for a plain folder or a model.

    Raises:
        UserError: the words before the colon are no host, or nothing follows the colon.
    """
    name, colon, folder = target.partition(":")
    if not colon or len(name) < 2 or "/" in name or name == "hf" or Path(target).exists():  # `C:` is a drive
        return None, target
    if name == "space":
        return SPACE, folder
    if name not in HOSTS or not folder:
        raise UserError(
            f"{target}: no target that tinsmith knows",
            f"Targets are FOLDER, {', '.join(f'{known}:FOLDER' for known in HOSTS)}, space:ORG/NAME and hf:ORG/NAME. "
            "A folder with a colon in its name: put ./ before it.",
        )
    return HOSTS[name], folder


def files_for(host: Host, files: dict[str, File]) -> dict[str, File]:
    """The site without files that only other hosts read.

    Raises:
        UserError: the site is larger than the host takes.
    """
    site = {path: file for path, file in files.items() if path not in HOST_FILES or path in host.reads}
    problems = _problems(host, site)
    if problems:
        raise UserError(
            f"{host.name} does not take this site; nothing was written\n" + "\n".join(problems),
            f"Name another host. Limits: {host.documented_at}",
        )
    return site


def _problems(host: Host, files: dict[str, File]) -> list[str]:
    problems = []
    for path, file in files.items():
        if host.max_file_bytes is not None and file.size_bytes > host.max_file_bytes:
            problems.append(f"  {path}: {size_text(file.size_bytes)}; a file may have {host.max_file_bytes:,} bytes")
    site_bytes = sum(file.size_bytes for file in files.values())
    if host.max_site_bytes is not None and site_bytes > host.max_site_bytes:
        problems.append(f"  {size_text(site_bytes)} in all; a site may have {size_text(host.max_site_bytes)}")
    if host.max_files is not None and len(files) > host.max_files:
        problems.append(f"  {len(files):,} files; a site may have {host.max_files:,}")
    return problems
