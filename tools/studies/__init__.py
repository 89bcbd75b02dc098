"""Statistical studies of the method, and the README's results."""
