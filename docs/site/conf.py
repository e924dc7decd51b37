"""How Sphinx makes the site; `python -m docs.site` calls it. Its names are Sphinx's own."""

from pathlib import Path

import depotlab

HERE = Path(__file__).parent

project = "depotlab"
author = "the authors of depotlab"
copyright = f"{author}, Apache-2.0"  # noqa: A001 - Sphinx calls it so
version = release = depotlab.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["**/.ipynb_checkpoints"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]

add_module_names = False
maximum_signature_line_length = 72
python_use_unqualified_type_names = True
# Furo copies the whole table of contents for each page: with every method in it, that takes a third of the time.
toc_object_entries = False
smartquotes_action = "D"  # dashes; quotes stay as they are typed
highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "depotlab"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_domain_indices = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b62c4",
        "color-brand-content": "#0b62c4",
        "font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
        "font-stack--monospace": "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6cb2ff",
        "color-brand-content": "#6cb2ff",
    },
}
