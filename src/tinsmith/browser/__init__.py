"""Start and control a real Chromium, and serve it pages and their runtime."""
