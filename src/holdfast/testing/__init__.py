"""Fakes of the ports, with slow, hanging and failing variants."""
