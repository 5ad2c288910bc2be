"""Other systems on the interface and the meter of the trained networks, and the commands that compare them."""
