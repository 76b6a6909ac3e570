"""Coverage-guided fuzzing of everything that reads bytes which somebody else may have written."""
