"""`python -m docs.site`: make the site in `build/site`, and check it. Whatever Sphinx warns about is an error."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.site import links, staging


def main(arguments: list[str] | None = None) -> int:
    """Make the site.

    Returns:
        The exit code: 0, or 1 when something is wrong; all of it has been said.
    """
    parser = argparse.ArgumentParser(
        prog="python -m docs.site", description="Make the documentation site."
    )
    parser.add_argument(
        "--into", type=Path, default=staging.ROOT / "build" / "site", help="where it goes"
    )
    options = parser.parse_args(arguments)
    site: Path = options.into.resolve()
    sources = site.with_name(f"{site.name}-sources")
    wrong = staging.stage(sources)
    shutil.rmtree(site, ignore_errors=True)
    words = ["-b", "html", "-q", "-E", "-W", "-j", "auto", "--keep-going"]
    places = ["-c", str(Path(__file__).parent), "-d", str(site.with_name(f"{site.name}-doctrees"))]
    warned = build_main([*words, *places, str(sources), str(site)])
    wrong += links.check(site)
    for line in wrong:
        print(line, file=sys.stderr)
    if warned or wrong:
        return 1
    print(f"{len(list(site.rglob('*.html')))} pages: {site / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
