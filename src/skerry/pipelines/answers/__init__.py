"""How a question is answered from documents, one step a file."""
