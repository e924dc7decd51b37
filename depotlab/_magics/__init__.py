"""Magics for IPython: `%%dockerfile`, `%%llb`, `%builder` and `%builds`, after `%load_ext depotlab`."""

from depotlab._magics.commands import BuildMagics, load

__all__ = ["BuildMagics", "load"]
