"""Money that arrives: charges, refunds, disputes, and what the providers tell us of them."""
