"""depotlab."""
