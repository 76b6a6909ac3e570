"""Traffic: the port, and the Caddy adapters."""
