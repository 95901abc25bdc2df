"""The programs that write the generated files: ``make generated`` runs them."""
