"""Real kills: ``make torture`` (``python -m torture``) kills the real server, its workers and a real engine."""
