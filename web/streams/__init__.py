"""Event streams: their format, and what follows the customers of all open streams."""
