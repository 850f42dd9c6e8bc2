"""A real browser: started, driven, and served with what a page needs."""
