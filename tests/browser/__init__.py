"""A package, so that its fixtures (one browser, one JupyterLab) end with its last test and not with the run."""
