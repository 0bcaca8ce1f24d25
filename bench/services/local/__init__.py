"""Local service: networks of one's own behind real HTTP on the loopback address, so that they can only be asked."""
