"""A hook of mkdocs: links that work in the repository work on the site, too.

Pages link as the files of the repository lie. On the site, the generated tables of ``benchmarks/`` are pages
below the one page about them, and everything else that is not in ``docs/`` is at the repository's address.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s:#]+)(?=[)#])")  # to a file: no scheme; an anchor may follow


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated tables to the pages."""
    for path in sorted(REPOSITORY.glob("benchmarks/*/*.md")):
        name = path.relative_to(REPOSITORY).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links of the site."""
    uri = page.file.src_uri
    here = uri if uri.startswith("benchmarks/") else f"docs/{uri}"

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[2]))
        if not (REPOSITORY / target).exists():
            raise PluginError(f"{here} links to {link[2]}, which does not exist")
        found = target.removeprefix("docs/")
        if files.get_file_from_path(found) is None:
            return f"{link[1]}{config.repo_url}/blob/main/{target}"
        return link[1] + posixpath.relpath(found, PurePosixPath(uri).parent.as_posix())

    return LINK.sub(on_site, markdown)
