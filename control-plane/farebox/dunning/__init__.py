"""What follows an invoice that is due and unpaid, until it is paid; see README.md."""
