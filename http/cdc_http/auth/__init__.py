"""Who may call: tokens, and protection against other sites' pages."""
