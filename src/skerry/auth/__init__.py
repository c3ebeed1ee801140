"""Keys, scopes, and rules on hosts and origins."""
