"""The models of text and what they are asked, one flow a file."""
