"""What a network looks at, and what its vectors know besides the class."""
