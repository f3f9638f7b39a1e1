"""Papers: invoices and credit notes as PDF, CSV and pages, in the customer's language."""
