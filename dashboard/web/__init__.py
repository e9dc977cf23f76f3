"""The page, and once it was built (`make web`) the files in `dist` that the API serves."""
