"""HTTP: routes by resource, schemas, error mapping, authentication, server-sent events."""
