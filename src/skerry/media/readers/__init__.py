"""Files of many formats become text, in a process that can be lost."""
