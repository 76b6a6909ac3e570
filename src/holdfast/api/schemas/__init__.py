"""What goes over the wire: pydantic models, the only place where they are used."""
