"""The page of a survey of images: pictures of tiles, what was found on them, and how it compares with truth."""
