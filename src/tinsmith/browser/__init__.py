"""A real browser: its start, its control, its runtime, and the server of its pages."""
