"""What the contract, the stores and the decorators share, and users do not import."""
