"""Containers: the port, and the Docker adapter."""
