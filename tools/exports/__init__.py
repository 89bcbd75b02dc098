"""Exports models from their frameworks and audits them."""
