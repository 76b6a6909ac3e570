"""The HTTP API: routes by resource, schemas, error mapping, authentication and event streams."""
