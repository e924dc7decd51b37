"""Makes the documentation site out of `docs/`, the README, the notebooks and the docstrings: `make docs`.

`python -m docs.site` stages all pages in one folder, lets Sphinx make HTML of them, and checks every link of that. What
is generated (reference, errors, commands, notebooks) is never committed: the code is the one place where it is said.
"""
