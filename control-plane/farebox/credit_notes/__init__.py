"""Credit notes: documents of their own that take invoices back, whole or in part."""
