"""Credits: money that an organization has with us before an invoice asks for it."""
