"""How fast this machine runs the engine: against what its arithmetic allows, and beside other trainers."""
